"""Readers of text meet seeded damage: they read it, or say in one line why not.

tests/helpers/damage.py says how it is made.
"""

import gzip
import io
import json
import os
import shutil
import tarfile

import numpy as np
import pytest

from asr_ctc.assembly.charmap import make_charmap
from asr_ctc.assembly.language_model import read_text
from asr_ctc.assembly.split_files import records_of
from asr_ctc.base.errors import UserError
from asr_ctc.config.settings.corpus import CorpusConfig
from asr_ctc.corpus import columns
from asr_ctc.corpus.archive import unpack
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.durations import add_listed_durations
from asr_ctc.corpus.layouts.named_columns import read_columns
from asr_ctc.corpus.layouts.registry import read_table
from asr_ctc.corpus.transcripts import frames_of
from asr_ctc.lm.arpa import read_arpa
from asr_ctc.lm.scoring import score_sentence
from asr_ctc.lm.stored import StoredModel
from asr_ctc.scoring.clips import as_jsonl, read_hypotheses
from asr_ctc.scoring.compare import compare
from asr_ctc.scoring.metrics import error_rates
from asr_ctc.text.charmap import CharMap
from tests.helpers.damage import fuzz

pytestmark = pytest.mark.fuzz

ROWS = [
    ("a.wav", 'nine "one"', "anne", "1.5", "x"),
    ("b.wav", "zwölf’s", "", "", "y"),
    ("c.wav", "", "bob", "nan", ""),
    ("sub/d.wav", '"two, six', "bob", "2", "z"),
    ("e.wav", "می\u200cخواهم", "eve", "0.25", "x"),
]
NAMES = ("path", "sentence", "speaker", "duration", "age")


def table_of(ending: str) -> bytes:
    if ending == "jsonl":
        rows = [json.dumps(dict(zip(NAMES, row, strict=True)), ensure_ascii=False) for row in ROWS]
    elif ending == "csv":
        rows = [",".join(NAMES)]
        rows += [",".join(f'"{c.replace(chr(34), 2 * chr(34))}"' for c in row) for row in ROWS]
    else:
        rows = ["\t".join(row) for row in (NAMES, *ROWS)]
    return "".join(f"{row}\n" for row in rows).encode()


def use(table) -> None:
    """What commands make of a table."""
    sentences = list(table.sentences)
    assert len(sentences) == len(list(table.paths)) == len(list(table.speakers))
    assert not (table.duration_s <= 0).any() and not np.isinf(table.duration_s).any()
    for path in table.paths:
        os.path.exists(table.clips / path)
    charmap, _ = CharMap.from_transcripts(sentences)
    frames_of(sentences, charmap)
    frames_of(sentences, CharMap())
    error_rates(sentences, sentences[::-1])


@pytest.mark.few(2)
@pytest.mark.parametrize("piece_bytes", [1 << 23, 16])
@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl"])
def test_manifests(tmp_path, monkeypatch, ending, piece_bytes):
    monkeypatch.setattr(columns, "PIECE_BYTES", piece_bytes)
    file = tmp_path / f"all.{ending}"

    def read(content: bytes, seed: int) -> None:
        file.write_bytes(content)
        table = read_table("manifest", tmp_path, "all")
        n_records = len(table.record) + len(table.excluded)
        _, records = records_of("manifest", file)
        assert len(list(records)) == n_records
        if content.count(b'"age"') or ending != "jsonl":
            try:
                further = read_columns("manifest", tmp_path, "all", names=["age"])
            except UserError as error:
                assert "age" in str(error)
            else:
                assert len(further["age"]) == len(table.record)
        use(table)

    fuzz(table_of(ending), read)


def test_common_voice(tmp_path):
    (tmp_path / "clips").mkdir()
    header = "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender"
    rows = [header.split()]
    rows += [
        [speaker, path, "i", text, "", "2", "0", age, ""] for path, text, speaker, _, age in ROWS
    ]
    content = "".join("\t".join(row) + "\r\n" for row in rows).encode()
    durations = b"clip\tduration[ms]\na.wav\t1500\nb.wav\t2500\nsub/d.wav\t250\n"

    def read(content: bytes, seed: int) -> None:
        (tmp_path / "train.tsv").write_bytes(content)
        use(read_table("commonvoice", tmp_path, "train"))
        load_split(tmp_path, "train")

    def read_durations(content: bytes, seed: int) -> None:
        (tmp_path / "clip_durations.tsv").write_bytes(content)
        duration_s = np.full(3, np.nan, dtype=np.float32)
        paths = columns.Strings(["a.wav", "b.wav", "sub/d.wav"])
        add_listed_durations(duration_s, paths, tmp_path / "clip_durations.tsv")
        assert not (duration_s <= 0).any() and not (duration_s > 86_400).any()

    fuzz(content, read)
    fuzz(durations, read_durations)


