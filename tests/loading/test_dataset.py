import inspect
import io
import multiprocessing
import os
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, unpack_sequence

from asr_ctc.audio import decode as audio
from asr_ctc.audio.augment import parse_augmentation
from asr_ctc.audio.spec_augment import SpecAugment
from asr_ctc.base.errors import UserError
from asr_ctc.corpus.corpus import ExcludedClip, load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.data import WaveformProcessor, get_dataloaders
from asr_ctc.loading.batch import Batch, BatchCollate, Clip
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.normalization import measure_normalization
from asr_ctc.loading.sampling import Draw
from asr_ctc.loading.selection import exclude_unlearnable, prepare_split
from asr_ctc.models import CTCModel
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.feasibility import frames_needed, infeasible
from tests.helpers.examples import examples

CHARMAP = CharMap()


def clip(name, n_frames, n_labels):
    features = torch.full((n_frames, 3), float(n_frames))
    return Clip(name, features, torch.arange(1, n_labels + 1), f"say {name}", n_frames / 100)


def random_frames(n_frames, n_classes, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_frames, 1, n_classes, generator=generator).log_softmax(-1)


@pytest.fixture
def train(toy_root):
    """The 24 clips of the toy corpus, unnormalised and without masks."""
    corpus = prepare_split(toy_root / "toy-1.0" / "fr", "train")
    return ClipDataset(corpus, CHARMAP, WaveformProcessor())


def break_clips(folder, **how):
    """Replaces or deletes clips of the training split: silent, nan, short, text or missing."""
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16_000)
    samples = {"silent": 0 * noise, "nan": np.nan * noise, "short": noise[:600]}
    for name, kind in how.items():
        path = folder / "clips" / f"{name}.mp3"
        if kind == "missing":
            path.unlink()
        elif kind == "text":
            path.write_text("no audio at all")
        else:
            soundfile.write(path, samples[kind], 16_000, format="WAV", subtype="FLOAT")


# --- What CTC can align --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "needed"),
    [([], 0), ([1], 1), ([1, 2], 2), ([1, 1], 3), ([1, 1, 1], 5), ([1, 2, 2, 1], 5)],
)
def test_frames_needed_by_hand(labels, needed):
    assert frames_needed(labels) == needed


@examples(40)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=8), st.integers(0, 9))
def test_the_boundary_is_that_of_the_ctc_loss(labels, seed):
    needed = frames_needed(labels)
    for n_frames in range(max(1, needed - 2), needed + 3):
        loss = torch.nn.functional.ctc_loss(
            random_frames(n_frames, 4, seed),
            torch.tensor([labels]),
            [n_frames],
            [len(labels)],
            reduction="sum",
        )
        assert bool(loss.isfinite()) == (infeasible(labels, n_frames) is None)
    assert f"{needed} output frames needed of {needed - 1}" in infeasible(labels, needed - 1)


# --- Batches -------------------------------------------------------------------------------------


def test_collate_by_hand():
    batch = BatchCollate()([clip("a", 3, 2), clip("b", 5, 1), clip("c", 4, 3)])
    assert isinstance(batch, Batch) and len(batch) == len(list(batch)) == 2
    spectrograms, transcripts = batch
    assert isinstance(spectrograms, PackedSequence) and isinstance(transcripts, PackedSequence)
    assert spectrograms.sorted_indices is None  # sorted already
    assert batch.ids == ("b", "c", "a") and batch.sentences == ("say b", "say c", "say a")
    assert batch.durations == (0.05, 0.04, 0.03) and batch.duration_s == pytest.approx(0.12)
    assert batch.excluded == ()


@examples(40)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=9))
def test_pair_i_stays_pair_i(sizes):
    clips = {str(i): clip(str(i), *size) for i, size in enumerate(sizes)}
    batch = BatchCollate()(list(clips.values()))
    spectrograms, transcripts = map(unpack_sequence, batch)
    lengths = [len(features) for features in spectrograms]
    assert lengths == sorted(lengths, reverse=True)
    assert sorted(batch.ids) == sorted(clips)
    for name, features, labels in zip(batch.ids, spectrograms, transcripts, strict=True):
        assert torch.equal(features, clips[name].features)
        assert torch.equal(labels, clips[name].labels)


