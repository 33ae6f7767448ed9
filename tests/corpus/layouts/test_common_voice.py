"""Common Voice, of every release."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.corpus import columns
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.layouts.registry import read_table
from asr_ctc.corpus.layouts.tsv import without_csv_quotes
from tests.helpers.made_corpora import rows_of, write


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("client_id path sentence up_votes down_votes age gender accent", "p c1 s 2 0 x x x"),
        ("client_id path sentence up_votes down_votes age gender accent locale segment",
         "p c1.mp3 s 2 0 x x x fr x"),
        ("client_id path sentence_id sentence sentence_domain up_votes down_votes age gender "
         "accents variant locale segment", "p c1.mp3 i s x 2 0 x x x x fr x"),
        ("sentence client_id new path", "s p x c1.mp3"),
    ],
)  # fmt: skip
def test_releases_are_read_by_their_header(tmp_path, header, row):
    (tmp_path / "clips").mkdir()
    cells = ["Un deux." if cell == "s" else cell for cell in row.split()]
    write(tmp_path / "train.tsv", "\t".join(header.split()) + "\n" + "\t".join(cells) + "\n")
    corpus = load_split(tmp_path, "train")
    assert rows_of(corpus) == [("c1.mp3", "Un deux.", "p")]


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ('"Il dit ""oui""."', 'Il dit "oui".'),  # as a CSV writer writes it
        ('"""Oui"", dit-il."', '"Oui", dit-il.'),
        ('"""Oui"""', '"Oui"'),
        ('""""', '"'),
        ('"Oui."', '"Oui."'),  # the whole sentence is a quotation
        ('"Oui", dit-il, "non"', '"Oui", dit-il, "non"'),
        ('"Oui', '"Oui'),
        ('Oui"', 'Oui"'),
        ('Il dit ""oui"".', 'Il dit ""oui"".'),
        ('"a ""b" c"', '"a ""b" c"'),
        ('"""', '"""'),
        ('""', '""'),
        ('"', '"'),
        ("", ""),
    ],
)
def test_quotes_of_older_and_newer_releases(tmp_path, field, sentence):
    (tmp_path / "clips").mkdir()
    write(tmp_path / "train.tsv", f"path\tsentence\na.mp3\t{field}\nb.mp3\tNon.\n")
    corpus = load_split(tmp_path, "train")
    assert [corpus.sentence(i) for i in range(len(corpus))] == [sentence, "Non."]


@given(st.text(st.sampled_from('a" é')))
def test_what_a_csv_writer_quotes_is_read_back(text):
    quoted = f'"{text.replace(chr(34), 2 * chr(34))}"'.encode()
    assert without_csv_quotes(quoted) == (text.encode() if '"' in text else quoted)


CONTROL = "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]"
cells = st.text(st.sampled_from('ab"\u2028\u0085\x1c é\x00\\\r'), max_size=5)


@given(
    rows=st.lists(st.lists(cells, min_size=0, max_size=4), min_size=1, max_size=30),
    piece_bytes=st.integers(1, 40),
    line_end=st.sampled_from(["\n", "\r\n"]),
    n_blank=st.integers(0, 3),
)
def test_rows_read_are_lines_minus_one(tmp_path_factory, rows, piece_bytes, line_end, n_blank):
    """Whatever the text and wherever a piece of the file ends."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "clips").mkdir()
    rows = [["good", "row"], ["another", "one"], *rows, ["last", "end"]]
    texts = ["\t".join(cell.replace("\r", "") for cell in row) for row in rows]
    text = line_end.join(["path\tsentence", *texts]) + n_blank * line_end
    write(folder / "train.tsv", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "PIECE_BYTES", piece_bytes)
        table = read_table("commonvoice", folder, "train")
    assert len(table.paths) + len(table.excluded) == len(rows)
    cut = [text.split("\t") for text in texts]
    fits = [len(row) == 2 for row in cut]
    used = table.record.tolist()
    assert all(fits[i] and cut[i][0].encode().strip() for i in used)
    assert list(table.paths) == [f"{cut[i][0].encode().strip().decode()}.mp3" for i in used]
    assert list(table.sentences) == [without_csv_quotes(cut[i][1].encode()).decode() for i in used]
    beside_a_shifted_one = {i + step for i, fit in enumerate(fits) for step in (-1, 1) if not fit}
    named = {f"{i + 2}" for i in range(len(rows))} - {f"{i + 2}" for i in used}
    assert {item.clip.removeprefix("train.tsv line ") for item in table.excluded} == named
    for i, row in enumerate(cut):
        if fits[i] and i not in beside_a_shifted_one:
            path = row[0].encode().strip()
            assert (i in used) == bool(path and not re.search(CONTROL, path.decode()))
