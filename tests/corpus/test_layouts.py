"""Corpora of every layout, made small by the tests, and text of every script in them."""

import csv
import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.assembly.split_files import records_of
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import settings
from asr_ctc.corpus import columns, layouts
from asr_ctc.corpus.columns import Categories, line_blocks, lines
from asr_ctc.corpus.corpus import find_corpus, load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.layouts import (
    LAYOUTS,
    ExcludedClip,
    read_columns,
    read_table,
    without_csv_quotes,
)
from asr_ctc.text.charmap import CharMap, count_characters
from asr_ctc.text.writing import Writing
from tests.helpers import command
from tests.helpers.languages import transcripts

SCRIPTS = {
    "Arabic": "مرحبًا بالعالم",
    "Hebrew": "שלום, עולם",
    "Thai": "สวัสดีชาวโลก",
    "Chinese": "你好，世界",
    "Tamil": "வணக்கம் உலகம்",
    "Georgian": "გამარჯობა მსოფლიო",
    "Yoruba": "ẹ kú ọjọ́",
    "emoji": "👩‍👩‍👧 ça va 🏳️‍🌈",
    "beyond the plane": "𝄞 𐍈 𠜎",
}


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def write_sound(file, duration_s=0.5):
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, int(duration_s * 16_000))
    soundfile.write(file, noise, 16_000)


def rows_of(corpus):
    return [
        (corpus.path(i), corpus.sentence(i), corpus.speakers[corpus.rows[i]])
        for i in range(len(corpus))
    ]


# --- Common Voice, of every release --------------------------------------------------------------


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


CONTROL = "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]"

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


def test_an_endless_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "PIECE_BYTES", 64)
    monkeypatch.setattr(columns, "MAX_LINE_BYTES", 1000)
    file = write(tmp_path / "a", "a\n" + "x" * 900 + "\n" + "y" * 5000)
    with pytest.raises(UserError, match="line 3 is longer than 0 MiB"):
        list(lines(file))


@given(st.binary(max_size=60), st.integers(1, 9))
def test_pieces_of_a_file_are_its_lines(tmp_path_factory, content, piece_bytes):
    file = write(tmp_path_factory.mktemp("pieces") / "a", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "PIECE_BYTES", piece_bytes)
        try:
            text = content.rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            with pytest.raises(UserError, match=f"line {line} is not UTF-8"):
                list(lines(file))
            return
        text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        found = list(lines(file))
    assert found == (text.split("\n") if content.rstrip(b"\r\n") else [])


def test_blocks_feed_the_digest_every_byte(tmp_path):
    class Digest(list):
        update = list.append

    content = b"\xef\xbb\xbfa\r\nb\n\n\n"
    digest = Digest()
    assert b"".join(line_blocks(write(tmp_path / "a", content), digest)) == b"a\nb"
    assert b"".join(digest) == content


@given(st.lists(st.sampled_from(["", "a", "é", "ab"])))
def test_categories_are_a_list_of_strings(values):
    column = Categories(values)
    assert list(column) == values and [column[i] for i in range(len(values))] == values
    assert list(column.names) == list(dict.fromkeys(values))


# --- LibriSpeech ---------------------------------------------------------------------------------


@pytest.fixture
def librispeech(tmp_path):
    root = tmp_path / "LibriSpeech"
    for part, speaker in ("train-clean-100", 19), ("train-other-500", 20), ("test-clean", 21):
        chapter = root / part / str(speaker) / "7"
        names = [f"{speaker}-7-{i:04}" for i in range(2)]
        write(chapter / f"{speaker}-7.trans.txt", "".join(f"{n} I AM {n}\n" for n in names))
        for name in names:
            write_sound(chapter / f"{name}.flac")
    return root


def test_librispeech(librispeech):
    corpus = with_durations(load_split(librispeech, "train", "librispeech"))
    assert corpus.name == "LibriSpeech train"
    assert rows_of(corpus) == [
        (f"train-{kind}/{s}/7/{s}-7-{i:04}.flac", f"I AM {s}-7-{i:04}", str(s))
        for kind, s in (("clean-100", 19), ("other-500", 20))
        for i in range(2)
    ]
    assert corpus.durations.tolist() == [0.5] * 4
    one = load_split(librispeech, "train-other-500", "librispeech")
    assert len(one) == 2 and one.fingerprint != corpus.fingerprint
    message = r"no such split: looked for .*dev-\* \(available: test-clean, train-clean-100, tra"
    with pytest.raises(UserError, match=message):
        load_split(librispeech, "dev", "librispeech")


