"""Features kept on disk: the same numbers as without, whatever happens to the disk."""

import contextlib
import errno
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from asr_ctc.assembly.features import make_caches
from asr_ctc.audio import decode as audio
from asr_ctc.audio.augment import parse_augmentation
from asr_ctc.audio.log_mel import CENTRE_DB
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.data import WaveformProcessor
from asr_ctc.loading import feature_cache
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.feature_cache import (
    RECORD,
    FeatureCache,
    Rounding,
    fingerprint,
    open_caches,
)
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.sampling import Draw
from asr_ctc.loading.selection import prepare_split
from asr_ctc.text.charmap import CharMap
from tests.helpers.command import SMALL, call, train_small
from tools.toy_corpus import make_toy_corpus

CHARMAP, PLAIN = CharMap(), WaveformProcessor()
ROUNDING_DB = 0.032  # of float16 within 128 dB of the centre, and a little for the centring
N_CLIPS = 12


@pytest.fixture(scope="module")
def small_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    make_toy_corpus(root, (N_CLIPS, 3, 1))
    return root


@pytest.fixture
def toy_folder(small_root, tmp_path):
    return shutil.copytree(small_root, tmp_path / "root") / "toy-1.0" / "fr"


@pytest.fixture
def corpus(toy_folder) -> Corpus:
    return prepare_split(toy_folder, "train")


@pytest.fixture
def cache(corpus, tmp_path) -> FeatureCache:
    return open_cache(tmp_path / "cache", corpus)


def open_cache(folder, corpus, gb=1.0, processor=PLAIN) -> FeatureCache:
    return open_caches(folder, [corpus], processor.settings, max_gb=gb)[0]


def items(corpus, cache, processor=PLAIN) -> list:
    dataset = ClipDataset(corpus, CHARMAP, processor, cache=cache)
    return [dataset[row] for row in range(len(dataset))]


def features(corpus, cache, processor=PLAIN) -> list[torch.Tensor]:
    return [item.features for item in items(corpus, cache, processor)]


def assert_equal(some, others):
    assert len(some) == len(others) and all(map(torch.equal, some, others))


@contextlib.contextmanager
def said():
    """The log's lines, as a list."""
    lines, handler = [], logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")
    log = logging.getLogger("asr_ctc")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    yield lines
    log.removeHandler(handler)
    log.setLevel(level)


def warnings_of(lines) -> list[str]:
    return [line for line in lines if line.startswith("WARNING")]


@pytest.fixture
def decoded(monkeypatch) -> list:
    """The files that are decoded from now on."""
    files, load = [], audio.load
    monkeypatch.setattr(
        audio, "load", lambda file, *rest: (files.append(file), load(file, *rest))[1]
    )
    return files


