"""--units from training to scores: phonemes, word pieces, characters with phonemes."""

import json
import re

import pytest

from asr_ctc.acoustic.model_file import load_model
from asr_ctc.config.load import read_yaml
from tests.helpers.command import SMALL, call
from tests.helpers.compared import metrics_of
from tools.toy_corpus import make_toy_corpus

pytest.importorskip("phonemizer")
pytest.importorskip("sentencepiece")
pytestmark = pytest.mark.slow

CLIP = "--audiofile data/toy-1.0/fr/clips/toy_dev_0.mp3"
FEW = f"{SMALL} --num_epochs 1 --min_duration 0.5 --charset_min_count 1"
SCORE = "--split dev --nthreads 0"


def succeed(*words, cwd) -> str:
    finished = call(*words, cwd=cwd)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def fail(*words, cwd) -> str:
    finished = call(*words, cwd=cwd)
    assert finished.returncode == 2, finished.stdout
    return finished.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus, and a model of each kind of units, one epoch old."""
    folder = tmp_path_factory.mktemp("units")
    make_toy_corpus(folder / "data")
    for name, options in {
        "sounds": "--units phoneme",
        "pieces": "--units bpe --vocab_size 20",
        "both": "--units char+phoneme --nlayers_rnn 2 --aux_layer 1",
    }.items():
        succeed(f"train {FEW} --logname {name} {options}", cwd=folder)
    return folder


def model(name: str) -> str:
    return f"--modelpath logs/{name}/best_model.pt"


def test_a_model_file_holds_its_units(folder):
    sounds = succeed("info logs/sounds/best_model.pt", cwd=folder)
    assert re.search(r"phonemes +\d+ classes of fr-fr: ¬ ❌ a b", sounds)
    assert "dev_per" in sounds and "dev_cer" not in sounds
    assert re.search(
        r"pieces +\d+ classes: ", succeed("info logs/pieces/best_model.pt", cwd=folder)
    )
    both = succeed("info logs/both/best_model.pt", cwd=folder)
    assert "second output layer of" in both and "on recurrent layer 1" in both
    assert re.search(r"characters +44 classes", both) and re.search(r"phonemes +\d+ classes", both)


def test_phonemes_are_scored_by_their_error_rate(folder):
    output = succeed("test", model("sounds"), SCORE, "--hypotheses h.jsonl --csv h.csv", cwd=folder)
    assert re.search(r"^PER +\d", output, re.MULTILINE)
    assert "phonemes: " in output and "CER" not in output
    clip = json.loads((folder / "h.jsonl").read_text("utf-8").split("\n")[0])
    assert clip["phonemes"] is True and clip["reference"] == "akdɡ bɛf abɡ"
    assert "phonemes,phoneme_substitutions" in (folder / "h.csv").read_text("utf-8")
    compared = succeed("compare h.jsonl h.jsonl", cwd=folder)
    assert "PER" in compared and "CER" not in compared


def test_one_model_shows_letters_and_sounds(folder):
    letters = succeed("test", model("both"), SCORE, cwd=folder)
    sounds = succeed("test", model("both"), SCORE, "--units phoneme", cwd=folder)
    assert "CER" in letters and "PER" not in letters
    assert "PER" in sounds and "CER" not in sounds
    error = fail("test", model("both"), SCORE, "--units bpe", cwd=folder)
    assert "the model has units of char and phoneme, not of bpe" in error
    aligned = json.loads(
        succeed("align", model("both"), CLIP, "--units phoneme --text bac dac", cwd=folder)
    )
    assert [word["word"] for word in aligned["words"]] == ["bac", "dac"]


def test_the_page_shows_letters_beside_sounds(folder):
    text = "--text bac --out pages"
    succeed("inspect", model("both"), "logs/sounds/best_model.pt", CLIP, text, cwd=folder)
    page = (folder / "pages/toy_dev_0.html").read_text("utf-8")
    for title in ("both, characters", "both, phonemes", "sounds"):
        assert f">{title}</" in page, title
    succeed("inspect", model("both"), "--units phoneme --layers", CLIP, text, cwd=folder)
    page = (folder / "pages/toy_dev_0.html").read_text("utf-8")
    assert "both, characters" not in page and "recurrent layer 2" in page


@pytest.mark.parametrize("name", ["sounds", "pieces"])
def test_known_words_are_aligned(folder, name):
    aligned = json.loads(succeed("align", model(name), CLIP, "--text Bac dac.", cwd=folder))
    assert [word["word"] for word in aligned["words"]] == ["Bac", "dac."]


@pytest.mark.parametrize("name", ["sounds", "pieces"])
def test_language_models_of_units_and_words_in_the_beam(folder, name):
    lexicon = "--lexicon_from espeak" if name == "sounds" else ""
    succeed(f"lm {model(name)} --level char --out units.arpa", cwd=folder)
    built = succeed(f"lm {model(name)} {lexicon} --out words.arpa", cwd=folder)
    assert ("words.dict" in built) == (name == "sounds")
    search = f"test {model(name)} {SCORE} --beamsearch --beamwidth 3"
    of_units = succeed(search, "--lm units.arpa --lm_weight 0.1", cwd=folder)
    of_words = succeed(search, "--lm words.arpa --hotwords bac:2", cwd=folder)
    assert ("PER" in of_units) == (name == "sounds")
    assert re.search(r"^WER +\d", of_words, re.MULTILINE) and "CER" in of_words


def test_a_lexicon_is_needed_and_kept_by_tuning(folder):
    succeed(f"lm {model('sounds')} --out alone.arpa", cwd=folder)
    error = fail(f"test {model('sounds')} {SCORE} --beamsearch --lm alone.arpa", cwd=folder)
    assert "needs a lexicon of its words, alone.dict" in error
    succeed(f"lm {model('sounds')} --lexicon_from espeak --out fr.arpa", cwd=folder)
    tuned = succeed(
        f"lm --tune {model('sounds')} --lm fr.arpa --unk_logp -10 --beamwidth 2 --nthreads 0",
        cwd=folder,
    )
    assert "greedy: WER (IPA)" in tuned and "lowest WER + CER: WER" in tuned
    assert load_model(folder / "logs/sounds/best_model.pt").language_model.lexicon is not None
    (folder / "fr.dict").unlink()
    transcript = json.loads(
        succeed(f"test {model('sounds')} {CLIP} --beamsearch --format json", cwd=folder)
    )
    assert transcript["text"].split() == [word["word"] for word in transcript["words"]]


def test_each_output_layer_is_tuned_and_read_with_its_own(folder):
    (folder / "tuned.pt").write_bytes((folder / "logs/both/best_model.pt").read_bytes())
    of_file, search = "--modelpath tuned.pt", "--beamsearch --beamwidth 2"
    succeed(f"lm {of_file} --out letters.arpa", cwd=folder)
    succeed(f"lm {of_file} --units phoneme --lexicon_from espeak --out sounds.arpa", cwd=folder)
    grid = "--unk_logp -10 --blank_penalty 1 --beamwidth 2 --nthreads 0"
    tuned = {
        units: succeed(f"lm --tune {of_file} --units {units} --lm {lm} {grid}", cwd=folder)
        for units, lm in (("phoneme", "sounds.arpa"), ("char", "letters.arpa"))
    }
    for name in ("sounds.arpa", "sounds.dict", "letters.arpa"):
        (folder / name).unlink()
    for units, lm in (("phoneme", "sounds.arpa"), ("char", "letters.arpa")):
        scored = succeed("test", of_file, SCORE, search, f"--units {units}", cwd=folder)
        assert f"beam search of 2 with {lm} (lm_weight " in scored and "blank_penalty 1)" in scored
        lowest = re.search(r"^lowest WER \+ CER: WER +(\S+) %", tuned[units], re.MULTILINE)
        assert f"WER {float(lowest[1]):6.2f} %" in scored
    transcript = json.loads(
        succeed("test", of_file, CLIP, search, "--units phoneme --format json", cwd=folder)
    )
    assert transcript["text"].split() == [word["word"] for word in transcript["words"]]
    shown = "inspect --text bac --beamwidth 2 --out tuned"
    succeed(shown, of_file, CLIP, cwd=folder)
    assert "tuned.pt, phonemes" in (folder / "tuned/toy_dev_0.html").read_text("utf-8")


def test_pronunciations_of_a_file(folder):
    (folder / "mine.dict").write_text("ahd  a d\nzz  zz\n", "utf-8")
    built = succeed(f"lm {model('sounds')} --lexicon_from mine.dict --out mine.arpa", cwd=folder)
    assert "without a pronunciation, not used" in built
    assert (folder / "mine.dict").read_text("utf-8") == "ahd  a d\n"
    error = fail(f"lm {model('pieces')} --lexicon_from mine.dict --out x.arpa", cwd=folder)
    assert "for a model of phonemes" in error


def test_a_run_goes_on_in_its_units_and_a_new_one_may_have_others(folder):
    succeed("train --resume_from logs/both --num_epochs 2", cwd=folder)
    file = load_model(folder / "logs/both/last.pt")
    assert (file.charmap.kind, file.other_units.kind) == ("char", "phoneme")
    succeed(
        f"train {FEW} --resume_from logs/both/best_model.pt --logname other --units bpe "
        "--vocab_size 20 --nlayers_rnn 2",
        cwd=folder,
    )
    file = load_model(folder / "logs/other/best_model.pt")
    assert file.charmap.kind == "bpe" and file.other_units is None


def settings(folder, name: str) -> dict:
    return read_yaml(folder / f"logs/{name}/config.yaml")


def test_a_run_in_the_units_of_its_model_records_them(folder):
    of_units = ["units", "phoneme_language", "vocab_size", "aux_layer"]
    for name, expected in {
        "sounds": ["phoneme", "fr-fr", 500, None],
        "pieces": ["bpe", None, 20, None],
        "both": ["char+phoneme", "fr-fr", 500, 1],
    }.items():
        start = f"--resume_from logs/{name}/best_model.pt --logname from_{name}"
        n_layers = 2 if name == "both" else 1
        succeed(f"train {FEW} --nlayers_rnn {n_layers}", start, cwd=folder)
        recorded = settings(folder, f"from_{name}")
        assert [recorded[each] for each in of_units] == expected, name
        again = f"train --config logs/from_{name}/config.yaml --logname again_{name}"
        assert "the output layer is new" not in call(again, cwd=folder).stderr
        assert settings(folder, f"again_{name}") == recorded
        assert metrics_of(folder / f"logs/again_{name}") == metrics_of(folder / f"logs/from_{name}")
    assert re.search(r"from_sounds .* PER ", succeed("runs", cwd=folder))
    error = fail(
        f"train {FEW} --resume_from logs/sounds/best_model.pt --aux_weight 0.5", cwd=folder
    )
    assert "--aux_weight: needs --units char+phoneme" in error


def test_check_lists_phonemes(folder):
    output = succeed(
        f"check --units phoneme {model('sounds')} --nthreads 0 --charset_min_count 3 --out check "
        "--min_duration 0.5",
        cwd=folder,
    )
    assert "different phonemes, as espeak reads fr-fr" in output
    assert "without a class" in output
    report = json.loads((folder / "check/report.json").read_text("utf-8"))
    assert report["phonemes"]["language"] == "fr-fr" and report["phonemes"]["rare"]
    assert report["suspects"]["rate"] == "PER"
    assert "<h2>Phonemes</h2>" in (folder / "check/report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--units phoneme --phoneme_language klingn", "near ones: piqd (Klingon)"),
        ("--units bpe --vocab_size 2", "--vocab_size 2: 2 word pieces are fewer"),
        ("--units char --vocab_size 20", "--vocab_size: not used by --units char"),
        ("--units phoneme --charset auto", "--charset: not used by --units phoneme"),
        ("--units phoneme --aux_weight 0.5", "--aux_weight: not used by --units phoneme"),
        ("--units char+phoneme --aux_layer 3", "--aux_layer 3: there are 1 recurrent layers"),
        ("--units words", "must be one of char, phoneme, bpe, char+phoneme"),
    ],
)
def test_impossible_units(folder, options, message):
    assert message in fail(f"train {FEW} --logname none {options}", cwd=folder)