def test_parts_of_librispeech_are_told_by_the_hyphen(librispeech):
    write(librispeech / "trainer-x" / "9" / "7" / "9-7.trans.txt", "9-7-0000 NO\n")
    assert len(load_split(librispeech, "train", "librispeech")) == 4


def test_lines_of_librispeech_that_are_no_rows(librispeech):
    chapter = librispeech / "test-clean" / "21" / "7"
    rows = ["21-7-0000\tNINE\tONE", "21-7-0001 NINE", "ONE", "", "21-7-0002 TWO  SIX ", "21-7-0003"]
    write(chapter / "21-7.trans.txt", "\n".join(rows))
    table = read_table("librispeech", librispeech, "test-clean")
    assert list(table.sentences) == ["NINE\tONE", "TWO  SIX", ""]
    assert table.excluded == (
        ExcludedClip("21-7.trans.txt line 2", "its text continues on the next line"),
        ExcludedClip("21-7.trans.txt line 3", "does not begin with 21-7-NUMBER"),
        ExcludedClip("21-7.trans.txt line 4", "does not begin with 21-7-NUMBER"),
    )


# --- LJSpeech ------------------------------------------------------------------------------------


@pytest.fixture
def ljspeech(tmp_path):
    root, text = tmp_path / "LJSpeech-1.1", ""
    for i in range(30):
        write_sound(root / "wavs" / f"LJ001-{i:04}.wav", 0.1)
        text += f'LJ001-{i:04}|{i} "dogs"|{"dog " * (i + 1)}"s"\n'
    write(root / "metadata.csv", text)
    return root


