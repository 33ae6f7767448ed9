"""A newcomer's language: its profile and character map, and every command in 20 languages."""

import json
import logging
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asr_ctc.acoustic.model_file import load_model, save_model
from asr_ctc.assembly.charmap import make_charmap
from asr_ctc.assembly.language_model import build_language_model
from asr_ctc.assembly.writing import extend_writing, find_writing, with_charset
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config, parse_yaml
from asr_ctc.corpus.corpus import find_corpus, load_split
from asr_ctc.decoding.beam import Beam
from asr_ctc.lm.ngrams import GrowingModel
from asr_ctc.lm.spelling import missing_accents_note, unspelt_note
from asr_ctc.scoring.clips import ScoredClip, as_jsonl, read_hypotheses
from asr_ctc.scoring.compare import compare
from asr_ctc.scoring.screen import comparison_as_text
from asr_ctc.text import segments
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.languages import LANGUAGES
from asr_ctc.text.normalise import distinctions_of
from asr_ctc.text.segments import why_no_words
from asr_ctc.text.writing import Writing
from asr_ctc.training.refusals import refuse_best_by_wer
from asr_ctc.training.run_folder import repeatable
from tests.helpers.command import SMALL, call
from tests.helpers.languages import CODES, transcripts
from tests.helpers.segments import in_pairs, without_segmenter
from tools.toy_corpus import HEADER

RATE_HZ = 16_000


@pytest.fixture
def train_split(tmp_path, log_everything):
    """Makes a corpus of a language without recordings: (settings, its train split)."""

    def make(lines, layout="commonvoice", **flags):
        flags = {"datasetroot": str(tmp_path / "data"), "corpus": layout, **flags}
        config = make_config({}, flags)
        if layout == "manifest":
            folder = tmp_path / "data"
            table = "path\tsentence\n" + "".join(f"{i}.wav\t{s}\n" for i, s in enumerate(lines))
        else:
            folder = tmp_path / "data" / "v-1.0" / config.corpus.lang
            rows = [f"p\t{i}.mp3\t{i}\t{s}\t\t2\t0\t\t\t\t\t\t" for i, s in enumerate(lines)]
            table = "\n".join([HEADER, *rows]) + "\n"
        (folder / "clips").mkdir(parents=True, exist_ok=True)
        for split in ("train", "dev", "test"):
            (folder / f"{split}.tsv").write_text(table, encoding="utf-8")
        corpus = config.corpus
        found = find_corpus(corpus.datasetroot, None, corpus.lang, layout=layout)
        return config, load_split(found, "train", layout, index_dir=None)

    return make


def chosen(config, train):
    """(the --charset of settings without one, the character map)."""
    writing = find_writing(config, train)
    config = with_charset(config, writing)
    config = config.replace(charset_min_count=1)
    return config.corpus.charset, make_charmap(config.corpus, train, writing)


def test_settings_that_are_written_down_read_the_transcripts_alike(train_split):
    """Of a corpus whose folders name no language, --lang is not written unless it was given."""
    config, train = train_split(transcripts("tr"), layout="manifest")
    run = SimpleNamespace(config=config, train_corpus=train)
    again = make_config(parse_yaml(repeatable(run).to_yaml(), "config.yaml"), {})
    assert find_writing(again, train) == find_writing(config, train) != LANGUAGES["fr"]
    config, train = train_split(transcripts("tr"), layout="manifest", lang="tr")
    run = SimpleNamespace(config=config, train_corpus=train)
    assert "lang: 'tr'" in repeatable(run).to_yaml()
    named = make_config({}, {"corpus": "manifest"}, names=["corpus", "lang", "nmels"])
    run = SimpleNamespace(config=named, train_corpus=train)
    assert repeatable(run).names == ("corpus", "nmels")


@pytest.mark.few(4)
@pytest.mark.parametrize("code", CODES)
def test_the_default_map_is_for_french_and_english(train_split, caplog, code):
    charset, charmap = chosen(*train_split(transcripts(code), lang=code))
    assert charset == ("default" if code in ("fr", "en") else "auto")
    lines = [line for line in caplog.messages if line.startswith("character map:")]
    if charset == "default":
        assert len(lines) == 1 and charmap == CharMap(writing=LANGUAGES[code])
        assert "é is written e" in lines[0] and "--charset auto keeps accents" in lines[0]
    else:
        assert len(lines) == 1 and f"and this is --lang {code}" in lines[0]
        text = "".join(transcripts(code))
        assert not charmap.unknown_characters(text)


