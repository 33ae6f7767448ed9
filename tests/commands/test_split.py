"""Splits that share nothing: on random corpora, and through the command line."""

import csv
import errno
import json
import os
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.assembly import split_files as splitting
from asr_ctc.assembly.split_files import parse_size
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.splitting import SPLITS, UNUSED, Clips, make_splits, sentence_keys
from asr_ctc.text.languages import LANGUAGES
from tests.helpers import command

HEADER = "client_id\tpath\tsentence\tup_votes"


# --- Who goes where ------------------------------------------------------------------------------


@st.composite
def clips(draw):
    n = draw(st.integers(1, 60))
    codes = st.lists(st.integers(0, draw(st.integers(1, 30))), min_size=n, max_size=n)
    seconds = st.lists(st.floats(0.5, 20), min_size=n, max_size=n)
    return Clips(np.array(draw(codes)), np.array(draw(codes)), np.array(draw(seconds)))


def shared(codes, split_of):
    """The codes that clips of two splits have."""
    sets = [set(codes[split_of == i].tolist()) for i in range(len(SPLITS))]
    return (sets[0] & sets[1]) | (sets[0] & sets[2]) | (sets[1] & sets[2])


@pytest.mark.slow
@given(clips(), st.floats(0.01, 0.6), st.floats(0.01, 0.6), st.integers(0, 3), st.data())
def test_splits_share_nothing_and_lose_nothing_unsaid(clips, test, dev, seed, data):
    n = len(clips.seconds)
    free = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    total_s = clips.seconds[free].sum()
    split_of, reasons = make_splits(
        clips, free, test_s=test * total_s, dev_s=dev * total_s, seed=seed
    )
    assert not shared(clips.speaker, split_of) and not shared(clips.sentence, split_of)
    assert (split_of[~free] == UNUSED).all()
    told = sum(rows.astype(int) for rows in reasons.values()) if reasons else np.zeros(n, int)
    assert np.array_equal(told, (free & (split_of == UNUSED)).astype(int))  # for one reason each
    for split, share in ("test", test), ("dev", dev):
        assert clips.seconds[split_of == SPLITS.index(split)].sum() <= share * total_s * (1 + 1e-6)
    again, _ = make_splits(clips, free, test_s=test * total_s, dev_s=dev * total_s, seed=seed)
    assert np.array_equal(split_of, again)


def made_up(n, n_speakers, n_sentences, seed=0):
    random = np.random.default_rng(seed)
    speaker = (n_speakers * random.random(n) ** 2).astype(int)
    return Clips(speaker, random.integers(0, n_sentences, n), random.uniform(2, 8, n))


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("n_speakers", "n_sentences", "lost"),
    [(500, 10**6, 0.03), (50, 10**6, 0.03), (500, 5000, 0.25), (500, 400, 0.65)],
)
def test_sizes_are_reached_at_little_loss(n_speakers, n_sentences, lost):
    clips = made_up(5000, n_speakers, n_sentences)
    total_s = clips.seconds.sum()
    split_of, _ = make_splits(
        clips, np.ones(5000, bool), test_s=0.1 * total_s, dev_s=0.05 * total_s, seed=0
    )
    shares = [clips.seconds[split_of == i].sum() / total_s for i in range(len(SPLITS))]
    assert 0.097 <= shares[2] <= 0.1 and 0.0485 <= shares[1] <= 0.05
    assert sum(shares) >= 1 - lost


@pytest.mark.parametrize(("n_speakers", "lost"), [(80, 0.01), (20, 0.05), (8, 0.15)])
def test_few_clips_are_not_lost_for_the_last_second_of_a_size(n_speakers, lost):
    """80 of them; the sizes are short of a clip at most."""
    shares_lost = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        speaker, seconds = random.integers(0, n_speakers, 80), random.uniform(2, 8, 80)
        clips, asked_s = Clips(speaker, np.arange(80), seconds), 0.1 * seconds.sum()
        split_of, _ = make_splits(
            clips, np.ones(80, bool), test_s=asked_s, dev_s=asked_s, seed=seed
        )
        for split in "dev", "test":
            made = seconds[split_of == SPLITS.index(split)]
            assert asked_s - made.mean() <= made.sum() <= asked_s
        shares_lost.append((split_of == UNUSED).mean())
    assert np.mean(shares_lost) <= lost