def test_excluded_clips_are_passed_on():
    broken = ExcludedClip("b", "silent")
    batch = BatchCollate()([clip("a", 3, 2), broken, clip("c", 4, 3)])
    assert batch.ids == ("c", "a") and batch.excluded == (broken,)
    nothing = BatchCollate()([broken])
    assert tuple(nothing) == (None, None)
    assert (nothing.ids, nothing.excluded, nothing.duration_s) == ((), (broken,), 0)


def test_batches_travel_whole():
    batch = BatchCollate()([clip("a", 3, 2), ExcludedClip("b", "silent"), clip("c", 4, 3)])
    for other in pickle.loads(pickle.dumps(batch)), batch.to("cpu"), batch.to(torch.device("meta")):
        assert isinstance(other, Batch) and len(other) == 2
        for name in "ids", "sentences", "durations", "excluded":
            assert getattr(other, name) == getattr(batch, name)
    assert batch.to("meta")[0].data.is_meta and batch.to("meta")[1].data.is_meta
    assert tuple(BatchCollate()([ExcludedClip("b", "silent")]).to("cpu")) == (None, None)
    again = pickle.loads(pickle.dumps(batch))
    for part, before in zip(again, batch, strict=True):
        assert isinstance(part, PackedSequence)
        for tensor, its in zip(part, before, strict=True):
            assert (tensor is its is None) or torch.equal(tensor, its)
    nothing = pickle.loads(pickle.dumps(BatchCollate()([ExcludedClip("b", "silent")])))
    assert tuple(nothing) == (None, None) and nothing.excluded == (ExcludedClip("b", "silent"),)


def test_a_batch_is_a_pair_that_does_not_change():
    batch = BatchCollate()([clip("a", 3, 2), clip("c", 4, 3)])
    spectrograms, transcripts = batch
    assert batch[0] is batch.spectrograms is spectrograms
    assert batch[1] is batch.transcripts is transcripts
    with pytest.raises(FrozenInstanceError):
        batch.ids = ("b",)
    assert batch.to("cpu").has_labels == batch.has_labels == (True, True)


def test_one_tensor_of_a_batch_travels():
    """Each tensor that a worker hands over costs a millisecond, whatever its size."""
    batch, tensors = BatchCollate()([clip("a", 3, 2), clip("c", 4, 3)]), []
    batch.spectrograms.data.share_memory_()

    class Pickler(pickle.Pickler):
        def reducer_override(self, value):
            if isinstance(value, torch.Tensor):
                tensors.append(value)
            return NotImplemented

    Pickler(io.BytesIO()).dump(batch)
    (travelled,) = tensors
    assert travelled is batch[0].data


# --- Clips ---------------------------------------------------------------------------------------


def test_a_clip(train):
    item = train[4]
    assert (item.id, item.sentence) == (train.corpus.path(4), train.corpus.sentence(4))
    samples = audio.load(train.corpus.file(4))
    assert torch.equal(item.features, train.processor(torch.from_numpy(samples)[:, None])[:, 0])
    assert item.labels.tolist() == CHARMAP.encode(item.sentence)
    assert item.labels.dtype == torch.int64
    assert item.duration_s == len(samples) / 16_000
    assert item.duration_s == pytest.approx(float(train.corpus.durations[4]), abs=1e-4)


def test_broken_clips_are_named(toy_folder):
    reasons = {
        "silent": "silent (peak under -90 dBFS)",
        "nan": "NaN",
        "short": "shorter than one window of 640 samples",
        "text": "not audio",
        "missing": "no such file",
    }
    break_clips(toy_folder, **{f"toy_train_{i}": kind for i, kind in enumerate(reasons, start=1)})
    corpus = with_durations(load_split(toy_folder, "train"), keep_broken=True)
    dataset = ClipDataset(corpus, CHARMAP, WaveformProcessor())
    items = [dataset[i] for i in range(7)]
    assert [isinstance(item, Clip) for item in items] == [True] + [False] * 5 + [True]
    for i, reason in enumerate(reasons.values(), start=1):
        assert items[i].clip == f"toy_train_{i}.mp3" and reason in items[i].reason


