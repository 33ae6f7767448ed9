"""What is printed does nothing to a terminal, and is printed whatever the streams can take."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.base.printable import (
    SafeFormatter,
    one_line,
    printable,
    with_safe_streams,
    without_controls,
)
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.scoring.evaluation import Decoded
from asr_ctc.training.epoch_log import as_table

REPOSITORY = Path(__file__).parents[2]
UNSAFE = "\x1b[2J\x07\x9b31m\x7f\x00\r\u202e\u2066\u2028\udcff"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("été 中 \u200c👩\u200d👧", "été 中 \u200c👩\u200d👧"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x9b31m\x85", r"\u009b31m\u0085"),
        ("a\rb\x7f\x00", r"a\rb\u007f\x00"),
        ("abc\u202edef", r"abc\u202edef"),
        ("a\udcff", r"a\udcff"),
        ("a\nb\tc", "a\nb\tc"),
    ],
)
def test_what_a_terminal_would_obey_is_seen(text, seen):
    assert printable(text) == seen
    assert one_line(text) == seen.replace("\n", "\\n").replace("\t", "\\t")


@given(st.text(st.sampled_from(UNSAFE + "a\n\t") | st.characters(codec=None)))
def test_nothing_unsafe_is_left(text):
    seen = printable(text)
    assert not set(seen) & {*UNSAFE.replace("[2J", "").replace("31m", "")}
    assert printable(seen) == seen and one_line(text).isprintable() >= seen.isprintable()
    assert "\n" not in one_line(text)
    seen.encode("utf-8")
    without_controls(text).encode("utf-8")
    assert len(without_controls(text).splitlines()) <= 1


def test_errors_are_one_line():
    assert str(UserError("a\nb\x1b[2J")) == r"a\nb\x1b[2J"
    error = AudioError("in/\x1b]0;x\x07.mp3", "is\nempty")
    assert str(error) == r"in/\x1b]0;x\x07.mp3: is\nempty" and error.path == "in/\x1b]0;x\x07.mp3"
    assert str(UserError(UserError("\x1b"))) == r"\x1b"
    huge = str(UserError("first " + "x" * 10**6 + " last"))
    assert huge.startswith("first ") and huge.endswith(" last") and len(huge) < 5000


@pytest.mark.parametrize("kind", [str, Path, UserError])
def test_log_lines_are_safe(kind):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SafeFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("own")
    log.addHandler(handler)
    log.warning(
        "excluded: %s: %5.1f %d\n  hyp %s",
        kind("a\x1b\nb.mp3"),
        np.float32(2.5),
        np.int64(3),
        "\x07x",
    )
    log.warning("\x1b[2J")
    assert stream.getvalue() == (
        "WARNING excluded: a\\x1b\\nb.mp3:   2.5 3\n  hyp \\x07x\nWARNING \\x1b[2J\n"
    )


def test_tensorboard_shows_text_as_it_is_written():
    texts = ("a|b.mp3", "<img src=x onerror=y> **b** [c](d) `e`", "\x1b_f_\n# g & h\\")
    clip = Decoded(texts[0], texts[1], [Hypothesis(texts[2], (), 0.0)])
    assert as_table([clip]).splitlines()[2:] == [
        r"| a\|b.mp3 | &lt;img src=x onerror=y&gt; \*\*b\*\* \[c\]\(d\) \`e\` "
        r"| \\x1b\_f\_\\n\# g &amp; h\\ |"
    ]


# --------------------------------------------------------------------------- standard streams


def python(code: str, redirection: str = "", **environment: str) -> subprocess.CompletedProcess:
    command = f"exec {sys.executable} -c '{code}' {redirection}"
    return subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONUTF8": "0", **environment},
    )


PRINT = """
import json, sys
from asr_ctc.base.printable import with_safe_streams
@with_safe_streams
def main():
    print(json.dumps("é Ł 中 👩 \\x9b \\udcff", ensure_ascii=False))
    print("note: é Ł", file=sys.stderr)
    sys.stdout.flush()
    return 3
sys.exit(main())
"""


@pytest.mark.few(2)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "cp437"])
def test_characters_that_the_output_lacks_are_written_as_in_json(encoding):
    finished = python(PRINT, PYTHONIOENCODING=encoding)
    assert finished.returncode == 3, finished.stderr
    assert json.loads(finished.stdout.decode(encoding)) == "é Ł 中 👩 \x9b \udcff"
    assert b"Traceback" not in finished.stderr


@pytest.mark.few(2)
@pytest.mark.parametrize("redirection", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_to_nowhere(redirection, tmp_path):
    finished = python(PRINT, redirection)
    assert finished.returncode == 3
    assert b"note" not in finished.stdout and b"Traceback" not in finished.stderr
    if redirection == "2>&-":
        assert json.loads(finished.stdout.decode()) == "é Ł 中 👩 \x9b \udcff"


@pytest.mark.slow
@pytest.mark.parametrize("words", ["info nowhere.pt", "train --epochs 3", "--help"])
def test_commands_with_standard_error_closed(tmp_path, words):
    """What another file opens meanwhile is not written to in its place."""
    command = f"exec {sys.executable} {REPOSITORY}/main_ctc.py {words} 2>&-"
    finished = subprocess.run(["sh", "-c", command], capture_output=True, cwd=tmp_path)
    assert finished.returncode == (0 if words == "--help" else 2)
    assert b"error" not in finished.stdout and b"Traceback" not in finished.stdout


@pytest.mark.slow
def test_names_that_are_no_text_are_printed(tmp_path):
    name = os.fsdecode(b"caf\xe9\x1b[2J.mp3")
    command = [sys.executable, str(REPOSITORY / "main_ctc.py"), "info", name]
    for encoding in "utf-8", "ascii":
        finished = subprocess.run(
            command,
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        assert finished.returncode == 2
        assert finished.stderr.decode() == (
            "error: no model file at caf\\udce9\\x1b[2J.mp3; `train` writes best_model.pt\n"
        )


def test_the_stream_of_before_is_put_back(capsys):
    before = sys.stdout

    @with_safe_streams
    def main():
        print("\x1b")
        sys.stdout.flush()
        assert sys.stdout.isatty() is False
        raise ValueError

    with pytest.raises(ValueError):
        main()
    assert sys.stdout is before and capsys.readouterr().out == "\\x1b\n"
