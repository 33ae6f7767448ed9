import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.acoustic import architecture
from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import UserError
from asr_ctc.data import WaveformProcessor
from asr_ctc.decoding import alignment, viterbi
from asr_ctc.decoding.alignment import align_text, best_path, spell_text, with_times
from asr_ctc.decoding.beam import Beam
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import FrameClock, Hypothesis
from asr_ctc.models import CTCModel
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.recognition.transcriber import Transcriber
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.feasibility import frames_needed
from asr_ctc.text.languages import LANGUAGES

LETTERS = CharMap.from_symbols("ab ")  # blank 0, a 1, b 2, space 3
CLOCK = FrameClock(step_s=0.04, first_s=0.0, duration_s=100.0)


def posteriors(path: str, sure: float = 0.9, charmap: CharMap = LETTERS) -> torch.Tensor:
    """Log probabilities (T', V) where frame t holds character ``path[t]``, '-' for blank."""
    n_classes = charmap.vocab_size
    logp = torch.full((len(path), n_classes), math.log((1 - sure) / (n_classes - 1)))
    for t, character in enumerate(path):
        logp[t, 0 if character == "-" else charmap.char2idx[character]] = math.log(sure)
    return logp


def spelt(path) -> list[int]:
    """The labels of a path of classes: repeats merged, blanks dropped."""
    return [label for label, _ in itertools.groupby(path) if label != 0]


def best_of_all_paths(logp: np.ndarray, labels: list[int]) -> float:
    """The log probability of the likeliest path, -inf when there is none."""
    n_frames, n_classes = logp.shape
    paths = itertools.product(range(n_classes), repeat=n_frames)
    totals = [logp[range(n_frames), path].sum() for path in paths if spelt(path) == labels]
    return max(totals, default=-math.inf)


# ---------------------------------------------------------------------------------- the best path


def test_spans_by_hand():
    path = best_path(posteriors("-aa--b-"), [1, 2])
    assert [(s.label, s.start, s.end) for s in path.spans] == [(1, 1, 3), (2, 5, 6)]
    assert path.logp == pytest.approx(7 * math.log(0.9), abs=1e-5)
    assert path.spans[0].logp == pytest.approx(math.log(0.9), abs=1e-6)


def test_equal_neighbours_keep_a_blank_between_them():
    """The model saw one long a; the text has two: one frame in the middle must be a blank."""
    path = best_path(posteriors("aaa"), [1, 1])
    assert [(s.start, s.end) for s in path.spans] == [(0, 1), (2, 3)]
    with pytest.raises(ValueError, match="3 output frames needed of 2"):
        best_path(posteriors("aa"), [1, 1])


@given(seed=st.integers(0, 10**9), n_frames=st.integers(1, 6), n_classes=st.integers(2, 4))
def test_no_path_is_likelier(seed, n_frames, n_classes):
    """Against every path there is, impossible classes and repeated labels among them."""
    rng = np.random.default_rng(seed)
    logp = torch.tensor(3 * rng.standard_normal((n_frames, n_classes))).log_softmax(-1)
    logp[torch.tensor(rng.random(logp.shape) < rng.choice([0.0, 0.3]))] = -math.inf
    labels = rng.integers(1, n_classes, rng.integers(0, n_frames + 1)).tolist()
    best = best_of_all_paths(logp.numpy(), labels)
    if best == -math.inf:
        with pytest.raises(ValueError, match="output frames needed|every path of these labels"):
            best_path(logp, labels)
        return
    path = best_path(logp, labels)
    assert path.logp == pytest.approx(best, abs=1e-4)
    assert [span.label for span in path.spans] == labels
    filled = np.zeros(n_frames, int)
    for span in path.spans:
        assert span.logp == pytest.approx(
            logp[span.start : span.end, span.label].mean().item(), abs=1e-5
        )
        filled[span.start : span.end] = span.label
    assert spelt(filled) == labels
    assert logp.numpy()[range(n_frames), filled].sum() == pytest.approx(path.logp, abs=1e-4)


@given(labels=st.lists(st.integers(1, 3), min_size=1, max_size=12), extra=st.integers(-2, 3))
def test_labels_fit_exactly_when_ctc_has_the_frames(labels, extra):
    n_frames = max(1, frames_needed(labels) + extra)
    logp = torch.zeros(n_frames, 4).log_softmax(-1)
    if n_frames < frames_needed(labels):
        with pytest.raises(ValueError, match="too long for its audio"):
            best_path(logp, labels)
    else:
        assert [span.label for span in best_path(logp, labels).spans] == labels


