"""What is found out about a corpus once, kept, and never stale; and the work on all transcripts."""

import logging
import multiprocessing
import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.audio import decode as audio
from asr_ctc.corpus import durations, index, transcripts
from asr_ctc.corpus.columns import Strings
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.feasibility import frames_needed
from asr_ctc.text.writing import Writing
from tests.helpers import command


@pytest.fixture
def folder(tmp_path):
    """VERSION/LANG with ten clips of 0.1 to 1.0 seconds."""
    folder = tmp_path / "v-1.0" / "fr"
    (folder / "clips").mkdir(parents=True)
    for i in range(10):
        write_sound(folder, i, (i + 1) / 10)
    write_table(folder, range(10))
    return folder


@pytest.fixture
def said(caplog):
    """The lines that the program has said since they were last asked for."""
    logging.getLogger("asr_ctc").propagate = True
    caplog.set_level(logging.INFO, "asr_ctc")

    def lines():
        found = caplog.messages[:]
        caplog.clear()
        return found

    return lines


@pytest.fixture
def opened(monkeypatch):
    """The names of the clips whose header is read, as it happens."""
    names, duration_s = [], audio.duration_s

    def measure(path):
        names.append(path.name)
        return duration_s(path)

    monkeypatch.setattr(audio, "duration_s", measure)
    return names


def write_sound(folder, i, duration_s):
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, round(duration_s * 16_000))
    soundfile.write(folder / "clips" / f"{i}.wav", noise, 16_000)


def write_table(folder, numbers, sentence="Un {}."):
    rows = "".join(f"{i}.wav\t{sentence.format(i)}\n" for i in numbers)
    (folder / "train.tsv").write_text("path\tsentence\n" + rows)


def load(folder, index_dir):
    return with_durations(load_split(folder, "train", index_dir=index_dir))


def kept(index_dir, what="durations"):
    return sorted(index_dir.glob(f"*.{what}*.npz"))


TENTHS = pytest.approx([i / 10 for i in range(1, 11)])


# --- Found once ----------------------------------------------------------------------------------


def test_clips_are_read_once(folder, tmp_path, opened, said):
    first = load(folder, tmp_path / "index")
    assert len(opened) == 10 and first.durations.tolist() == TENTHS
    assert said() == ["index of v-1.0/fr train: looking for lengths (first time), 10 clips to read"]
    again = load(folder, tmp_path / "index")
    assert len(opened) == 10 and said() == []
    assert np.array_equal(again.durations, first.durations) and again.durations.dtype == np.float32


def test_listed_durations_need_no_clip(folder, tmp_path, opened, said):
    (folder / "clip_durations.tsv").write_text("clip\tduration[ms]\n3.wav\t7000\n")
    durations = load(folder, tmp_path / "index").durations
    assert durations[3] == 7 and "3.wav" not in opened and len(opened) == 9
    assert np.array_equal(load(folder, tmp_path / "index").durations, durations)
    assert len(opened) == 9


def test_when_all_durations_are_listed_nothing_is_read(folder, tmp_path, opened, said):
    lines = [f"{i}.wav\t{1000 * (i + 1)}" for i in range(10)]
    (folder / "clip_durations.tsv").write_text("\n".join(lines))
    assert load(folder, tmp_path / "index").durations.tolist() == list(range(1, 11))
    assert opened == []
    assert said() == ["index of v-1.0/fr train: looking for lengths (first time), all are listed"]


def test_without_an_index_nothing_is_kept(folder, tmp_path, opened):
    before = sorted(tmp_path.rglob("*"))
    for _ in range(2):
        with_durations(load_split(folder, "train"))
    assert len(opened) == 20 and sorted(tmp_path.rglob("*")) == before


def test_a_selection_reads_its_own_clips_only(folder, tmp_path, opened):
    corpus = load_split(folder, "train", index_dir=tmp_path / "index")
    few = with_durations(corpus.select(np.arange(10) < 3))
    assert sorted(opened) == ["0.wav", "1.wav", "2.wav"] and few.durations[2] == np.float32(0.3)
    opened.clear()
    assert load(folder, tmp_path / "index").durations.tolist() == TENTHS
    assert len(opened) == 7
    assert with_durations(corpus.select(np.arange(10) > 8)).durations.tolist() == [1.0]
    assert len(opened) == 7