@pytest.mark.parametrize(
    ("code", "charset", "name", "folding"),
    [
        ("en", "default", "fr", "default"),
        ("vi", "auto", "Latin script", "default"),
        ("tr", "auto", "Latin script", "turkish"),
        ("de", "auto", "Latin script", "default"),
        ("ka", "auto", "Georgian script", "default"),
        ("th", "auto", "Thai script", "default"),
    ],
)
def test_without_a_language_the_transcripts_decide(train_split, code, charset, name, folding):
    found, charmap = chosen(*train_split(transcripts(code), "manifest"))
    assert (found, charmap.writing.name, charmap.case_folding) == (charset, name, folding)
    assert charmap.writing.spaces == (code != "th")


def test_a_language_that_is_given_counts_and_one_of_another_script_is_noticed(train_split, caplog):
    found, charmap = chosen(*train_split(transcripts("vi"), "manifest", lang="fr"))
    assert (found, charmap.writing.name) == ("default", "fr")
    found, charmap = chosen(*train_split(transcripts("ka"), lang="fr"))
    assert (found, charmap.writing.name) == ("auto", "Georgian script")
    assert "in Georgian script, which is not that of --lang fr" in caplog.text


def test_what_is_given_is_taken(train_split, caplog):
    given = train_split(transcripts("fr"), charset="auto", case_folding="turkish")
    found, charmap = chosen(*given)
    assert found == "auto" and "é" in charmap.symbols and charmap.case_folding == "turkish"
    assert "published" not in caplog.text


def test_a_profile_extends_and_overrules(train_split, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("optional: 'ʼ'\nalternatives: {ы: ı}\nspaces: no\ncase_folding: turkish\n")
    config, train = train_split(transcripts("fa"), lang="fa", profile=str(file))
    writing = find_writing(config, train)
    assert writing.name == "fa with mine.yaml" and not writing.spaces
    assert writing.alternatives == {**LANGUAGES["fa"].alternatives, "ы": "ı"}
    assert writing.optional == {**LANGUAGES["fa"].optional, "ʼ": ""}
    file.write_text("language: ru\noptional: none\ninvisible: none\n", encoding="utf-8")
    other = extend_writing(str(file), writing)
    assert other == replace(LANGUAGES["ru"], name="ru with mine.yaml", optional={}, invisible="")
    french = train_split(transcripts("fr"), lang="fr", profile=str(file))
    file.write_text("optional: {ï: i}\n", encoding="utf-8")
    assert with_charset(french[0], find_writing(*french)).corpus.charset == "default"


def test_a_map_in_a_file_keeps_its_profile_unless_another_is_asked_for(train_split, tmp_path):
    file = tmp_path / "map.json"
    file.write_text(CharMap(writing=LANGUAGES["tr"]).to_json(), encoding="utf-8")
    given = {"charset": str(file), "lang": "fr"}
    _, charmap = chosen(*train_split(transcripts("fr"), **given))
    assert charmap.writing == LANGUAGES["tr"]
    _, charmap = chosen(*train_split(transcripts("fr"), **given, case_folding="german"))
    assert (charmap.writing.name, charmap.case_folding) == ("fr", "german")
    file.write_text(CharMap().to_json(), encoding="utf-8")
    _, charmap = chosen(*train_split(transcripts("fr"), **given))
    assert charmap.writing == LANGUAGES["fr"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("spaces: sometimes", "spaces must be true or false, found 'sometimes'"),
        ("case: turkish", "unknown 'case'; it has alternatives, case_folding"),
        ("optional: [a]", "optional must be a table"),
        ("alternatives: abc", "alternatives must be a table of a form"),
        ("alternatives: {a: b, b: c}", "'a' stands for 'b', which stands for another"),
        ("language: xx", "there is no profile of 'xx'"),
        ("invisible: a", "invisible must be invisible characters"),
        ("[1, 2]", "must contain lines of"),
        ("a: {", "not valid YAML"),
        (b"\xff", "not a UTF-8 text"),
        (None, "cannot be read"),
    ],
)
def test_profiles_that_cannot_be_used_are_told(tmp_path, content, complaint):
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match="--profile .*mine.yaml") as told:
        extend_writing(str(file), Writing())
    assert complaint in str(told.value) and "\n" not in str(told.value)