def test_the_frames_of_a_path_that_greedy_took():
    """A hypothesis of the best path lies where that path put it."""
    rng = np.random.default_rng(1)
    logp = torch.tensor(4 * rng.standard_normal((60, 4))).log_softmax(-1)
    ((greedy,),) = greedy_decode(logp[None], [60], LETTERS)
    path = best_path(logp, greedy.labels)
    assert path.logp == pytest.approx(greedy.logp, abs=1e-3)
    argmax = logp.argmax(-1).tolist()
    for span in path.spans:
        assert argmax[span.start : span.end] == [span.label] * (span.end - span.start)


@pytest.mark.parametrize("labels", [[0], [4], [-1]])
def test_labels_out_of_range_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be in 0..3 and not the blank, 0"):
        best_path(posteriors("aaaa"), labels)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_log_probability_is_refused(value):
    logp = posteriors("aaaa")
    logp[2, 3] = value
    with pytest.raises(ValueError, match="logp holds NaN or .inf"):
        best_path(logp, [1])


def test_no_labels_are_all_blanks():
    path = best_path(posteriors("---"), [])
    assert path.spans == [] and path.logp == pytest.approx(3 * math.log(0.9), abs=1e-5)
    with pytest.raises(ValueError, match="every path of these labels has probability zero"):
        best_path(torch.full((3, 4), -math.inf), [])
    no_frames = best_path(torch.zeros(0, 4), [])
    assert (no_frames.spans, no_frames.logp) == ([], 0.0)


# --------------------------------------------------------------------------------- words and labels


@pytest.mark.parametrize(
    "text, words",
    [
        ("Élise  porte.", ["Élise", "porte."]),
        ("C'est peut-être l'œuvre", ["C'est", "peut-être", "l'œuvre"]),
        ("Bonjour !", ["Bonjour"]),  # punctuation that stands alone is no word
        ("- oui — non", ["oui", "non"]),
    ],
)
def test_words_keep_their_spelling(text, words):
    charmap = CharMap()
    labels, found = spell_text(text, charmap)
    assert [word.text for word in found] == words
    assert labels[0] == charmap.sos and labels[-1] == charmap.eos
    for word in found:
        letters = charmap.decode([labels[i] for i in word.labels])
        assert letters == " ".join(charmap.normalise(word.text).split())


@given(st.lists(st.text("abcé'.", min_size=1, max_size=5), min_size=1, max_size=5))
def test_a_text_is_spelt_as_in_training(words):
    text = " ".join(words)
    assert spell_text(text, CharMap())[0] == CharMap().encode(text)


def test_a_map_without_a_space_spells_the_words_together():
    charmap = CharMap.from_symbols("水火")
    labels, words = spell_text("水 火水", charmap)
    assert labels == [1, 2, 1]
    assert words == [("水", range(0, 1)), ("火水", range(1, 3))]


def test_unknown_letters_have_the_unknown_class_as_in_training_and_marks_are_skipped():
    charmap = CharMap()
    labels, words = spell_text("a 中国! « (中) »", charmap)
    assert charmap.decode(labels) == "¶a ❌❌. ❌¦"
    assert [word.text for word in words] == ["a", "中国!", "(中)"]
    assert [charmap.decode([labels[i] for i in word.labels]) for word in words] == [
        "a",
        "❌❌.",
        "❌",
    ]


def test_without_an_unknown_class_punctuation_is_skipped_and_letters_are_named():
    charmap = CharMap.from_symbols("ab ")
    assert spell_text("a, «b» - ab!", charmap) == (
        [1, 3, 2, 3, 1, 2],
        [("a,", range(0, 1)), ("«b»", range(2, 3)), ("ab!", range(4, 6))],
    )
    with pytest.raises(UserError, match="no class for these characters of the text: 中 国$"):
        spell_text("a 中国 中!", charmap)


def test_optional_marks_that_the_model_lacks_are_skipped():
    charmap = CharMap.from_symbols("سلام ")
    writing = LANGUAGES["ar"]
    with pytest.raises(UserError, match="no class for these characters"):
        spell_text("سَلَام", charmap)
    labels, words = spell_text("سَلَامٌ", replace(charmap, writing=writing))
    assert labels == [1, 2, 3, 4] and words[0].text == "سَلَامٌ"


def test_the_words_of_what_a_model_wrote():
    charmap = CharMap()
    labels = charmap.encode("un  deux . trois")
    assert [word.text for word in charmap.words_of(labels)] == ["un", "deux", "trois"]
    assert charmap.words_of(labels) == [
        (word.text, word.labels) for word in spell_text("un", charmap)[1]
    ] + [("deux", range(5, 9)), ("trois", range(12, 17))]
    assert charmap.words_of([]) == []


# ------------------------------------------------------------------------------------------ seconds


def clicks(at_s: list[float], duration_s: float) -> torch.Tensor:
    samples = torch.zeros(round(duration_s * 16_000))
    samples[[round(s * 16_000) for s in at_s]] = 1.0
    return samples


