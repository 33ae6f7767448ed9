"""A split decoded and scored, without settings or a command line."""

import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.selection import prepare_split
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.scoring.metrics import Rate, error_rates
from asr_ctc.scoring.split_scores import columns_of, score_split


def decode_ab(logp, lengths, charmap):
    return [[Hypothesis("ab", (), -1.0)] for _ in lengths]


def scores_of(folder, tiny_model, **distinctions):
    recognizer = Recognizer(tiny_model, "cpu")
    corpus = prepare_split(folder, "dev", keep_broken=True)
    dataset = ClipDataset(corpus, recognizer.charmap, recognizer.processor)
    return corpus, score_split(
        recognizer,
        make_loader(dataset, [range(3), range(3, len(corpus))], 0),
        n_rows=9,
        decode=decode_ab,
        decoding="always ab",
        columns=columns_of(corpus, ["speaker"]),
        **distinctions,
    )


def test_the_report_says_what_was_decoded_and_how_well(toy_folder, tiny_model):
    (toy_folder / "clips" / "toy_dev_0.mp3").write_bytes(b"not audio")
    corpus, scores = scores_of(toy_folder, tiny_model, case=True, punctuation=False)
    report = scores.report
    assert (report.corpus, report.n_decoded, report.n_rows) == ("toy-1.0/fr dev", 6, 9)
    assert (report.decoding, report.device, report.unreadable) == ("always ab", "cpu", 1)
    assert report.distinctions == ["case"]
    assert [clip for clip, _ in scores.excluded] == ["toy_dev_0.mp3"]
    assert report.hours == pytest.approx(corpus.durations.sum() / 3600)
    assert report.real_time_factor == pytest.approx(report.seconds / (3600 * report.hours))
    hypotheses = ["" if corpus.path(i) == "toy_dev_0.mp3" else "ab" for i in range(6)]
    rates = error_rates(list(corpus.all_sentences()), hypotheses, case=True)
    assert report.wer == Rate(rates.wer, *rates.wer_interval)
    assert report.cer == Rate(rates.cer, *rates.cer_interval)
    assert sum(part.clips for part in report.slices["speaker"]) == 6
    assert [clip.hypothesis for clip in scores.errors.clips] == hypotheses


def test_a_split_of_mostly_broken_clips_is_refused(toy_folder, tiny_model):
    for i in range(4):
        (toy_folder / "clips" / f"toy_dev_{i}.mp3").write_bytes(b"not audio")
    with pytest.raises(UserError, match="4 of 6"):
        scores_of(toy_folder, tiny_model)