@pytest.mark.slow
def test_ljspeech_is_split_first(ljspeech, tmp_path):
    with pytest.raises(UserError, match=r"no such split.*main_ctc\.py split --corpus ljspeech"):
        load_split(ljspeech, "train", "ljspeech")
    ours = f"--corpus ljspeech --datasetroot {ljspeech.parent} --datasetversion LJSpeech-1.1"
    finished = command.call(f"split {ours}", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    note = "no speaker is known: the splits share no sentence, but perhaps speakers"
    assert note in finished.stdout
    splits = [load_split(ljspeech, split, "ljspeech") for split in ("train", "dev", "test")]
    assert [len(corpus) for corpus in splits] == [24, 3, 3]
    whole = (ljspeech / "metadata.csv").read_text().splitlines()
    parts = [(ljspeech / f"{split}.csv").read_text().splitlines() for split in ("train", "dev")]
    assert set(sum(parts, [])) < set(whole)
    corpus = with_durations(splits[0])
    assert corpus.path(0).endswith(".wav") and corpus.sentence(0).endswith('dog "s"')
    assert corpus.durations[0] == pytest.approx(0.1)


def test_ljspeech_text(tmp_path):
    write(tmp_path / "train.csv", 'a|Dr. "X"|Doctor "X"\nb|as it is\nc|as it is|\nd\n')
    table = read_table("ljspeech", tmp_path, "train")
    assert list(table.paths) == ["a.wav", "b.wav", "c.wav"]
    assert list(table.sentences) == ['Doctor "X"', "as it is", "as it is"]
    assert table.excluded == (ExcludedClip("train.csv line 4", "not name|text"),)


@pytest.mark.parametrize(
    ("rows", "used", "reason"),
    [
        (["a|1|nine one", "b|2|nine|one", "c|3|two"], ["nine one", "two"], "4 columns, 3 needed"),
        (["a|nine one", "b|nine|one", "c|two"], ["nine one", "two"], "3 columns, 2 needed"),
        (["a|1|nine", "one", "b|2|two"], ["two"], "its text continues on the next line"),
        (["a|1|nine", "", "b|2|two"], ["nine", "two"], "not name|text"),
        (["a|1|nine", "|2|two"], ["nine"], "not name|text"),
    ],
)
def test_shifted_rows_of_ljspeech(tmp_path, rows, used, reason):
    write(tmp_path / "train.csv", "\n".join(rows) + "\n")
    table = read_table("ljspeech", tmp_path, "train")
    assert list(table.sentences) == used and table.excluded[0].reason == reason
    assert len(table.record) + len(table.excluded) == len(rows)


# --- Kaldi ---------------------------------------------------------------------------------------


@pytest.fixture
def kaldi(tmp_path):
    data = tmp_path / "data" / "train"
    write_sound(data / "u1.wav")
    write_sound(tmp_path / "else where" / "u2.wav")
    write(data / "wav.scp", f"u1 u1.wav\nu2\t{tmp_path / 'else where' / 'u2.wav'}\n")
    write(data / "text", "u1 un deux\nu2\ttrois\n")
    write(data / "utt2spk", "u1 anne\nu2 bob\n")
    return tmp_path / "data"


def test_kaldi(kaldi, tmp_path):
    corpus = with_durations(load_split(kaldi, "train", "kaldi"))
    elsewhere = str(tmp_path / "else where" / "u2.wav")
    assert rows_of(corpus) == [("u1.wav", "un deux", "anne"), (elsewhere, "trois", "bob")]
    assert corpus.file(0) == kaldi / "train" / "u1.wav" and str(corpus.file(1)) == elsewhere
    assert corpus.durations.tolist() == [0.5, 0.5]


def test_kaldi_durations_and_missing_parts(kaldi):
    write(kaldi / "train" / "utt2dur", "u1 2.5\n")
    (kaldi / "train" / "utt2spk").unlink()
    write(kaldi / "train" / "text", "u1 un\nu2\nu3 trois\n\nu2 deux\n")
    table = read_table("kaldi", kaldi, "train")
    assert list(table.sentences) == ["un", "", "deux"] and set(table.speakers) == {""}
    assert table.excluded == (ExcludedClip("u3", "not in wav.scp"),)
    np.testing.assert_equal(table.duration_s, np.float32([2.5, np.nan, np.nan]))
    write(kaldi / "train" / "text", "u1 un\n")
    assert read_table("kaldi", kaldi, "train").excluded == (ExcludedClip("u2", "not in text"),)


def test_kaldi_utterances_listed_twice_are_excluded(kaldi):
    write(kaldi / "train" / "wav.scp", "u1 u1.wav\nu2 a.wav\nu2 b.wav\n")
    table = read_table("kaldi", kaldi, "train")
    assert list(table.sentences) == ["un deux"]
    assert table.excluded == (ExcludedClip("u2", "2 times in wav.scp"),)


def test_kaldi_runs_no_command(kaldi, tmp_path):
    write(kaldi / "train" / "wav.scp", f"u1 touch {tmp_path}/ran |\n")
    with pytest.raises(UserError, match=r"wav\.scp: u1 is the output of a command .* never run"):
        load_split(kaldi, "train", "kaldi")
    assert not (tmp_path / "ran").exists()


def test_kaldi_segments_are_refused(kaldi):
    write(kaldi / "train" / "segments", "u1 r1 0 1\n")
    with pytest.raises(UserError, match="segments"):
        load_split(kaldi, "train", "kaldi")


# --- Manifests -----------------------------------------------------------------------------------


def write_manifest(folder, ending, records, split="train"):
    """Records as they would be written by the tools people have."""
    file, names = folder / f"{split}.{ending}", list(records[0])
    if ending == "jsonl":
        return write(file, "".join(json.dumps(record) + "\n" for record in records))
    with open(file, "w", newline="", encoding="utf-8") as table:
        if ending == "csv":
            writer = csv.DictWriter(table, names)
            writer.writeheader()
            writer.writerows(records)
        else:
            for row in [names, *(record.values() for record in records)]:
                table.write("\t".join(map(str, row)) + "\n")
    return file


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl"])
def test_manifests(tmp_path, ending):
    write_sound(tmp_path / "sub" / "a.wav")
    write_sound(tmp_path / "b.wav", 0.25)
    records = [
        {"duration": "", "path": "sub/a.wav", "sentence": "Un, deux.", "speaker": "anne"},
        {"duration": 1.5, "path": str(tmp_path / "b.wav"), "sentence": 'dit "oui"', "speaker": ""},
    ]
    write_manifest(tmp_path, ending, records)
    corpus = with_durations(load_split(tmp_path, "train", "manifest"))
    assert rows_of(corpus) == [(r["path"], r["sentence"], r["speaker"]) for r in records]
    assert corpus.file(0) == tmp_path / "sub" / "a.wav"
    assert corpus.durations.tolist() == [0.5, 1.5]  # what is written down is taken


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl"])
def test_manifests_with_the_least(tmp_path, ending):
    write_manifest(tmp_path, ending, [{"path": "a.wav", "sentence": "Un."}])
    table = read_table("manifest", tmp_path, "train")
    assert list(table.paths) == ["a.wav"] and list(table.speakers) == [""]
    assert np.isnan(table.duration_s).all()


def test_a_csv_field_may_hold_lines(tmp_path):
    records = [{"path": "a.wav", "sentence": 'Un\ndeux, "trois"'}, {"path": "", "sentence": "x"}]
    write_manifest(tmp_path, "csv", records)
    table = read_table("manifest", tmp_path, "train")
    assert list(table.sentences) == ['Un\ndeux, "trois"']
    assert table.excluded == (ExcludedClip("train.csv record 2", "no path"),)


def test_csv_rows_with_other_cells_than_the_header(tmp_path):
    rows = [
        "path,sentence,speaker",
        "a.wav,nine, one,anne",  # no quotes around the comma
        'b.wav,"nine, one",anne',
        "c.wav,nine",
        'd.wav,"ni\rne\x00",anne',
        "e.wav,n\rine\x00,anne",
        'f.wav,"nine\ng.wav,one,anne\nh.wav,two",anne',  # a quotation mark and its fellow
        "",
        'i.wav,"nine\none",bob',
    ]
    write(tmp_path / "train.csv", "\r\n".join(rows) + "\r\n")
    table = read_table("manifest", tmp_path, "train")
    assert list(table.paths) == ["b.wav", "d.wav", "e.wav", "i.wav"]
    assert list(table.sentences) == ["nine, one", "ni\rne\x00", "n\rine\x00", "nine\none"]
    assert table.excluded == (
        ExcludedClip("train.csv record 1", "4 columns, 3 needed"),
        ExcludedClip("train.csv record 3", "2 columns, 3 needed"),
        ExcludedClip("train.csv record 6", "a quotation mark joins several rows"),
    )


def test_a_csv_sentence_that_goes_on_unquoted(tmp_path):
    write(tmp_path / "train.csv", "path,sentence\na.wav,nine\none\nb.wav,two\n")
    table = read_table("manifest", tmp_path, "train")
    assert list(table.sentences) == ["two"]
    assert table.excluded[0].reason == "its text continues on the next line"


@pytest.mark.parametrize("duration", ["nan", "inf", "-1", "0", "1e10", "1e400", "", True, None, []])
def test_durations_that_no_clip_has_are_measured(tmp_path, duration):
    write_sound(tmp_path / "a.wav")
    for ending in ("jsonl",) if not isinstance(duration, str) else ("jsonl", "tsv", "csv"):
        record = {"path": "a.wav", "sentence": "x", "duration": duration}
        file = write_manifest(tmp_path, ending, [record])
        corpus = with_durations(load_split(tmp_path, "train", "manifest"))
        assert corpus.durations.tolist() == [0.5], ending
        file.unlink()


@pytest.mark.parametrize("ending", ["tsv", "csv"])
@pytest.mark.parametrize("name", ["path", "sentence", "speaker", "duration"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, ending, name):
    separator = "\t" if ending == "tsv" else ","
    header = ["path", "sentence", "speaker", "duration", name]
    write(tmp_path / f"train.{ending}", separator.join(header) + "\n" + separator.join("abcde"))
    with pytest.raises(UserError, match=f"2 columns are named {name}"):
        read_table("manifest", tmp_path, "train")


def test_jsonl_values_of_other_types(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    bad = ['{"path": ["a"], "sentence": "a"}', '{"path": "a", "sentence": null}',
           '{"path": "a", "sentence": 5}', '{"path": "a", "sentence": "a", "speaker": {}}',
           '{"path": "a", "sentence": "a", "speaker": ["b"]}', deep, "1" * 5000, "null", "",
           f'{{"path": "a", "x": {deep}}}', '{"path": "a\\u0000", "sentence": "a"}']  # fmt: skip
    write(tmp_path / "train.jsonl", "\n".join(['{"path": "a", "sentence": "a\u2028\x85b"}', *bad]))
    table = read_table("manifest", tmp_path, "train")
    assert list(table.sentences) == ["a\u2028\x85b"] and len(table.excluded) == len(bad)
    assert read_columns("manifest", tmp_path, "train", names=["path"]) == {"path": ["a"]}


def test_further_columns_of_rows_that_are_used(tmp_path):
    rows = ["path\tsentence\tage\tx\tx", "a\tnine\tone\t1\t2\t3", "b\ttwo\told\t1\t2", "c\tx"]
    write(tmp_path / "train.tsv", "\n".join(rows))
    assert read_columns("manifest", tmp_path, "train", names=["age"]) == {"age": ["old"]}
    with pytest.raises(UserError, match="2 columns are named x"):
        read_columns("manifest", tmp_path, "train", names=["x"])


def test_bad_lines_of_jsonl_are_named(tmp_path):
    good = [json.dumps({"path": f"{i}.wav", "sentence": "a", "speaker": 3}) for i in range(7)]
    bad = ["{", "[]", '{"path": "a"}', '{"path": 1, "sentence": "a"}', '{"path": "a", "sentence": '
           '"\\ud800"}', '{"path": " ", "sentence": "a"}']  # fmt: skip
    write(tmp_path / "train.jsonl", "\n".join(good + bad))
    table = read_table("manifest", tmp_path, "train")
    assert table.record.tolist() == list(range(7)) and set(table.speakers) == {"3"}
    assert [item.clip for item in table.excluded] == [f"train.jsonl line {8 + i}" for i in range(6)]
    assert table.excluded[-1].reason == "no path"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"looked for .*train\.tsv or .*train\.csv or .*train\.jsonl \(available: none\)"),
        ({"a.csv": "x"}, r"\(available: a\.csv\)"),
        (
            {"train_manifest.json": "{}"},
            r"if train_manifest\.json has an object in each line",
        ),
        ({"train.csv": "x", "train.tsv": "x"}, "exist: which one is the split"),
        ({"train.csv": "path,words\na,b\n"}, "no column named sentence"),
        ({"train.csv": ""}, r"train\.csv: is empty: it holds no clips"),
        ({"train.csv": "path,sentence\n"}, r"train\.csv: is empty but for its header"),
        ({"train.csv": 'path,sentence\na,"b\n'}, "not a CSV table"),
        ({"train.jsonl": ""}, r"train\.jsonl: is empty: it holds no clips"),
        ({"train.tsv": ""}, r"train\.tsv: is empty: it holds no clips"),
        ({"train.tsv": "path\tsentence\n"}, r"train\.tsv: is empty but for its header"),
        ({"train.jsonl": b'{"path": "\xe9"}\n{"path": "\xe8"}\n'}, r"UTF-8 \(line 1 and 1 more"),
    ],
)
def test_manifests_that_are_refused(tmp_path, files, message):
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(UserError, match=message):
        read_table("manifest", tmp_path, "train")


