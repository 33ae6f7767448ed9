"""The processor cores that this process may use."""

import math
import os
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def n_usable_cores() -> int:
    """Cores that CPU affinity and a container's quota allow this process; at least 1."""
    try:
        n_cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        n_cores = os.cpu_count() or 1
    return int(min(n_cores, quota_cores()))


def quota_cores() -> float:
    """Cores that the control group's CPU quota allows, rounded up; infinite without a quota."""
    try:
        quota, period = CGROUP_QUOTA.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no control group, or "max"
        return math.inf
