#!/usr/bin/env python
"""Writes docs/commands.md: what each command does, and its flags, from the settings.

python tools/make_command_docs.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from asr_ctc.commands.main import COMMANDS
from asr_ctc.config.flags import Command, default_text, meaning_of, value_of
from asr_ctc.config.load import settings

FILE = ROOT / "docs" / "commands.md"
HEAD = """# Commands

Made from the settings by `python tools/make_command_docs.py`; do not edit it. A command is given as
`python main_ctc.py COMMAND`, or, once asr_ctc is installed, `asr-ctc COMMAND`. `COMMAND --help`
shows the same as below.

Every flag is also a key of the YAML files that `--config FILE.yaml` reads; a file may hold the
settings of several commands, and each takes its own. Flags win over the file, the file over the
defaults. A switch, such as `--beamsearch`, is turned off by `--no-beamsearch`; `none` takes a value
back where the default is none. The command may stand before, between or behind the flags.
"""


def as_markdown() -> str:
    """The whole page."""
    listed = "\n".join(
        f"| [{name}](#{name}) | {command.summary} |" for name, command in COMMANDS.items()
    )
    chapters = "\n".join(map(chapter, COMMANDS.values()))
    return f"{HEAD}\n| command | what it does |\n|---|---|\n{listed}\n\n{chapters}"


def chapter(command: Command) -> str:
    """A command: its summary, examples and a table of its flags, the common ones first."""
    details = f"\n\n{command.details}" if command.details else ""
    examples = "\n".join(f"python main_ctc.py {example}" for example in command.examples)
    further = [name for name in settings() if name in command.names and name not in command.common]
    rows = "\n".join(row(name, command) for name in [*command.common, *further])
    return (
        f"## {command.name}\n\n{capitalised(command.summary)}.{details}\n\n"
        f"```sh\n{examples}\n```\n\n| flag | default | what it does |\n|---|---|---|\n{rows}\n"
    )


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def row(name: str, command: Command) -> str:
    flag = f"`--{name} {value_of(name, command)}".rstrip() + "`"
    cells = flag, default_text(name, command), meaning_of(name, command)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    FILE.write_text(as_markdown(), encoding="utf-8")
