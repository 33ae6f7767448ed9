"""The demo corpus: what it writes, that it writes the same again, and how it ends if it cannot."""

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip(
    "espeakng_loader",
    reason="espeakng-loader is missing: pip install -r requirements-dev.txt",
)
import espeakng_loader
import soundfile

SCRIPT = Path(__file__).parents[2] / "tools" / "make_demo_corpus.py"
sys.path.insert(0, str(SCRIPT.parent))
import make_demo_corpus as demo

pytestmark = pytest.mark.slow

COUNTS = {"train": 12, "dev": 4, "test": 4}
SMALL = ["--train", "12", "--dev", "4", "--test", "4"]


def make(out: Path, *flags: str) -> Path:
    assert demo.main(["--out", str(out), *SMALL, *flags]) == 0
    return out / "demo-1.0" / "fr"


def read_tsv(path: Path) -> list[dict[str, str]]:
    header, *lines = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


def read_all(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def tables(corpus):
    return {split: read_tsv(corpus / f"{split}.tsv") for split in COUNTS}


@pytest.fixture(scope="module")
def speaker():
    with demo.Speaker() as speaker:
        yield speaker


# --- What is written -----------------------------------------------------------------------------


def test_tables_have_the_columns_of_common_voice(corpus, tables):
    header = (
        "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender\taccents\t"
        "variant\tlocale\tsegment"
    )
    for split, rows in tables.items():
        assert (corpus / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[0] == header
        assert len(rows) == COUNTS[split]
        assert all(row["locale"] == "fr" and len(row["client_id"]) == 128 for row in rows)
        assert all(row["sentence"][0].isupper() and row["sentence"][-1] in ".!?" for row in rows)


def test_clips_are_mono_16_khz_and_as_long_as_the_durations_say(corpus, tables):
    durations_ms = {
        row["clip"]: int(row["duration[ms]"]) for row in read_tsv(corpus / "clip_durations.tsv")
    }
    paths = [row["path"] for rows in tables.values() for row in rows]
    assert (
        sorted(paths)
        == sorted(durations_ms)
        == sorted(path.name for path in (corpus / "clips").iterdir())
    )
    for path in paths:
        samples, rate = soundfile.read(corpus / "clips" / path)
        assert rate == 16000 and samples.ndim == 1
        assert abs(1000 * len(samples) / rate - durations_ms[path]) <= 1
        assert 600 < durations_ms[path] < 6000
        assert 0.2 < np.abs(samples).max() < 0.99 and samples.std() > 0.01


def test_splits_share_neither_voices_nor_sentences(tables):
    for column in "client_id", "sentence", "sentence_id", "path":
        values = {split: {row[column] for row in rows} for split, rows in tables.items()}
        assert (
            not values["train"] & values["dev"]
            | values["train"] & values["test"]
            | values["dev"] & values["test"]
        )


def test_the_same_settings_write_the_same_bytes(corpus, tmp_path):
    """Once in this process, where espeak has spoken before, and once in a fresh one."""
    expected = read_all(corpus)
    assert read_all(make(tmp_path / "again")) == expected
    subprocess.run([sys.executable, SCRIPT, "--out", tmp_path / "fresh", *SMALL], check=True)
    assert read_all(tmp_path / "fresh" / "demo-1.0" / "fr") == expected


def test_another_seed_writes_another_corpus(corpus, tmp_path):
    other = read_all(make(tmp_path, "--seed", "2"))
    expected = read_all(corpus)
    assert other.keys() == expected.keys()
    assert not any(other[name] == content for name, content in expected.items())


# --- The sentences -------------------------------------------------------------------------------


def test_default_plan_trains_every_word_often():
    source, _ = demo.get_source("fr", None, seed=1)
    clips = demo.plan_clips("fr", {"train": 1450, "dev": 80, "test": 150}, source)
    counts = {}
    for clip in clips:
        if clip.split == "train":
            for word in demo.words_of(clip.sentence):
                counts[word] = counts.get(word, 0) + 1
    held_out = {
        word for clip in clips if clip.split != "train" for word in demo.words_of(clip.sentence)
    }
    assert len(counts) >= 200
    assert min(counts[word] for word in held_out) >= 10
    assert {"é", "è", "ê", "à", "ç", "œ", "'"} <= set("".join(counts))


def test_one_clip_in_seven_says_two_sentences_and_none_is_said_twice():
    source, _ = demo.get_source("fr", None, seed=1)
    clips = demo.plan_clips("fr", {"train": 1450, "dev": 80, "test": 150}, source)
    said = [re.split(r"(?<=[.!?]) (?=[A-ZÀÉŒ])", clip.sentence) for clip in clips]
    assert [len(sentences) for sentences in said[:14]] == [1, 1, 1, 1, 1, 1, 2] * 2
    in_pairs = {
        clip.voice for clip, sentences in zip(clips, said, strict=True) if len(sentences) == 2
    }
    assert in_pairs == {clip.voice for clip in clips}
    words = [" ".join(demo.words_of(sentence)) for sentences in said for sentence in sentences]
    assert len(words) == len(set(words)) == 1680 + 1680 // 7


def test_every_rule_of_the_grammars_is_used_and_defined():
    for grammar in demo.GRAMMARS.values():
        rules = demo.read_rules(grammar)
        used = {
            part.split("}")[0] for choice in rules["sentence"] for part in choice.split("{")[1:]
        }
        assert used == rules.keys() - {"sentence"}


def test_sentences_that_differ_in_punctuation_only_count_once():
    assert demo.choose_sentences(["Il dort.", "…", "il dort !", "Elle dort."], 2) == [
        "Il dort.",
        "Elle dort.",
    ]
    with pytest.raises(demo.DemoError, match="2 different sentences are needed, only 1"):
        demo.choose_sentences(["Il dort.", "Il dort !"], 2)


def test_another_language_speaks_the_sentences_of_a_file(tmp_path, capsys):
    file = tmp_path / "german.txt"
    file.write_text("Der Hund schläft.\nDie Katze  spielt.\n\nEs regnet heute.\n", encoding="utf-8")
    flags = ["--lang", "de", "--sentences", str(file), "--train", "1", "--dev", "1", "--test", "1"]
    assert demo.main(["--out", str(tmp_path), *flags]) == 0
    tables = [read_tsv(tmp_path / "demo-1.0" / "de" / f"{split}.tsv") for split in COUNTS]
    sentences = sorted(row["sentence"] for rows in tables for row in rows)
    assert sentences == ["Der Hund schläft.", "Die Katze spielt.", "Es regnet heute."]
    assert demo.main(["--out", str(tmp_path / "more"), *flags, "--train", "2"]) == 2
    assert "4 different sentences are needed, only 3 found" in capsys.readouterr().err
    assert not (tmp_path / "more").exists()


def test_english_is_built_in(tmp_path):
    make(tmp_path, "--lang", "en")
    assert len(read_tsv(tmp_path / "demo-1.0" / "en" / "train.tsv")) == 12


# --- One recording -------------------------------------------------------------------------------


def record_tones(n: int) -> list[tuple[np.ndarray, int]]:
    """A second of a tone, recorded ``n`` times: the recording, and where in it the tone starts."""
    tone = np.sin(np.arange(16000)).astype(np.float32)
    recordings = []
    for seed in range(n):
        samples = demo.record(demo.Utterance(tone, 16000, []), np.random.default_rng(seed))
        likeness = np.abs(np.correlate(samples, tone, "valid"))
        recordings.append((samples, int(likeness.argmax())))
    return recordings


def test_the_silence_around_the_words_is_of_any_length_asked_for():
    low_s, high_s = demo.SILENCE_S
    recordings = record_tones(200)
    before_s = [start / 16000 for _, start in recordings]
    after_s = [(len(samples) - start) / 16000 - 1 for samples, start in recordings]
    for silence_s in before_s, after_s:
        counts, _ = np.histogram(silence_s, bins=4, range=(low_s - 0.001, high_s + 0.001))
        assert counts.sum() == 200 and counts.min() > 25
    assert abs(np.corrcoef(before_s, after_s)[0, 1]) < 0.2


def test_a_gate_dampens_the_noise_around_the_words_and_none_of_the_words(monkeypatch):
    gated = record_tones(60)
    monkeypatch.setattr(demo, "GATE_DB", 0.0)
    dampened_db = []
    for (samples, start), (plain, _) in zip(gated, record_tones(60), strict=True):
        assert np.array_equal(samples[start : start + 16000], plain[start : start + 16000])
        for noise, ungated in (
            (samples[:start], plain[:start]),
            (samples[start + 16000 :][::-1], plain[start + 16000 :][::-1]),
        ):
            n_shut = int((noise != ungated).sum())
            gate = noise[:n_shut] / ungated[:n_shut]
            assert np.array_equal(noise[n_shut:], ungated[n_shut:])
            assert np.allclose(gate, gate[0], rtol=1e-3)
            dampened_db.append(-20 * np.log10(gate[0]))
    assert min(dampened_db) > 0 and 10 < np.mean(dampened_db) < 20 and max(dampened_db) > 40


# --- One utterance -------------------------------------------------------------------------------


def test_word_times_are_in_order_and_within_the_utterance(speaker):
    utterance = speaker.say("L'été, ma sœur achète une pomme près de l'école !")
    assert [
        word.text for word in utterance.words
    ] == "L'été ma sœur achète une pomme près de l'école".split()
    assert (
        utterance.rate == 16000
        and utterance.samples.dtype == np.float32
        and utterance.samples.ndim == 1
    )
    bounds_s = [bound for word in utterance.words for bound in (word.start_s, word.end_s)]
    assert (
        bounds_s == sorted(bounds_s)
        and bounds_s[0] >= 0
        and bounds_s[-1] <= len(utterance.samples) / 16000
    )
    assert all(word.end_s - word.start_s > 0.03 for word in utterance.words)


def test_a_pause_belongs_to_no_word(speaker):
    words = speaker.say("Bonjour, Marie.").words
    pause = speaker.say("Bonjour, Marie.").samples[
        round(16000 * words[0].end_s) : round(16000 * words[1].start_s)
    ]
    assert len(pause) > 800 and np.abs(pause).max() < 0.02


def test_word_times_join_what_espeak_splits_and_what_it_runs_together():
    samples = np.ones(16000, np.float32)
    samples[8000:10000] = 0  # half a second of sound, a pause, sound
    words = demo.word_times("L'eau, il y a !", [(0, 0.0), (2, 0.1), (7, 0.625)], samples)
    assert words == [("L'eau", 0.0, 0.5), ("il y a", 0.625, 1.0)]


def test_equal_arguments_give_equal_samples(speaker):
    """espeak alone does not: its pitch flutter goes on where the utterance before ended."""
    for voice in "fr+m1", "fr+f5", "fr":
        first = speaker.say("Le chat dort.", voice).samples
        speaker.say("Où joue le chien ?", "fr+f2", 185, 60)
        assert np.array_equal(speaker.say("Le chat dort.", voice).samples, first)


def test_equal_arguments_give_equal_samples_while_espeak_is_loaded_elsewhere(speaker):
    """As by phonemizer, which never unloads the library."""
    elsewhere = ctypes.CDLL(espeakng_loader.get_library_path())
    first = speaker.say("Le chat dort.").samples
    speaker.say("Où joue le chien ?", "fr+f2", 185, 60)
    assert elsewhere and np.array_equal(speaker.say("Le chat dort.").samples, first)


def test_all_voices_are_installed_and_differ(speaker):
    voices = [voice for split in demo.VOICES.values() for voice in split]
    assert set(voices) > demo.FEMALE
    spoken = {speaker.say("Le chat dort.", f"fr+{voice}").samples.tobytes() for voice in voices}
    assert len(spoken) == len(voices)


def test_a_long_data_path_speaks_like_a_short_one(speaker, tmp_path):
    """espeak cuts the path of its data at 160 bytes."""
    installed = Path(espeakng_loader.get_data_path())
    deep = tmp_path / ("d" * 120) / ("e" * 120) / "espeak-ng-data"
    dictionaries = [
        path.name for path in installed.glob("*_dict") if path.name not in ("fr_dict", "en_dict")
    ]
    shutil.copytree(installed, deep, ignore=shutil.ignore_patterns(*dictionaries))
    with demo.Speaker(deep) as deep_speaker:
        assert len(str(deep)) > 200
        assert np.array_equal(
            deep_speaker.say("Le chat dort.").samples, speaker.say("Le chat dort.").samples
        )
        link = deep_speaker._data_path
        assert link.exists() and len(str(link)) < 160
    assert not link.parent.exists() and deep.exists()


def test_unknown_voices_and_silent_texts_are_refused(speaker):
    with pytest.raises(demo.DemoError, match="no voice variant 'nobody'"):
        speaker.say("Bonjour.", "fr+nobody")
    for language in "xx", "roa", "":  # "roa" is a folder of languages, which would crash espeak
        with pytest.raises(demo.DemoError, match=f"no language '{language}'"):
            speaker.say("Bonjour.", language)
    with pytest.raises(demo.DemoError, match="says nothing"):
        speaker.say("…")


@pytest.mark.parametrize("language", "de en es fr it nl pt ru".split())
def test_the_languages_that_the_error_names_exist(speaker, language):
    assert speaker.say("a", language).samples.any()


# --- How it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--lang", "de"], "give --sentences FILE"),
        (
            ["--lang", "xx", "--sentences", str(SCRIPT)],
            "espeak has no language 'xx'; it has de, en",
        ),
        (["--lang", "../fr"], "no language code"),
        (["--sentences", "missing.txt"], "missing.txt"),
        (["--test", "0"], "at least 1"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(tmp_path, flags, said):
    command = [sys.executable, SCRIPT, "--out", tmp_path / "out", *SMALL, *flags]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stdout == ""
    assert (
        said in ended.stderr and ended.stderr.count("\n") == 1 and "Traceback" not in ended.stderr
    )
    assert not (tmp_path / "out").exists()


def test_a_corpus_that_is_there_is_kept_unless_forced(tmp_path, capsys):
    target = make(tmp_path)
    before = read_all(target)
    make(tmp_path)
    assert "is there already" in capsys.readouterr().out

    other = ["--out", str(tmp_path), *SMALL, "--seed", "2"]
    assert demo.main(other) == 2
    assert "other settings: --force replaces it" in capsys.readouterr().err
    assert read_all(target) == before
    assert demo.main([*other, "--force"]) == 0
    assert read_all(target) != before

    next((target / "clips").iterdir()).unlink()
    assert demo.main(other) == 2
    assert "is incomplete" in capsys.readouterr().err
    assert [path.name for path in target.parent.iterdir()] == ["fr"]


def test_what_is_no_demo_corpus_is_never_replaced(tmp_path, capsys):
    precious = tmp_path / "demo-1.0" / "fr" / "train.tsv"
    precious.parent.mkdir(parents=True)
    precious.write_text("recorded by people")
    assert demo.main(["--out", str(tmp_path), *SMALL, "--force"]) == 2
    assert "is no demo corpus" in capsys.readouterr().err
    assert precious.read_text() == "recorded by people"


@pytest.mark.parametrize("error, status", [(KeyboardInterrupt(), 130), (OSError("disk full"), 2)])
def test_what_ends_midway_leaves_no_half_corpus(tmp_path, monkeypatch, capsys, error, status):
    say, n_said = demo.Speaker.say, 0

    def say_five_times(*args):
        nonlocal n_said
        n_said += 1
        if n_said > 5:
            raise error
        return say(*args)

    monkeypatch.setattr(demo.Speaker, "say", say_five_times)
    assert demo.main(["--out", str(tmp_path), *SMALL]) == status
    assert n_said == 6 and list((tmp_path / "demo-1.0").iterdir()) == []
    assert capsys.readouterr().err == ("" if status == 130 else "make_demo_corpus: disk full\n")


def test_without_espeakng_loader_the_error_names_the_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert demo.main(["--out", str(tmp_path), *SMALL]) == 2
    assert "pip install -r requirements-dev.txt" in capsys.readouterr().err
