"""What `check` suggests: the writing of a language, bounds that train, every typed flag."""

import re
import shlex

import pytest

from asr_ctc.check import texts
from asr_ctc.check.corpus_check import check_corpus
from asr_ctc.check.suggestions import suggested_charset
from asr_ctc.commands.main import COMMANDS
from asr_ctc.config.flags import parse
from asr_ctc.config.load import make_config
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.writing import Writing
from tests.check.test_check import Rows
from tools.toy_corpus import make_toy_corpus

FRENCH = "Où êtes-vous ? Ça va, l'été à Noël, cœur.", "Elle a vingt-trois ans déjà."
VIETNAMESE = "Tôi không biết điều đó.", "Hôm nay trời đẹp quá!"
TURKISH = "Işık hızı çok yüksektir.", "Çocuklar bahçede oynuyor, İstanbul güzel."
GERMAN = "Die Straße wäre für Fußgänger schön.", "Öfter mal etwas Neues!"
SWAHILI = "Habari ya asubuhi, rafiki yangu.", "Watoto wanacheza nje."
GEORGIAN = ("გამარჯობა მეგობარო",)


def writing(sentences, **flags):
    config = make_config({}, flags)
    charmap = CharMap()
    if config.corpus.charset == "auto":
        charmap, _ = CharMap.from_transcripts(sentences)
    alphabet = texts.alphabet({"train": list(sentences)}, charmap, 5)
    return suggested_charset(config, alphabet, charmap.writing)


@pytest.mark.parametrize(
    ("sentences", "flags", "charset", "case_folding"),
    [
        (FRENCH, {}, "default", "default"),
        (FRENCH, {"lang": "fr-CA"}, "default", "default"),
        (FRENCH, {"charset": "auto"}, "auto", "default"),
        (FRENCH, {"corpus": "manifest"}, "default", "default"),
        (FRENCH, {"lang": "br"}, "auto", "default"),
        (SWAHILI, {"lang": "en"}, "default", "default"),
        (SWAHILI, {"lang": "sw"}, "auto", "default"),
        (VIETNAMESE, {"lang": "vi"}, "auto", "default"),
        (VIETNAMESE, {"corpus": "manifest"}, "auto", "default"),
        (VIETNAMESE, {"lang": "fr"}, "auto", "default"),  # a wrong name of a folder
        (VIETNAMESE, {"lang": "vi", "charset": "default"}, "auto", "default"),
        (TURKISH, {"lang": "tr"}, "auto", "turkish"),
        (TURKISH, {"corpus": "manifest"}, "auto", "turkish"),
        (GERMAN, {"corpus": "manifest"}, "auto", "default"),
        (GERMAN, {"lang": "de"}, "auto", "default"),
        (GEORGIAN, {"lang": "ka"}, "auto", "default"),
    ],
)
def test_the_map_suits_the_language(sentences, flags, charset, case_folding):
    suggested = writing(sentences * 5, **flags)
    assert (suggested["charset"], suggested["case_folding"]) == (charset, case_folding)


@pytest.mark.parametrize("sentences", [VIETNAMESE, TURKISH, GERMAN, GEORGIAN])
def test_the_suggested_map_writes_nothing_otherwise(sentences):
    sentences = list(sentences) * 5
    suggested = writing(sentences, corpus="manifest")
    charmap, _ = CharMap.from_transcripts(
        sentences,
        suggested["charset_min_count"],
        Writing(case_folding=suggested["case_folding"]),
    )
    alphabet = texts.alphabet({"train": sentences}, charmap, 1)
    assert alphabet.folded == {} and alphabet.lost == {}


def test_characters_that_are_rare_keep_their_class_where_they_are_much_of_the_text():
    assert writing(VIETNAMESE, lang="vi")["charset_min_count"] == 1
    assert writing(VIETNAMESE * 5, lang="vi")["charset_min_count"] == 5
    assert writing(VIETNAMESE, lang="vi", charset_min_count=4)["charset_min_count"] == 4  # typed
    assert writing(FRENCH, lang="fr")["charset_min_count"] == 5  # the map has nothing to count


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "helps"),
    [
        ({}, "--charset_min_count 1 has"),
        ({"charset_min_count": 3}, "--charset_min_count 1 has"),
        ({"charset": "default"}, "--charset auto has"),
        ({"charset_min_count": 1}, "they are not in train"),
    ],
)
def test_what_gives_a_large_alphabet_more_classes(tmp_path, flags, helps):
    folder = make_toy_corpus(tmp_path / "data", (12, 12, 4), lang="zh-CN")
    first = iter(range(0x4E00, 0x9000))
    is_shared = flags != {"charset_min_count": 1}
    for split in "train", "dev":
        rows, shared = Rows(folder, split), iter(range(0x4E00, 0x9000))
        for i in range(len(rows.rows)):
            code = shared if is_shared else first
            n = 4 if split == "train" or is_shared else 8
            rows.set(i, "sentence", "".join(chr(next(code)) for _ in range(n)))
        rows.save()
    report = check(tmp_path / "data", tmp_path / "o", lang="zh-CN", **flags)
    (problem,) = report.verdict.problems
    assert re.fullmatch(rf"--charset \w+ has no class for .* of the characters; {helps}", problem)