# --- Bytes that are not UTF-8 --------------------------------------------------------------------


def table_texts(what, rows):
    """The lines of a table of (path, sentence, speaker), and of what else the layout needs."""
    names = ("path", "sentence", "speaker")
    if what == "jsonl":
        return [], [
            json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows
        ]
    if what == "ljspeech":
        return [], ["|".join((path.removesuffix(".wav"), text)) for path, text, _ in rows]
    if what == "kaldi":
        return [], [f"u{i} {text}" for i, (_, text, _) in enumerate(rows)]
    separator = "," if what == "csv" else "\t"
    return [separator.join(names)], [separator.join(row) for row in rows]


FILES = {
    "commonvoice": "train.tsv", "tsv": "train.tsv", "csv": "train.csv", "jsonl": "train.jsonl",
    "ljspeech": "train.csv", "kaldi": "train/text",
}  # fmt: skip


@given(
    st.lists(
        st.tuples(st.sampled_from(["nine", "été", "你好"]), st.sampled_from([None, 0.0, 0.5, 1.0])),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(sorted(FILES)),
    st.sampled_from([b"\xe9", b"\xff", b"\xe4\xbd"]),
    st.sampled_from([1 << 23, 9]),
)
def test_lines_that_are_not_utf8_are_left_out_alone(
    tmp_path_factory, sentences, what, byte, piece_bytes
):
    """Each line is a row as before or is named; another encoding as a whole is refused."""
    folder = tmp_path_factory.mktemp("encoding")
    rows = [(f"{i}.wav", f"{text} {i}", "s") for i, (text, _) in enumerate(sentences)]
    header, texts = table_texts(what, rows)
    lines, wrong = [], []
    for i, (text, (_, place)) in enumerate(zip(texts, sentences, strict=True)):
        text = text.encode()
        if place is not None:
            at = texts[i].index(rows[i][1])  # in characters, all before it are ASCII
            at += round(place * len(rows[i][1].encode()))
            text = text[:at] + byte + b" " + text[at:]
            wrong.append(i)
        lines.append(text)
    (folder / "clips").mkdir()
    file = write(folder / FILES[what], b"\n".join([*(h.encode() for h in header), *lines]))
    if what == "kaldi":
        write(folder / "train/wav.scp", "".join(f"u{i} {i}.wav\n" for i in range(len(rows))))
    layout = what if what in ("commonvoice", "ljspeech", "kaldi") else "manifest"
    n_accented = sum(not text.isascii() for i, text in enumerate(texts) if i not in wrong)
    n_wrong, n_lines = len(wrong), len(lines) + len(header)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "PIECE_BYTES", piece_bytes)
        if piece_bytes > 9 and 10 * n_wrong > n_lines and n_wrong > max(1, n_accented):
            with pytest.raises(UserError, match=f"{re.escape(str(file))}: is in another encoding"):
                read_table(layout, folder, "train")
            return
        try:
            table = read_table(layout, folder, "train")
        except UserError as error:  # of small pieces, it sees the beginning alone
            assert piece_bytes == 9 and "is in another encoding" in str(error)
            return
    used = [i for i in range(len(rows)) if i not in wrong]
    assert table.record.tolist() == used
    assert list(table.paths) == [rows[i][0] for i in used]
    assert list(table.sentences) == [rows[i][1] for i in used]
    of_file = {i: f"{file.name} line {i + 1 + len(header)}" for i in wrong}
    if what == "kaldi":
        expected = [(f"u{i}", f"not UTF-8 text in {of_file[i]}") for i in wrong]
    elif what == "csv":
        expected = [(f"train.csv record {i + 1}", f"not UTF-8 text (line {i + 2})") for i in wrong]
    else:
        expected = [(of_file[i], "not UTF-8 text") for i in wrong]
    assert list(table.excluded) == expected