@pytest.mark.parametrize(
    ("sentence", "charmap", "reason"),
    [
        ("", CHARMAP, "empty transcript"),
        (" \u00a0", CHARMAP, "empty transcript"),
        ("abc", CharMap.from_symbols("ab"), "no class for the character 'c'"),
        ("a" * 30, CHARMAP, "transcript too long for its audio: 61 output frames needed of 39"),
    ],
)
def test_transcripts_that_cannot_be_learnt(toy_folder, sentence, charmap, reason):
    lines = (toy_folder / "train.tsv").read_text().split("\n")
    cells = lines[1].split("\t")
    lines[1] = "\t".join([*cells[:3], sentence, *cells[4:]])
    (toy_folder / "train.tsv").write_text("\n".join(lines))
    corpus = prepare_split(toy_folder, "train")
    output_lengths = CTCModel(CHARMAP, 20, 2, 1, "GRU", 0.0).output_lengths
    dataset = ClipDataset(
        corpus, charmap, WaveformProcessor(), for_training=True, output_lengths=output_lengths
    )
    assert dataset[0].clip == corpus.path(0) and reason in dataset[0].reason
    if charmap is CHARMAP:
        assert isinstance(dataset[1], Clip)
        learnable = exclude_unlearnable(
            corpus, charmap, features=WaveformProcessor().settings, output_lengths=output_lengths
        )
        assert len(learnable) == 23 and learnable.path(0) == corpus.path(1)
        assert [clip for clip, _ in learnable.excluded] == [corpus.path(0)]
        assert reason in learnable.excluded[0].reason


def test_what_is_scored_may_be_too_long(toy_folder, train):
    """Only training asks whether CTC can align; without output lengths nothing is excluded."""
    lines = (toy_folder / "dev.tsv").read_text().split("\n")
    lines[1] = lines[1].replace(lines[1].split("\t")[3], "a" * 500)
    (toy_folder / "dev.tsv").write_text("\n".join(lines))
    dataset = ClipDataset(prepare_split(toy_folder, "dev"), CHARMAP, WaveformProcessor())
    assert len(dataset[0].labels) == 502


@pytest.mark.parametrize("options", [{"for_training": True}, {"output_lengths": int}])
def test_training_needs_output_lengths_and_nothing_else_does(train, options):
    with pytest.raises(ValueError, match="output_lengths are needed for training"):
        ClipDataset(train.corpus, CHARMAP, train.processor, **options)


def test_nothing_learnable_is_refused(train):
    with pytest.raises(UserError, match="24 of 24 clips cannot be used"):
        exclude_unlearnable(
            train.corpus,
            CHARMAP,
            features=train.processor.settings,
            output_lengths=lambda n: n // 1000,
        )


def test_masks_follow_from_seed_epoch_and_row(train):
    normalization = (-22.0, 12.0)
    processor = WaveformProcessor(augment=True, spectro_normalization=normalization)
    plain = WaveformProcessor(spectro_normalization=normalization)

    def features(seed, epoch, row):
        torch.manual_seed(epoch + row)  # the global stream must not matter
        return ClipDataset(train.corpus, CHARMAP, processor, seed=seed)[Draw(row, epoch)].features

    assert torch.equal(features(1, 2, 3), features(1, 2, 3))
    clean = ClipDataset(train.corpus, CHARMAP, plain)[3].features
    masks = [features(1, 2, 3) != clean, features(2, 2, 3) != clean, features(1, 3, 3) != clean]
    assert not any(torch.equal(a, b) for i, a in enumerate(masks) for b in masks[:i])


# --- Splits and their normalisation --------------------------------------------------------------


def test_bounds_choose_clips(toy_root):
    folder = toy_root / "toy-1.0" / "fr"
    durations = prepare_split(folder, "train").durations
    low, high = np.quantile(durations, [0.25, 0.75])
    chosen = prepare_split(folder, "train", min_s=low, max_s=high)
    assert 0 < len(chosen) < len(durations) == 24
    assert np.array_equal(
        np.sort(chosen.durations), np.sort(durations[(durations >= low) & (durations <= high)])
    )
    with pytest.raises(UserError, match=r"none of 24 clips lasts 60 to 70 s .*--min_duration"):
        prepare_split(folder, "train", min_s=60, max_s=70)