# ---------------------------------------------------------------------------- language models


def write_other_splits(folder, sentence):
    for split in "dev", "test":
        row = f"p\tx.mp3\t0\t{sentence}\t\t2\t0" + 6 * "\t"
        (folder / f"{split}.tsv").write_text(f"{HEADER}\n{row}\n", encoding="utf-8")


@pytest.mark.slow
def test_a_text_that_cannot_be_spelt_is_refused(train_split, tmp_path):
    config, _ = train_split(transcripts("ka"), lang="ka")
    write_other_splits(tmp_path / "data/v-1.0/ka", "ა")
    flags = {"datasetroot": config.corpus.datasetroot, "lang": "ka", "order": 2}
    flags |= {"out": str(tmp_path / "m.arpa"), "baselogdir": str(tmp_path)}
    for level in "word", "char":
        wrong = make_config({}, {**flags, "charset": "default", "level": level})
        with pytest.raises(
            UserError, match="--charset default can spell none of the [0-9,]+ words"
        ):
            build_language_model(wrong)
    assert not (tmp_path / "m.arpa").exists()
    built = build_language_model(make_config({}, flags))
    assert "მასწავლებელი" in built.model.words
    assert built.speller == "the character map of --charset auto"


def test_a_sentence_of_dev_teaches_nothing_with_harakat_either(train_split, tmp_path):
    config, _ = train_split(["كَتَبَ رسالة", "قرأ كتابا"], lang="ar", charset_min_count=1)
    write_other_splits(tmp_path / "data/v-1.0/ar", "كتب رسالة")
    flags = {"datasetroot": config.corpus.datasetroot, "lang": "ar", "order": 2}
    flags |= {"out": str(tmp_path / "m.arpa"), "baselogdir": str(tmp_path), "charset_min_count": 1}
    built = build_language_model(make_config({}, flags))
    assert built.sources[0].n_excluded == 1 and built.sources[0].n_sentences == 1


def test_words_are_spelt_by_the_newest_model_of_the_language(train_split, tmp_path, tiny_model):
    config, _ = train_split(transcripts("fr"), lang="fr")
    flags = {"datasetroot": config.corpus.datasetroot, "order": 2, "baselogdir": str(tmp_path)}
    flags |= {"out": str(tmp_path / "m.arpa")}
    write_other_splits(tmp_path / "data/v-1.0/fr", "oui")
    (tmp_path / "run").mkdir()
    newest = tmp_path / "run" / "best_model.pt"
    for lang, speller in ("fr", str(newest)), ("de", "--charset default"):
        save_model(newest, replace(tiny_model, origin={"corpus": {"lang": lang}}))
        built = build_language_model(make_config({}, flags))
        assert built.speller == f"the character map of {speller}"
    built = build_language_model(make_config({}, {**flags, "charset": "auto"}))
    assert built.speller == "the character map of --charset auto"


def test_a_language_model_of_other_letters_is_told():
    def model(*words):
        words = ["<unk>", "<s>", "</s>", *words]
        return GrowingModel(words, np.full(len(words), -1.0), np.zeros(len(words))).finish()

    french, _ = CharMap.from_transcripts(transcripts("fr"))
    assert "no word of the language model has a letter with an accent" in missing_accents_note(
        model("ete", "noel"), french
    )
    assert missing_accents_note(model("été", "noel"), french) == ""
    assert missing_accents_note(model("ete"), CharMap()) == ""
    assert missing_accents_note(model("ete"), CharMap.from_transcripts(transcripts("ka"))[0]) == ""
    assert unspelt_note(model("ete", "été"), CharMap()).endswith("not used; the model has no é")
    assert unspelt_note(model("ete"), CharMap()) == ""


def test_hotwords_are_spelt_as_the_language_is_and_want_spaces(caplog):
    def spelt(hotword: str, code: str) -> list[list]:
        charmap, _ = CharMap.from_transcripts(transcripts(code), writing=LANGUAGES[code])
        fusion = Beam(hotwords={hotword: 5.0}).prepared(charmap).fusion
        return [part.tolist() for part in fusion.trie]

    assert spelt("KIRMIZI", "tr") == spelt("kırmızı", "tr") != spelt("kirmizi", "tr")
    assert not caplog.messages
    spelt("ชา", "th")
    assert ["between spaces" in message for message in caplog.messages] == [True]