# --- Never stale ---------------------------------------------------------------------------------


def test_another_table_is_another_index(folder, tmp_path, opened, said):
    load(folder, tmp_path / "index")
    write_table(folder, [3, 1])
    said()
    assert load(folder, tmp_path / "index").durations.tolist() == pytest.approx([0.4, 0.2])
    assert "(changed since: the list of clips)" in said()[0]
    assert len(kept(tmp_path / "index")) == 1  # in place of the one before


def test_other_listed_durations(folder, tmp_path, said):
    listed = folder / "clip_durations.tsv"
    for milliseconds in 7000, 8000:
        listed.write_text(f"clip\tduration[ms]\n3.wav\t{milliseconds}\n")
        assert load(folder, tmp_path / "index").durations[3] == milliseconds / 1000
    assert "(changed since: clip_durations.tsv)" in said()[-1]


def test_clips_that_change_come_and_go(folder, tmp_path, opened, said):
    (folder / "clips" / "7.wav").unlink()
    assert [item.clip for item in load(folder, tmp_path / "index").excluded] == ["7.wav"]
    opened.clear()
    said()
    assert [item.clip for item in load(folder, tmp_path / "index").excluded] == ["7.wav"]
    assert opened == said() == []

    write_sound(folder, 7, 0.8)  # came
    write_sound(folder, 2, 2.0)  # changed
    (folder / "clips" / "5.wav").unlink()  # went
    corpus = load(folder, tmp_path / "index")
    assert sorted(opened) == ["2.wav", "5.wav", "7.wav"]
    assert said() == [
        "index of v-1.0/fr train: looking for lengths (3 clips changed since), 3 clips to read"
    ]
    assert corpus.durations.tolist() == pytest.approx([0.1, 0.2, 2.0, 0.4, 0.5, 0.7, 0.8, 0.9, 1.0])
    assert corpus.excluded == (("5.wav", "no such file"),)


def test_a_clip_of_the_same_size_and_another_time(folder, tmp_path, opened):
    load(folder, tmp_path / "index")
    opened.clear()
    os.utime(folder / "clips" / "4.wav", ns=(1, 1))
    load(folder, tmp_path / "index")
    assert opened == ["4.wav"]


def test_another_folder_of_clips_is_another_index(folder, tmp_path, opened):
    load(folder, tmp_path / "index")
    (tmp_path / "v-1.0").rename(tmp_path / "v-1.1")
    load(tmp_path / "v-1.1" / "fr", tmp_path / "index")
    assert len(opened) == 20 and len(kept(tmp_path / "index")) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"not an index",
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: content.replace(b"stamps", b"stbmps"),
    ],
)
def test_a_damaged_index_is_found_again(folder, tmp_path, opened, said, damage):
    load(folder, tmp_path / "index")
    (file,) = kept(tmp_path / "index")
    content = file.read_bytes()
    file.write_bytes(damage(content))
    said()
    assert load(folder, tmp_path / "index").durations.tolist() == TENTHS
    assert "is damaged)" in said()[0] and len(opened) == 20
    assert load(folder, tmp_path / "index").durations.tolist() == TENTHS and len(opened) == 20


def test_an_index_of_another_length_is_damaged(folder, tmp_path, said):
    load(folder, tmp_path / "index")
    (file,) = kept(tmp_path / "index")
    with np.load(file) as arrays:
        arrays = dict(arrays)
    arrays["duration_s"] = arrays["duration_s"][:-1]
    with open(file, "wb") as target:
        np.savez(target, **arrays)
    said()
    assert load(folder, tmp_path / "index").durations.tolist() == TENTHS
    assert "damaged" in said()[0]


def test_a_folder_that_cannot_be_written_is_warned_of_once(folder, tmp_path, opened, said):
    (tmp_path / "a file").write_text("")
    for _ in range(2):
        assert load(folder, tmp_path / "a file" / "index").durations.tolist() == TENTHS
    assert len(opened) == 20
    assert sum("the index is not kept, going on without" in line for line in said()) == 1


