"""The masks of fine-tuning: how much, in which spans, and never beyond a clip's end."""

import pytest
import torch

from asr_ctc.acoustic.encoders.span_masks import SpanMasks, draw_spans


def test_spans_have_their_length_and_number():
    torch.manual_seed(0)
    masked = draw_spans([1000], 0.05, 10)  # 5 spans of 10, which may overlap
    runs = torch.diff(masked[0].int(), prepend=torch.zeros(1)).eq(1).sum()
    assert 10 <= int(masked.sum()) <= 60 and 1 <= int(runs) <= 6


def test_the_expected_number_of_spans_is_share_times_size_over_span():
    """A fraction is a chance: 0.5 of 30 frames in spans of 10 are 1.5 spans on average."""
    torch.manual_seed(0)
    masked = draw_spans([30] * 2000, 0.5, 10)
    assert set(masked.sum(1).tolist()) <= set(range(10, 21))
    single = float((masked.sum(1) == 10).float().mean())
    assert 0.47 < single < 0.56  # half have one span; of two, a few coincide


def test_nothing_is_masked_past_a_clip():
    torch.manual_seed(0)
    masked = draw_spans([50] + 30 * [4], 1.0, 10)
    assert masked[0].any() and not masked[1:, 4:].any()
    assert set(masked[1:].sum(1).tolist()) == {0, 4}  # 0.4 of a span is a chance


def test_frames_get_the_fill_and_channels_zero():
    torch.manual_seed(0)
    frames, fill = torch.ones(2, 40, 128), torch.full((128,), 7.0)
    masks = SpanMasks(time_share=0.5, time_span=10, channel_share=0.5, channel_span=64)
    result = masks(frames, torch.tensor([40, 20]), fill)
    assert set(result.unique().tolist()) == {0.0, 1.0, 7.0}
    is_zero = (result == 0).all(dim=1)  # (B, D): whole channels
    assert is_zero.any() and ((result == 0) == is_zero[:, None]).all()
    assert (result[1, 20:][:, ~is_zero[1]] == 1).all()
    assert (frames == 1).all()


def test_the_masks_follow_torchs_generator():
    masks, frames = SpanMasks(time_share=0.3), torch.randn(3, 50, 8)
    torch.manual_seed(5)
    first = masks(frames, torch.tensor([50, 40, 30]))
    torch.manual_seed(5)
    assert torch.equal(first, masks(frames, torch.tensor([50, 40, 30])))


@pytest.mark.parametrize("wrong", [{"time_share": 1.1}, {"channel_share": -0.1}, {"time_span": 0}])
def test_impossible_masks(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SpanMasks(**wrong)