def test_a_split_of_less_than_a_clip_or_two_is_not_empty():
    clips = Clips(np.arange(12), np.arange(12), np.full(12, 5.0))
    split_of, _ = make_splits(clips, np.ones(12, bool), test_s=6.0, dev_s=6.0, seed=0)
    assert [np.count_nonzero(split_of == i) for i in range(len(SPLITS))] == [10, 1, 1]


def test_no_speaker_is_most_of_a_small_split():
    clips = made_up(5000, 200, 10**6)
    total_s = clips.seconds.sum()
    split_of, _ = make_splits(
        clips, np.ones(5000, bool), test_s=0.1 * total_s, dev_s=0.1 * total_s, seed=0
    )
    for i in 1, 2:
        of_speaker_s = np.bincount(clips.speaker, clips.seconds * (split_of == i))
        assert np.count_nonzero(of_speaker_s) >= 8
        assert of_speaker_s.max() <= 0.15 * of_speaker_s.sum()


@pytest.mark.slow
def test_seeds_draw_differently():
    clips = made_up(500, 50, 10**6)
    draws = [
        make_splits(clips, np.ones(500, bool), test_s=300, dev_s=300, seed=seed)[0]
        for seed in (0, 1)
    ]
    assert not np.array_equal(*draws)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Oui, non.", "oui non"),
        ("L’île", "l'île"),
        ("peut-être ", "Peut être"),
        ("STRASSE", "straße"),
        ("e\u0301te\u0301", "été!"),
        ("Oui 🎉", "oui"),
    ],
)
def test_sentences_that_are_the_same_when_read(a, b):
    keys = sentence_keys([a, b, "an other"])
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("lang", "a", "b"),
    [
        ("ar", "كَتَبَ رِسالةً", "كتب رسالة."),
        ("fa", "كتاب ي", "کتاب ی"),
        ("ru", "Всё за\u0301мок", "все замок"),
        ("tr", "IŞIK İLE", "ışık ile"),
        ("zh-CN", "你好， 世界", "你好世界。"),
    ],
)
def test_sentences_that_are_the_same_in_a_language(lang, a, b):
    keys = sentence_keys([a, b, "an other"], LANGUAGES[lang.partition("-")[0]])
    assert keys[0] == keys[1] != keys[2]
    assert len(set(sentence_keys([a, b]))) == 2


def test_sentences_that_differ():
    texts = ["oui", "non", "?", "!", "🎉", "กำ", "ก", "été", "ete", "a b", "ab", "\ufdd0", ""]
    assert len(set(sentence_keys(texts).tolist())) == len(texts)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0.25", 1000), (".5", 2000), ("1h", 3600), ("0.5 h", 1800)]
)
def test_sizes(text, seconds):
    clips = Clips(np.zeros(4), np.zeros(4), np.full(4, 2000.0))
    free = np.array([True, True, False, False])
    assert parse_size("dev", text, clips, free) == seconds


@pytest.mark.parametrize("text", ["0", "1", "2", "-0.1", "0h", "2m", "1e-1", "", "many", "nan"])
def test_sizes_that_are_none(text):
    clips = Clips(np.zeros(4), np.zeros(4), np.full(4, 2000.0))
    with pytest.raises(UserError, match="--dev must be a share below 1 or hours such as 2h"):
        parse_size("dev", text, clips, np.ones(4, bool))


# --- Through the command line --------------------------------------------------------------------