def ruin(file: Path) -> None:
    """Zeros in place of a file, of the same size and time: a decoder would notice, no one else."""
    status = file.stat()
    file.write_bytes(bytes(status.st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


# --- The same numbers ----------------------------------------------------------------------------


def test_the_second_time_nothing_is_decoded(corpus, cache, decoded):
    first = items(corpus, cache)
    assert len(decoded) == N_CLIPS == cache.n_kept()
    second = items(corpus, cache)
    assert len(decoded) == N_CLIPS
    assert_equal([item.features for item in first], [item.features for item in second])
    for a, b in zip(first, second, strict=True):
        assert a._replace(features=0, labels=0) == b._replace(features=0, labels=0)


def test_equal_to_the_uncached_within_float16(corpus, cache):
    plain = features(corpus, None)
    for kept in features(corpus, cache), features(corpus, cache):
        for a, b in zip(plain, kept, strict=True):
            assert b.dtype == torch.float32 and (a - b).abs().max() <= ROUNDING_DB


def test_the_stated_error_of_float16():
    decibels = torch.linspace(-153, 103, 1_000_001)
    kept = (decibels - CENTRE_DB).half().float() + CENTRE_DB
    assert (decibels - kept).abs().max() <= ROUNDING_DB
    silence = torch.tensor(-100.0) - CENTRE_DB
    assert silence.half() == silence


def test_normalisation_and_masks_come_after_the_cache(corpus, cache):
    normalised = WaveformProcessor(spectro_normalization=(-20.0, 10.0))
    plain = features(corpus, cache)
    for a, b in zip(plain, features(corpus, cache, normalised), strict=True):
        assert torch.equal((a + 20) / 10, b)
    masking = WaveformProcessor(
        spectro_normalization=(-20.0, 10.0), augment=True, n_time_masks=9, n_freq_masks=9
    )
    dataset = ClipDataset(corpus, CHARMAP, masking, seed=1, cache=cache)
    uncached = ClipDataset(corpus, CHARMAP, masking, seed=1)
    for epoch in 0, 1:
        kept, computed = dataset[Draw(3, epoch)].features, uncached[Draw(3, epoch)].features
        assert torch.equal(kept == 0, computed == 0) and (kept == 0).any()
    assert not torch.equal(dataset[Draw(3, 0)].features, dataset[Draw(3, 1)].features)


def test_clips_that_cannot_be_used_stay_excluded(toy_folder, tmp_path):
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16_000)
    corpus = prepare_split(toy_folder, "train")
    for row, samples in enumerate([0 * noise, np.nan * noise, noise[:600]]):
        soundfile.write(corpus.file(row), samples, 16_000, format="WAV", subtype="FLOAT")
    corpus.file(3).write_text("no audio at all")
    durations = prepare_split(toy_folder, "train", keep_broken=True).duration_s
    corpus = replace(corpus, duration_s=durations)
    corpus.file(4).unlink()
    cache = open_cache(tmp_path / "cache", corpus)
    plain = items(corpus, None)[:5]
    assert [item.reason for item in plain] == [
        "silent (peak under -90 dBFS)",
        "holds NaN or infinite samples",
        "shorter than one window of 640 samples",
        "is not audio that can be decoded",
        "no such file",
    ]
    assert items(corpus, cache)[:5] == items(corpus, cache)[:5] == plain


def test_a_changed_clip_is_computed_again(corpus, cache):
    before = features(corpus, cache)
    samples, rate = soundfile.read(corpus.file(7))
    soundfile.write(corpus.file(7), 0.1 * samples, rate)
    after = features(corpus, cache)
    assert (before[7] - after[7]).abs().max() > 10
    assert_equal(before[:7] + before[8:], after[:7] + after[8:])
    assert_equal(after, features(corpus, cache))


def test_a_removed_clip_is_not_kept_alive(corpus, cache):
    items(corpus, cache)
    corpus.file(2).unlink()
    assert items(corpus, cache)[2].reason == "no such file"


def test_a_clip_longer_than_announced_is_not_kept(corpus, tmp_path, decoded):
    durations = corpus.duration_s.copy()
    durations[[5, 6]] -= 0.5
    short = replace(corpus, duration_s=durations)
    cache = open_cache(tmp_path / "cache", short)
    with said() as lines:
        first, second = features(short, cache), features(short, cache)
    assert_equal(first, second)
    assert len(decoded) == N_CLIPS + 2 and cache.n_kept() == N_CLIPS - 2
    (warning,) = warnings_of(lines)
    assert "toy_train_5.mp3 is 0.50 s longer than the corpus says" in warning


# --- What a cache is named by --------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [dict(rate=8_000), dict(win_length=0.03), dict(win_step=0.02), dict(nmels=21)]
)
def test_each_feature_setting_has_a_cache_of_its_own(corpus, settings):
    other = WaveformProcessor(**settings).settings
    assert fingerprint(corpus, PLAIN.settings) != fingerprint(corpus, other)


def test_a_cache_keeps_its_name_from_version_to_version(corpus):
    """What the first version named it by; else every cache would be computed again."""
    n_frames = np.ceil(corpus.duration_s.astype(np.float64) * 16_000).astype(np.int64) // 160 + 17
    named_by = {
        "format": 1,
        "corpus": corpus.fingerprint,
        "clips": str(corpus.clips.resolve()),
        "slots": hashlib.sha256(n_frames.tobytes()).hexdigest(),
        "rate": 16_000,
        "n_fft": 640,
        "hop": 160,
        "nmels": 20,
        "floor": 1e-10,
    }
    expected = hashlib.sha256(json.dumps(named_by, sort_keys=True).encode()).hexdigest()
    assert fingerprint(corpus, PLAIN.settings) == expected[:16]


