#!/usr/bin/env python
"""Runs the commands whose output README.md shows, and puts the fresh output in.

    python tools/refresh_readme.py            every block
    python tools/refresh_readme.py info test  the blocks whose command holds one of these words

A block is a comment that names the command, then a fenced block with its output:

    <!-- output of: python main_ctc.py info logs/demo/best_model.pt -->
    ```text
    ...
    ```

Commands run in a shell from the project's root; standard error is shown with the output. Run
`make demo` first: the blocks use its corpus and its model.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- output of: (?P<command>.+?) -->\n```text\n)(?P<output>.*?)(```\n)", re.S)


def output_of(command: str) -> str:
    """What a command prints; exits when it fails."""
    print(f"$ {command}", flush=True)
    done = subprocess.run(
        command, shell=True, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nfailed with exit status {done.returncode}: {command}")
    lines = [line.split("\r")[-1].rstrip() for line in done.stdout.split("\n")]
    return "\n".join(lines).strip("\n") + "\n"


def main() -> None:
    readme, wanted = ROOT / "README.md", sys.argv[1:]
    text = readme.read_text(encoding="utf-8")
    for block in list(BLOCK.finditer(text)):
        if wanted and not any(word in block["command"] for word in wanted):
            continue
        fresh = block[1] + output_of(block["command"]) + block[4]
        text = text.replace(block[0], fresh)
        readme.write_text(text, encoding="utf-8")  # at once: what ran is kept if a later one fails


if __name__ == "__main__":
    main()