def test_normalisation_of_all_clips_by_hand(train):
    values = torch.cat([train[i].features for i in range(len(train))]).double()
    mean, deviation = measure_normalization(train)
    assert mean == pytest.approx(values.mean().item(), abs=1e-6)
    assert deviation == pytest.approx(values.std(correction=0).item(), abs=1e-6)
    normalised = WaveformProcessor(spectro_normalization=(mean, deviation))
    again = measure_normalization(ClipDataset(train.corpus, CHARMAP, normalised))
    assert again == pytest.approx((0, 1), abs=1e-5)


def test_normalisation_takes_at_most_n_seeded_clips(train):
    class Recording(ClipDataset):
        def __getitem__(self, draw):
            rows.append(draw.row)
            return super().__getitem__(draw)

    recording, measured = Recording(train.corpus, CHARMAP, train.processor), []
    for seed in 1, 1, 2:
        rows = []
        figures = measure_normalization(recording, seed=seed, n_clips=5)
        assert len(set(rows)) == len(rows) == 5
        values = torch.cat([train[i].features for i in rows]).double()
        assert figures == pytest.approx((values.mean().item(), values.std(correction=0).item()))
        measured.append((figures, rows))
    assert measured[0] == measured[1] != measured[2]


def test_normalisation_passes_over_broken_clips(toy_folder, train):
    break_clips(toy_folder, toy_train_0="nan", toy_train_1="silent")
    corpus = prepare_split(toy_folder, "train")
    values = torch.cat([train[i].features for i in range(2, len(train))]).double()
    mean, _ = measure_normalization(ClipDataset(corpus, CHARMAP, WaveformProcessor()))
    assert mean == pytest.approx(values.mean().item(), abs=1e-6)
    break_clips(toy_folder, **{f"toy_train_{i}": "silent" for i in range(13)})
    corpus = prepare_split(toy_folder, "train")
    with pytest.raises(UserError, match="13 of 24 clips cannot be used"):
        measure_normalization(ClipDataset(corpus, CHARMAP, WaveformProcessor()))


# --- Augmentation --------------------------------------------------------------------------------


def test_how_long_the_clips_of_an_epoch_are(train):
    def dataset(*items):
        augmentation = parse_augmentation(items)
        return ClipDataset(train.corpus, CHARMAP, WaveformProcessor(), augmentation=augmentation)

    faster = dataset("speed 0.8 1.25 p=0.7", "gain -6 6")
    for epoch in 0, 3:
        stretches = faster.stretches(epoch)
        assert {round(float(value), 3) for value in stretches} == {0.8, 1.0, 1.25}
        for row, stretch in enumerate(stretches):
            n_samples = len(train.waveform(row))
            assert len(faster.augmented_waveform(Draw(row, epoch))) == round(n_samples * stretch)
    assert (faster.stretches(0) != faster.stretches(3)).any()
    assert train.stretches is None and dataset("gain -6 6", "speed 0.8").stretches is None


# --- Loaders -------------------------------------------------------------------------------------


class Niceness(torch.utils.data.Dataset):
    def __getitem__(self, row):
        label = torch.tensor([1])
        return Clip("a", torch.zeros(1, 1), label, str(os.nice(0)), 1.0)


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system has no niceness")
def test_workers_give_way_to_training_on_the_same_cores():
    for gives_way, expected in (True, 10), (False, 0):
        [batch] = make_loader(Niceness(), [[0]], 1, gives_way=gives_way)
        assert int(batch.sentences[0]) == min(19, os.nice(0) + expected)


