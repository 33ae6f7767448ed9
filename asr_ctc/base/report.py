"""Results as frozen dataclasses that become JSON; docs/report-format.md has every key."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar


class Report:
    """Base of all reports: a version and a JSON form. Reports are frozen dataclasses.

    ``version`` increases when a key is renamed, removed or changes its meaning, but not when a key
    is added.
    """

    version: ClassVar[int] = 1

    def to_dict(self) -> dict:
        """The report as ``plain`` values, with its version."""
        return {"version": self.version, **plain(self)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)


def plain(value: Any) -> Any:
    """``value`` as JSON types: dataclasses and mappings become dict, sequences list.

    A field has its name in JSON, or that in its metadata: ``field(metadata={"json": name})``. A
    number that is not finite becomes None, because JSON cannot express it.
    """
    if is_dataclass(value):
        return {
            f.metadata.get("json", f.name): plain(getattr(value, f.name)) for f in fields(value)
        }
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