def test_a_line_of_librispeech_that_is_not_utf8(librispeech):
    texts = b"61-70968-0000 ONE\n61-70968-0001 \xe9T\xe9\n61-70968-0002 TWO\n"
    write(librispeech / "dev-clean/61/70968/61-70968.trans.txt", texts)
    table = read_table("librispeech", librispeech, "dev")
    assert ExcludedClip("61-70968.trans.txt line 2", "not UTF-8 text") in table.excluded
    assert {"ONE", "TWO"} <= set(table.sentences)


def test_split_keeps_out_lines_that_are_not_utf8(tmp_path):
    rows = [b"%d.wav,s%d,%s" % (i, i, b"\xe9" if i == 3 else b"w%d" % i) for i in range(9)]
    source = write(tmp_path / "all.csv", b"\n".join([b"path,sentence,speaker", *rows]))
    _, records = records_of("manifest", source)
    assert list(records) == [row + b"\n" for row in rows]
    assert read_table("manifest", tmp_path, "all").record.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]


# --- Manifests of other tools --------------------------------------------------------------------

NAMES = [
    ("path", "sentence", "speaker"),
    ("audio_filepath", "text", "speaker"),  # NeMo
    ("file_name", "transcription", "speaker_id"),  # Hugging Face
    ("audio", "text", "client_id"),
]


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("form", ["jsonl", "csv", "semicolon", "tabs in csv", "tsv"])
def test_columns_by_the_names_of_other_tools(tmp_path, names, form):
    records = [("a.wav", "Un; deux, trois.", "p", 1.5), ("b.wav", "Quatre.", "q", 2.25)]
    header = [*names, "duration"]
    ending = form if form in ("jsonl", "tsv") else "csv"
    with open(tmp_path / f"train.{ending}", "w", encoding="utf-8", newline="") as file:
        if form == "jsonl":
            for record in records:
                file.write(
                    json.dumps(dict(zip(header, record, strict=True)) | {"offset": 0}) + "\n"
                )
        else:
            separator = {"csv": ",", "semicolon": ";"}.get(form, "\t")
            csv.writer(file, delimiter=separator, lineterminator="\n").writerows([header, *records])
    table = read_table("manifest", tmp_path, "train")
    found = zip(table.paths, table.sentences, table.speakers, table.duration_s, strict=True)
    assert list(found) == records