def test_a_long_name_has_an_index_too(folder, tmp_path, said):
    source = load(folder, tmp_path / "index").index
    long = replace(source, name="ж" * 200, folder=tmp_path / "long")
    said()
    long.keep("durations", duration_s=np.ones(3))
    assert long.recall("durations")[0]["duration_s"].tolist() == [1, 1, 1] and said() == []


def test_ctrl_c_loses_nothing_that_was_read(folder, tmp_path, monkeypatch, opened):
    measure, monkeyed = audio.duration_s, []

    def interrupted(path):
        if path.name == "6.wav" and not monkeyed:
            monkeyed.append(path)
            raise KeyboardInterrupt
        return measure(path)

    monkeypatch.setattr(audio, "duration_s", interrupted)
    monkeypatch.setattr(durations, "CLIPS_AT_A_TIME", 1)
    with pytest.raises(KeyboardInterrupt):
        load(folder, tmp_path / "index")
    opened.clear()
    assert load(folder, tmp_path / "index").durations.tolist() == TENTHS
    assert set(opened) <= {"6.wav", "7.wav", "8.wav", "9.wav"}


def _load_at_once(folder, index_dir, barrier, answers):
    barrier.wait()
    answers.put(load(folder, index_dir).durations.tolist())


def test_two_may_build_it_at_once(folder, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.Queue()
    arguments = folder, tmp_path / "index", barrier, answers
    processes = [context.Process(target=_load_at_once, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    assert [answers.get() for _ in processes] == [TENTHS, TENTHS]
    for process in processes:
        process.join()
    assert len(os.listdir(tmp_path / "index")) == 1
    assert load(folder, tmp_path / "index").durations.tolist() == TENTHS


def test_where_it_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert index.folder() == tmp_path / "x" / "asr_ctc"
    assert str(index.folder("here")) == "here"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert index.folder(None) == tmp_path / ".cache" / "asr_ctc"


@pytest.mark.slow
def test_training_keeps_one(toy_root, tmp_path):
    ours = f"train {command.SMALL} --num_epochs 1 --charset auto --index_dir ours --datasetroot"
    first, again = (command.call(ours, toy_root, cwd=tmp_path) for _ in range(2))
    assert first.returncode == again.returncode == 0, first.stderr
    for split, n in ("train", 24), ("dev", 6):
        line = f"index of toy-1.0/fr {split}: looking for lengths (first time), {n} clips to read"
        assert line in first.stderr and line not in again.stderr
    what = sorted(file.name.split(".")[-2].split("-")[0] for file in (tmp_path / "ours").iterdir())
    # Characters of all clips, for the map, and of those within the bounds of their length.
    assert what == ["characters", "characters", "durations", "durations", "frames"]
    assert "index of" not in again.stderr


# --- Listed durations ----------------------------------------------------------------------------

names = st.text("ab", max_size=2)


@given(
    st.lists(names, max_size=12),
    st.lists(
        st.tuples(names, st.sampled_from(["1000", "2500.5", "-1", "0", "nan", "inf", "x", ""]))
    ),
    st.booleans(),
)
def test_listed_durations_are_those_of_a_dictionary(tmp_path_factory, paths, listed, with_header):
    tsv = tmp_path_factory.mktemp("listed") / "clip_durations.tsv"
    rows = [("clip", "duration[ms]")] * with_header + listed
    tsv.write_text("".join("\t".join(row) + "\n" for row in rows))
    wanted = {}
    for name, cell in listed:
        if cell in ("1000", "2500.5"):
            wanted[name] = float(cell) / 1000
    duration_s = np.full(len(paths), np.nan, np.float32)
    duration_s[:1] = 9  # what is known already stays
    durations.add_listed_durations(duration_s, Strings(paths), tsv)
    expected = [9.0] * len(paths[:1]) + [wanted.get(path, np.nan) for path in paths[1:]]
    np.testing.assert_array_equal(duration_s, np.float32(expected))


@given(st.lists(st.text(st.sampled_from("aé漢")), max_size=20))
def test_hashes_are_equal_when_strings_are(values):
    hashes = Strings(values).hashes().tolist()
    assert [[a == b for b in hashes] for a in hashes] == [[a == b for b in values] for a in values]
    assert Strings(values).hashes(np.arange(len(values))[::-1]).tolist() == hashes[::-1]


# --- Every transcript ----------------------------------------------------------------------------

MAPS = [
    CharMap(),
    CharMap(writing=Writing(case_folding="turkish")),
    CharMap.from_symbols("ab ß"),
    CharMap.from_transcripts(["aAbßœ漢한é"])[0],
    CharMap(("¬", "a", "ß", "é"), "a", "a", "a", writing=Writing(case_folding="german")),
    CharMap(("¬", "a", "B", " "), None, None, None, lowercase=False),
]
odd_texts = st.text(
    st.sampled_from("aaAbB ßẞIİœÉe\u0301\u0300ΣςΑ\u00a0\u3000—-…漢한\u1112\u1161🎉¶¦¬❌\ufdd0")
    | st.characters(codec="utf-8"),
    max_size=8,
)


@pytest.mark.slow
@pytest.mark.parametrize("charmap", MAPS)
@given(sentences=st.lists(odd_texts, max_size=20))
def test_frames_are_counted_as_one_by_one(charmap, sentences):
    def one_by_one(sentence):
        try:
            return frames_needed(charmap.encode(sentence)) if sentence.strip() else 0
        except ValueError:
            return transcripts.REFUSED

    wanted = [one_by_one(sentence) for sentence in sentences]
    found = transcripts.frames_of(sentences, charmap)
    assert found.tolist() == wanted and found.dtype == np.int32
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transcripts, "SENTENCES_AT_A_TIME", 3)
        assert transcripts.frames_of(sentences, charmap).tolist() == wanted


@pytest.mark.parametrize("with_index", [True, False])
def test_transcripts_are_read_once(folder, tmp_path, monkeypatch, said, with_index):
    index_dir = tmp_path / "index" if with_index else None
    corpus = load(folder, index_dir)
    few = corpus.select(np.arange(10) >= 6)
    said()
    sentences = [f"Un {i}." for i in range(10)]
    frames = [frames_needed(CharMap().encode(sentence)) for sentence in sentences]
    for chosen, n in (corpus, 10), (few, 4):
        assert transcripts.ctc_frames(chosen, CharMap()).tolist() == frames[-n:]
        counts = transcripts.character_counts(chosen)
        assert counts == Counter("".join(sentences[-n:]).lower())
    if with_index:
        lines = said()
        assert [line.split(": ")[1] for line in lines] == [
            "looking for frames (first time)",
            "looking for characters (first time)",
            "looking for characters (first time)",  # another selection
        ]
        for name in "frames_of", "count_characters":
            monkeypatch.setattr(transcripts, name, None)
        again = load(folder, index_dir)
        assert transcripts.ctc_frames(again, CharMap()).tolist() == frames
        assert transcripts.character_counts(again) == Counter("".join(sentences).lower())
        assert said() == []


def test_labels_are_counted_in_the_selection(folder):
    corpus, charmap = load(folder, None), CharMap()
    labels = Counter(label for i in (3, 7) for label in charmap.encode(f"Un {i}."))
    chosen = corpus.select(np.isin(np.arange(10), (3, 7)))
    counts = transcripts.label_counts(chosen, charmap)
    assert counts.tolist() == [labels[i] for i in range(charmap.vocab_size)]


def test_other_maps_and_other_texts_are_read_again(folder, tmp_path):
    corpus = load(folder, tmp_path / "index")
    some, other = CharMap(), CharMap.from_symbols("Un .0123456789")
    assert transcripts.ctc_frames(corpus, some)[0] == len("¶un 0.¦")
    assert transcripts.ctc_frames(corpus, other)[0] == transcripts.REFUSED  # no small u
    write_table(folder, range(10), "Onze {}.")
    corpus = load(folder, tmp_path / "index")
    assert transcripts.ctc_frames(corpus, some)[0] == len("¶onze 0.¦")


def test_not_too_many_are_kept(folder, tmp_path):
    corpus = load(folder, tmp_path / "index")
    for i in range(index.KEPT_OF_A_KIND + 3):
        transcripts.ctc_frames(corpus, CharMap.from_symbols(f"Un .0123456789❌{chr(0x4E00 + i)}"))
    assert len(kept(tmp_path / "index", "frames")) == index.KEPT_OF_A_KIND
    assert len(kept(tmp_path / "index")) == 1