# --------------------------------------------------------------------------------- the command


def flags_of(command):
    """{setting: value} of a suggested command, which `train` must take."""
    words = shlex.split(command)
    assert words[:3] == ["python", "main_ctc.py", "train"]
    _, _, flags = parse(words[2:], COMMANDS)
    return flags


def check(root, out, file_values=None, *, file=None, **flags):
    flags = {"datasetroot": str(root), "nthreads": 0, "out": str(out), **flags}
    names = COMMANDS["check"].names
    config = make_config(file_values or {}, flags, names=names, file=file)
    report, _ = check_corpus(config)
    return report


def test_every_flag_that_was_typed_stays(toy_root, tmp_path):
    typed = {
        "charset": "auto",
        "charset_min_count": 2,
        "case_folding": "german",
        "datasetversion": "toy-1.0",
        "index_dir": str(tmp_path / "an index"),
        "min_duration": 0.75,
        "max_duration": 2.25,
        "nmels": 40,
        "win_length": 0.025,
        "device": "cpu",
    }
    report = check(toy_root, tmp_path / "o", check_clips=6, silent_dbfs=-61.0, **typed)
    flags = flags_of(report.suggestions.command)
    assert flags == {
        **typed,
        "datasetroot": str(toy_root),
        "lang": "fr",
        "nthreads": 0,
        "batch_size": 4,
    }


def test_nothing_is_said_that_training_does_by_itself(toy_root, tmp_path):
    flags = flags_of(check(toy_root, tmp_path).suggestions.command)
    longest = {"max_duration": 2.0}
    assert flags == {
        "datasetroot": str(toy_root), "lang": "fr", "nthreads": 0, "batch_size": 4, **longest
    }  # fmt: skip


@pytest.mark.slow
def test_the_case_of_a_language_needs_no_flag(tmp_path):
    folder = make_toy_corpus(tmp_path / "data", (12, 4, 4), lang="tr")
    for split in "train", "dev", "test":
        rows = Rows(folder, split)
        for i in range(len(rows.rows)):
            rows.set(i, "sentence", TURKISH[i % 2][:8])
        rows.save()
    report = check(tmp_path / "data", tmp_path / "o", lang="tr", charset_min_count=1)
    assert "case_folding" not in flags_of(report.suggestions.command)


def test_a_config_file_stays_and_its_settings_need_no_flag(toy_root, tmp_path):
    values = {"charset": "auto", "charset_min_count": 1, "max_duration": 2.0}
    report = check(toy_root, tmp_path, values, file="my own.yaml")
    assert report.settings.max_duration == 2.0
    flags = flags_of(report.suggestions.command)
    assert flags.pop("config") == "my own.yaml"
    assert flags == {"datasetroot": str(toy_root), "nthreads": 0, "batch_size": 4}


# --------------------------------------------------------------------------- lengths and the map


def test_bounds_that_are_unset_follow_from_the_corpus(toy_root, tmp_path):
    report = check(toy_root, tmp_path)
    train = report.splits["train"]
    assert (report.settings.min_duration, report.settings.max_duration) == (0.0, 2.0)
    assert train.within_bounds == train.clips == 24 and 1.5 < train.longest_s <= 2.0
    assert (report.suggestions.min_duration, report.suggestions.max_duration) == (0.0, 2.0)
    assert report.suggestions.clips_within == 24


@pytest.mark.slow
def test_typed_bounds_that_hold_no_clip_are_not_suggested(toy_root, tmp_path):
    report = check(toy_root, tmp_path, min_duration=10.0, max_duration=20.0)
    assert not report.verdict.can_train
    flags = flags_of(report.suggestions.command)
    assert (flags["min_duration"], flags["max_duration"]) == (0.0, 2.0)
    assert check(toy_root, tmp_path, min_duration=0.0, max_duration=2.0).verdict.can_train


@pytest.mark.slow
def test_the_map_is_made_of_the_transcripts_of_all_lengths(tmp_path):
    """Of the long clips too, so that a corpus is not called unreadable for its bounds."""
    folder = make_toy_corpus(tmp_path / "data", (12, 4, 4), lang="ka")
    for split in "train", "dev", "test":
        rows = Rows(folder, split)
        for i in range(len(rows.rows)):
            rows.set(i, "sentence", "აბგდ ევზთ" if i else "ა")
        rows.save()
    report = check(
        tmp_path / "data", tmp_path / "o",
        lang="ka", charset="auto", charset_min_count=1, max_duration=0.5,
    )  # fmt: skip
    assert report.settings.classes == 2 + 9 and report.alphabet.lost == {}
    assert [p.partition(":")[0] for p in report.verdict.problems] == ["train", "dev"]
    lengths = flags_of(report.suggestions.command)
    assert lengths["max_duration"] > 0.5
