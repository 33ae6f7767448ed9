"""`lm --tune`, and the language model in the model file that it leaves."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.model_file import load_model, save_model
from asr_ctc.acoustic.two_heads import AUX, MAIN
from asr_ctc.assembly import tuning as tune
from asr_ctc.assembly.decoder import make_decoder
from asr_ctc.base.errors import UserError
from asr_ctc.commands.info import run_info
from asr_ctc.commands.inspect import open_models
from asr_ctc.config.load import make_config
from asr_ctc.decoding.beam import Beam, beam_decode
from asr_ctc.decoding.fusion import fuse
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.lm.arpa import write_arpa
from asr_ctc.lm.counting import count_windows
from asr_ctc.lm.kneser_ney import estimate
from asr_ctc.lm.lexicon import Lexicon, write_lexicon
from asr_ctc.lm.ngrams import SPECIAL_WORDS
from asr_ctc.lm.stored import StoredModel
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.scoring.evaluation import Decoded, Evaluation
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.phonemes import Phonemes
from tests.helpers.command import call

FOR_FUSION = {"lm_weight": 0.75, "word_bonus": 1.0, "unk_logp": -9.0}
WEIGHTS = {**FOR_FUSION, "blank_penalty": 0.0}


def model_of(*sentences, order=2):
    words = [*SPECIAL_WORDS, *sorted({word for s in sentences for word in s.split()})]
    ids = [[words.index(word) for word in s.split()] for s in sentences]
    return estimate(count_windows(ids, order, (0,) * order), order, words, prune=(0,) * order)


@pytest.fixture
def stored():
    return StoredModel("le.arpa", model_of("le chat dort", "la souris dort"), WEIGHTS)


@pytest.fixture
def path(tmp_path, tiny_model, stored):
    """A model file with a language model."""
    save_model(tmp_path / "with.pt", replace(tiny_model, language_model=stored))
    return tmp_path / "with.pt"


def test_a_model_file_gives_the_language_model_back(path, stored):
    found = load_model(path).language_model
    assert (found.name, found.weights, found.model.words) == (
        "le.arpa",
        WEIGHTS,
        stored.model.words,
    )
    assert found.model.order == 2
    for ours, theirs in zip(stored.model.ngrams, found.model.ngrams, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("children", -1, 10**6),
        ("children", 5, -1),
        ("state", 3, 10**6),
        ("state", 3, -1),
        ("shorter", 6, 6),
        ("word", 4, 99),
        ("logp", 4, float("nan")),
    ],
)
def test_arrays_that_compiled_code_would_stumble_over_are_refused(path, name, place, value):
    content = torch.load(path, weights_only=True)
    content["language_model"]["ngrams"][name][place] = value
    torch.save(content, path)
    with pytest.raises(UserError, match="its language model is damaged|not finite"):
        load_model(path)


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("order", 1),
        ("order", 0),
        ("order", 10**9),
        ("order", "2"),
        ("order", True),
        ("weights", {"lm_weight": float("nan")}),
        ("weights", {"blank_penalty": float("nan")}),
        ("weights", {"blank_penalty": -0.5}),
        ("weights", {"beam": 1.0}),
        ("weights", []),
        ("words", 5),
        ("beam_width", 0),
        ("beam_width", 10**9),
        ("beam_width", 5.0),
        ("beam_width", True),
    ],
)
def test_other_parts_of_a_language_model_that_are_none(path, key, value):
    content = torch.load(path, weights_only=True)
    content["language_model"][key] = value
    torch.save(content, path)
    with pytest.raises(UserError, match="not a model of this program"):
        load_model(path)


def test_arrays_of_other_sizes_and_types_are_refused(path):
    content = torch.load(path, weights_only=True)
    arrays = content["language_model"]["ngrams"]
    whole = dict(arrays)
    for name in whole:
        arrays[name] = whole[name][:-1]
        torch.save(content, path)
        with pytest.raises(UserError, match="damaged"):
            load_model(path)
        arrays[name] = whole[name].to(torch.float64)
        torch.save(content, path)
        with pytest.raises(UserError, match="float64"):
            load_model(path)
        arrays[name] = whole[name]
    del arrays["word"]
    torch.save(content, path)
    with pytest.raises(UserError, match="not a model"):
        load_model(path)


def test_the_beam_uses_it_unless_flags_say_otherwise(tmp_path, stored, tiny_model):
    charmap, other = tiny_model.charmap, model_of("un oiseau chante")
    write_arpa(tmp_path / "other.arpa", other)
    frames = np.log(np.random.default_rng(0).dirichlet(np.full(44, 0.3), 12))

    def scores(fusion):
        return [h.score for h in beam_decode(frames[None], [12], charmap, 5, fusion=fusion)[0]]

    def of(file=None, **flags):
        beam = make_decoder(make_config(file or {}, {"beamsearch": True, **flags}), stored)
        return beam.prepared(charmap, stored).fusion

    assert scores(of()) == scores(fuse(stored.model, charmap, **FOR_FUSION))
    heavier = {**FOR_FUSION, "lm_weight": 2.0}
    assert scores(of(lm_weight=2.0)) == scores(fuse(stored.model, charmap, **heavier))
    # Flags win over a file, the file over the model file, that over the defaults.
    file = {"lm_weight": 2.0}
    assert of(file).lm_weight == 2.0 and of(file).word_bonus == WEIGHTS["word_bonus"]
    assert of(file, lm_weight=3.0).lm_weight == 3.0
    assert of({"lm_weight": 0.5}).lm_weight == 0.5  # given, although it is the default
    assert of(lm=None) is None and of({"lm": None}) is None
    defaults = dict(lm_weight=0.5, word_bonus=0.0, unk_logp=-10.0)
    expected = scores(fuse(other, charmap, **defaults))
    assert scores(of(lm=str(tmp_path / "other.arpa"))) == pytest.approx(expected, abs=1e-4)
    recognizer = Recognizer(replace(tiny_model, language_model=stored))
    assert scores(recognizer.prepare(Beam()).fusion) == scores(of())
    assert Recognizer(tiny_model).prepare(Beam()).fusion is None


def test_the_beam_is_as_wide_as_the_weights_need(tmp_path, stored, path, tiny_model):
    wide, write = replace(stored, beam_width=50), tmp_path / "other.arpa"
    write_arpa(write, stored.model)

    def width(stored=wide, file=None, **flags):
        beam = make_decoder(make_config(file or {}, {"beamsearch": True, **flags}), stored)
        prepared = beam.prepared(tiny_model.charmap, stored)
        assert prepared.name(stored).startswith(f"beam search of {prepared.width_with()}")
        assert beam.width_with(stored) == prepared.width_with()
        return prepared.limits(44)[0]

    assert width() == 50 and width(lm_weight=2.0) == 50
    assert width(beamwidth=10) == 10 and width(file={"beamwidth": 7}) == 7
    # Weights of another language model, or of none, were not found with it.
    assert width(lm=None) == width(lm=str(write)) == width(None) == 10
    assert width(stored) == 10  # a file of a version that did not keep it

    save_model(path, replace(tiny_model, language_model=wide))
    assert load_model(path).language_model.beam_width == 50
    assert Recognizer.load(path).prepare(Beam()).width == 50
    assert str(wide) == f"{stored}, beam of 50"


def unsure(text: str, heard: str, units: CharMap | Phonemes, belief=0.45, least=1e-4) -> np.ndarray:
    """Frames (2 U, V) that hold ``heard`` likelier than ``text``, of the same length."""
    p = np.full((2 * len(text), units.vocab_size), least)
    for i, (right, wrong) in enumerate(zip(text, heard, strict=True)):
        p[2 * i, units.label(right)] += belief
        p[2 * i, units.label(wrong)] += 1 - belief
        p[2 * i + 1, units.blankid] += 1
    return np.log(p / p.sum(axis=1, keepdims=True))


@pytest.fixture
def heard(monkeypatch):
    """Posteriors of dev in which greedy decoding hears what no language model would."""
    charmap = CharMap()
    pairs = [("le chat dort", "le chot dort"), ("la souris dort", "la saurus dort")]
    posteriors = [unsure(*pair, charmap) for pair in pairs]
    clips = []
    for (text, _), logp in zip(pairs, posteriors, strict=True):
        hypotheses = greedy_decode(logp[None], [len(logp)], charmap)[0]
        clips.append(Decoded(text, text, hypotheses))
    posteriors.append(np.zeros((0, charmap.vocab_size)))  # a clip that cannot be read
    clips.append(Decoded("broken", "la", [Hypothesis("", (), 0.0)]))
    monkeypatch.setattr(tune, "dev_posteriors", lambda *_: (Evaluation(clips), posteriors))


def test_tuning_finds_weights_with_which_the_language_model_helps(
    heard, tmp_path, tiny_model, stored
):
    path, lm = tmp_path / "model.pt", tmp_path / "le.arpa.gz"
    save_model(path, tiny_model)
    write_arpa(lm, stored.model)
    config = make_config({}, {"modelpath": str(path), "lm": str(lm), "unk_logp": -8.0})
    tuning = tune.tune_language_model(config)
    wers, cers = tuning.error_rates["WER"], tuning.error_rates["CER"]
    # chot, saurus, and the word of the broken clip
    assert tuning.greedy.wer == pytest.approx(3 / 7)
    best = wers.min()
    assert best == tuning.best.wer == pytest.approx(1 / 7)
    _, _, lm_weight, word_bonus = tuning.weights
    place = tune.LM_WEIGHTS.index(lm_weight), tune.WORD_BONUSES.index(word_bonus)
    assert wers[place] == best and cers[place] == tuning.best.cer
    assert (wers + cers)[place] == (wers + cers).min() < (wers + cers).max()
    file = load_model(path)
    assert file.language_model.name == "le.arpa.gz"
    assert file.language_model.weights == {
        "lm_weight": lm_weight,
        "word_bonus": word_bonus,
        "unk_logp": -8.0,
        "blank_penalty": 0.0,  # it would not help
    }
    for name, tensor in tiny_model.state_dict.items():
        assert torch.equal(file.state_dict[name], tensor)
    assert file.scores == tiny_model.scores


@pytest.mark.slow
def test_tuning_makes_unknown_words_as_costly_as_helps(tmp_path, tiny_model, stored, monkeypatch):
    """A letter heard for certain: only a cost above 10 makes a known word of the unknown one."""
    path, lm, charmap = tmp_path / "model.pt", tmp_path / "le.arpa", CharMap()
    save_model(path, tiny_model)
    write_arpa(lm, stored.model)
    logp = unsure("le chat dort", "le chot dort", charmap, belief=1e-14, least=1e-18)
    clip = Decoded("le", "le chat dort", greedy_decode(logp[None], [len(logp)], charmap)[0])
    monkeypatch.setattr(tune, "dev_posteriors", lambda *_: (Evaluation([clip]), [logp]))

    def tuned(**flags):
        given = {"modelpath": str(path), "lm": str(lm), **flags}
        return tune.tune_language_model(make_config({}, given))

    tuning = tuned()
    assert (
        tuning.weights.unk_logp == -40 and tuning.error_rates["WER"].min() == 0
    )  # with the least weight
    assert load_model(path).language_model.weights["unk_logp"] == -40
    for name, rates in tuned(unk_logp=-40.0).error_rates.items():
        assert (tuning.error_rates[name] == rates).all()
    assert tuned(unk_logp=-10.0).error_rates["WER"].min() == pytest.approx(1 / 3)


def test_dropping_words_for_a_lower_wer_is_not_better(tmp_path, tiny_model, stored, monkeypatch):
    text, charmap = "le chat dort bien", tiny_model.charmap
    read = {0.5: "le dort", 0.75: "le chit durt bian"}  # 2 of 4 words wrong, and 3 of 4

    def read_by_weight(beam, logp, lengths, charmap):
        return [[Hypothesis(read.get(beam.fusion["lm_weight"], ""), (), 0.0)]]

    monkeypatch.setattr(tune, "fuse", lambda model, charmap, **weights: weights)
    monkeypatch.setattr(Beam, "decode", read_by_weight)
    evaluation = Evaluation([Decoded("clip", text, [Hypothesis("", (), 0.0)])])
    frames = [np.zeros((1, charmap.vocab_size))]
    monkeypatch.setattr(tune, "dev_posteriors", lambda *_: (evaluation, frames))
    save_model(tmp_path / "model.pt", tiny_model)
    write_arpa(tmp_path / "le.arpa", stored.model)
    flags = {"modelpath": str(tmp_path / "model.pt"), "lm": str(tmp_path / "le.arpa")}
    tuning = tune.tune_language_model(make_config({}, flags))
    assert tuning.weights.lm_weight == 0.75
    assert (tuning.best.wer, tuning.best.cer) == (3 / 4, 3 / 17)
    assert tuning.error_rates["WER"].min() == 2 / 4


@pytest.mark.slow
def test_tuning_penalises_the_blank_as_much_as_helps(tmp_path, tiny_model, stored, monkeypatch):
    """A letter of an unknown word that is e^0.8 times less likely than the blank."""
    path, lm, text, charmap = tmp_path / "model.pt", tmp_path / "le.arpa", "le chxt dort", CharMap()
    save_model(path, tiny_model)
    write_arpa(lm, stored.model)
    logp = unsure(text, text, charmap)
    logp[2 * text.index("x"), charmap.blankid] = logp[2 * text.index("x")].max() + 0.8
    logp -= np.logaddexp.reduce(logp, axis=1, keepdims=True)
    clip = Decoded("le", text, greedy_decode(logp[None], [len(logp)], charmap)[0])
    monkeypatch.setattr(tune, "dev_posteriors", lambda *_: (Evaluation([clip]), [logp]))

    def tuned(**flags):
        given = {"modelpath": str(path), "lm": str(lm), **flags}
        return tune.tune_language_model(make_config({}, given))

    tuning = tuned()
    assert tuning.weights.blank_penalty == 1.0  # the least that is enough
    wers = {penalty: rates.wer for penalty, rates in tuning.by_penalty.items()}
    assert wers == {0.0: pytest.approx(1 / 3), 0.5: pytest.approx(1 / 3), 1.0: 0, 1.5: 0}
    assert tuning.best.wer == 0 and tuning.error_rates["WER"].min() == pytest.approx(1 / 3)
    beam = Recognizer(load_model(path)).prepare(Beam())
    assert beam.blank_penalty == 1.0
    assert beam.decode(logp[None], [len(logp)], charmap)[0][0].text == text

    given = tuned(blank_penalty=0.5)
    assert given.weights.blank_penalty == 0.5 and given.by_penalty == {0.5: given.best}
    assert load_model(path).language_model.weights["blank_penalty"] == 0.5
    assert tuned(blank_penalty=1.5).error_rates["WER"].min() == 0  # in all of the grid


def test_a_penalty_is_tried_beside_the_best_weights():
    weights, bonuses = tune.LM_WEIGHTS, tune.WORD_BONUSES
    corner = tune.Point(0.5, -20.0, weights[0], bonuses[-1])
    assert {*tune.neighbours(corner)} == {
        corner._replace(lm_weight=weight, word_bonus=bonus)
        for weight in weights[:2]
        for bonus in bonuses[-2:]
    }
    inner = corner._replace(lm_weight=weights[2], word_bonus=bonuses[1])
    assert len({*tune.neighbours(inner)}) == 9 and inner in tune.neighbours(inner)


def test_characters_are_tuned_by_their_error_rate(heard, tmp_path, tiny_model):
    sentence = ["▁" if c == " " else c for c in "le chat dort"]
    path = tmp_path / "model.pt"
    save_model(path, tiny_model)
    write_arpa(tmp_path / "c.arpa", model_of(" ".join(sentence), order=3))
    config = make_config({}, {"modelpath": str(path), "lm": str(tmp_path / "c.arpa")})
    assert list(tune.tune_language_model(config).error_rates) == ["CER"]


def test_what_cannot_be_tuned_leaves_the_model_file_as_it_was(
    tmp_path, tiny_model, stored, monkeypatch
):
    path = tmp_path / "model.pt"
    save_model(path, tiny_model)
    before = path.read_bytes()
    write_arpa(tmp_path / "ru.arpa", model_of("кот спит"))
    write_arpa(tmp_path / "le.arpa", stored.model)
    of_no_word = Evaluation([Decoded("clip", "...", [Hypothesis("le", (), 0.0)])])
    frames = [np.zeros((1, tiny_model.charmap.vocab_size))]
    monkeypatch.setattr(tune, "dev_posteriors", lambda *_: (of_no_word, frames))
    for flags, complaint in (
        ({}, "--lm FILE"),
        ({"lm": str(tmp_path / "ru.arpa")}, r"cannot spell 2 of the 2 words"),
        ({"lm": str(tmp_path / "absent.arpa")}, "absent.arpa: cannot be read"),
        ({"lm": str(tmp_path / "le.arpa")}, "no clip of dev has a transcript"),
    ):
        with pytest.raises(UserError, match=complaint):
            tune.tune_language_model(make_config({}, {"modelpath": str(path), **flags}))
    assert path.read_bytes() == before


def test_words_that_cannot_be_spelt_are_told_once(heard, tmp_path, tiny_model):
    save_model(tmp_path / "model.pt", tiny_model)
    write_arpa(tmp_path / "le.arpa", model_of("le chat dort", "кот"))
    tuned = call("lm --tune --modelpath model.pt --lm le.arpa --unk_logp -9", cwd=tmp_path)
    assert tuned.returncode == 0, tuned.stderr
    assert (tuned.stdout + tuned.stderr).count("cannot be spelt, and are not used") == 1


# --- Two output layers ---------------------------------------------------------------------------

PRONUNCIATIONS = Lexicon(
    (("le", ("l", "ə")), ("chat", ("ʃ", "a")), ("dort", ("d", "ɔ", "ʁ")), ("dors", ("d", "ɔ", "ʁ")))
)
READ = {"char": ("le chat dort", "le chot dort"), "phoneme": ("lə ʃa dɔʁ", "lə ʃɔ dɔʁ")}
OWN_UNK_LOGP = {"char": -8.0, "phoneme": -9.0}


@pytest.fixture
def two_headed(tmp_path, tiny_model, monkeypatch):
    """A model file of letters and phonemes; letters.arpa, sounds.arpa and sounds.dict; a dev whose
    greedy hypothesis is wrong in both."""
    sounds = Phonemes.from_readings(["lə ʃa dɔʁ"], "fr-fr")[0]
    torch.manual_seed(1)
    model = CTCModel(replace(tiny_model.architecture, aux_vocab_size=sounds.vocab_size))
    file = replace(
        tiny_model,
        state_dict=model.state_dict(),
        architecture=model.architecture,
        other_units=sounds,
    )
    save_model(tmp_path / "both.pt", file)
    write_arpa(tmp_path / "letters.arpa", model_of("le chat dort"))
    write_arpa(tmp_path / "sounds.arpa", model_of("le chat dort", "je dors"))
    write_lexicon(tmp_path / "sounds.dict", PRONUNCIATIONS)

    def dev(recognizer, config):
        units = recognizer.charmap
        logp = unsure(*READ[units.kind], units, belief=0.45)
        hypotheses = greedy_decode(logp[None], [len(logp)], units)[0]
        assert hypotheses[0].text == READ[units.kind][1]
        clip = Decoded("le", READ[units.kind][0], hypotheses, sentence="le chat dort")
        return Evaluation([clip]), [logp]

    monkeypatch.setattr(tune, "dev_posteriors", dev)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "both.pt"


def tune_units(kind: str, *words, cwd) -> str:
    lm = {"char": "letters.arpa", "phoneme": "sounds.arpa"}[kind]
    command = f"lm --tune --modelpath both.pt --units {kind} --lm {lm}"
    tuned = call(command, f"--unk_logp {OWN_UNK_LOGP[kind]}", *words, cwd=cwd)
    assert tuned.returncode == 0, tuned.stderr
    return tuned.stdout


@pytest.mark.parametrize("order", [["char", "phoneme"], ["phoneme", "char"]])
def test_each_output_layer_keeps_its_own(two_headed, tmp_path, order):
    first, second = order
    state = load_model(two_headed).state_dict
    output = tune_units(first, cwd=tmp_path)
    assert ("greedy: WER (IPA)" in output) == (first == "phoneme")
    assert "lowest WER + CER: WER 0.00 %, CER 0.00 %" in output, output
    assert f"both.pt; test --units {first} --beamsearch uses them" in output
    of_first = load_model(two_headed).with_units(first).language_model
    assert load_model(two_headed).with_units(second).language_model is None
    tune_units(second, cwd=tmp_path)
    file = load_model(two_headed)
    assert (file.head, file.charmap.kind, file.other_units.kind) == (MAIN, "char", "phoneme")
    assert file.state_dict.keys() == state.keys()
    assert all(torch.equal(file.state_dict[name], tensor) for name, tensor in state.items())
    again = file.with_units(first).language_model.to_dict()
    before = of_first.to_dict()
    for name, array in before.pop("ngrams").items():
        assert torch.equal(again["ngrams"][name], array)
    again.pop("ngrams")
    assert again == before
    letters, sounds = (file.with_units(kind).language_model for kind in OWN_UNK_LOGP)
    assert (letters.name, letters.lexicon) == ("letters.arpa", None)
    assert sounds.name == "sounds.arpa" and sounds.lexicon.pairs == PRONUNCIATIONS.pairs
    for kind, stored in zip(OWN_UNK_LOGP, (letters, sounds), strict=True):
        assert stored.weights["unk_logp"] == OWN_UNK_LOGP[kind]


def test_every_reader_uses_what_its_output_layer_has(two_headed, tmp_path):
    tune_units("phoneme", cwd=tmp_path)
    (tmp_path / "sounds.arpa").unlink()
    (tmp_path / "sounds.dict").unlink()
    assert Recognizer.load(two_headed).prepare(Beam()).fusion is None
    sounds = Recognizer.load(two_headed, units="phoneme")
    beam = sounds.prepare(Beam())
    weights = sounds.file.language_model.weights
    assert (beam.fusion.lm_weight, beam.fusion.word_bonus, beam.blank_penalty) == (
        weights["lm_weight"],
        weights["word_bonus"],
        weights["blank_penalty"],
    )
    logp = unsure(*READ["phoneme"], sounds.charmap)
    assert beam.decode(logp[None], [len(logp)], sounds.charmap)[0][0].text == "le chat dort"

    soundfile.write("noise.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    scores = {}
    for units in ("char", "phoneme"):
        command = f"test --modelpath both.pt --units {units} --beamsearch --audiofile noise.wav"
        shown = call(command, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        scores[units] = "Score" in shown.stdout.splitlines()[0]
    assert scores == {"char": False, "phoneme": True}

    inspected = open_models(make_config({}, {"modelpath": str(two_headed)}), [])
    of_letters, of_sounds = (recognizer.prepare(beam) for _, recognizer, beam in inspected)
    assert of_letters.fusion is None
    assert of_sounds.reader is not None and of_sounds.fusion.lm_weight == weights["lm_weight"]


def test_info_shows_both(two_headed, tmp_path, capsys):
    def rows():
        run_info(make_config({}, {}), [str(two_headed)], [])
        lines = capsys.readouterr().out.splitlines()
        return [line.split(maxsplit=2)[2] for line in lines if line.startswith("language model")]

    assert rows() == []
    tune_units("phoneme", cwd=tmp_path)
    (sounds,) = rows()
    assert sounds.startswith("for phonemes: sounds.arpa, 8 words, order 2, ")
    tune_units("char", cwd=tmp_path)
    letters, again = rows()
    assert (
        letters.startswith("for characters: letters.arpa, 6 words, order 2, ") and again == sounds
    )


def test_a_language_model_of_an_earlier_version_is_of_the_first_output_layer(two_headed, stored):
    save_model(two_headed, replace(load_model(two_headed), language_model=stored))
    assert "aux_language_model" not in torch.load(two_headed, weights_only=True)
    file = load_model(two_headed)
    assert file.language_model.weights == WEIGHTS
    assert file.with_units("phoneme").language_model is None


@pytest.mark.parametrize("kind", ["char", "phoneme"])
def test_whichever_output_layer_is_read_all_is_saved(two_headed, tmp_path, kind):
    tune_units("char", cwd=tmp_path)
    tune_units("phoneme", cwd=tmp_path)
    before = two_headed.read_bytes()
    file = load_model(two_headed).with_units(kind)
    assert file.head == {"char": MAIN, "phoneme": AUX}[kind] and file.charmap.kind == kind
    assert file.with_units("char").with_units(kind).language_model is file.language_model
    save_model(two_headed, file)
    assert two_headed.read_bytes() == before


@pytest.fixture
def change_meanwhile(two_headed, monkeypatch):
    """Has the model file changed, as ``change`` makes another of it, while `lm --tune` tunes."""
    read_dev = tune.dev_posteriors

    def arrange(change):
        def dev(recognizer, config):
            save_model(two_headed, change(load_model(two_headed)))
            return read_dev(recognizer, config)

        monkeypatch.setattr(tune, "dev_posteriors", dev)

    return arrange


def test_what_the_other_stores_meanwhile_stays(two_headed, tmp_path, stored, change_meanwhile):
    change_meanwhile(lambda file: replace(file, language_model=stored))
    tune_units("phoneme", cwd=tmp_path)
    file = load_model(two_headed)
    assert (file.language_model.name, file.other_language_model.name) == ("le.arpa", "sounds.arpa")


TUNE_LETTERS = "lm --tune --modelpath both.pt --lm letters.arpa --unk_logp -10"


def test_a_model_file_that_training_replaced_meanwhile_is_named(tmp_path, change_meanwhile):
    def trained(file):
        return replace(file, state_dict={name: 2 * w for name, w in file.state_dict.items()})

    assert "other weights" not in call(TUNE_LETTERS, cwd=tmp_path).stderr
    change_meanwhile(trained)
    assert "both.pt has other weights by now" in call(TUNE_LETTERS, cwd=tmp_path).stderr


def test_weights_are_not_stored_in_another_model(two_headed, tmp_path, change_meanwhile):
    def folded(file):
        return replace(file, charmap=replace(file.charmap, fold=not file.charmap.fold))

    change_meanwhile(folded)
    refused = call(TUNE_LETTERS, cwd=tmp_path)
    assert refused.returncode == 2
    assert "both.pt is another model by now; found, and not stored: --lm_weight" in refused.stderr
    assert load_model(two_headed).language_model is None


def test_weights_that_cannot_be_saved_are_said(two_headed, tmp_path, monkeypatch):
    def full(path, file):
        raise UserError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(tune, "save_model", full)
    flags = {"modelpath": str(two_headed), "lm": str(tmp_path / "letters.arpa"), "unk_logp": -10.0}
    with pytest.raises(UserError, match="No space left.*found, and not stored: --lm_weight"):
        tune.tune_language_model(make_config({}, flags))


def test_the_search_leads_to_what_phonemes_need(two_headed, monkeypatch):
    """On error rates of the shape that those of French phonemes have: unknown words must cost much,
    and the more the blank is penalised, the less a word is worth and the language model more."""

    def decode(beam, logp, lengths, units):
        point = {"blank_penalty": beam.blank_penalty, **beam.fusion}
        return [[Hypothesis(" ".join(str(point[name]) for name in tune.Point._fields), (), 0.0)]]

    def rates(references, hypotheses, **_):
        penalty, unk_logp, lm_weight, word_bonus = map(float, hypotheses[0].split())
        rate = 0.1 + 0.001 * abs(unk_logp + 40) + 0.05 * (penalty - 1) ** 2
        rate += 0.5 * (lm_weight - 0.5 - 0.25 * penalty) ** 2
        rate += 0.02 * (word_bonus + 2 * penalty) ** 2
        return SimpleNamespace(wer=rate, cer=rate)

    monkeypatch.setattr(tune, "fuse", lambda model, units, pronunciations, **weights: weights)
    monkeypatch.setattr(tune, "error_rates", rates)
    monkeypatch.setattr(Beam, "decode", decode)
    flags = {"modelpath": str(two_headed), "lm": "sounds.arpa", "units": "phoneme"}
    tuning = tune.tune_language_model(make_config({}, flags))
    assert tuning.weights == tune.Point(1.0, -40.0, 0.75, -2.0)
    without_penalty = min(tuning.by_penalty.items())
    assert without_penalty[0] == 0 and without_penalty[1].wer == pytest.approx(0.15)


def test_without_units_the_first_output_layer_is_tuned(two_headed, tmp_path):
    tuned = call("lm --tune --modelpath both.pt --lm letters.arpa --unk_logp -8", cwd=tmp_path)
    assert "both.pt; test --beamsearch uses them" in tuned.stdout, tuned.stderr
    assert load_model(two_headed).language_model.name == "letters.arpa"
    assert load_model(two_headed).other_language_model is None


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--units bpe --lm letters.arpa", "the model has units of char and phoneme, not of bpe"),
        ("--units char+phoneme --lm letters.arpa", "char and phoneme, not of char+phoneme"),
        ("--units phoneme --lm letters.arpa", "needs a lexicon of its words, letters.dict"),
        ("--units phoneme", "--lm FILE"),
        ("--units phoneme --lm letters.arpa --order 3", "--order has no effect with --tune"),
    ],
)
def test_output_layers_that_cannot_be_tuned(two_headed, tmp_path, words, complaint):
    before = two_headed.read_bytes()
    refused = call(f"lm --tune --modelpath both.pt {words}", cwd=tmp_path)
    assert refused.returncode == 2 and complaint in refused.stderr
    assert two_headed.read_bytes() == before


def test_a_model_of_one_output_layer_has_no_other(tmp_path, tiny_model, stored):
    save_model(tmp_path / "one.pt", tiny_model)
    write_arpa(tmp_path / "le.arpa", stored.model)
    command = "lm --tune --modelpath one.pt --lm le.arpa --units"
    refused = call(command, "phoneme", cwd=tmp_path)
    assert refused.returncode == 2
    assert "one.pt: the model has units of char, not of phoneme" in refused.stderr
    content = torch.load(tmp_path / "one.pt", weights_only=True)
    content["aux_language_model"] = stored.to_dict()
    torch.save(content, tmp_path / "one.pt")
    with pytest.raises(UserError, match="a language model for a second output layer"):
        load_model(tmp_path / "one.pt")


def test_a_damaged_language_model_of_the_second_output_layer_is_refused(two_headed, stored):
    file = load_model(two_headed)
    save_model(two_headed, replace(file, other_language_model=stored))
    content = torch.load(two_headed, weights_only=True)
    content["aux_language_model"]["ngrams"]["children"][-1] = 10**6
    torch.save(content, two_headed)
    with pytest.raises(UserError, match="its language model is damaged"):
        load_model(two_headed)


@pytest.mark.slow
def test_from_corpus_to_a_tuned_model(tmp_path, toy_root, tiny_model, capsys):
    path = tmp_path / "logs" / "run" / "best_model.pt"
    path.parent.mkdir(parents=True)
    save_model(path, tiny_model)
    made = call("lm --out toy.arpa --order 3 --datasetroot", toy_root, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    tuning = "lm --tune --lm toy.arpa --beamwidth 12 --nthreads 0 --datasetroot"
    tuned = call(tuning, toy_root, cwd=tmp_path)
    assert tuned.returncode == 0, tuned.stderr
    lines = tuned.stdout.splitlines()
    assert lines[0].startswith("6 clips of dev, greedy: WER ")
    assert lines[1].startswith("WER in % with --unk_logp -")
    n_lines = 2 + len(tune.LM_WEIGHTS)
    assert lines[1 + n_lines].startswith("CER in % with --unk_logp -")
    n_penalties = len(tune.BLANK_PENALTIES)
    assert len(lines) == 1 + 2 * n_lines + n_penalties + 2
    for table in lines[2 : 1 + n_lines], lines[2 + n_lines : 1 + 2 * n_lines]:
        assert [len(line.split("|")) for line in table] == [2] * (1 + len(tune.LM_WEIGHTS))
    for penalty, line in zip(tune.BLANK_PENALTIES, lines[1 + 2 * n_lines : -2], strict=True):
        assert line.startswith(f"--blank_penalty {penalty:g}: WER ")
    assert lines[-2].startswith("lowest WER + CER: WER ")
    assert lines[-2].split()[-4::2] == ["--blank_penalty", "--beamwidth"]
    split = "test --split dev --beamsearch --nthreads 0 --datasetroot"
    scored = call(split, toy_root, cwd=tmp_path)
    assert "beam search of 12 with toy.arpa (lm_weight " in scored.stdout
    assert f"WER {float(lines[-2].split()[5]):6.2f} %" in scored.stdout
    run_info(make_config({}, {}), [str(path)], [])
    shown = capsys.readouterr().out
    assert "language model toy.arpa, " in shown and ", beam of 12" in shown