def write_corpus(folder, n=200, name="validated", seed=0):
    """FOLDER/NAME.tsv of clips whose lengths are listed, and which are not there."""
    random = np.random.default_rng(seed)
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    rows, durations = [HEADER], ["clip\tduration[ms]"]
    for i in range(n):
        speaker, sentence = random.integers(0, n // 5), random.integers(0, 2 * n)
        rows.append(f"s{speaker}\tc{i}.mp3\tSentence {sentence}.\t{i % 3}")
        durations.append(f"c{i}.mp3\t{random.integers(2000, 8000)}")
    (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    (folder / "clip_durations.tsv").write_text("\n".join(durations) + "\n")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_corpus(tmp_path / "v-1.0" / "fr")


@pytest.fixture
def split(tmp_path, capsys):
    """Runs `main_ctc.py split WORDS` in this process: (exit status, output, errors)."""
    from asr_ctc.commands.main import main

    def run(*words):
        status = main(["split", "--datasetroot", str(tmp_path), *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def read(folder, name):
    """(header, rows) as text of a TSV."""
    header, *rows = (folder / f"{name}.tsv").read_text().splitlines()
    return header, rows


def table_of(output):
    """{name: [clips, hours, speakers]} of what was printed."""
    return {" ".join(line.split()[:-3]): line.split()[-3:] for line in output.splitlines()[1:-1]}


def assert_disjoint(folder):
    columns = {}
    for name in SPLITS:
        cells = [row.split("\t") for row in read(folder, name)[1]]
        assert cells
        columns[name] = [set(column) for column in zip(*cells, strict=True)][:3]
    for a, b in ("train", "dev"), ("train", "test"), ("dev", "test"):
        for of_a, of_b in zip(columns[a], columns[b], strict=True):
            assert not of_a & of_b


def test_a_table_is_split(folder, split):
    status, output, errors = split("--dev", "0.1", "--test", "0.2")
    assert status == 0, errors
    assert_disjoint(folder)
    header, whole = read(folder, "validated")
    for name in SPLITS:
        found, rows = read(folder, name)
        assert found == header == HEADER
        assert rows == [row for row in whole if row in set(rows)]  # whole rows, in their order
    lines = table_of(output)
    assert lines["validated.tsv"][0] == "200"
    n_rows = {name: len(read(folder, name)[1]) for name in SPLITS}
    assert {name: int(lines[name][0]) for name in SPLITS} == n_rows
    n_excluded = sum(int(cells[0]) for name, cells in lines.items() if name.startswith("excluded"))
    assert sum(n_rows.values()) + n_excluded == 200
    hours = {name: float(cells[1]) for name, cells in lines.items()}
    assert hours["test"] == pytest.approx(0.2 * hours["validated.tsv"], abs=0.01)
    speakers = {row.split("\t")[0] for row in read(folder, "test")[1]}
    assert int(lines["test"][2]) == len(speakers)


@pytest.mark.parametrize("words", [[], ["--keep_test", "--force"]])
def test_a_sentence_with_and_without_harakat_is_in_one_split(tmp_path, split, words):
    folder = write_corpus(tmp_path / "v-1.0" / "ar")
    rows = []
    for i in range(100):
        sentence = " ".join("ءآأؤئابة"[int(digit) % 8] for digit in f"{i:03o}") + " كتب"
        rows += [f"s{2 * i}\tc{2 * i}.mp3\t{sentence}\t0"]
        rows += [f"s{2 * i + 1}\tc{2 * i + 1}.mp3\t{sentence.replace('ك', 'كَ')}\t0"]
    (folder / "validated.tsv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    for name, kept in ("dev", rows[0]), ("test", rows[2]):
        if words:
            (folder / f"{name}.tsv").write_text(f"{HEADER}\n{kept}\n", encoding="utf-8")
    status, _, errors = split("--lang", "ar", *words)
    assert status == 0, errors
    plain = {
        name: {row.split("\t")[2].replace("كَ", "ك") for row in read(folder, name)[1]}
        for name in SPLITS
    }
    assert not plain["train"] & plain["dev"] | plain["train"] & plain["test"]
    assert not plain["dev"] & plain["test"] and len(plain["train"]) >= 70


@pytest.mark.slow
def test_splits_are_the_same_again(folder, split):
    def made(*words):
        assert split("--force", *words)[0] == 0
        return [read(folder, name) for name in SPLITS]

    first = made()
    assert made() == first == made("--seed", "0")
    assert made("--seed", "1") != first
    # and in another process, whose hashes differ
    finished = command.run(f"split --force --datasetroot {folder.parents[1]}", cwd=folder)
    assert finished.returncode == 0, finished.stderr
    assert [read(folder, name) for name in SPLITS] == first


def test_sizes_in_hours(folder, split):
    assert split("--dev", "0.02h", "--test", "0.05h")[0] == 0
    _, output, _ = split("--dev", "0.02h", "--test", "0.05h", "--force")
    hours = {name: cells[1] for name, cells in table_of(output).items()}
    assert (hours["dev"], hours["test"]) == ("0.02", "0.05")


def test_nothing_is_overwritten_without_force(folder, split):
    (folder / "dev.tsv").write_text("mine")
    status, output, errors = split()
    assert status == 2 and output == "" and "dev.tsv: already there; --force overwrites" in errors
    assert (folder / "dev.tsv").read_text() == "mine" and not (folder / "train.tsv").exists()
    assert split("--force")[0] == 0
    assert_disjoint(folder)


def test_keep_test_takes_all_that_shares_nothing(folder, split):
    assert split()[0] == 0
    before = {name: read(folder, name) for name in SPLITS}
    header, rows = before["train"]
    (folder / "train.tsv").write_text("\n".join([header, *rows[:5]]) + "\n")  # as releases do
    assert split("--keep_test")[0] == 2
    status, output, _ = split("--keep_test", "--force")
    assert status == 0 and "in test already" in output
    after = {name: read(folder, name) for name in SPLITS}
    assert after["dev"] == before["dev"] and after["test"] == before["test"]
    assert set(after["train"][1]) >= set(rows)
    assert_disjoint(folder)
    taken = [row.split("\t") for name in ("dev", "test") for row in before[name][1]]
    free = [
        row
        for row in read(folder, "validated")[1]
        if not any(row.split("\t")[i] == cells[i] for cells in taken for i in range(3))
    ]
    assert after["train"][1] == free


def test_unusable_rows_are_in_no_split(folder, split):
    file = folder / "validated.tsv"
    odd = ["x\tempty.mp3\t \t0", "x\tmissing.mp3\tUn.\t0", "short", "s0\tc0.mp3\tDeux.\t0"]
    file.write_text(file.read_text() + "\n".join(odd) + "\n")
    listed = folder / "clip_durations.tsv"
    listed.write_text(listed.read_text() + "empty.mp3\t1000\n")
    status, output, _ = split()
    assert status == 0
    for reason in (
        "row that cannot be read", "clip that cannot be opened", "empty transcript",
        "clip listed before",
    ):  # fmt: skip
        assert table_of(output)[f"excluded: {reason}"][0] == "1"
    rows = sum((read(folder, name)[1] for name in SPLITS), [])
    assert not set(odd) & set(rows) and len(rows) == len(set(rows))
    assert_disjoint(folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "train"], "--from train: would overwrite itself"),
        (["--from", "other"], "no such split: looked for .*other.tsv"),
        (["--keep_test"], "no such split: looked for .*test.tsv"),
        (["--dev", "2"], "--dev must be a share below 1 or hours such as 2h, found '2'"),
        (["--test", "100h"], r"--test 100h: there are only 0\.\d\d h in all"),
        (["--dev", "0.6", "--test", "0.6"], "no clip is left for train"),
        (["--corpus", "kaldi"], "--corpus kaldi: such a corpus brings its own splits"),
        (["--datasetversion", "v-2.0"], "no version 'v-2.0'"),
    ],
)
def test_what_cannot_be_split(folder, split, words, message):
    before = sorted(folder.rglob("*"))
    status, output, errors = split(*words)
    assert status == 2 and output == "" and errors.count("error: ") == 1
    assert re.search(message, errors), errors
    assert sorted(folder.rglob("*")) == before


def test_one_speaker_cannot_be_kept_apart(folder, split):
    rows = [f"me\tc{i}.mp3\tSentence {i}.\t0" for i in range(50)]
    (folder / "validated.tsv").write_text("\n".join([HEADER, *rows]) + "\n")
    status, _, errors = split()
    assert status == 2 and "too few speakers or sentences to keep the splits apart" in errors


@pytest.mark.parametrize("ending", ["csv", "jsonl", "tsv"])
def test_manifests_are_split_in_their_own_format(tmp_path, split, ending):
    root = tmp_path / "mine"
    root.mkdir()
    file = root / f"all.{ending}"
    records = [
        {"path": f"{i}.wav", "sentence": f'é "{i}",\nor', "speaker": f"s{i // 4}", "duration": 2}
        for i in range(40)
    ]
    if ending == "tsv":
        records = [{**record, "sentence": f"é {i}"} for i, record in enumerate(records)]
        rows = ["\t".join(map(str, record.values())) for record in records]
        file.write_text("\n".join(["\t".join(records[0]), *rows]))
    elif ending == "csv":
        with open(file, "w", newline="") as table:
            writer = csv.DictWriter(table, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
    else:
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    ours = ["--corpus", "manifest", "--datasetversion", "mine"]
    status, output, errors = split(*ours)
    assert status == 0, errors
    sentences = []
    for name in SPLITS:
        table = splitting.read_table("manifest", root, name)
        assert table.excluded == () and (root / f"{name}.{ending}").exists()
        sentences += table.sentences
    assert sorted(sentences) == sorted(record["sentence"] for record in records)
    half = file.with_name(f"all.v2.{ending}")
    shutil.copyfile(file, half)
    assert f"all.v2.{ending}" in split(*ours, "--from", "all.v2", "--force")[1]
    assert f"all.v2.{ending}" in split(*ours, "--from", half.name, "--force")[1]
    (root / "dev.json").write_text("")  # no manifest
    assert split(*ours, "--force")[0] == 0
    (root / f"dev.{ending}").unlink()
    (root / ("dev.csv" if ending != "csv" else "dev.tsv")).write_text("x")
    status, _, errors = split(*ours, "--force")
    assert status == 2 and "would be a second " in errors


def test_the_flags_are_settings_too():
    config = make_config({"from": "all", "keep_test": True}, {"dev": "2h"})
    assert (config.split.from_, config.split.dev, config.split.keep_test) == ("all", "2h", True)
    assert "\nfrom: 'all'\n" in config.to_yaml()


# --- All or nothing ------------------------------------------------------------------------------


def kill_at(monkeypatch, name, n):
    """The ``n``-th call of a function of os ends this process, like SIGKILL."""
    function, calls = getattr(os, name), []

    def counted(*args, **kwargs):
        calls.append(0)
        if len(calls) == n:
            os._exit(9)
        return function(*args, **kwargs)

    monkeypatch.setattr(os, name, counted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "n"), [("replace", 1 + n) for n in range(5)] + [("fsync", 1 + n) for n in range(9)]
)
def test_a_kill_at_any_moment_mixes_no_splits(folder, split, monkeypatch, function, n):
    assert split("--seed", "1")[0] == 0
    old = [read(folder, name) for name in SPLITS]
    assert split("--seed", "2", "--force")[0] == 0
    new = [read(folder, name) for name in SPLITS]
    assert old != new and split("--seed", "1", "--force")[0] == 0
    if (child := os.fork()) == 0:
        kill_at(monkeypatch, function, n)
        split("--seed", "2", "--force")
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    refused = []
    for name in SPLITS:
        try:
            load_split(folder, name)
        except UserError as error:
            refused.append(str(error))
    tables = [read(folder, name) for name in SPLITS]
    if not refused:
        assert tables in (old, new)
    else:
        assert len(refused) == 3 and "split` again with --force" in refused[0]
        assert "\n" not in refused[0]
        status, _, errors = split("--keep_test", "--force")
        assert status == 2 and "again with --force" in errors
    assert killed or tables == new
    assert split("--seed", "2", "--force")[0] == 0  # the way out that the message names
    assert [read(folder, name) for name in SPLITS] == new
    assert len(load_split(folder, "train")) == len(new[0][1])


def test_kills_happen_in_the_middle(folder, split, monkeypatch):
    """The test above would pass if no process died between two renames."""
    assert split("--seed", "1")[0] == 0
    old = [read(folder, name) for name in SPLITS]
    if (child := os.fork()) == 0:
        kill_at(monkeypatch, "replace", 3)
        split("--seed", "2", "--force")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    tables = [read(folder, name) for name in SPLITS]
    assert tables != old and any(a == b for a, b in zip(tables, old, strict=True))


def test_a_full_disk_replaces_no_split(folder, split, monkeypatch):
    assert split("--seed", "1")[0] == 0
    old, fsync, calls = [read(folder, name) for name in SPLITS], os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    status, _, errors = split("--seed", "2", "--force")
    assert status == 2 and "cannot write" in errors and "No space left" in errors
    assert [read(folder, name) for name in SPLITS] == old
    assert not [file for file in folder.iterdir() if file.name.startswith(".")]
    load_split(folder, "train")