def test_each_corpus_has_a_cache_of_its_own(corpus, toy_folder, tmp_path):
    dev = prepare_split(toy_folder, "dev")
    prints = {fingerprint(corpus, PLAIN.settings), fingerprint(dev, PLAIN.settings)}
    copy = shutil.copytree(toy_folder.parent, tmp_path / "copy") / "fr"
    prints.add(fingerprint(prepare_split(copy, "train"), PLAIN.settings))
    durations = corpus.duration_s + np.float32(1)
    prints.add(fingerprint(replace(corpus, duration_s=durations), PLAIN.settings))
    tsv = toy_folder / "train.tsv"
    tsv.write_text(tsv.read_text().replace("speaker1", "speaker2", 1))
    prints.add(fingerprint(prepare_split(toy_folder, "train"), PLAIN.settings))
    assert len(prints) == 5


def test_what_comes_after_the_features_shares_the_cache(corpus, toy_folder, tmp_path, decoded):
    items(corpus, open_cache(tmp_path / "cache", corpus))
    decoded.clear()
    some = prepare_split(toy_folder, "train", min_s=1.3, max_s=1.9)
    assert 0 < len(some) < N_CLIPS
    other = WaveformProcessor(augment=True, spectro_normalization=(1.0, 2.0), n_time_masks=3)
    items(some, open_cache(tmp_path / "cache", some, processor=other), other)
    assert decoded == [] and len(list((tmp_path / "cache").iterdir())) == 1


# --- Damage --------------------------------------------------------------------------------------


def flip_bits(cache):
    (shard,) = cache.folder.glob("shard-*")
    content = bytearray(shard.read_bytes())
    content[::50] = bytes(255 - byte for byte in content[::50])
    shard.write_bytes(content)


def truncate(cache):
    (shard,) = cache.folder.glob("shard-*")
    os.truncate(shard, 1000)


def delete_shard(cache):
    (shard,) = cache.folder.glob("shard-*")
    shard.unlink()


def write_nonsense_records(cache):
    (cache.folder / "records").write_bytes(RECORD.pack(10**6, 1, 2, 3) * N_CLIPS)


def point_records_elsewhere(cache):
    records = (cache.folder / "records").read_bytes()
    (cache.folder / "records").write_bytes(records[RECORD.size :] + records[: RECORD.size])


def truncate_records(cache):
    os.truncate(cache.folder / "records", 5 * RECORD.size + 3)


DAMAGES = [flip_bits, truncate, delete_shard, truncate_records]


@pytest.mark.few(3)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("when", ["between runs", "during a run"])
def test_damage_is_said_once_and_mended(corpus, cache, damage, when, decoded):
    whole = features(corpus, cache)
    damage(cache)
    decoded.clear()
    if when == "between runs":
        cache = open_cache(cache.folder.parent, corpus)
    with said() as lines:
        assert_equal(whole, features(corpus, cache))
    if damage is delete_shard and when == "during a run":
        assert decoded == []  # a deleted file lives on where it is open
        return
    assert decoded != []
    warnings = warnings_of(lines)
    if damage is truncate_records:
        assert warnings == []  # it is as if the clips had never been kept
    else:
        assert len(warnings) == 1
        assert f"{cache.folder}: damaged (" in warnings[0] and "computed again" in warnings[0]
    decoded.clear()
    with said() as lines:
        assert_equal(whole, features(corpus, open_cache(cache.folder.parent, corpus)))
    assert decoded == [] and warnings_of(lines) == []


@pytest.mark.parametrize("damage", [write_nonsense_records, point_records_elsewhere])
def test_records_of_nothing_are_not_believed(corpus, cache, damage):
    whole = features(corpus, cache)
    damage(cache)
    assert_equal(whole, features(corpus, cache))
    assert_equal(whole, features(corpus, open_cache(cache.folder.parent, corpus)))


def test_a_record_with_the_right_stamp_and_a_wrong_length(corpus, cache):
    whole = features(corpus, cache)
    file = cache.folder / "records"
    records = [list(record) for record in RECORD.iter_unpack(file.read_bytes())]
    for record, n_samples in zip(records, [2**40, -1, -(2**62), 0, 639, 10**9], strict=False):
        record[0] = n_samples
    file.write_bytes(b"".join(RECORD.pack(*record) for record in records))
    with said() as lines:
        assert_equal(whole, features(corpus, cache))
    assert len(warnings_of(lines)) == 1


