"""docs/commands.md says what --help says."""

from asr_ctc.commands.main import COMMANDS
from tools import make_command_docs


def test_the_page_is_up_to_date():
    written = make_command_docs.FILE.read_text(encoding="utf-8")
    assert written == make_command_docs.as_markdown(), "run python tools/make_command_docs.py"


def test_every_flag_of_every_command_has_a_row():
    _, *chapters = make_command_docs.as_markdown().split("\n## ")
    assert [chapter.split("\n")[0] for chapter in chapters] == list(COMMANDS)
    for chapter, command in zip(chapters, COMMANDS.values(), strict=True):
        rows = [line for line in chapter.splitlines() if line.startswith("| `--")]
        flags = [row.split("`")[1].split()[0] for row in rows]
        assert sorted(flags) == sorted(f"--{name}" for name in command.names)
        for row in rows:
            assert row.replace("\\|", "").count("|") == 4, row