@pytest.mark.parametrize("dev", ["dev", "validation"])
def test_folders_of_audio_with_a_table_in_each(tmp_path, dev):
    write(tmp_path / "train" / "metadata.csv", "file_name,transcription,sex\na.wav,Un.,m\n")
    write(tmp_path / dev / "metadata.jsonl", '{"file_name": "a.wav", "transcription": "Deux."}\n')
    for split, folder, said in ("train", "train", "Un."), ("dev", dev, "Deux."):
        corpus = load_split(tmp_path, split, "manifest")
        assert rows_of(corpus) == [("a.wav", said, "")]
        assert corpus.file(0) == tmp_path / folder / "a.wav"
    assert read_columns("manifest", tmp_path, "train", names=["sex"]) == {"sex": ["m"]}
    write(tmp_path / "train.tsv", "path\tsentence\nb.wav\tTrois.\n")  # ours, beside the folder
    assert rows_of(load_split(tmp_path, "train", "manifest")) == [("b.wav", "Trois.", "")]
    with pytest.raises(UserError, match=r"no such split: looked for .*test\.tsv or"):
        load_split(tmp_path, "test", "manifest")


def test_own_names_go_before_those_of_other_tools(tmp_path):
    write(tmp_path / "train.tsv", "path\tsentence\ttext\na.wav\tours\ttheirs\n")
    assert list(read_table("manifest", tmp_path, "train").sentences) == ["ours"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.tsv", "path\ttext\ttranscription\na\tb\tc\n", "has text and transcription: name"),
        ("train.csv", "audio,file_name,text\na,b,c\n", "has file_name and audio: name"),
        ("train.jsonl", '{"path": "a", "text": "b", "transcription": "c"}\n', "has text and tran"),
        (
            "train.tsv",
            "path;sentence\na;b\n",
            r"cells are separated by ';': rename it to train\.csv",
        ),
        ("train.tsv", "path,sentence\na,b\n", r"cells are separated by ',': rename it"),
    ],
)
def test_manifests_that_do_not_say_which(tmp_path, name, text, message):
    write(tmp_path / name, text)
    with pytest.raises(UserError, match=message):
        read_table("manifest", tmp_path, "train")


