"""Recordings in pieces: what is cut, joined, batched. The ear here knows the toy language's tones,
so that every transcript is known without training."""

import io
import itertools
import json
import random
import re
import shutil
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.acoustic.model_file import save_model
from asr_ctc.audio import decode as audio
from asr_ctc.commands import main as cli
from asr_ctc.data import WaveformProcessor
from asr_ctc.decoding.alignment import align_text
from asr_ctc.decoding.beam import beam_decode
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import FrameClock
from asr_ctc.recognition.cutting import (
    CONTEXT_S,
    EDGE_S,
    LONGEST_S,
    SHORTEST_S,
    cut_at_pauses,
    find_seam,
)
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.recognition.transcriber import Transcriber
from asr_ctc.text.charmap import CharMap
from tests.helpers.examples import examples
from tools.toy_corpus import LETTERS, RATE_HZ, sentences, speak

GRAIN = 640  # samples per output frame


class ToneReader:
    """A recognizer that hears the tones of the toy language, a letter where a tone is loudest."""

    def __init__(self):
        self.processor = WaveformProcessor()
        self.charmap = CharMap.from_symbols(LETTERS + " ")
        self.batches: list[int] = []
        self.trained_sound = None
        time = np.arange(GRAIN) / RATE_HZ
        frequencies_hz = 250 * 1.45 ** np.arange(len(LETTERS))
        self.waves = np.exp(-2j * np.pi * frequencies_hz[:, None] * time) / GRAIN

    def clock(self, n_samples: int) -> FrameClock:
        return FrameClock(GRAIN / RATE_HZ, 0.0, n_samples / RATE_HZ)

    def batch_log_posteriors(self, clips) -> list[torch.Tensor]:
        self.batches.append(len(clips))
        return [self._hear(samples) for samples in clips]

    def _hear(self, samples: np.ndarray) -> torch.Tensor:
        n_frames = len(samples) // GRAIN + 1
        frames = np.pad(samples, (GRAIN // 2, GRAIN))[: n_frames * GRAIN].reshape(-1, GRAIN)
        loudness = np.abs(frames @ self.waves.T)
        logp = np.full((n_frames, self.charmap.vocab_size), -9.0)
        heard = np.where(loudness.max(1) > 0.03, loudness.argmax(1) + 1, 0)
        logp[np.arange(n_frames), heard] = -0.01
        return torch.tensor(logp)


def save(path, samples: np.ndarray):
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    return path


def read(files, decode=greedy_decode):
    return list(Transcriber(ToneReader(), decode)(files))


def read_clips(folder, clips):
    return read([save(folder / f"{i}.wav", clip) for i, clip in enumerate(clips)])


def long_recording(seed: int, n: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Clips of the toy language joined with pauses of 0.1 to 1.5 s, and the clips."""
    noise, rng = np.random.default_rng(seed), random.Random(seed)
    clips = [speak(text, noise) for text in sentences(n, rng)]
    pauses = [np.zeros(int(rng.uniform(0.1, 1.5) * RATE_HZ), np.float32) for _ in clips]
    return np.concatenate(
        [part for pair in zip(clips, pauses, strict=True) for part in pair]
    ), clips


@pytest.mark.few(1)
@pytest.mark.parametrize("seed", range(4))
def test_a_long_recording_says_what_its_clips_say_alone(tmp_path, seed):
    whole, clips = long_recording(seed, 40)
    assert len(whole) > 60 * RATE_HZ
    (joined,) = read([save(tmp_path / "long.wav", whole)])
    alone = read_clips(tmp_path, clips)
    letters = "".join(reading.hypotheses[0].text for reading in alone)
    assert len(letters) > 200
    (hypothesis,) = joined.hypotheses
    assert hypothesis.text.replace(" ", "") == letters
    assert joined.duration_s == pytest.approx(len(whole) / RATE_HZ)
    times = [t for c in hypothesis.characters for t in (c.start_s, c.end_s)]
    assert times == sorted(times) and len(hypothesis.characters) == len(letters)
    # Each letter is timed where its tone is, all but the pause after it.
    for character in hypothesis.characters:
        assert character.end_s - character.start_s < 0.4
        heard = whole[round(character.start_s * RATE_HZ) : round(character.end_s * RATE_HZ)]
        assert np.abs(heard).max() > 0.25


def test_recordings_are_batched_by_length_and_come_back_in_order(tmp_path):
    noise = np.random.default_rng(0)
    texts = ["abcdefgh" * 3, "a", "bcd", "hgfe" * 4, "c"]
    files = [save(tmp_path / f"{i}.wav", speak(t, noise)) for i, t in enumerate(texts)]
    files.insert(2, tmp_path / "gone.wav")
    ear = ToneReader()
    heard = []
    readings = list(Transcriber(ear, greedy_decode, heard.append)(files))
    assert ear.batches == [5]
    assert sum(heard) == pytest.approx(sum(r.duration_s for r in readings))
    found = [r.error.reason if r.error else r.hypotheses[0].text for r in readings]
    assert found == [*texts[:2], "no such file", *texts[2:]]


def test_what_is_in_the_pool_is_bounded(tmp_path, monkeypatch):
    """Batches stay small, and readings come before later files are opened."""
    monkeypatch.setattr("asr_ctc.recognition.transcriber.POOL_S", 5.0)
    monkeypatch.setattr("asr_ctc.recognition.transcriber.BATCH_S", 4.0)
    file = save(tmp_path / "a.wav", speak("abcdefgh", np.random.default_rng(0)))  # 1.3 s
    opened = []
    ear = ToneReader()
    readings = Transcriber(ear, greedy_decode)(opened.append(i) or file for i in range(20))
    assert next(readings).hypotheses[0].text == "abcdefgh" and len(opened) < 6
    assert [r.hypotheses[0].text for r in readings] == ["abcdefgh"] * 19
    assert max(ear.batches) <= 3 and sum(ear.batches) == 20


def test_a_beam_lists_readings_of_a_clip_and_the_best_of_a_long_recording(tmp_path):
    whole, _ = long_recording(0, 30)
    short = save(tmp_path / "short.wav", speak("abc de", np.random.default_rng(0)))
    one, several = read([save(tmp_path / "long.wav", whole), short], beam_decode)
    assert len(one.hypotheses) == 1 and len(several.hypotheses) > 5
    transcript = several.transcript("x")
    assert transcript.text == "abcde" and len(transcript.alternatives) > 4


def test_only_readings_that_are_shown_are_timed(tmp_path, monkeypatch):
    timed = []
    monkeypatch.setattr(
        "asr_ctc.recognition.transcriber.with_times", lambda h, *_: timed.append(h) or h
    )
    whole, _ = long_recording(0, 30)
    short = save(tmp_path / "short.wav", speak("abc de", np.random.default_rng(0)))
    one, several = read([save(tmp_path / "long.wav", whole), short], beam_decode)
    pieces, readings = timed[: -len(several.hypotheses)], timed[-len(several.hypotheses) :]
    assert readings == several.hypotheses and len(pieces) > 1
    assert " ".join(piece.text for piece in pieces if piece.text) == one.hypotheses[0].text


@pytest.mark.slow
def test_a_long_recording_is_aligned_in_pieces(tmp_path):
    """Where nobody listens there is no letter, and the times after it are right."""
    whole, clips = long_recording(1, 40)
    whole = np.concatenate([whole, np.zeros(5 * RATE_HZ, np.float32), clips[0]])
    ear = ToneReader()
    text = "".join(
        reading.hypotheses[0].text for reading in read_clips(tmp_path, [*clips, clips[0]])
    )
    path = save(tmp_path / "long.wav", whole)
    logp, n_samples = Transcriber(ear, greedy_decode).log_posteriors(path)
    assert n_samples == len(whole) and len(logp) == len(whole) // GRAIN + 1
    aligned = align_text(logp, text, ear.charmap, ear.clock(n_samples))
    assert "".join(character.text for character in aligned.characters) == text
    for character in aligned.characters:
        heard = whole[round(character.start_s * RATE_HZ) : round(character.end_s * RATE_HZ)]
        assert np.abs(heard).max() > 0.25


@pytest.mark.parametrize(
    "samples, reason",
    [
        (np.zeros(0), "holds no samples"),
        (np.full(600, 0.1), "is shorter than one window of 40 ms"),
        (np.full(700, np.nan), "holds NaN or infinite samples"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, samples, reason):
    (reading,) = read([save(tmp_path / "a.wav", samples)])
    assert reading.error.reason == reason and reading.hypotheses == []


def test_a_recording_truncated_at_its_end_is_refused(tmp_path):
    whole, _ = long_recording(0, 40)
    path = tmp_path / "a.wav"
    soundfile.write(path, whole, RATE_HZ)
    path.write_bytes(path.read_bytes()[: len(whole)])  # 16 bits a sample: half of it
    (reading,) = read([path])
    assert reading.error.reason.startswith("truncated")


# ------------------------------------------------------------------------------------------ blocks


@pytest.mark.parametrize("rate, channels", [(16_000, 1), (44_100, 2), (8_000, 1)])
def test_blocks_are_the_whole_file_in_pieces(tmp_path, rate, channels):
    noise = 0.1 * np.random.default_rng(0).standard_normal((3 * rate, channels))
    soundfile.write(tmp_path / "a.wav", noise, rate)
    whole = audio.load(tmp_path / "a.wav")
    blocks = list(audio.blocks(tmp_path / "a.wav", block_s=0.7))
    assert len(blocks) >= 5
    joined = np.concatenate(blocks)
    assert len(joined) == len(whole) and joined.dtype == np.float32
    assert np.abs(joined - whole).max() < 1e-4


# ------------------------------------------------------------------------------------ cut and seam


@examples(30)
@given(
    seconds=st.floats(0.05, 120),
    block_s=st.floats(0.5, 50),
    speech_s=st.floats(0.5, 30),
    pause_s=st.floats(0.1, 30),
    quiet=st.sampled_from([0.0, 0.01]),
    seed=st.integers(0, 10**6),
)
def test_pieces_cover_all_that_is_loud_and_overlap_where_it_is_cut(
    seconds, block_s, speech_s, pause_s, quiet, seed
):
    rate, grain = 1600, 64
    time_s = np.arange(int(seconds * rate)) / rate
    is_loud = time_s % (speech_s + pause_s) < speech_s
    samples = np.random.default_rng(seed).standard_normal(len(time_s)).astype(np.float32)
    samples *= np.where(is_loud, 1.0, quiet).astype(np.float32)
    blocks = np.split(samples, range(int(block_s * rate), len(samples), int(block_s * rate)))
    pieces = list(cut_at_pauses(blocks, rate, grain))
    assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].first + len(pieces[-1].samples) == len(samples)
    assert pieces[0].first == pieces[0].start
    is_heard = np.zeros(len(samples), bool)
    for piece in pieces:
        own = slice(piece.first, piece.first + len(piece.samples))
        assert np.array_equal(piece.samples, samples[own])
        is_heard[own] = True
        assert piece.first % grain == piece.start % grain == 0
        assert len(piece.samples) <= (LONGEST_S + 2 * CONTEXT_S) * rate
    assert is_heard[is_loud].all()
    for left, right in pairwise(pieces):
        heard_twice_s = (left.first + len(left.samples) - right.first) / rate
        if right.start > right.first:
            assert SHORTEST_S * rate - grain <= right.start - left.start <= LONGEST_S * rate
            assert heard_twice_s == pytest.approx(2 * CONTEXT_S, abs=2 * grain / rate)
            assert right.start < left.first + len(left.samples)
        else:
            assert heard_twice_s <= grain / rate


def with_pauses(*pauses: tuple[float, float], seconds: float = 25.0, rate: int = 1600):
    """Noise with almost silent pauses, (from, to) in seconds."""
    samples = np.random.default_rng(0).standard_normal(round(seconds * rate)).astype(np.float32)
    for start_s, end_s in pauses:
        samples[round(start_s * rate) : round(end_s * rate)] *= 0.01
    return samples


def heard_s(samples: np.ndarray, rate: int = 1600) -> list[list[float]]:
    """From when to when each piece hears."""
    pieces = cut_at_pauses([samples], rate, 16)
    return [[p.first / rate, (p.first + len(p.samples)) / rate] for p in pieces]


def assert_heard(samples: np.ndarray, *expected: tuple[float, float]):
    assert np.array(heard_s(samples)) == pytest.approx(np.array(expected), abs=0.03)


def test_of_each_pause_a_piece_hears_its_edge():
    e = EDGE_S
    assert_heard(
        with_pauses((5.0, 5.5), (10.0, 10.6), (15.0, 19.0), (22.0, 22.4)),
        *((0, 5 + e), (5.5 - e, 10 + e), (10.6 - e, 15 + e), (19 - e, 25)),
    )
    assert_heard(with_pauses((5.0, 5.3))[: 20 * 1600], (0, 20))  # 20 s are one piece


def test_digital_silence_hides_no_other_pause():
    samples = with_pauses((5.0, 6.0), (12.0, 13.0))
    samples[15 * 1600 : 17 * 1600] = 0
    assert_heard(samples, (0, 5 + EDGE_S), (6 - EDGE_S, 12 + EDGE_S), (13 - EDGE_S, 15), (17, 25))


def test_the_last_piece_can_be_read_however_short_the_sound_at_the_end():
    samples = with_pauses(seconds=24)
    samples[22 * 1600 :] = 0
    samples[-20:] = 0.1
    assert heard_s(samples)[-1] == pytest.approx([24 - EDGE_S, 24], abs=0.03)


def test_a_tone_is_no_silence():
    samples = np.sin(np.arange(30 * 1600) * 2 * np.pi / 4).astype(np.float32) / 10
    assert heard_s(samples)[0][0] == 0 and heard_s(samples)[0][1] > 10


def test_of_digital_silence_a_piece_hears_nothing():
    samples = with_pauses((5.0, 6.0), (15.0, 16.0))
    samples[5 * 1600 : 6 * 1600] = 0
    assert_heard(samples, (0, 5), (6, 15 + EDGE_S), (16 - EDGE_S, 25))


def test_silence_at_the_beginning_and_past_what_is_looked_at_is_skipped():
    e = EDGE_S
    samples = with_pauses((0.0, 15.0), (21.0, 40.0), seconds=45)
    assert_heard(samples, (15 - e, 21 + e), (40 - e, 45))


def test_speech_that_is_soft_beside_a_loud_voice_is_heard():
    """Speech 25 dB below other speech, 35 dB above the noise, is no pause."""
    samples = with_pauses((0.0, 1.0), (4.0, 5.0), (9.0, 10.0), seconds=24) * 0.1
    samples[5 * 1600 : 9 * 1600] *= 10 ** (-25 / 20)
    spoken = [(start, end) for start, end in heard_s(samples)]
    assert any(start <= 5.0 and end >= 9.0 for start, end in spoken)


def test_where_there_is_no_pause_the_quietest_place_is_cut():
    """300 ms are too short for a pause, but quieter than all else."""
    assert_heard(with_pauses((15.0, 15.1), (17.0, 17.3)), (0, 18.15), (16.15, 25))


def test_of_an_hour_of_silence_the_end_is_heard():
    (piece,) = cut_at_pauses(itertools.repeat(np.zeros(16_000, np.float32), 360), 1600, 16)
    assert piece.is_last and len(piece.samples) < 21 * 1600


def test_a_seam_lies_where_both_pieces_hear_nothing():
    certain, letter = [-0.01, -9.0], [-9.0, -0.01]
    frames = [certain] * 50
    for spoken in (*range(5, 27), *range(34, 45)):
        frames[spoken] = letter
    left = torch.tensor(frames)
    # The first of 29 to 31, five blanks around each.
    assert find_seam(left, left, middle=25, blank=0, frame_s=0.04) == 29
    silent = torch.tensor([certain] * 50)
    assert find_seam(silent, silent, middle=25, blank=0, frame_s=0.04) == 25


def test_the_clock_of_a_made_recognizer_is_that_of_a_real_one(tiny_model):
    assert Recognizer(tiny_model, "cpu").clock(3200) == ToneReader().clock(3200)


# -------------------------------------------------------------------- the command, in this process


@pytest.fixture
def place(toy_folder, tiny_model, tmp_path, monkeypatch):
    """A folder with a model m.pt and two clips, in/a.mp3 and in/b.mp3."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "m.pt", tiny_model)
    (tmp_path / "in").mkdir()
    for i, name in enumerate("ab"):
        shutil.copy(toy_folder / "clips" / f"toy_dev_{i}.mp3", f"in/{name}.mp3")
    return tmp_path


def transcribe(capsys, *words):
    """(exit status, standard output, standard error) of `main_ctc.py test --audiofile WORDS`."""
    status = cli.main(["test", "--modelpath", "m.pt", "--device", "cpu", "--audiofile", *words])
    return status, *capsys.readouterr()


def test_folders_and_patterns_in_a_format(place, capsys):
    status, out, err = transcribe(capsys, "in", "in/*.mp3", "--format", "jsonl")
    found = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [entry["audio"] for entry in found] == ["in/a.mp3", "in/b.mp3"]
    alone = Recognizer.load("m.pt", "cpu").transcribe("in/b.mp3")
    assert found[1]["text"] == alone.text
    assert [word["word"] for word in found[1]["words"]] == [word.text for word in alone.words]
    assert re.search(r"2 of 2 recordings, \d+ s, transcribed in .* times real time", err)


def test_a_file_of_each_recording(place, capsys):
    status, out, _ = transcribe(capsys, "in", "--format", "vtt", "--out", "subtitles")
    assert (status, out) == (0, "")
    for name in "ab":
        assert (place / "subtitles" / f"{name}.vtt").read_text().startswith("WEBVTT\n")
    assert transcribe(capsys, "in", "--out", "texts")[0] == 0
    table = transcribe(capsys, "in/a.mp3")[1]
    assert (place / "texts" / "a.txt").read_text().strip() == table.splitlines()[1][12:]


def test_standard_input_is_a_recording(place, capsys, monkeypatch):
    class Piped:
        buffer = io.BytesIO((place / "in" / "a.mp3").read_bytes())

    monkeypatch.setattr("sys.stdin", Piped)
    _, by_pipe, _ = transcribe(capsys, "-", "--format", "tsv")
    _, by_name, _ = transcribe(capsys, "in/a.mp3", "--format", "tsv")
    assert by_pipe.replace("-\t", "in/a.mp3\t", by_pipe.count("\n")) == by_name
    monkeypatch.setattr(Piped, "buffer", io.BytesIO(b""))
    status, _, err = transcribe(capsys, "-")
    assert status == 2 and "error: standard input: is empty (0 bytes)" in err


def test_unusable_recordings_are_named_and_the_others_transcribed(place, capsys):
    save("in/c.wav", np.zeros(0))
    status, out, err = transcribe(capsys, "in", "--format", "jsonl")
    assert status == 2 and len(out.splitlines()) == 2
    assert "error: in/c.wav: holds no samples" in err and "2 of 3 recordings" in err
