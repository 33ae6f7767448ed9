import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

import asr_ctc
from asr_ctc import Recognizer
from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.log_posteriors import log_posteriors
from asr_ctc.acoustic.model_file import save_model
from asr_ctc.audio import decode as audio
from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.decoding.alignment import align_text
from asr_ctc.decoding.beam import Beam, decode
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.selection import prepare_split
from asr_ctc.recognition.formats import FORMATS
from asr_ctc.scoring.evaluation import evaluate
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.phonemes import Phonemes, Spoken


@pytest.fixture(scope="module")
def recognizer(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "best_model.pt"
    save_model(path, tiny_model)
    return Recognizer.load(path, device="cpu")


@pytest.fixture(scope="module")
def corpus(toy_root):
    return prepare_split(toy_root / "toy-1.0" / "fr", "dev")


def test_the_two_lines_of_the_readme(recognizer, tiny_model, tmp_path, corpus):
    assert asr_ctc.Recognizer is Recognizer
    save_model(tmp_path / "best_model.pt", tiny_model)
    transcript = asr_ctc.Recognizer.load(tmp_path / "best_model.pt").transcribe(corpus.file(0))
    assert isinstance(transcript, asr_ctc.Transcript) and transcript.logp < 0
    assert not set(transcript.text) & set("¬¶¦")
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        _ = asr_ctc.Recogniser


def test_posteriors_are_those_of_the_batch_path(recognizer, corpus):
    """A file alone, and the same clips in one padded batch of a loader."""
    dataset = ClipDataset(corpus, recognizer.charmap, recognizer.processor)
    (batch,) = make_loader(dataset, [range(len(corpus))], 0)
    with torch.no_grad():
        logp, lengths = log_posteriors(recognizer.model, batch[0])
    assert len(set(lengths.tolist())) > 1
    for name, clip_logp, n_frames in zip(batch.ids, logp, lengths, strict=True):
        alone = recognizer.log_posteriors(audio.load(corpus.folder / "clips" / name))
        assert alone.shape == (n_frames, 44) and alone.dtype == torch.float32
        assert (alone - clip_logp[:n_frames]).abs().max() < 1e-4
        assert torch.allclose(alone.exp().sum(-1), torch.ones(len(alone)))


def test_transcripts_are_those_of_the_decoders(recognizer, corpus):
    path = corpus.file(1)
    logp = recognizer.log_posteriors(audio.load(path))[None]
    lengths, charmap = [logp.shape[1]], recognizer.charmap
    greedy = greedy_decode(logp, lengths, charmap)[0]
    assert hypotheses_in(recognizer.transcribe(path)) == greedy
    beam = Beam(width=7, n_best=3)
    hypotheses = hypotheses_in(recognizer.transcribe(path, decoder=beam))
    assert hypotheses == decode(logp, lengths, charmap, beam)[0] and len(hypotheses) == 3
    batch = hypotheses_in(recognizer.transcribe(path, decoder=replace(beam, device="cpu")))
    assert [h.labels for h in batch] == [h.labels for h in hypotheses]
    assert len(hypotheses_in(recognizer.transcribe(path, decoder=Beam(width=20)))) == 10
    assert [h.logp for h in hypotheses] == sorted((h.logp for h in hypotheses), reverse=True)


def hypotheses_in(transcript) -> list[Hypothesis]:
    best = Hypothesis(transcript.text, transcript.labels, transcript.logp)
    return [best, *transcript.alternatives]


def test_samples_and_file_objects_are_transcribed_like_files(recognizer, corpus):
    path = corpus.file(0)
    expected = recognizer.transcribe(path)
    samples = audio.load(path)
    stereo = np.stack([samples, samples], axis=1)
    for source in samples, torch.from_numpy(samples), stereo, samples.astype(np.float64):
        transcript = recognizer.transcribe(source, rate=16_000)
        assert (transcript.text, transcript.logp) == (expected.text, expected.logp)
        assert (transcript.words, transcript.audio) == (expected.words, "samples")
    with open(path, "rb") as file:
        assert recognizer.transcribe(file).text == expected.text
    aligned = recognizer.align(samples, "abc de", rate=16_000)
    assert aligned.words == recognizer.align(path, "abc de").words
    whole = np.round(samples * 2**15).clip(-(2**15), 2**15 - 1)
    integers = recognizer.transcribe(whole.astype(np.int16), rate=16_000)
    floats = recognizer.transcribe((whole / 2**15).astype(np.float32), rate=16_000)
    assert (integers.text, integers.logp) == (floats.text, floats.logp)


def test_samples_of_another_rate_are_resampled(recognizer):
    tone = 0.1 * np.sin(np.arange(48_000) * 0.05).astype(np.float32)
    assert recognizer.transcribe(tone, rate=48_000).duration_s == 1.0
    assert len(recognizer.log_posteriors(tone, rate=48_000)) == len(
        recognizer.log_posteriors(tone[:16_000])
    )


@pytest.mark.parametrize(
    ("samples", "rate", "problem"),
    [
        (np.zeros(1000), None, "rate is missing"),
        (np.zeros((2, 16_000)), 16_000, "transpose them"),
        (np.zeros(0), 16_000, r"shape \(0,\)"),
        (np.zeros((1, 2, 3)), 16_000, r"shape \(1, 2, 3\)"),
        (np.full(1000, np.nan), 16_000, "NaN"),
        (np.zeros(1000, bool), 16_000, "samples are bool"),
        (np.zeros(1000), 0, "rate is 0"),
    ],
)
def test_impossible_samples_are_refused(recognizer, samples, rate, problem):
    with pytest.raises(ValueError, match=problem):
        recognizer.transcribe(samples, rate=rate)


@pytest.mark.parametrize("source", [None, 3, b"RIFF"])
def test_what_is_no_audio_is_refused(recognizer, source):
    with pytest.raises(TypeError, match="needed a path, samples or a binary file"):
        recognizer.transcribe(source)
    with pytest.raises(TypeError, match="needed several"):
        recognizer.transcribe_many("clip.mp3")
    with pytest.raises(TypeError, match="decoder is a str; needed a Beam"):
        recognizer.transcribe("clip.mp3", decoder="beam")


def test_many_files_give_transcripts_and_errors_in_order(recognizer, corpus, tmp_path):
    (tmp_path / "text.mp3").write_text("no audio")
    paths = [corpus.file(0), tmp_path / "text.mp3", corpus.file(1), tmp_path / "missing.wav"]
    heard = []
    results = list(recognizer.transcribe_many(paths, on_progress=heard.append))
    assert [path for path, _ in results] == list(map(str, paths))
    for (path, result), is_error in zip(results, [False, True, False, True], strict=True):
        assert isinstance(result, AudioError) == is_error
        if not is_error:
            assert result.text == recognizer.transcribe(path).text
    assert sum(heard) == pytest.approx(sum(r.duration_s for _, r in results[::2]))


@pytest.mark.slow
def test_threads_may_share_a_recognizer(recognizer, corpus):
    paths = [corpus.file(i) for i in range(4)] * 3
    decoders = [None, Beam(width=4), Beam(width=4, hotwords={"abc": 3.0})] * 4
    expected = [recognizer.transcribe(p, decoder=d) for p, d in zip(paths, decoders, strict=True)]
    with ThreadPoolExecutor(4) as threads:
        transcripts = list(
            threads.map(
                lambda job: recognizer.transcribe(job[0], decoder=job[1]),
                zip(paths, decoders, strict=True),
            )
        )
    assert [t.text for t in transcripts] == [t.text for t in expected]
    assert [t.words for t in transcripts] == [t.words for t in expected]


def test_a_transcript_is_written_in_every_format(recognizer, corpus):
    transcript = recognizer.transcribe(corpus.file(0))
    for name, format in FORMATS.items():
        assert transcript.to(name) == format.header + format.write(transcript)
    with pytest.raises(ValueError, match="'doc'; needed one of text, json"):
        transcript.to("doc")


def test_a_decoder_reads_its_language_model_once(recognizer, corpus, tmp_path):
    (tmp_path / "toy.arpa").write_text(ARPA)
    beam = Beam(width=4, lm=tmp_path / "toy.arpa", lm_weight=2.0)
    first = recognizer.transcribe(corpus.file(0), decoder=beam)
    (tmp_path / "toy.arpa").unlink()
    again = recognizer.transcribe(corpus.file(0), decoder=replace(beam))
    assert first == again and math.isfinite(first.score) and first.score != first.logp
    with pytest.raises(UserError, match="toy.arpa"):
        recognizer.transcribe(corpus.file(0), decoder=replace(beam, lm_weight=1.0))


ARPA = """\\data\\
ngram 1=5

\\1-grams:
-1.0 <unk>
-99 <s>
-1.0 </s>
-0.5 abc
-0.7 de

\\end\\
"""


def test_a_split_is_read_like_its_files(recognizer, corpus):
    dataset = ClipDataset(corpus, recognizer.charmap, recognizer.processor)
    evaluation = evaluate(
        recognizer.model, make_loader(dataset, [[0, 3, 1], [2]], 0), recognizer.device
    )
    assert sorted(clip.id for clip in evaluation.clips) == [corpus.path(i) for i in range(4)]
    for clip in evaluation.clips:
        alone = recognizer.transcribe(corpus.folder / "clips" / clip.id)
        assert [h.text for h in clip.hypotheses] == [alone.text]


def test_what_cannot_be_read_is_scored_as_empty(recognizer, toy_folder):
    for i, samples in enumerate([np.zeros(20_000), np.full(20_000, np.nan)]):
        name = toy_folder / "clips" / f"toy_dev_{i}.mp3"
        soundfile.write(name, samples, 16_000, format="WAV", subtype="FLOAT")
    (toy_folder / "clips" / "toy_dev_2.mp3").unlink()
    corpus = prepare_split(toy_folder, "dev", keep_broken=True)
    dataset = ClipDataset(corpus, recognizer.charmap, recognizer.processor)
    evaluation = evaluate(recognizer.model, make_loader(dataset, [range(6)], 0), recognizer.device)
    sentences = {corpus.path(i): corpus.sentence(i) for i in range(6)}
    assert {clip.id: clip.reference for clip in evaluation.clips} == sentences
    empty = {clip.id for clip in evaluation.clips if clip.hypotheses == [Hypothesis("", (), 0.0)]}
    broken = {f"toy_dev_{i}.mp3" for i in range(3)}
    assert {clip for clip, _ in evaluation.excluded} == broken <= empty
    assert evaluation.score().n_clips == 6
    assert evaluation.loss > 0  # of the others


def test_what_cannot_be_read_counts_in_the_units_of_both_output_layers(tiny_model, toy_folder):
    (toy_folder / "clips" / "toy_dev_0.mp3").write_bytes(b"not audio")
    corpus = prepare_split(toy_folder, "dev", keep_broken=True)
    sounds = Phonemes.from_readings(["t͡ʃa"], "fr-fr")[0]
    sounds.remember(Spoken.of((sentence, "t͡ʃa") for sentence in corpus.all_sentences()))
    model = CTCModel(replace(tiny_model.architecture, aux_vocab_size=sounds.vocab_size))
    processor = WaveformProcessor(tiny_model.features, normalization=tiny_model.normalization)
    dataset = ClipDataset(corpus, tiny_model.charmap, processor, aux_units=sounds)
    evaluation = evaluate(model, make_loader(dataset, [range(6)], 0), torch.device("cpu"))
    assert [clip for clip, _ in evaluation.excluded] == ["toy_dev_0.mp3"]
    assert [c.id for c in evaluation.aux.clips] == [c.id for c in evaluation.clips]
    assert (evaluation.clips[-1].id, evaluation.aux.clips[-1].reference) == ("toy_dev_0.mp3", "t͡ʃa")
    assert evaluation.aux.score().n_clips == evaluation.score().n_clips == 6


def test_rows_of_one_broken_clip_keep_their_own_sentences(recognizer, toy_folder):
    table = (toy_folder / "dev.tsv").read_text()
    (toy_folder / "dev.tsv").write_text(table.replace("toy_dev_1.mp3", "toy_dev_0.mp3"))
    (toy_folder / "clips" / "toy_dev_0.mp3").write_bytes(b"not audio")
    corpus = prepare_split(toy_folder, "dev", keep_broken=True)
    dataset = ClipDataset(corpus, recognizer.charmap, recognizer.processor)
    evaluation = evaluate(recognizer.model, make_loader(dataset, [range(6)], 0), recognizer.device)
    references = sorted(clip.reference for clip in evaluation.clips)
    assert references == sorted(corpus.all_sentences())


def test_what_cannot_be_learnt_is_scored_like_any_other(recognizer, toy_folder):
    """An empty transcript, one too long for its audio, one with a character without a class."""
    lines = (toy_folder / "dev.tsv").read_text().split("\n")
    for line, sentence in (1, " "), (2, "a" * 300), (3, "中"):
        lines[line] = lines[line].replace(lines[line].split("\t")[3], sentence)
    (toy_folder / "dev.tsv").write_text("\n".join(lines))
    corpus = prepare_split(toy_folder, "dev")
    charmap = CharMap.from_symbols([*"abcdefgh .", *map(chr, range(0x400, 0x400 + 33))])
    assert charmap.vocab_size == 44
    dataset = ClipDataset(corpus, charmap, recognizer.processor)
    evaluation = evaluate(recognizer.model, make_loader(dataset, [range(6)], 0), recognizer.device)
    assert evaluation.excluded == []
    clips = {clip.id: clip for clip in evaluation.clips}
    assert [clips[corpus.path(i)].reference for i in range(3)] == [" ", "a" * 300, "中"]
    finite = [math.isfinite(clips[corpus.path(i)].loss) for i in range(6)]
    assert finite == [False] * 3 + [True] * 3
    learnable = [clips[corpus.path(i)].loss for i in range(3, 6)]
    assert evaluation.loss == pytest.approx(sum(learnable) / 3)
    scores = evaluation.score()
    assert (scores.n_clips, scores.n_empty_references) == (5, 1)
    assert any(clip.hypotheses[0].labels for clip in evaluation.clips)
    for name, clip in clips.items():
        labels = recognizer.transcribe(corpus.folder / "clips" / name).labels
        assert clip.hypotheses[0].labels == labels


@pytest.mark.parametrize("decoder", [None, Beam(width=5)])
def test_silence_is_one_empty_hypothesis(recognizer, tmp_path, decoder):
    path = tmp_path / "silent.wav"
    for samples in np.zeros(16_000), np.full(16_000, 1e-5):
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
        transcript = recognizer.transcribe(path, decoder=decoder)
        assert hypotheses_in(transcript) == [Hypothesis("", (), 0.0)]


@pytest.mark.parametrize(("ending", "rate", "channels"), [("wav", 44_100, 2), ("flac", 8_000, 1)])
def test_any_format_rate_and_channel_count(recognizer, tmp_path, ending, rate, channels):
    noise = 0.1 * np.random.default_rng(0).standard_normal((rate, channels))
    soundfile.write(tmp_path / f"a.{ending}", noise, rate)
    assert recognizer.transcribe(tmp_path / f"a.{ending}").logp < 0


def test_clips_of_one_window(recognizer, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(640)
    soundfile.write(tmp_path / "a.wav", noise, 16_000)
    assert recognizer.transcribe(tmp_path / "a.wav").duration_s == 0.04
    soundfile.write(tmp_path / "b.wav", noise[:-1], 16_000)
    with pytest.raises(AudioError, match="b.wav: is shorter than one window of 40 ms"):
        recognizer.transcribe(tmp_path / "b.wav")


def test_files_that_cannot_be_used(recognizer, tmp_path):
    (tmp_path / "text.mp3").write_text("no audio")
    for name in "missing.mp3", "text.mp3", ".":
        with pytest.raises(AudioError):
            recognizer.transcribe(tmp_path / name)
    with pytest.raises(UserError, match="no model file"):
        Recognizer.load(tmp_path / "missing.pt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_an_absent_device_is_a_users_error(tmp_path, tiny_model):
    save_model(tmp_path / "m.pt", tiny_model)
    with pytest.raises(UserError, match="--device cuda: no CUDA device is available"):
        Recognizer.load(tmp_path / "m.pt", device="cuda")


def test_a_clip_is_aligned_on_the_posteriors_of_the_clip_alone(recognizer, corpus):
    samples = audio.load(corpus.file(0))
    found = recognizer.align(corpus.file(0), "abc de")
    clock = recognizer.clock(len(samples))
    expected = align_text(recognizer.log_posteriors(samples), "abc de", recognizer.charmap, clock)
    assert (found.words, found.characters) == (expected.words, expected.characters)
    assert found.duration_s == clock.duration_s
