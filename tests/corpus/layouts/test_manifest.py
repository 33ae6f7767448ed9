"""Manifests: in three formats, by the names of other tools, and every kind of bad ones."""

import csv
import json

import numpy as np
import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.layouts.named_columns import read_columns
from asr_ctc.corpus.layouts.registry import read_table
from asr_ctc.corpus.layouts.table import ExcludedClip
from tests.helpers import command
from tests.helpers.made_corpora import rows_of, write, write_manifest, write_sound


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


def test_semicolons_inside_quotes_and_rows_that_a_quote_joins(tmp_path):
    text = 'path;sentence\na.wav;"b; c ""d"""\nb.wav;"e\nc.wav;f"\nd.wav;g\n'
    write(tmp_path / "train.csv", text)
    table = read_table("manifest", tmp_path, "train")
    assert list(table.sentences) == ['b; c "d"', "g"]
    assert [reason for _, reason in table.excluded] == ["a quotation mark joins several rows"]


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
    assert (
        list(table.sentences) == ["a\u2028\x85b"] and len(table.excluded) == len(bad) - 1
    )  # not the blank line
    assert read_columns("manifest", tmp_path, "train", names=["path"]) == {"path": ["a"]}


def test_further_columns_of_rows_that_are_used(tmp_path):
    rows = ["path\tsentence\tage\tx\tx", "a\tnine\tone\t1\t2\t3", "b\ttwo\told\t1\t2", "c\tx"]
    write(tmp_path / "train.tsv", "\n".join(rows))
    assert read_columns("manifest", tmp_path, "train", names=["age"]) == {"age": ["old"]}
    values = [0, False, True, 1.5, "", None]
    rows = [json.dumps({"path": "a", "sentence": "b", "age": value}) for value in values]
    write(tmp_path / "dev.jsonl", "\n\n".join(rows))
    columns = read_columns("manifest", tmp_path, "dev", names=["age"])
    assert columns == {"age": ["0", "False", "True", "1.5", "", ""]}
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
