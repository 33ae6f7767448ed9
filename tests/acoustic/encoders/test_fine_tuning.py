"""What changes an encoder while it is trained: masks, layers skipped, checkpoints, frozen parts."""

import copy

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from asr_ctc.acoustic.encoders.encoder import FineTuning
from asr_ctc.acoustic.encoders.huggingface import load_folder, read_folder
from asr_ctc.acoustic.encoders.span_masks import SpanMasks
from asr_ctc.acoustic.encoders.torchaudio_bundles import load_bundle
from tests.helpers.published import BUNDLES, FOLDERS, clips, make_bundle, make_folder

pytestmark = pytest.mark.few(2)
OF_TORCHAUDIO = "WAV2VEC2_BASE", "WAVLM_BASE_PLUS"
ENCODERS = *OF_TORCHAUDIO, "wav2vec2 base", "wavlm large", "data2vec", "mms", "w2v-bert"
assert {*ENCODERS} <= {*BUNDLES, *FOLDERS}


@pytest.fixture(scope="module", params=ENCODERS)
def published(request, tmp_path_factory):
    """A small encoder without dropout."""
    folder = tmp_path_factory.mktemp("published")
    if request.param in OF_TORCHAUDIO:
        with pytest.MonkeyPatch.context() as monkeypatch:
            make_bundle(monkeypatch, folder, request.param)
            encoder, _ = load_bundle(request.param)
    else:
        make_folder(folder, request.param)
        encoder, _ = load_folder(read_folder(folder), head=False)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return encoder


@pytest.fixture
def encoder(published):
    """A small encoder without dropout, in training mode."""
    return copy.deepcopy(published).train()


def inputs(encoder):
    analyse = encoder.features.analyser()
    return pack_sequence([analyse(clip) for clip in clips(6400, 4000)], enforce_sorted=False)


def gradients(encoder, *, seed=0):
    """The gradients of the frames' squares, by name of the weight; None where there is none."""
    torch.manual_seed(seed)
    encoder.zero_grad()
    encoder(inputs(encoder)).data.square().sum().backward()
    return {name: p.grad for name, p in encoder.named_parameters()}


@pytest.mark.slow
def test_checkpointing_changes_no_gradient(encoder):
    masks = SpanMasks(time_share=0.5, channel_share=0.5, channel_span=8)
    encoder.fine_tuning = FineTuning(masks=masks, layer_drop=0.3)
    plain = gradients(encoder)
    assert any(gradient is not None and gradient.any() for gradient in plain.values())
    encoder.fine_tuning = FineTuning(masks=masks, layer_drop=0.3, checkpointing=True)
    assert_equal(gradients(encoder), plain)


def assert_equal(found, expected):
    for name, gradient in expected.items():
        assert (gradient is None) == (found[name] is None), name
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient, msg=name)


def test_training_changes_the_frames_and_evaluation_does_not(encoder):
    evaluated = encoder.eval()(inputs(encoder)).data
    encoder.train().fine_tuning = FineTuning(masks=SpanMasks(time_share=0.5, time_span=4))
    torch.manual_seed(0)
    masked = encoder(inputs(encoder)).data
    assert not torch.allclose(masked, evaluated)
    torch.manual_seed(0)
    assert torch.equal(encoder(inputs(encoder)).data, masked)
    assert torch.equal(encoder.eval()(inputs(encoder)).data, evaluated)


def test_padding_changes_nothing_in_training_either(encoder):
    encoder.fine_tuning = FineTuning()
    waveforms, analyse = clips(6400, 4000), encoder.features.analyser()
    frames, lengths = pad_packed_sequence(encoder(inputs(encoder)), batch_first=True)
    for number, waveform in enumerate(waveforms):
        alone = encoder(pack_sequence([analyse(waveform)])).data
        torch.testing.assert_close(frames[number, : lengths[number]], alone, atol=1e-5, rtol=1e-4)


def test_every_layer_can_be_skipped_alone(encoder):
    encoder.fine_tuning = FineTuning(layer_drop=0.5)
    patterns = set()
    for seed in range(12):
        if len(patterns) == 4:
            break
        parts = encoder.parts()
        found = gradients(encoder, seed=seed)
        of = {id(p): name for name, p in encoder.named_parameters()}
        patterns.add(
            tuple(
                any(
                    found[of[id(p)]] is not None
                    for p in parts[f"layer {n}"][0].parameters()
                    if "rel_attn_embed" not in of[id(p)]  # of WavLM: read by all layers
                )
                for n in (1, 2)
            )
        )
    assert patterns == {(True, True), (True, False), (False, True), (False, False)}


def test_parts_hold_every_parameter_once(encoder):
    of_parts = [
        p for part in encoder.parts().values() for module in part for p in module.parameters()
    ]
    assert sorted(map(id, of_parts)) == sorted(map(id, encoder.parameters()))


def test_every_parameter_has_a_gradient_with_masks_and_without(encoder):
    """Processes of torchrun wait for all of them."""
    for masks in (SpanMasks(), SpanMasks(time_share=0.5, channel_share=0.5)):
        encoder.fine_tuning = FineTuning(masks=masks)
        assert [name for name, found in gradients(encoder).items() if found is None] == []


def test_frozen_parts_keep_every_bit(encoder):
    parts = encoder.parts()
    for name in list(parts)[:-1]:
        for module in parts[name]:
            module.requires_grad_(False)
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    gradients(encoder)
    optimizer.step()
    trained = {id(p) for module in parts["layer 2"] for p in module.parameters()}
    changed = [n for n, p in encoder.named_parameters() if not torch.equal(p, before[n])]
    assert changed and {id(encoder.get_parameter(name)) for name in changed} <= trained


def test_the_layers_below_the_first_are_not_needed(encoder):
    """From the outputs of layer 1 the encoder's are computed again, as a cache of them needs."""
    encoder.eval()
    padded, n_inputs = pad_packed_sequence(inputs(encoder), batch_first=True)
    n_frames = encoder.output_lengths(n_inputs)
    with torch.no_grad():
        front = encoder.front(padded, n_inputs)
        first, last = encoder.climb(front, n_frames)
        again = encoder.frames_above(first, n_frames, first=1)
        both = encoder.frames_above(front, n_frames, layers=[1, 2])
    torch.testing.assert_close(again, last)
    assert torch.equal(both, torch.cat([first, last], 2))