def test_output_frames_lie_where_their_convolutions_look():
    """Clicks, and kernels that add up what they see: the output is highest where the click is."""
    model = CTCModel(CharMap(), 20, 4, 1, "GRU", 0.0).eval()
    for layer in (model.cnn[0], model.cnn[4]):
        torch.nn.init.zeros_(layer.bias)
        bump = torch.hann_window(layer.kernel_size[0] + 2, periodic=False)[1:-1]
        layer.weight.data[:] = bump[:, None] / bump.sum() / layer.weight[0, :, 0].numel()
    processor = WaveformProcessor()
    stride, offset = model.output_centres
    clock = FrameClock(stride * processor.hop / 16_000, offset * processor.hop / 16_000, 4.0)
    assert (stride, offset) == (4, 0.0)
    for at_s in np.arange(0.6, 3.4, 0.0873):
        decibels = processor.analyse(clicks([at_s], 4.0))
        features = (decibels + 100)[None, None] / 100
        response = model.cnn(features)[0].sum((0, 2))
        peak = int(response.argmax())
        assert clock.start_s(peak) - 0.011 <= at_s <= clock.start_s(peak + 1) + 0.011


def test_a_model_of_other_strides_has_another_clock(monkeypatch):
    first = architecture.FIRST_CONVOLUTION
    first = first._replace(kernel_size=(5, 11), stride=(3, 2), padding=(0, 5))
    monkeypatch.setattr(architecture, "FIRST_CONVOLUTION", first)
    model = CTCModel(CharMap(), 20, 4, 1, "GRU", 0.0)
    # Frame 0 of the first convolution is centred on input frame 2, the next 3 further on; frame 0
    # of the second is centred on frame 0 of the first.
    assert model.output_centres == (6, 2.0)


def test_frames_end_where_the_clip_does():
    clock = FrameClock(0.04, 0.0, 0.13)
    assert [clock.start_s(t) for t in range(5)] == pytest.approx([0, 0.02, 0.06, 0.10, 0.13])


def times(timed) -> list[tuple[float, float]]:
    return [(item.start_s, item.end_s) for item in timed]


def test_a_text_in_seconds():
    logp = posteriors("-aa-b- --bb--")
    aligned = align_text(logp, "AB b", LETTERS, CLOCK)
    assert [word.text for word in aligned.words] == ["AB", "b"]
    assert [c.text for c in aligned.characters] == ["a", "b", "b"]
    assert aligned.logp == pytest.approx(13 * math.log(0.9), abs=1e-4)
    for timed in (*aligned.words, *aligned.characters):
        assert timed.confidence == pytest.approx(0.9, abs=1e-5)
    # Blanks are shared half and half: A from 0.5 (of the blank before it) to 3.5, and so on.
    frames = [(0.5, 3.5), (3.5, 5.5), (8, 12)]
    seconds = [(0.04 * (start - 0.5), 0.04 * (end - 0.5)) for start, end in frames]
    assert np.allclose(times(aligned.characters), seconds)
    assert np.allclose(times(aligned.words), [(seconds[0][0], seconds[1][1]), seconds[2]])


def test_a_pause_belongs_to_no_word():
    """A second of blanks after a word: it reaches 200 ms into them, five frames, and no further."""
    aligned = align_text(posteriors("aa" + 25 * "-" + " b"), "a b", LETTERS, CLOCK)
    assert np.allclose(times(aligned.words), [(0.0, 0.04 * 6.5), (0.04 * 27.5, 0.04 * 28.5)])


def test_punctuation_lengthens_no_word():
    charmap = CharMap.from_symbols("ab .")
    aligned = align_text(posteriors("aa" + 30 * "-" + ".", charmap=charmap), "a.", charmap, CLOCK)
    assert aligned.words[0].text == "a." and aligned.words[0].end_s == pytest.approx(0.26)
    assert aligned.characters[1].end_s == pytest.approx(0.04 * 32.5)


def test_hypotheses_know_when_their_words_were_said():
    logp = posteriors("-aa-b- --bb--")
    plain = Hypothesis("ab b", (1, 2, 3, 2), -1.0)
    timed = with_times(plain, logp, LETTERS, CLOCK)
    assert timed == plain and timed.logp == -1.0  # times are no part of what a hypothesis is
    aligned = align_text(logp, "ab b", LETTERS, CLOCK)
    assert (timed.words, timed.characters) == (aligned.words, aligned.characters)


@pytest.mark.parametrize(
    "text, said",
    [
        ("ab" * 30, "too long for its audio: 60 output frames needed of 13"),
        ("  ", "contains no word"),
        ("x", "no class for these characters of the text: x"),
    ],
)
def test_texts_that_cannot_be_aligned(text, said):
    with pytest.raises(UserError, match=said):
        align_text(posteriors("-aa-b- --bb--"), text, LETTERS, CLOCK)


