"""This machine: its processor, for the tables, and where its corpora lie."""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CORPORA = os.path.abspath(os.environ.get("ASR_CTC_CORPORA", REPOSITORY.parent / "shared/corpora"))


def processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "unknown processor")
