"""What `split` writes of the records of a table is read as it was before."""

import json

from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.assembly.split_files import records_of
from asr_ctc.corpus.layouts.registry import read_table
from tests.helpers.made_corpora import write

odd_cells = st.text(st.sampled_from('ab",|\u2028\u0085\x1c é\x00\\\r\n\ufeff'), max_size=6)


@given(
    st.lists(st.tuples(odd_cells, odd_cells, odd_cells), min_size=1, max_size=12),
    st.sampled_from(["manifest tsv", "manifest csv", "manifest jsonl", "commonvoice tsv",
                     "ljspeech csv"]),
    st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
def test_what_split_writes_reads_the_same(tmp_path_factory, rows, what, line_end):
    (layout, ending), folder = what.split(), tmp_path_factory.mktemp("split")
    (folder / "clips").mkdir()
    names = ("path", "sentence", "age")
    rows = [("a.wav", "nine", "one"), *rows, ("b.wav", "two", "six")]
    if ending == "jsonl":
        texts = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    elif what == "manifest csv":
        texts = [
            ",".join(f'"{c.replace(chr(34), 2 * chr(34))}"' for c in r) for r in [names, *rows]
        ]
    else:
        separator = "|" if layout == "ljspeech" else "\t"
        rows = rows if layout == "ljspeech" else [names, *rows]
        texts = [separator.join(row) for row in rows]
    source = write(folder / f"all.{ending}", line_end.join(texts))
    header, records = records_of(layout, source)
    whole = read_table(layout, folder, "all")
    records = list(records)
    assert len(records) == len(whole.record) + len(whole.excluded)
    used = [records[i] for i in whole.record.tolist()]
    write(folder / f"train.{ending}", header + b"".join(used))
    again = read_table(layout, folder, "train")
    assert again.excluded == () and len(again.record) == len(used)
    for column in "paths", "sentences", "speakers":
        assert list(getattr(again, column)) == list(getattr(whole, column))


def test_split_keeps_out_lines_that_are_not_utf8(tmp_path):
    rows = [b"%d.wav,s%d,%s" % (i, i, b"\xe9" if i == 3 else b"w%d" % i) for i in range(9)]
    source = write(tmp_path / "all.csv", b"\n".join([b"path,sentence,speaker", *rows]))
    _, records = records_of("manifest", source)
    assert list(records) == [row + b"\n" for row in rows]
    assert read_table("manifest", tmp_path, "all").record.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