def test_stretches_of_recordings_are_refused_with_what_cuts_them(tmp_path):
    entry = {"audio_filepath": "long.wav", "text": "ab", "duration": 2.0}
    text = "".join(json.dumps({**entry, "offset": offset}) + "\n" for offset in (0, 2.5))
    write(tmp_path / "train.jsonl", text)
    message = r"line 2: .*`python tools/cut_segments\.py .*train\.jsonl --out cut`"
    with pytest.raises(UserError, match=message):
        read_table("manifest", tmp_path, "train")


def test_semicolons_inside_quotes_and_rows_that_a_quote_joins(tmp_path):
    text = 'path;sentence\na.wav;"b; c ""d"""\nb.wav;"e\nc.wav;f"\nd.wav;g\n'
    write(tmp_path / "train.csv", text)
    table = read_table("manifest", tmp_path, "train")
    assert list(table.sentences) == ['b; c "d"', "g"]
    assert [reason for _, reason in table.excluded] == ["a quotation mark joins several rows"]


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        *(("utf-16", "fr"), ("utf-16-le", "fr"), ("utf-16-be", "fr"), ("utf-16", "zh-CN")),
        *(("utf-16-le", "zh-CN"), ("utf-16-be", "ar"), ("utf-16-le", "ja")),
        *(("cp1252", "fr"), ("cp1250", "de"), ("cp1251", "ru"), ("cp1253", "el"), ("cp1254", "tr")),
        *(("cp1255", "he"), ("cp1256", "ar"), ("cp874", "th"), ("gb18030", "zh-CN")),
        *(("cp932", "ja"), ("cp949", "ko")),
    ],
)
def test_the_line_that_converts_another_encoding_does_so(tmp_path, encoding, code):
    sentences = transcripts(code)
    text = "path;sentence\r\n" + "".join(f'{i}.wav;"{s}"\r\n' for i, s in enumerate(sentences))
    file = write(tmp_path / "my mine's" / "train.csv", text.encode(encoding))
    with pytest.raises(UserError, match="save it as UTF-8, as this does") as refusal:
        read_table("manifest", file.parent, "train")
    said, _, line = str(refusal.value).partition("python -c ")
    if "ENCODING" in said:
        assert f" {encoding} (" in said
        tried = subprocess.run([sys.executable, "-c", *shlex.split(line)], capture_output=True)
        assert tried.returncode != 0 and file.read_bytes() == text.encode(encoding)
    line = line.replace("ENCODING", encoding)
    subprocess.run([sys.executable, "-c", *shlex.split(line)], check=True)
    assert list(read_table("manifest", file.parent, "train").sentences) == sentences
    assert file.with_name("train.csv.old").read_bytes() == text.encode(encoding)


# --- Where they are ------------------------------------------------------------------------------


def test_other_layouts_lie_in_the_root_or_in_a_version(tmp_path):
    (tmp_path / "LJSpeech-1.1").mkdir()
    root = str(tmp_path)
    assert find_corpus(root, None, "fr", layout="kaldi") == tmp_path
    assert find_corpus(root, "LJSpeech-1.1", "fr", layout="ljspeech") == tmp_path / "LJSpeech-1.1"
    with pytest.raises(UserError, match=r"no folder .*LJSpeech-2 .*found LJSpeech-1\.1"):
        find_corpus(root, "LJSpeech-2", "fr", layout="ljspeech")