def test_workers_change_nothing(train):
    processor = WaveformProcessor(augment=True)
    dataset = ClipDataset(train.corpus, CHARMAP, processor, seed=1)
    draws = [[Draw(3, 1), Draw(5, 1)], [Draw(0, 1)], [Draw(7, 1), Draw(1, 1), Draw(2, 1)]]
    state = torch.get_rng_state()
    alone, shared = (list(make_loader(dataset, draws, n)) for n in (0, 2))
    assert torch.equal(torch.get_rng_state(), state)  # loaders leave the global stream alone
    for a, b in zip(alone, shared, strict=True):
        assert a.ids == b.ids and a.durations == b.durations
        assert torch.equal(a[0].data, b[0].data) and torch.equal(a[1].data, b[1].data)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="who sends a signal is told on Linux only")
def test_a_worker_obeys_the_main_process_only(train, request):
    """SIGTERM may be sent to every process, of which only the main one knows what to do.

    torch starts threads of its own in a worker before our first line there, as many as it has here.
    """
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(4)
    others = multiprocessing.active_children()
    batches = iter(make_loader(train, [[Draw(row, 0)] for row in range(9)], 1))
    next(batches)
    [worker] = [child for child in multiprocessing.active_children() if child not in others]
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
    assert len(list(batches)) == 8
    worker.terminate()
    worker.join()
    assert worker.exitcode == 0


def test_memory_is_pinned_for_the_device_that_is_used(toy_root, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not make_loader([], [], 0).pin_memory
    for cuda in False, True:
        for loader in get_dataloaders(str(toy_root), "toy-1.0", cuda, normalize=False):
            assert loader.pin_memory == cuda


def test_get_dataloaders_signature():
    assert str(inspect.signature(get_dataloaders)).split(" -> ")[0] == (
        "(commonvoice_root: str, commonvoice_version: str | None, cuda: bool, "
        "batch_size: int = 64, n_threads: int = 4, min_duration: float = 1, "
        "max_duration: float = 5, small_experiment: bool = False, train_augment: bool = False, "
        "nmels: int = 20, logger: logging.Logger | None = None, normalize: bool = True, "
        "lang: str = 'fr')"
    )


def loaders(root, **how):
    return get_dataloaders(str(root), "toy-1.0", False, 8, 0, **how)


def test_get_dataloaders_result(toy_root):
    train, valid, test = loaders(toy_root, min_duration=0.5)
    for loader, split, n_clips in (train, "train", 24), (valid, "dev", 6), (test, "test", 6):
        batches = list(loader)
        ids = [name for batch in batches for name in batch.ids]
        assert sorted(ids) == sorted(f"toy_{split}_{i}.mp3" for i in range(n_clips))
        assert all(len(batch) == 2 and len(batch.ids) <= 8 for batch in batches)
        assert all(batch[0].data.shape[1] == 20 for batch in batches)
    frames = torch.cat([batch[0].data for batch in train])
    assert frames.mean().item() == pytest.approx(0, abs=1e-4)
    assert frames.std().item() == pytest.approx(1, abs=1e-3)
    normalizations = {loader.dataset.processor.normalization for loader in (train, test)}
    assert len(normalizations) == 1
    spectrograms, transcripts = next(iter(valid))
    shown = [CHARMAP.decode(labels) for labels in unpack_sequence(transcripts)]
    assert all(text.startswith("¶") and text.endswith(".¦") for text in shown)


def test_get_dataloaders_settings(toy_root):
    class Logger:
        lines = []

        def info(self, message, *values):
            self.lines.append(message % values)

    small = loaders(
        toy_root, small_experiment=True, normalize=False, nmels=13, logger=Logger(),
        train_augment=True, min_duration=1.2, max_duration=1.9,
    )  # fmt: skip
    assert [len(loader) for loader in small] == [1, 1, 1]
    assert [line.split(":")[0] for line in Logger.lines] == [
        f"toy-1.0/fr {split}" for split in ("train", "dev", "test")
    ]
    masks = [loader.dataset.processor.spec_augment for loader in small]
    assert masks == [SpecAugment(), None, None]
    for loader in small:
        assert loader.dataset.processor.normalization is None
        (batch,) = loader
        assert 0 < len(batch.ids) <= 8 and batch[0].data.shape[1] == 13
        assert all(1.2 <= duration <= 1.9 for duration in batch.durations)
    with pytest.raises(UserError, match="no language 'de'"):
        loaders(toy_root, lang="de")
