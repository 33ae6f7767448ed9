"""The results of gpu.sh as Markdown: `python benchmarks/gpu/table.py OUT`."""

import json
import sys
from pathlib import Path

STATUS = {0: "passed", 124: "out of time", 137: "out of time"}


def read(file: Path) -> list[dict]:
    """JSON lines; the last may be cut, where its writer was killed."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            rows.append({"error": "a line is cut"})
    return rows


def table(rows: list[dict]) -> str:
    """One column for each key, in the order in which they come."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns)]
    for row in rows:
        cells = (row.get(column, "") for column in columns)
        lines.append([f"{c:,}" if type(c) is int else str(c).replace("|", "\\|") for c in cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(out: Path) -> str:
    """The seconds of each step, then the rows of each, those with the same columns together."""
    steps = [
        {**row, "status": STATUS.get(row.get("status"), "failed")}
        for row in read(out / "steps.jsonl")
    ]
    parts = [(out / "machine.txt").read_text(encoding="utf-8").strip(), table(steps)]
    groups: dict[tuple, list[dict]] = {}
    for row in read(out / "results.jsonl"):
        name = row.pop("step", "unknown")
        groups.setdefault((name, next(iter(row), "")), []).append(row)
    parts += [f"### {name}\n\n{table(rows)}" for (name, _), rows in groups.items()]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(tables(Path(sys.argv[1])), end="")
