"""Rows that stray separators or line ends have shifted."""

import pytest

from asr_ctc.corpus import columns
from asr_ctc.corpus.layouts.registry import read_table
from asr_ctc.corpus.layouts.table import ExcludedClip
from tests.helpers.made_corpora import write

SHIFTED = {  # the lines of a table, and which rows can be used: 0 the first after the header
    "a tab in a sentence": ("path sentence up", ["a.mp3 nine~one 2", "b.mp3 two 2"], [1]),
    "a tab in a quoted one": ("path sentence up", ['a.mp3 "nine~one" 2', "b.mp3 two 2"], [1]),
    "a tab in the last cell": ("path up sentence", ["a.mp3 2 nine~one", "b.mp3 2 two"], [1]),
    "a tab at the end": ("path sentence", ["a.mp3 nine~", "b.mp3 two"], [1]),
    "too few": ("path sentence up", ["a.mp3 nine", "b.mp3 two 2"], [1]),
    "a name alone": ("path sentence", ["a.mp3 nine", "b.mp3", "c.mp3 two"], [0, 2]),
    "an empty line": ("path sentence", ["a.mp3 nine", "", "c.mp3 two"], [0, 2]),
    "white space": ("path sentence", ["a.mp3 nine", "  ", "c.mp3 two"], [0, 2]),
    "a line end in quotes": ("path sentence up", ['a.mp3 "nine', 'one" 2', "b.mp3 two 2"], [2]),
    "... in the last cell": ("path sentence", ['a.mp3 "nine', 'one"', "b.mp3 two"], [2]),
    "... and a tab": ("path up sentence", ['a.mp3 2 "nine', 'o~ne"', "b.mp3 2 two"], [2]),
    "... two": ("path sentence", ['a.mp3 "nine', "", 'one"', "b.mp3 two"], [3]),
    "... in the first cell": ("sentence path", ["two b.mp3", '"nine', 'one" a.mp3'], [0]),
    "no quotes, last cell": ("path sentence", ["a.mp3 nine", "one", "b.mp3 two"], [2]),
    "no quotes, first cell": ("sentence path", ["two b.mp3", "nine", "one a.mp3"], [0]),
    "enough tabs after it": ("path sentence up", ['a.mp3 "nine', 'one~x" 2', "b.mp3 two 2"], [2]),
    "quotes as text": ("path sentence", ['a.mp3 "nine', 'b.mp3 two"', "c.mp3 "], [0, 1, 2]),
    "other white space": ("path sentence", ["a.mp3 ni\u2028n\x0be\x85\x0c\r.", "b.mp3 x"], [0, 1]),
    "a control in a name": ("path sentence", ["a\x00.mp3 nine", "b\x1b.mp3 two", "c.mp3 six"], [2]),
}


@pytest.mark.few(20)
@pytest.mark.parametrize("layout", ["commonvoice", "manifest"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("piece_bytes", [1 << 23, 9])
@pytest.mark.parametrize(("header", "rows", "used"), SHIFTED.values(), ids=SHIFTED)
def test_shifted_rows_are_excluded(
    tmp_path, monkeypatch, layout, line_end, piece_bytes, header, rows, used
):
    monkeypatch.setattr(columns, "PIECE_BYTES", piece_bytes)
    rows = [row.replace(" ", "\t").replace("~", "\t") if row.strip() else row for row in rows]
    (tmp_path / "clips").mkdir()
    write(tmp_path / "train.tsv", line_end.join([header.replace(" ", "\t"), *rows]))
    table = read_table(layout, tmp_path, "train")
    assert table.record.tolist() == used
    at = header.split().index("sentence")
    assert list(table.sentences) == [rows[i].split("\t")[at] for i in used]
    unused = sorted(set(range(len(rows))) - set(used))
    assert [item.clip for item in table.excluded] == [f"train.tsv line {i + 2}" for i in unused]


def test_what_is_excluded_says_why(tmp_path):
    (tmp_path / "clips").mkdir()
    lines = ["path\tsentence", "a.mp3\tnine\tone", "b.mp3\ttwo", "three", "c\x07.mp3\tsix"]
    write(tmp_path / "train.tsv", "\n".join(lines))
    assert read_table("commonvoice", tmp_path, "train").excluded == (
        ExcludedClip("train.tsv line 2", "3 columns, 2 needed"),
        ExcludedClip("train.tsv line 3", "its text continues on the next line"),
        ExcludedClip("train.tsv line 4", "1 columns, 2 needed"),
        ExcludedClip("train.tsv line 5", "a control character in its path"),
    )