@pytest.mark.slow
def test_training_and_scoring_on_a_manifest(tmp_path):
    """The model remembers the layout; it is not asked for again."""
    root = tmp_path / "mine"
    for split, n in ("train", 8), ("dev", 2), ("test", 2):
        names = [f"{split}{i}.wav" for i in range(n)]
        for name in names:
            write_sound(root / name, 1.2)
        records = [{"path": name, "sentence": "ab"} for name in names]
        write_manifest(root, "jsonl", records, split)
    ours = f"--corpus manifest --datasetroot {root}"
    finished = command.call(
        f"train {command.SMALL} {ours} --num_epochs 1 --logname small", cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stderr
    model = tmp_path / "logs" / "small" / "best_model.pt"
    finished = command.call(f"test --modelpath {model} --datasetroot {root}", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "mine test: 2 of 2 clips scored" in finished.stdout


# --- Any script, and lower case ------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["commonvoice", "ljspeech", "kaldi", "manifest"])
def test_every_script_survives(tmp_path, layout):
    texts = list(SCRIPTS.values())
    pairs = list(zip("abcdefghi", texts, strict=True))
    if layout == "commonvoice":
        (tmp_path / "clips").mkdir()
        text = "".join(f"{name}.mp3\t{text}\n" for name, text in [("path", "sentence"), *pairs])
        write(tmp_path / "train.tsv", text.replace("path.mp3", "path", 1))
    elif layout == "ljspeech":
        write(tmp_path / "train.csv", "".join(f"{name}|{text}|\n" for name, text in pairs))
    elif layout == "kaldi":
        write(tmp_path / "train" / "wav.scp", "".join(f"{name} {name}.wav\n" for name, _ in pairs))
        write(tmp_path / "train" / "text", "".join(f"{name} {text}\n" for name, text in pairs))
    else:
        write_manifest(tmp_path, "csv", [{"path": n, "sentence": text} for n, text in pairs])
    corpus = load_split(tmp_path, "train", layout)
    assert list(corpus.sentences) == texts
    charmap, rare = CharMap.from_transcripts(corpus.sentences)
    assert rare == {}
    for text in texts:
        assert charmap.text(charmap.encode(text)) == Writing().lower(text)


@pytest.mark.parametrize(
    ("case_folding", "text", "lower"),
    [
        ("default", "ISIK İZMİR", "isik i̇zmi̇r"),
        ("turkish", "ISIK İZMİR ŞİŞLİ Diyarbakır", "ısık izmir şişli diyarbakır"),
        ("turkish", "I\u0307", "i"),  # İ in two code points
        ("german", "STRAẞE Straße Müller ÄÖÜ", "straße straße müller äöü"),
        ("german", "MU\u0308LLER", "müller"),
        ("default", "ΟΔΟΣ", "οδος"),  # Greek's last sigma, in every case folding
    ],
)
def test_lower_case_of_languages(case_folding, text, lower):
    writing = Writing(case_folding=case_folding)
    assert writing.lower(text) == lower
    charmap, _ = CharMap.from_transcripts([text], writing=writing)
    assert charmap.text(charmap.encode(text)) == lower
    again = CharMap.from_json(charmap.to_json())
    assert again == charmap and again.case_folding == case_folding


def test_turkish_with_the_default_classes():
    charmap = CharMap(writing=Writing(case_folding="turkish"))  # it has no ı: both are folded to i
    assert charmap.encode("ILIK İL") == charmap.encode("ılık il") == CharMap().encode("ilik il")


def test_german_letters_that_the_map_has_are_not_folded():
    symbols = ("¬", " ", *"abcdefghijklmnopqrstuvwxyzäß")
    charmap = CharMap(symbols, None, None, None, writing=Writing(case_folding="german"))
    assert charmap.decode(charmap.encode("ÄRGER groß Öl café")) == "ärger groß ol cafe"
    other = CharMap(symbols, None, None, None)
    assert other.decode(other.encode("ÄRGER groß Öl café")) == "arger gross ol cafe"


def test_maps_of_before_have_the_default_folding():
    content = CharMap().to_dict()
    del content["writing"]
    assert CharMap.from_dict(content) == CharMap()
    turkish = CharMap.from_dict({**content, "case_folding": "turkish"})
    assert turkish == CharMap(writing=Writing(case_folding="turkish"))
    with pytest.raises(ValueError, match="case_folding must be one of default, turkish, german"):
        CharMap(writing=Writing(case_folding="french"))


@given(st.lists(st.text(st.sampled_from("aA Ii\u00a0\u0307\ufdd0İßẞΣ한\u1112\u1161")), max_size=20))
def test_characters_are_counted_as_one_by_one(sentences):
    for writing in Writing(), Writing(case_folding="turkish"):
        one_by_one = {}
        for sentence in sentences:
            for c in writing.lower(sentence):
                c = " " if c.isspace() else c
                one_by_one[c] = one_by_one.get(c, 0) + 1
        assert count_characters(sentences, writing) == one_by_one


def test_every_layout_is_a_choice_and_explained():
    _, field, _ = settings()["corpus"]
    assert set(field.metadata["choices"]) == set(LAYOUTS)
    for name in LAYOUTS:
        assert name in field.metadata["help"].lower().replace(" ", ""), name
        assert f"\n{name:12} FOLDER" in (layouts.__doc__ or ""), name