@pytest.fixture(scope="module")
def recognizer(tiny_model):
    return Recognizer(tiny_model, "cpu")


@pytest.mark.slow
def test_a_recognizer_times_what_it_reads_and_what_it_is_told(recognizer, toy_root):
    path = toy_root / "toy-1.0" / "fr" / "clips" / "toy_dev_0.mp3"
    duration_s = len(audio.load(path)) / 16_000
    aligned = recognizer.align(path, "Abc de")
    assert [word.text for word in aligned.words] == ["Abc", "de"]
    assert [c.text for c in aligned.characters] == list("abcde")
    hypothesis = recognizer.transcribe(path, decoder=Beam(width=3))
    assert "".join(c.text for c in hypothesis.characters) == hypothesis.text.replace(" ", "")
    for timed in (aligned.words, aligned.characters, hypothesis.words, hypothesis.characters):
        times = [t for item in timed for t in (item.start_s, item.end_s)]
        assert times == sorted(times) and times[0] >= 0 and times[-1] <= duration_s
        assert all(0 <= item.confidence <= 1 for item in timed)


def test_files_that_cannot_be_aligned_are_named(recognizer, tmp_path):
    soundfile.write(tmp_path / "noise.wav", 0.1 * np.random.default_rng(0).random(8000), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16_000)
    with pytest.raises(UserError, match=r"noise.wav: .*too long for its audio: 102 output frames"):
        recognizer.align(tmp_path / "noise.wav", "ab" * 50)
    with pytest.raises(UserError, match="silent.wav: is silent"):
        recognizer.align(tmp_path / "silent.wav", "ab")


def test_what_needs_more_memory_than_the_limit_is_refused_before_it_is_made(monkeypatch):
    logp, labels = torch.full((1_000, 3), -math.log(3)), [1, 2] * 100
    n_bytes = 8 * 2 * 201 * 8 + 128**2  # the scores before each of 8 blocks, and one block
    monkeypatch.setattr(alignment, "MEMORY_LIMIT_BYTES", n_bytes)
    assert len(best_path(logp, labels).spans) == 200
    monkeypatch.setattr(alignment, "MEMORY_LIMIT_BYTES", n_bytes - 1)
    monkeypatch.setattr(viterbi, "best_states", lambda *_: pytest.fail("it was made"))
    with pytest.raises(ValueError, match="200 labels in 1,000 frames would take 0.0 GB"):
        best_path(logp, labels)


@pytest.mark.slow
def test_ten_hours_can_be_aligned_and_a_hundred_cannot():
    assert alignment.unalignable([1, 2] * 250_000, 900_000) is None
    message = alignment.unalignable([1, 2] * 2_500_000, 9_000_000)
    assert message.startswith("5,000,000 labels in 9,000,000 frames would take 60.1 GB of mem")
    assert message.endswith("the limit is 2 GB: align parts of the recording")


@pytest.mark.few(1)
@pytest.mark.parametrize("duration_s", [1.7, 43.21])  # in one piece, and in several
@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_what_cannot_be_aligned_is_refused_before_the_model_has_run(
    recognizer, tmp_path, monkeypatch, duration_s, rate
):
    noise = 0.1 * np.random.default_rng(0).standard_normal(int(duration_s * rate))
    soundfile.write(tmp_path / "a.wav", noise, rate)
    logp, _ = Transcriber(recognizer, greedy_decode).log_posteriors(tmp_path / "a.wav")
    n_bytes = viterbi.memory_bytes(len(logp), len(CharMap().encode("ab c")))
    monkeypatch.setattr(alignment, "MEMORY_LIMIT_BYTES", n_bytes)
    assert len(recognizer.align(tmp_path / "a.wav", "ab c").words) == 2

    monkeypatch.setattr(alignment, "MEMORY_LIMIT_BYTES", n_bytes - 1)
    monkeypatch.setattr(recognizer, "batch_log_posteriors", lambda *_: pytest.fail("it has run"))
    for text, said in {
        "ab c": f"6 labels in {len(logp):,} frames would take",
        "...": "the text contains no word",
    }.items():
        with pytest.raises(UserError, match=f"a.wav: .*{said}"):
            recognizer.align(tmp_path / "a.wav", text)
    monkeypatch.setattr(alignment, "MEMORY_LIMIT_BYTES", 10**9)
    needed = f"too long for its audio: {2 + 5 * len(logp)} output frames needed of {len(logp)}"
    with pytest.raises(UserError, match=needed):
        recognizer.align(tmp_path / "a.wav", "abcde" * len(logp))