def fill_and_die(corpus, folder, n_writes):
    """Killed like by `kill -9` in the middle of the writes: some clips have data and no record."""
    pwrite, n_done = os.pwrite, 0

    def dying_pwrite(file, data, offset):
        nonlocal n_done
        n_done += 1
        if n_done == n_writes:
            pwrite(file, bytes(data)[: len(data) // 2], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return pwrite(file, data, offset)

    os.pwrite = dying_pwrite
    items(corpus, open_cache(folder, corpus))


@pytest.mark.slow
@pytest.mark.parametrize("n_writes", [1, 2, 9, 12])
def test_a_process_killed_while_writing(corpus, tmp_path, n_writes):
    folder = tmp_path / "cache"
    context = multiprocessing.get_context("fork")
    process = context.Process(target=fill_and_die, args=(corpus, folder, n_writes))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    cache = open_cache(folder, corpus)
    plain = features(corpus, None)
    for _ in range(2):
        for a, b in zip(plain, features(corpus, cache), strict=True):
            assert (a - b).abs().max() <= ROUNDING_DB


# --- Disks that are full, folders that are none --------------------------------------------------


def refuse_to_write(file, data, offset):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("pwrite", [refuse_to_write, lambda file, data, offset: len(data) // 2])
def test_a_full_disk_is_said_once(corpus, cache, monkeypatch, decoded, pwrite):
    half = corpus.select(np.arange(N_CLIPS) < 5)
    kept = features(half, cache)
    whole = features(corpus, open_cache(cache.folder.parent / "other", corpus))
    decoded.clear()
    monkeypatch.setattr(os, "pwrite", pwrite)
    with said() as lines:
        for _ in range(2):
            assert_equal(whole, features(corpus, cache))
    assert_equal(kept, whole[:5])
    assert len(decoded) == 2 * (N_CLIPS - 5)
    (warning,) = warnings_of(lines)
    assert "No space left on device" in warning and "computed each time" in warning


@pytest.mark.slow
def test_a_full_disk_is_said_once_by_all_workers(corpus, cache, monkeypatch, capfd):
    monkeypatch.setattr(os, "pwrite", refuse_to_write)
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.getLogger("asr_ctc"), "handlers", [handler])
    draws = [[Draw(row, 0)] for row in range(N_CLIPS)]
    loader = make_loader(ClipDataset(corpus, CHARMAP, PLAIN, cache=cache), draws, 2)
    assert sum(len(batch.ids) for _ in range(2) for batch in loader) == 2 * N_CLIPS
    assert capfd.readouterr().err.count("No space left on device") == 1


def test_a_disk_that_was_full_before(corpus, tmp_path, monkeypatch):
    def mkdir(*rest, **others):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with said() as lines:
        caches = open_caches(tmp_path / "cache", [corpus, corpus], PLAIN.settings, max_gb=1.0)
    assert [type(cache) for cache in caches] == [Rounding, Rounding]
    assert len(warnings_of(lines)) == 1 and "nothing is kept" in lines[0]


def test_a_folder_that_cannot_be_written(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in tmp_path / "file", tmp_path / "file" / "below":
        with pytest.raises(UserError, match=f"--cache_dir {folder}: cannot be written"):
            open_cache(folder, corpus)


# --- Size ----------------------------------------------------------------------------------------


def bytes_on_disk(folder) -> int:
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


def test_the_size_is_said_and_true(corpus, tmp_path):
    with said() as lines:
        cache = open_cache(tmp_path / "cache", corpus)
    n_clips, at_most = cache.limit(1e9)
    assert lines == [
        f"INFO feature cache of toy-1.0/fr train: {N_CLIPS} clips, {at_most / 1e9:.3g} GB at most, "
        f"0 kept already: {cache.folder}"
    ]
    assert n_clips == N_CLIPS
    n_bytes = sum(2 * f.numel() for f in features(corpus, cache))
    assert n_bytes <= at_most <= 1.2 * n_bytes
    assert bytes_on_disk(cache.folder) <= at_most + 2 * 4096  # a file's last page


def test_over_the_limit_what_fits_is_kept(corpus, tmp_path, decoded):
    folder = tmp_path / "cache"
    half_gb = open_cache(tmp_path / "other", corpus).limit(1e9)[1] / 2e9
    with said() as lines:
        cache = open_cache(folder, corpus, half_gb)
    whole = features(corpus, cache)
    n_kept = cache.n_kept()
    assert 4 <= n_kept <= 8
    assert f" {n_kept} of {N_CLIPS} clips fit into --cache_gb {half_gb:g}, " in lines[0]
    assert bytes_on_disk(folder) <= half_gb * 1e9 + 2 * 4096
    decoded.clear()
    assert_equal(whole, features(corpus, cache))
    assert len(decoded) == N_CLIPS - n_kept and cache.n_kept() == n_kept
    with said() as lines:
        cache = open_cache(folder, corpus, 1.0)
    assert f"{n_kept} kept already" in lines[0]
    assert_equal(whole, features(corpus, cache))
    assert cache.n_kept() == N_CLIPS
    decoded.clear()
    with said() as lines:
        cache = open_cache(folder, corpus, 0.0)  # what is there is used all the same
    said_of_none = (
        f"0 of {N_CLIPS} clips fit into --cache_gb 0, 0 GB at most, {N_CLIPS} kept already"
    )
    assert said_of_none in lines[0]
    assert_equal(whole, features(corpus, cache))
    assert decoded == []


def test_other_caches_count(corpus, toy_folder, tmp_path):
    items(corpus, open_cache(tmp_path, corpus))
    taken_gb = bytes_on_disk(tmp_path) / 1e9
    with said() as lines:
        other = open_cache(tmp_path, corpus, taken_gb + 1e-5, WaveformProcessor(nmels=80))
    assert "of other caches in" in lines[0] and other.limit(1e9)[0] == N_CLIPS
    dev = prepare_split(toy_folder, "dev")
    needed = open_cache(tmp_path / "sum", corpus).limit(1e9)[1]
    train_cache, dev_cache = open_caches(
        tmp_path / "sum", [corpus, dev], PLAIN.settings, max_gb=needed / 1e9
    )
    items(dev, dev_cache)
    assert dev_cache.n_kept() == 0  # the training split took it all


def test_the_disk_keeps_room_for_the_models(corpus, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=feature_cache.KEPT_FREE_BYTES + 30_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with said() as lines:
        cache = open_cache(tmp_path, corpus)
    items(corpus, cache)
    assert 0 < cache.n_kept() < N_CLIPS
    assert f"{cache.n_kept()} of {N_CLIPS} clips fit into what the disk has free" in lines[0]


def test_shards(corpus, tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(feature_cache, "SHARD_BYTES", 10_000)
    cache = open_cache(tmp_path, corpus)
    whole = features(corpus, cache)
    shards = sorted(cache.folder.glob("shard-*"))
    assert [shard.name for shard in shards] == [f"shard-{n:04}" for n in range(len(shards))]
    assert len(shards) > 4
    shards[2].unlink()
    decoded.clear()
    assert_equal(whole, features(corpus, open_cache(tmp_path, corpus)))
    assert 0 < len(decoded) < 8  # a lost shard is a lost shard


# --- Processes -----------------------------------------------------------------------------------


def batches_of(loader) -> list[tuple]:
    return [(batch.ids, batch[0].data.clone()) for batch in loader]


@pytest.mark.slow
def test_workers_fill_it_and_see_what_the_others_kept(corpus, cache):
    """Persistent workers: in the second epoch each loads clips that the other one kept."""
    first = [[Draw(row, 0), Draw(row + 1, 0)] for row in range(0, N_CLIPS, 2)]
    plan = list(first)
    loader = make_loader(ClipDataset(corpus, CHARMAP, PLAIN, cache=cache), plan, 2)
    filled = batches_of(loader)
    assert cache.n_kept() == N_CLIPS
    for row in range(N_CLIPS):
        ruin(corpus.file(row))
    plan[:] = first[1:] + first[:1]
    for (ids, a), (other_ids, b) in zip(filled[1:] + filled[:1], batches_of(loader), strict=True):
        assert ids == other_ids and torch.equal(a, b)


@pytest.mark.slow
def test_workers_that_are_not_forked(corpus, cache):
    dataset = ClipDataset(corpus, CHARMAP, PLAIN, cache=cache)
    whole = features(corpus, cache)
    loader = DataLoader(
        dataset, None, num_workers=1, multiprocessing_context="spawn", sampler=range(3)
    )
    assert_equal([item.features for item in loader], whole[:3])


def fill(corpus, folder, barrier, seed, results):
    cache = open_cache(folder, corpus)
    dataset = ClipDataset(corpus, CHARMAP, PLAIN, cache=cache)
    rows = np.random.default_rng(seed).permutation(N_CLIPS)
    barrier.wait()
    sums = {int(row): dataset[row].features.double().sum().item() for row in [*rows, *rows]}
    results.put(sums)


@pytest.mark.slow
def test_runs_fill_it_at_the_same_time(corpus, tmp_path, decoded):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(3), context.Queue()
    folder = tmp_path / "cache"
    processes = [
        context.Process(target=fill, args=(corpus, folder, barrier, seed, results))
        for seed in (1, 1, 2)  # two of them write the same slots at the same time
    ]
    for process in processes:
        process.start()
    sums = [results.get() for _ in processes]
    for process in processes:
        process.join()
    cache = open_cache(folder, corpus)
    assert cache.n_kept() == N_CLIPS
    with said() as lines:
        kept = {row: f.double().sum().item() for row, f in enumerate(features(corpus, cache))}
    assert sums == [kept] * 3 and decoded == [] and lines == []


# --- Runs ----------------------------------------------------------------------------------------


def test_augmented_waveforms_are_not_cached(corpus, cache, tmp_path):
    augmentation = parse_augmentation(["gain -6 6"])
    with pytest.raises(ValueError, match="cannot be kept"):
        ClipDataset(corpus, CHARMAP, PLAIN, augmentation=augmentation, cache=cache)
    config = make_config({}, {"cache_dir": str(tmp_path / "never")})
    with said() as lines:
        assert make_caches(config, (corpus, corpus), PLAIN.settings, augmentation) == [None, None]
    assert len(lines) == 1 and "nothing is cached" in lines[0] and "--augment" in lines[0]
    assert not (tmp_path / "never").exists()
    assert make_caches(make_config({}, {}), (corpus,), PLAIN.settings, None) == [None]


@pytest.mark.slow
def test_a_second_run_reads_what_the_first_kept(tmp_path):
    flags = "--cache_dir cache --num_epochs 2 --min_duration 0"
    first = train_small(tmp_path, flags)
    assert "feature cache of toy-1.0/fr train: 24 clips" in first.stderr
    assert "feature cache of toy-1.0/fr dev: 6 clips" in first.stderr
    for file in (tmp_path / "data").rglob("toy_train_*.mp3"):
        ruin(file)
    small = SMALL.replace("--nthreads 0", "--nthreads 2")
    second = call(f"train {small} --logname second", flags, cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "24 clips" in second.stderr and "24 kept already" in second.stderr
    figures = [
        [line.partition("  lr ")[0] for line in log.splitlines() if line.startswith("epoch ")]
        for log in (first.stderr, second.stderr)
    ]
    assert len(figures[0]) == 2 and figures[0] == figures[1]
    assert "% for data" in second.stderr


@pytest.mark.slow
def test_any_damaged_byte_is_found_and_mended(corpus, tmp_path):
    """Records and shards with bytes flipped, cut off or emptied: the same features, told once."""
    first = features(corpus, open_cache(tmp_path / "cache", corpus))
    (folder,) = (tmp_path / "cache").iterdir()
    random = np.random.default_rng(0)
    for name in "records", "shard-0000":
        whole = (folder / name).read_bytes()
        written = np.flatnonzero(np.frombuffer(whole, np.uint8))
        for place in random.choice(written, 12):
            flipped = whole[:place] + bytes([whole[place] ^ 1 << random.integers(8)])
            for damaged in flipped + whole[place + 1 :], whole[:place], b"", whole + b"x":
                (folder / name).write_bytes(damaged)
                with said() as lines:
                    assert_equal(features(corpus, open_cache(tmp_path / "cache", corpus)), first)
                told = [line for line in lines if ": damaged (" in line]
                assert len(told) <= 1 and all(str(folder) in line for line in told)
                with said() as lines:  # and it is whole again
                    assert_equal(features(corpus, open_cache(tmp_path / "cache", corpus)), first)
                assert not [line for line in lines if ": damaged (" in line]


@pytest.mark.parametrize("name", ["records", "shard-0000"])
def test_a_folder_in_the_place_of_a_cache_file(corpus, tmp_path, name):
    first = features(corpus, open_cache(tmp_path / "cache", corpus))
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / name).unlink()
    (folder / name).mkdir()
    if name == "records":
        with pytest.raises(UserError, match="cannot be written .Is a directory"):
            open_cache(tmp_path / "cache", corpus)
    else:
        assert_equal(features(corpus, open_cache(tmp_path / "cache", corpus)), first)
