"""Any script in every layout; bytes that are not UTF-8, and other encodings."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.corpus import columns
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.layouts.registry import read_table
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.writing import Writing
from tests.helpers.languages import transcripts
from tests.helpers.made_corpora import write, write_manifest

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
