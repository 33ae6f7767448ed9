#!/usr/bin/env python
"""Runs the commands whose output README.md and docs/*.md show, and puts the fresh output in.

    python tools/refresh_docs.py            every block
    python tools/refresh_docs.py info test  the blocks whose command holds one of these words

A block is a comment that names the command, then a fenced block with its output:

    <!-- output of: python main_ctc.py info -->
    ```text
    ...
    ```

A comment that ends in "(its first N lines)" or "(its last N lines)" shows only these. Commands run
in a shell from the project's root; standard error is shown with the output. Run `make demo` first:
the blocks use its corpus and its model. Blocks without a comment, of long runs or of corpora that
are not here, are listed in the end: these are refreshed by hand.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"(<!-- output of: (?P<command>.+?)(?: \(its (?P<end>first|last) (?P<n>\d+) lines\))? -->\n"
    r"```text\n)(?P<output>.*?)(```\n)",
    re.S,
)


def output_of(command: str) -> list[str]:
    """The lines that a command prints; exits when it fails."""
    print(f"$ {command}", flush=True)
    done = subprocess.run(
        command, shell=True, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nfailed with exit status {done.returncode}: {command}")
    lines = [line.split("\r")[-1].rstrip() for line in done.stdout.split("\n")]
    return "\n".join(lines).strip("\n").split("\n")


def fresh_block(block: re.Match) -> str:
    lines = output_of(block["command"])
    if block["end"]:
        n = int(block["n"])
        lines = lines[:n] if block["end"] == "first" else lines[-n:]
    return block[1] + "\n".join(lines) + "\n" + block[6]


def unmarked(text: str) -> list[int]:
    """The lines (from 1) at which a page has a block of text that no comment marks."""
    lines = text.split("\n")
    return [
        number
        for number, line in enumerate(lines, 1)
        if line == "```text" and not lines[number - 2].startswith("<!-- output of: ")
    ]


def main() -> None:
    words, by_hand = sys.argv[1:], []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            if words and not any(word in block["command"] for word in words):
                continue
            text = text.replace(block[0], fresh_block(block))
            page.write_text(
                text, encoding="utf-8"
            )  # at once: what ran is kept if a later one fails
        by_hand += [f"{page.relative_to(ROOT)}:{number}" for number in unmarked(text)]
    print(f"to be refreshed by hand: {', '.join(by_hand)}")


if __name__ == "__main__":
    main()