# ------------------------------------------------------------------------------- the right score


def test_two_rules_are_not_compared(tmp_path):
    folded = ScoredClip("a", "Noël", "Noel", scored={"accents": False, "writing": LANGUAGES["fr"]})
    kept = replace(folded, scored={"accents": True, "writing": LANGUAGES["fr"]})
    arabic = replace(folded, scored={"accents": False, "writing": LANGUAGES["ar"]})
    mine = Writing(name="mine", optional={"x": ""})
    other = replace(folded, scored={"accents": False, "writing": mine})
    for name, clip in {"a": folded, "b": kept, "c": arabic, "d": other}.items():
        (tmp_path / name).write_text(as_jsonl([clip]), encoding="utf-8")
    assert json.loads((tmp_path / "a").read_text())["writing"] == "fr"
    assert read_hypotheses(tmp_path / "d")[0].scored == {"accents": False, "writing": mine}
    told = call("compare a b", cwd=tmp_path)
    assert (
        told.returncode == 2 and "different rules, one with accents and one without" in told.stderr
    )
    for flag, wer in ("--accents", 1.0), ("--no-accents", 0.0):
        done = call("compare a b --json", flag, cwd=tmp_path)
        assert done.returncode == 0 and json.loads(done.stdout)["wer"]["a"] == wer
    told = call("compare a c", cwd=tmp_path)
    assert told.returncode == 2 and "different writing profiles (ar: " in told.stderr
    (tmp_path / "p.yaml").write_text("language: th\n")
    done = call("compare a c --profile p.yaml --json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert (report["wer"] is None) == (segments.icu() is None)
    assert report["cer"]["a"] == 0 and "in CER" in report["verdict"]
    assert "no spaces between words" in report["scored_by"]


def test_words_of_two_segmenters_are_not_compared(tmp_path, monkeypatch):
    in_pairs(monkeypatch)
    thai = {"accents": False, "writing": LANGUAGES["th"]}
    one = ScoredClip("a", "กขคง", "กขคจ", scored=thai, segmenter="pairs 1")
    other = replace(one, segmenter="pairs 2")
    unknown = replace(one, segmenter="")
    for name, clip in {"a": one, "b": other, "c": unknown}.items():
        (tmp_path / name).write_text(as_jsonl([clip]), encoding="utf-8")
        assert read_hypotheses(tmp_path / name) == [
            replace(ScoredClip("a", "กขคง", "กขคจ", scored=thai), segmenter=clip.segmenter)
        ]
    with pytest.raises(UserError, match=r"different segmenters cut \(pairs 1; pairs 2\)"):
        compare(("a", "b"), [one], [other])
    for second in one, unknown:  # of earlier versions, or where there was no segmenter
        report = compare(("a", "b"), [one], [second])
        assert report.wer.a == 1 / 2 and report.cer.a == 1 / 4
        assert report.segmenter == "pairs 1" and "words cut by pairs 1" in report.scored_by
        text = comparison_as_text(report)
        assert text.index("CER") < text.index("WER") and "in CER" in report.verdict
    with_spaces = {"writing": Writing()}
    assert compare(("a", "b"), [one], [other], **with_spaces).segmenter == ""
    (tmp_path / "a").write_text('{"id": "a", "reference": "", "hypothesis": "", "segmenter": 1}')
    with pytest.raises(UserError, match="line 1: segmenter must be a text, found 1"):
        read_hypotheses(tmp_path / "a")


def test_a_map_of_a_model_file_carries_its_profile(tmp_path, tiny_model):
    charmap = CharMap(writing=LANGUAGES["ar"])
    save_model(tmp_path / "m.pt", replace(tiny_model, charmap=charmap))
    assert load_model(tmp_path / "m.pt").charmap == charmap
    rows = call("info m.pt", cwd=tmp_path).stdout.splitlines()
    assert [row for row in rows if row.startswith("writing")] == [
        "writing        ar: 13 alternative forms, 39 optional marks, keeps no invisible characters"
    ]


# --------------------------------------------------------------------------------- every command


def speak(path, text: str, seed: int) -> None:
    """A clip long enough for its transcript: a tone for each character, each with a pause."""
    noise = np.random.default_rng(seed)
    time = np.arange(RATE_HZ // 10) / RATE_HZ
    tones = [
        np.hanning(len(time)) * np.sin(2 * np.pi * (300 + 13 * (ord(c) % 97)) * time) for c in text
    ]
    samples = 0.3 * np.concatenate(tones) + 0.01 * noise.standard_normal(len(text) * len(time))
    soundfile.write(path, samples, RATE_HZ)


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
def test_every_command_in_every_language(tmp_path, monkeypatch, code):
    warned = []
    monkeypatch.setattr(
        logging.Logger, "warning", lambda log, message, *values: warned.append(message % values)
    )
    root = tmp_path / "mine"
    (root / "clips").mkdir(parents=True)
    rows = ["path\tsentence\tspeaker"]
    for i, text in enumerate(transcripts(code)):
        speak(root / "clips" / f"{i}.wav", text, i)
        rows.append(f"clips/{i}.wav\t{text}\tspeaker{i % 6}")
    (root / "all.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    corpus = f"--corpus manifest --lang {code} --datasetroot mine --nthreads 0"

    def done(line: str):
        finished = call(line, cwd=tmp_path)
        assert finished.returncode == 0, (line, finished.stderr)
        return finished

    done(f"split --test 0.2 --dev 0.2 {corpus}")
    every = "--min_duration 0 --max_duration 20 --charset_min_count 1"
    checked = done(f"check {corpus} {every} --out checked")
    train = f"train {SMALL} --num_epochs 1 --logname m {every}"
    trained = done(f"{train} {corpus}")
    assert "cannot" not in trained.stderr
    file = load_model(tmp_path / "logs/m/best_model.pt")
    has_spaces = file.charmap.writing.spaces
    assert has_spaces == (code not in ("th", "zh-CN", "ja"))
    has_words = not why_no_words(file.charmap.writing)
    assert has_words == (has_spaces or segments.icu() is not None)
    for said in checked.stdout, trained.stderr:
        assert ("word segments, cut by ICU" in said) == (has_words and not has_spaces)
        assert ("there is no WER" in said) == (not has_words)
    assert math.isnan(file.scores["dev_wer"]) == (not has_words)
    assert ("  dev WER" in trained.stderr) == has_words
    told = done(f"lm {corpus.replace('--nthreads 0', '')} --order 2 --out m.arpa").stderr
    assert "logs/m/best_model.pt" in told
    assert ("a model of characters, because" in told) == (not has_spaces)
    greedy = done(f"test --split test {corpus} --json")
    report = json.loads(greedy.stdout)
    assert (report["wer"]["rate"] is None) == (not has_words)
    assert bool(report["segmenter"]) == (has_words and not has_spaces)
    assert report["kept"] == (["accents"] if distinctions_of(file.charmap)["accents"] else [])
    beam = done(f"test --split test --beamsearch --lm m.arpa {corpus} --html s.html")
    assert ("no WER: this writing has no spaces" in beam.stdout) == (not has_words)
    assert "letter" not in beam.stderr and "cannot be spelt" not in beam.stderr
    aligned = done(f"align --split test {corpus}")
    assert len(aligned.stdout.splitlines()) == report["clips"]
    assert warned == []


def test_wer_cannot_select_an_epoch_where_there_is_none(monkeypatch):
    config = make_config({}, {"best_by": "wer"})
    thai = CharMap(writing=LANGUAGES["th"])
    without_segmenter(monkeypatch)
    with pytest.raises(UserError, match="--best_by wer: there is no WER: this .* pip install"):
        refuse_best_by_wer(config, thai)
    refuse_best_by_wer(config, CharMap())
    in_pairs(monkeypatch)
    refuse_best_by_wer(config, thai)


def test_a_language_model_without_spaces_is_one_of_characters(train_split, tmp_path, caplog):
    config, _ = train_split(transcripts("th"), lang="th")
    write_other_splits(tmp_path / "data/v-1.0/th", "ก")
    flags = {"datasetroot": config.corpus.datasetroot, "lang": "th", "order": 2}
    flags |= {"out": str(tmp_path / "m.arpa"), "baselogdir": str(tmp_path)}
    built = build_language_model(make_config({}, flags))
    assert built.unit == "character" and "ก" in built.model.words
    assert "a model of characters, because this writing has no spaces" in caplog.text
    caplog.clear()
    built = build_language_model(make_config({}, {**flags, "level": "word"}))
    assert built.unit == "word" and "--level char suits it" in caplog.text