@pytest.mark.slow
def test_spontaneous_speech(tmp_path):
    header = "client_id audio_file duration_ms transcription split quality_tags age".split()
    rows = [header]
    rows += [
        [speaker, path, f"{seconds}000", f"[noise] {text} [x].", split, "speech-rate|short", age]
        for (path, text, speaker, seconds, age), split in zip(
            ROWS, ("train", "train", "unassigned", "dev", "train"), strict=True
        )
    ]
    content = (
        "".join("\t".join(row) + "\n" for row in rows).encode().replace(b"speech-rate|", b"", 2)
    )

    def read(content: bytes, seed: int) -> None:
        (tmp_path / "ss-corpus-fr.tsv").write_bytes(content)
        whole = read_table("spontaneous", tmp_path, "all")
        _, records = records_of("spontaneous", tmp_path / "ss-corpus-fr.tsv")
        assert len(list(records)) == whole.n_records
        used = len(whole.record) + len(whole.excluded) + whole.n_untranscribed
        assert used == whole.n_records
        use(read_table("spontaneous", tmp_path, "train"))

    fuzz(content, read)


@pytest.mark.slow
def test_lhotse(tmp_path):
    recordings, supervisions = [], []
    for i, (path, text, speaker, *_) in enumerate(ROWS):
        source = {"type": "file", "channels": [0], "source": path}
        recordings.append({"id": f"r{i}", "sources": [source], "duration": 2.5})
        stretch = {"id": f"s{i}", "recording_id": f"r{i}", "start": 0, "duration": 2.5}
        supervisions.append({**stretch, "text": text, "speaker": speaker})
    files = {
        name: "".join(json.dumps(record) + "\n" for record in records).encode()
        for name, records in (("recordings", recordings), ("supervisions", supervisions))
    }
    (tmp_path / "all").mkdir()

    def reader(name: str, suffix: str, pack):
        other = ({*files} - {name}).pop()

        def read(content: bytes, seed: int) -> None:
            (tmp_path / "all" / f"{name}.jsonl{suffix}").write_bytes(pack(content))
            (tmp_path / "all" / f"{other}.jsonl").write_bytes(files[other])
            use(read_table("lhotse", tmp_path, "all"))

        return read

    for name, content in files.items():
        fuzz(content, reader(name, "", bytes))
    for file in (tmp_path / "all").iterdir():
        file.unlink()
    fuzz(gzip.compress(files["recordings"], mtime=0), reader("recordings", ".gz", bytes))


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["of the archive", "of what is in it"])
def test_archives(tmp_path, monkeypatch, damage):
    """Nothing lies beside an archive that was refused, and nothing anywhere else."""
    monkeypatch.setattr(os, "sync", lambda: None)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, text in {
            "v/fr/train.tsv": table_of("tsv"),
            "v/fr/clips/a.mp3": b"x" * 700,
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    inside = damage == "of what is in it"
    place = tmp_path / "deep" / "place"
    file = place / "a.tar.gz"

    def read(content: bytes, seed: int) -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        file.write_bytes(gzip.compress(content, 1) if inside else content)
        try:
            unpack(file)
        except UserError:
            assert os.listdir(place) == ["a.tar.gz"]
            raise
        finally:
            assert os.listdir(tmp_path) == ["deep"] and os.listdir(tmp_path / "deep") == ["place"]

    tar = content.getvalue()
    fuzz(tar if inside else gzip.compress(tar, mtime=0), read)


@pytest.mark.slow
def test_other_layouts(tmp_path):
    def read_ljspeech(content: bytes, seed: int) -> None:
        (tmp_path / "all.csv").write_bytes(content)
        use(read_table("ljspeech", tmp_path, "all"))

    kaldi = tmp_path / "train"
    kaldi.mkdir()
    files = {
        "wav.scp": b"u1 u1.wav\nu2\tsub/u2.wav\nu3 u3.wav\n",
        "text": "u1 un deux\nu2\ttröis’\nu3\n".encode(),
        "utt2spk": b"u1 anne\nu2 bob\nu3 bob\n",
        "utt2dur": b"u1 1.5\nu2 nan\n",
    }

    def read_kaldi(content: bytes, seed: int) -> None:
        for name, whole in files.items():
            (kaldi / name).write_bytes(whole)
        (kaldi / list(files)[seed % len(files)]).write_bytes(content)
        use(read_table("kaldi", tmp_path, "train"))

    chapter = tmp_path / "test-clean" / "19" / "7"
    chapter.mkdir(parents=True)

    def read_librispeech(content: bytes, seed: int) -> None:
        (chapter / "19-7.trans.txt").write_bytes(content)
        use(read_table("librispeech", tmp_path, "test"))

    fuzz(b'a|Dr. "X"|Doctor X\nb|as it is|as it is\nc|x|\n', read_ljspeech)
    for i, content in enumerate(files.values()):
        fuzz(content, lambda content, seed, i=i: read_kaldi(content, i))
    fuzz(b"19-7-0000 NINE ONE\n19-7-0001 TWO\n19-7-0002 SIX\n", read_librispeech)


ARPA = """\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-99\t<s>\t-0.3
-1.0\t</s>
-2.0\t<unk>
-0.5\tle\t-0.3
-0.7\tchat\t-0.2
-0.9\tdort

\\2-grams:
-0.1\t<s> le
-0.2\tle chat
-0.3\tchat dort
-0.25\tdort </s>

\\end\\
"""


@pytest.mark.parametrize("words", [("le", "chat", "dort"), ("a", "b", "<space>")])
def test_arpa(tmp_path, words):
    text = ARPA
    for old, new in zip(("le", "chat", "dort"), words, strict=True):
        text = text.replace(old, new)
    file = tmp_path / "m.arpa"

    def read(content: bytes, seed: int) -> None:
        file.write_bytes(gzip.compress(content, 1) if seed % 4 == 1 else content)
        model = read_arpa(file)
        assert np.isfinite(score_sentence(model, ["le", "b", "chat", "x"])).all()
        assert not (model.ngrams.logp > 0).any()
        StoredModel.from_dict(StoredModel("m", model, {}).to_dict())

    fuzz(text.encode(), read)

    def read_compressed(content: bytes, seed: int) -> None:
        file.write_bytes(content)
        read_arpa(file)

    fuzz(gzip.compress(text.encode(), mtime=0), read_compressed)


def test_charsets(tmp_path):
    file = tmp_path / "charset.json"

    def read(content: bytes, seed: int) -> None:
        file.write_bytes(content)
        charmap = make_charmap(CorpusConfig(charset=str(file)), None)
        again = CharMap.from_json(charmap.to_json())
        charmap.to_json().encode("utf-8")
        assert again == charmap and hash(again) == hash(charmap)
        frames_of([row[1] for row in ROWS], charmap)
        charmap.text(range(charmap.vocab_size))

    fuzz(CharMap().to_json().encode(), read)
    fuzz(CharMap.from_transcripts([row[1] for row in ROWS])[0].to_json().encode(), read)


def test_hypotheses(tmp_path):
    file, rows = tmp_path / "a.jsonl", []
    for path, text, *_ in ROWS:
        content = {"id": path, "reference": text, "hypothesis": "nine", "case_folding": "turkish"}
        rows.append(json.dumps(content | {"logp": -1.5, "duration_s": 2.0}, ensure_ascii=False))

    def read(content: bytes, seed: int) -> None:
        file.write_bytes(content)
        clips = read_hypotheses(file)
        compare(("a", "b"), clips, clips)
        file.write_text(as_jsonl(clips), encoding="utf-8")
        assert read_hypotheses(file) == clips

    fuzz("".join(f"{row}\n" for row in rows).encode(), read)


def test_texts_for_language_models(tmp_path):
    file = tmp_path / "text.txt"

    def read(content: bytes, seed: int) -> None:
        file.write_bytes(content)
        assert all(isinstance(line, str) for piece in read_text(file) for line in piece)

    text = "un deux\r\ntrois, quatre\n\nzwölf\n".encode() * 5
    fuzz(text, read)
    fuzz(gzip.compress(text, mtime=0), read)
