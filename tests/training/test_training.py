import json
import logging
import math
import os
import re
import signal
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.compute import make_scaler
from asr_ctc.acoustic.loss import ctc_losses, ctc_objective
from asr_ctc.acoustic.model_file import load_model
from asr_ctc.audio import log_mel
from asr_ctc.audio.log_mel import FeatureSettings
from asr_ctc.audio.spec_augment import SpecAugment
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config, read_yaml
from asr_ctc.corpus.corpus import ExcludedClip
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.inspection import plots
from asr_ctc.loading import selection
from asr_ctc.loading.batch import Batch
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.normalization import measure_normalization
from asr_ctc.loading.selection import prepare_split
from asr_ctc.models import CTCModel
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.scoring.evaluation import Decoded, Evaluation
from asr_ctc.scoring.metrics import error_rates
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.languages import writing_of_language
from asr_ctc.training import clips, epoch_log, run_folder
from asr_ctc.training import loop as training
from asr_ctc.training import setup as runs
from asr_ctc.training.distributed import World
from asr_ctc.training.loop import train
from asr_ctc.training.overfit import overfit_one_batch
from asr_ctc.training.resume import find_start
from asr_ctc.training.run_list import list_runs
from asr_ctc.training.step import Reason, Skipped, Step, train_step
from tests.helpers.batches import labels, make_batch, make_model
from tools.toy_corpus import SMALL

SETTINGS = {**SMALL, "train_augment": True, "scheduler": "step", "scheduler_step": 1}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("log_everything")]


def run(root, logs, file_values=None, **flags):
    """Trains to the end; returns the run's folder."""
    flags = {"datasetroot": str(root), "baselogdir": str(logs), **flags}
    config = make_config(SETTINGS if file_values is None else file_values, flags)
    result = train(config, command=["main_ctc.py", "train"])
    assert not result.interrupted
    return result.folder


def set_up(root, **flags):
    config = make_config(SETTINGS, {"datasetroot": str(root), **flags})
    return runs.set_up_run(find_start(config), command=["main_ctc.py"])


@pytest.fixture(scope="module")
def first(toy_root, tmp_path_factory):
    """The folder of a run of two epochs on the toy corpus."""
    log = logging.getLogger("asr_ctc")
    log.setLevel(logging.INFO)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(epoch_log, "plots", plots)  # with figures, as for a user
        return run(toy_root, tmp_path_factory.mktemp("logs"))


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights_of(folder, name="last.pt"):
    return load_model(folder / name).state_dict


def are_equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# --- The loss ------------------------------------------------------------------------------------


def uniform(n_classes, *n_frames):
    """Posteriors that give each class the same probability, for clips of so many frames."""
    logp = torch.full((len(n_frames), max(n_frames), n_classes), -math.log(n_classes))
    return logp, torch.tensor(n_frames)


def test_losses_by_hand():
    # Of 3^T' equally probable paths: a in one frame 1 of 3; a in two frames 3 of 9 (aa, a-, -a);
    # ab in three frames 5 of 27 (aab, abb, ab-, a-b, -ab); aa in three frames 1 of 27 (a-a).
    losses = ctc_losses(*uniform(3, 1, 2, 3, 3), labels([1], [1], [1, 2], [1, 1]))
    expected = [math.log(3), math.log(3), math.log(27 / 5) / 2, math.log(27) / 2]
    assert losses.tolist() == pytest.approx(expected, rel=1e-6)


def test_what_cannot_be_aligned_is_infinite():
    losses = ctc_losses(*uniform(3, 2, 2), labels([1, 1], [1, 2]))
    assert losses.isinf().tolist() == [True, False]


def test_the_mean_loss_of_a_split_counts_what_can_be_aligned():
    clips = [Decoded(str(x), "a", [Hypothesis("a", (), 0.0)], x) for x in (1.0, math.inf, 2.0)]
    clips.append(Decoded("unread", "a", [Hypothesis("", (), 0.0)]))
    assert Evaluation(clips).loss == 1.5
    assert math.isnan(Evaluation([]).loss)
    assert Evaluation(clips).score().cer == 1 / 4


# --- One step ------------------------------------------------------------------------------------


def step(model, batches, optimizer, grad_clip=None):
    batches, cpu = [batches] if isinstance(batches, Batch) else batches, torch.device("cpu")
    scaler = make_scaler(cpu, "fp32")
    return train_step(
        model, batches, optimizer, device=cpu, precision="fp32", scaler=scaler, grad_clip=grad_clip
    )


@pytest.mark.parametrize("penalties", [{}, {"l1": 1e-3, "l2": 1e-2}])
@pytest.mark.parametrize("grad_clip", [None, 0.05, 1e9])
def test_a_step_by_hand(penalties, grad_clip):
    batch = make_batch([1, 2, 1], [2, 2])
    reference = make_model(**penalties)
    logp = reference(batch[0])
    n_frames, logp = 8, logp.data.view(8, 2, 3).log_softmax(-1)  # equal lengths: time by batch
    loss = torch.nn.functional.ctc_loss(
        logp, torch.tensor([[1, 2, 1], [2, 2, 0]]), [n_frames] * 2, [3, 2], reduction="none"
    )
    loss = (loss / torch.tensor([3, 2])).mean()
    (loss + reference.penalty()).backward()
    gradients = [p.grad for p in reference.parameters()]
    norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
    scale = 1.0 if grad_clip is None else min(1.0, grad_clip / norm)

    model = make_model(**penalties)
    done = step(model, batch, torch.optim.SGD(model.parameters(), lr=0.1), grad_clip)
    assert done.n_clips == 2 and done.loss == pytest.approx(loss.item(), rel=1e-5)
    assert done.grad_norm == pytest.approx(norm, rel=1e-4)  # before clipping
    for after, before, gradient in zip(
        model.parameters(), make_model().parameters(), gradients, strict=True
    ):
        assert torch.allclose(after, before - 0.1 * scale * gradient, atol=1e-6)


def test_gradients_of_several_batches_are_those_of_one():
    """Without normalisation over a batch, which differs: the mean is over all clips of the step."""
    clips = [1, 2, 1], [2, 2], [1]
    grads = []
    for groups in [[clips], [clips[:2], clips[2:]]]:
        model = make_model().eval()
        model.rnn.train()
        batches, first = [], 0
        whole = make_batch(*clips)
        for group in groups:
            features = unpack_sequence(whole[0])[first : first + len(group)]
            ids = whole.ids[first : first + len(group)]
            batches.append(Batch(pack_sequence(features), labels(*group), ids=ids))
            first += len(group)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        done = step(model, batches, optimizer)
        grads.append([done.loss, done.grad_norm, *(p.grad for p in model.parameters())])
    for one, other in zip(*grads, strict=True):
        assert torch.allclose(torch.as_tensor(one), torch.as_tensor(other), rtol=1e-4, atol=1e-6)


def test_a_step_that_is_not_finite_is_skipped(caplog):
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    before = [p.detach().clone() for p in model.parameters()]
    done = step(model, make_batch([1, 2], [1] * 5, [2]), optimizer)  # aaaaa needs 9 frames of 8
    assert done == Skipped(Reason.NOT_FINITE) and done.is_failure
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    assert not optimizer.state
    assert "step skipped" in caplog.text and "clip 1 (inf)" in caplog.text
    assert "clip 0" not in caplog.text and "clip 2" not in caplog.text

    done = step(model, make_batch([1, 2], [2]), optimizer)
    assert isinstance(done, Step) and math.isfinite(done.loss)
    assert all(p.isfinite().all() for p in model.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


# --- The run folder ------------------------------------------------------------------------------


def test_the_files_of_a_run(first):
    files = {re.sub(r"^events\.out\..*", "events.out", path.name) for path in first.iterdir()}
    assert files == set(
        "config.yaml summary.txt train.log metrics.jsonl events.out "
        "best_model.pt last.pt last.previous.pt".split()
    )
    assert first.name == "fr_GRU_1x8_0"


def test_the_figures_of_each_epoch(first):
    rows = metrics_of(first)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[1]["step"] == 2 * rows[0]["step"] > 0
    assert [row["lr"] for row in rows] == [0.0005, 0.00025]  # halved after each epoch, as asked
    for row in rows:
        assert all(math.isfinite(row[name]) for name in ("train_loss", "dev_loss", "grad_norm"))
        assert row["dev_cer"] >= 0 and row["dev_wer"] >= 0
        assert (row["clips_left_out"], row["steps_skipped"]) == (0, 0)
    assert rows[1]["train_loss"] < rows[0]["train_loss"]
    assert rows[1]["dev_loss"] < rows[0]["dev_loss"]


def test_the_log_and_the_summary(first, toy_root):
    log, summary = (first / "train.log").read_text(), (first / "summary.txt").read_text()
    n_params = sum(p.numel() for p in load_model(first / "last.pt").build_model().parameters())
    for text in log, summary:
        assert f"Total params: {n_params:,}" in text
        assert "toy-1.0/fr train: 24 clips" in text and "toy-1.0/fr dev: 6 clips" in text
    assert "before training, on 6 dev clips" in log
    corpus = prepare_split(toy_root / "toy-1.0" / "fr", "train")
    for split, sentence in ("train", corpus.sentence(0)), ("dev", None):
        found = re.findall(rf"  {split} +ref (.*)\n +hyp", log)
        assert len(found) == 2 * 3  # three clips, each epoch
        assert sentence is None or sentence in found
    for row in metrics_of(first):
        assert f"dev CER {100 * row['dev_cer']:.2f} %" in log
    assert "main_ctc.py train" in summary and "seed: 1\n" in summary


def test_tensorboard(first):
    events = EventAccumulator(str(first), size_guidance={"images": 0, "audio": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    rows = metrics_of(first)
    names = "train_loss dev_loss dev_cer dev_wer lr grad_norm dev_blank_share audio_s_per_s "
    for name in (names + "data_wait_share memory_mb").split():
        scalars = events.Scalars(name)
        assert [scalar.step for scalar in scalars] == [1, 2]
        written = [row[name] for row in rows]
        assert [scalar.value for scalar in scalars] == pytest.approx(written, rel=1e-6)
    for split in "train", "dev":
        (tag,) = [tag for tag in tags["tensors"] if tag.startswith(f"decodings/{split}")]
        texts = [t.tensor_proto.string_val[0].decode() for t in events.Tensors(tag)]
        assert len(texts) == 2 and all(text.count("\n") == 1 + 3 for text in texts)
    (image,) = events.Images("spectrogram")
    assert image.height >= 20 and image.encoded_image_string.startswith(b"\x89PNG")
    posteriors = events.Images("posteriors")
    assert [image.step for image in posteriors] == [1, 2]
    assert all(image.height >= 44 for image in posteriors)  # a class is a row at least
    best = min(rows, key=lambda row: (row["dev_cer"], row["dev_loss"]))
    if plots.is_installed():
        for name in ("rule", "activations", "classes", "lattice"):
            steps = [image.step for image in events.Images(f"best/{name}")]
            assert steps[0] == 1 and steps[-1] == best["epoch"]
    (scalar,) = events.Scalars("best/dev_cer")
    assert scalar.value == pytest.approx(best["dev_cer"])
    (sound,) = events.Audio("clip")
    assert sound.sample_rate == 16_000 and sound.encoded_audio_string.startswith(b"RIFF")


def test_the_model_file_is_that_of_the_best_epoch(first, toy_root):
    best = min(metrics_of(first), key=lambda row: (row["dev_cer"], row["dev_loss"]))
    file = load_model(first / "best_model.pt")
    names = ("epoch", "dev_cer", "dev_wer", "dev_loss")
    assert file.scores == {name: best[name] for name in names}
    assert load_model(first / "last.pt").scores["epoch"] == 2

    dev = prepare_split(toy_root / "toy-1.0" / "fr", "dev")
    recognizer = Recognizer.load(first / "best_model.pt", "cpu")
    hypotheses = [recognizer.transcribe(dev.file(i)).text for i in range(len(dev))]
    scores = error_rates([dev.sentence(i) for i in range(len(dev))], hypotheses)
    assert (scores.cer, scores.wer) == (best["dev_cer"], best["dev_wer"])


def test_the_model_file_says_where_it_is_from(first, toy_root):
    file = load_model(first / "best_model.pt")
    corpus = prepare_split(toy_root / "toy-1.0" / "fr", "train", min_s=0.5, max_s=5)
    assert file.origin["command"] == "python main_ctc.py train"
    assert file.origin["versions"]["torch"] == torch.__version__
    assert set(file.origin["sound"]) == {"band_hz", "speech_dbfs"}
    about = file.origin["corpus"]
    assert (about["version"], about["lang"], about["clips"]) == ("toy-1.0", "fr", len(corpus))
    assert about["train_tsv_sha256"] == corpus.fingerprint
    features = FeatureSettings(
        rate=16_000, win_length=0.04, win_step=0.01, nmels=20, clip_norm="mean", clip_range_db=80.0
    )
    assert file.features == features
    plain = ClipDataset(corpus, CharMap(), log_mel.WaveformProcessor(features))
    assert file.normalization == pytest.approx(measure_normalization(plain), rel=1e-9)
    assert file.charmap == CharMap(writing=writing_of_language("fr"))


# --- The same again ------------------------------------------------------------------------------


def test_equal_seeds_end_bit_equal_with_and_without_workers(first, toy_root, tmp_path):
    again = run(toy_root, tmp_path / "0")
    workers = run(toy_root, tmp_path / "1", nthreads=2)
    workers_again = run(toy_root, tmp_path / "2", nthreads=2)
    for folder in again, workers, workers_again:
        assert are_equal(weights_of(folder), weights_of(first))
        assert are_equal(weights_of(folder, "best_model.pt"), weights_of(first, "best_model.pt"))
    other = run(toy_root, tmp_path / "3", seed=2, num_epochs=1)
    unmasked = run(toy_root, tmp_path / "4", train_augment=False)
    assert not are_equal(weights_of(other), weights_of(first))
    assert not are_equal(weights_of(unmasked), weights_of(first))  # so there were masks


def test_the_config_of_a_run_runs_it_again(few_root, tmp_path):
    """What was drawn or found is written down; the name is not, since it is taken."""
    torch.manual_seed(0)
    drawn = run(few_root, tmp_path / "a", seed=None, logname="mine")
    torch.manual_seed(1)
    again = run(few_root, tmp_path / "b", read_yaml(drawn / "config.yaml"))
    assert are_equal(weights_of(again), weights_of(drawn))
    configs = [read_yaml(folder / "config.yaml") for folder in (drawn, again)]
    assert configs[0]["seed"] is not None and configs[0]["logname"] is None
    assert (configs[0]["datasetroot"], configs[0]["datasetversion"]) == (str(few_root), "toy-1.0")
    assert {**configs[0], "baselogdir": ""} == {**configs[1], "baselogdir": ""}
    another = read_yaml(run(few_root, tmp_path / "c", seed=None) / "config.yaml")
    assert another["seed"] != configs[0]["seed"]


def test_the_doctor_is_heard_in_the_log(few_root, tmp_path, caplog):
    """And only where there is something to say."""
    run(few_root, tmp_path / "healthy")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    (tmp_path / "few.json").write_text(CharMap.from_symbols("❌ab").to_json())
    folder = run(few_root, tmp_path / "ill", num_epochs=1, charset=str(tmp_path / "few.json"))
    assert re.search(r"\d+% of the characters .* are not in the character map", caplog.text)
    assert "--charset auto" in (folder / "train.log").read_text()


# --- Which epoch is best -------------------------------------------------------------------------


def evaluations(*figures):
    """A stand-in for ``evaluate`` that reports (errors of 10 characters, loss), call by call."""
    left = list(figures)

    def evaluate(*args, **kwargs):
        n_errors, loss = left.pop(0)
        hypothesis = Hypothesis("a" * (10 - n_errors) + "b" * n_errors, (), 0.0)
        return Evaluation([Decoded("toy_dev_0.mp3", "a" * 10, [hypothesis], loss)])

    return evaluate


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(5, 1.0), (5, 0.9)], 2),  # ties go by the dev loss
        ([(5, 0.9), (5, 1.0)], 1),
        ([(5, 0.9), (5, 0.9)], 1),
        ([(5, 0.1), (4, 5.0), (6, 0.0)], 2),  # errors before losses
    ],
)
def test_the_best_epoch_is_kept(few_root, tmp_path, monkeypatch, figures, best):
    before_training = (0, 0.0)  # counts for nothing
    monkeypatch.setattr(training, "evaluate", evaluations(before_training, *figures))
    folder = run(few_root, tmp_path, num_epochs=len(figures))
    scores = load_model(folder / "best_model.pt").scores
    n_errors, loss = figures[best - 1]
    assert (scores["epoch"], scores["dev_cer"], scores["dev_loss"]) == (best, n_errors / 10, loss)
    assert load_model(folder / "last.pt").scores["epoch"] == len(figures)
    assert [row["dev_cer"] for row in metrics_of(folder)] == [n / 10 for n, _ in figures]


def test_an_average_is_replaced_by_what_is_better_than_it_alone(few_root, tmp_path, monkeypatch):
    """Neither by the same average, made again when a finished run is resumed, nor by a worse
    epoch of a longer run: best_model.pt may hold a language model by then."""
    start, average = (0, 0.0), (2, 0.5)
    monkeypatch.setattr(training, "evaluate", evaluations(start, (5, 1.0), (4, 1.0), average))
    folder = run(few_root, tmp_path, num_epochs=2, average_best=2)
    best = folder / "best_model.pt"
    assert load_model(best).scores["averaged"] == [1, 2]

    def goes_on(*figures, **flags):
        monkeypatch.setattr(training, "evaluate", evaluations(*figures))
        train(make_config({}, {"resume_from": str(folder), **flags}))

    before = best.read_bytes()
    goes_on(average)
    goes_on((3, 1.0), (2, 0.6), num_epochs=3)
    assert best.read_bytes() == before
    goes_on((1, 1.0), (1, 1.0), num_epochs=4)
    assert load_model(best).scores["epoch"] == 4 and "averaged" not in load_model(best).scores


def test_what_is_decoded_in_the_log_is_what_is_scored(few_root, tmp_path, monkeypatch):
    evaluated = []
    for module in (training, epoch_log):
        real = module.evaluate
        monkeypatch.setattr(
            module,
            "evaluate",
            lambda m, *a, real=real, **k: evaluated.append(m) or real(m, *a, **k),
        )
    pictured = []
    real_posteriors = epoch_log.log_posteriors
    monkeypatch.setattr(
        epoch_log, "log_posteriors", lambda m, x: pictured.append(m) or real_posteriors(m, x)
    )
    run(few_root, tmp_path, num_epochs=1, ema=0.5)
    _, dev, samples = evaluated  # the first is tried before training
    assert dev is samples is pictured[0]


def test_figures_that_are_not_finite_are_null(few_root, tmp_path, monkeypatch):
    """JSON has no NaN; `runs` reads them as they were."""
    figures = (0, 0.0), (5, math.nan), (6, 1.0)
    monkeypatch.setattr(training, "evaluate", evaluations(*figures))
    folder = run(few_root, tmp_path)
    assert "NaN" not in (folder / "metrics.jsonl").read_text()
    assert [row["dev_loss"] for row in metrics_of(folder)] == [None, 1.0]
    (listed,) = list_runs(tmp_path)
    assert listed.notes == [] and listed.best["epoch"] == 1
    assert math.isnan(listed.best["dev_loss"])


def test_a_broken_evaluation_fails_before_the_first_step(few_root, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(training, "train_step", lambda *args, **how: steps.append(args))
    monkeypatch.setattr(training, "evaluate", evaluations())
    with pytest.raises(IndexError):
        run(few_root, tmp_path)
    assert steps == []


@pytest.mark.parametrize("n_epochs_done", [0, 1])
def test_ctrl_c_keeps_the_best_model(few_root, tmp_path, monkeypatch, caplog, n_epochs_done):
    train_epoch, calls = training.train_epoch, []

    def interrupted(*args, **how):
        calls.append(args)
        if len(calls) > n_epochs_done:
            raise KeyboardInterrupt
        return train_epoch(*args, **how)

    monkeypatch.setattr(training, "train_epoch", interrupted)
    flags = dict(datasetroot=str(few_root), baselogdir=str(tmp_path), logname="x", num_epochs=5)
    result = train(make_config(SETTINGS, flags))
    assert result.interrupted and result.signal == signal.SIGINT
    assert (result.folder, result.n_epochs) == (tmp_path / "x", n_epochs_done)
    assert (result.best is not None) == bool(n_epochs_done)
    assert (tmp_path / "x" / "best_model.pt").exists() == bool(n_epochs_done)
    assert f"--resume_from {tmp_path / 'x'}\n" in caplog.text
    if n_epochs_done:
        assert load_model(tmp_path / "x" / "best_model.pt").scores["epoch"] == 1
    load_model(tmp_path / "x" / "last.pt")


# --- Broken clips --------------------------------------------------------------------------------


def write(folder, name, samples):
    soundfile.write(
        folder / "clips" / f"{name}.mp3", samples, 16_000, format="WAV", subtype="FLOAT"
    )


def test_broken_clips_are_named_counted_and_stop_nothing(toy_folder, tmp_path):
    """The test split is gone too: training does not look at it."""
    clips, silence = toy_folder / "clips", np.zeros(20_000, np.float32)
    (clips / "toy_train_0.mp3").unlink()
    (clips / "toy_train_1.mp3").write_bytes(b"")
    (clips / "toy_train_2.mp3").write_text("no audio")
    write(toy_folder, "toy_train_3", silence)
    write(toy_folder, "toy_train_4", silence + np.nan)
    write(toy_folder, "toy_train_5", silence + np.float32(1e30))
    raw = (clips / "toy_train_6.mp3").read_bytes()
    (clips / "toy_train_6.mp3").write_bytes(raw[: len(raw) // 2])
    lines = (toy_folder / "train.tsv").read_text().split("\n")
    lines[8] = lines[8].replace(lines[8].split("\t")[3], "a" * 99)
    lines.insert(10, "short\trow")
    (toy_folder / "train.tsv").write_text("\n".join(lines))
    write(toy_folder, "toy_dev_0", silence)
    (toy_folder / "test.tsv").unlink()

    folder = run(toy_folder.parents[1], tmp_path / "logs")
    log = (folder / "train.log").read_text()
    reasons = {
        "toy_train_0.mp3": "no such file",
        "toy_train_1.mp3": "is empty",
        "toy_train_2.mp3": "is not audio",
        "toy_train_3.mp3": "silent",
        "toy_train_4.mp3": "holds NaN",
        "toy_train_5.mp3": "absurd",
        "toy_train_6.mp3": "truncated",
        "toy_train_7.mp3": "transcript too long for its audio",
        "train.tsv line 11": "2 columns",
        "toy_dev_0.mp3": "silent",
    }
    for clip, reason in reasons.items():
        assert len(re.findall(f"excluded: {clip}: .*{reason}", log)) == 1  # named once
    assert log.count("excluded: ") == len(reasons)
    assert "toy-1.0/fr train: 20 clips" in log and "(5 excluded)" in log
    assert [row["clips_left_out"] for row in metrics_of(folder)] == [4, 4]
    assert all(math.isfinite(row["train_loss"]) for row in metrics_of(folder))
    for value in weights_of(folder).values():
        assert value.isfinite().all()


@pytest.mark.parametrize("split", ["train", "dev"])
def test_more_than_half_broken_stops(toy_folder, tmp_path, split):
    n_broken = {"train": 13, "dev": 4}[split]
    for i in range(n_broken):
        write(toy_folder, f"toy_{split}_{i}", np.zeros(20_000, np.float32))
    with pytest.raises(UserError, match=f"{split}: {n_broken} of {2 * n_broken - 2} clips cannot"):
        run(toy_folder.parents[1], tmp_path / "logs")


def test_a_split_that_breaks_while_training_stops(few_root, tmp_path, monkeypatch):
    """Such as a network drive that goes away after the normalisation was measured."""
    monkeypatch.setattr(clips, "measure_normalization", lambda *args, **how: (0.0, 1.0))
    monkeypatch.setattr(
        ClipDataset,
        "__getitem__",
        lambda self, draw: ExcludedClip(self.corpus.path(draw.row), "gone"),
    )
    with pytest.raises(UserError, match="6 of 6 clips cannot be used .*gone"):
        run(few_root, tmp_path)


# --- Setting up ----------------------------------------------------------------------------------


def test_the_published_sizes_are_in_log_and_summary(few_root, tmp_path, caplog):
    with torch.device("meta"):
        published = CTCModel(CharMap(), 20, 1024, 4, "GRU", 0.1)
    run_folder.write_description(replace(set_up(few_root), model=published), tmp_path)
    assert "65,271,116" in caplog.text
    assert "Total params: 65,271,116" in (tmp_path / "summary.txt").read_text()


def test_frozen_parts_are_not_counted_as_trainable(few_root, tmp_path):
    made = set_up(few_root, freeze=["cnn"])
    run_folder.write_description(made, tmp_path)
    n_frozen = sum(p.numel() for p in made.model.cnn.parameters())
    assert f"Non-trainable params: {n_frozen:,}\n" in (tmp_path / "summary.txt").read_text()


def test_the_flags_reach_the_parts(few_root):
    made = set_up(
        few_root, nmels=13, win_length=0.05, n_time_masks=3, max_freq_share=0.5, dropout=0.25,
        l1=0.5, l2=0.75, cell_type="LSTM", nlayers_rnn=2, nhidden_rnn=5, rnn_norm=True,
    )  # fmt: skip
    model, processor = made.model, made.train.processor
    assert (model.l1, model.l2, model.cnn[3].p) == (0.5, 0.75, 0.25)
    assert (model.rnn.mode, model.rnn.num_layers, model.rnn.hidden_size) == ("LSTM", 2, 5)
    assert len(model.rnn_norms) == 1
    assert made.model_file({}).architecture == Architecture(
        n_mels=13, nhidden_rnn=5, nlayers_rnn=2, cell_type="LSTM", vocab_size=44, rnn_norm=True
    )
    assert (
        made.model_file({}).features
        == processor.settings
        == FeatureSettings(
            rate=16_000,
            win_length=0.05,
            win_step=0.01,
            nmels=13,
            clip_norm="mean",
            clip_range_db=80.0,
        )
    )
    assert processor.spec_augment == SpecAugment(n_time_masks=3, max_freq_share=0.5)
    assert made.dev.processor.spec_augment is None


def test_a_model_file_brings_how_it_reads_text(first, few_root, caplog):
    start = {"resume_from": str(first / "best_model.pt")}
    with pytest.raises(UserError, match="--case_folding: the model file brings its units"):
        set_up(few_root, **start, case_folding="turkish")
    set_up(few_root, **start, case_folding="turkish", charset="auto")
    assert "has no effect" not in caplog.text
    set_up(few_root, **start, charset_min_count=50)
    assert "--charset_min_count has no effect: the model file brings its units" in caplog.text


def test_training_starts_from_a_model_file(first, few_root, tmp_path, caplog):
    """With its sizes, characters and normalisation; a flag that contradicts it is refused."""
    from_file = set_up(few_root, resume_from=str(first / "best_model.pt"), dropout=0.4)
    assert are_equal(from_file.model.state_dict(), weights_of(first, "best_model.pt"))
    assert from_file.normalization == load_model(first / "best_model.pt").normalization
    assert from_file.model.cnn[3].p == 0.4
    assert from_file.origin["resumed_from"] == str(first / "best_model.pt")
    assert set_up(few_root, resume_from=str(first / "best_model.pt"), nhidden_rnn=8)
    with pytest.raises(UserError, match=r"contradict --rnn_norm True \(the file has False\)"):
        set_up(few_root, resume_from=str(first / "best_model.pt"), rnn_norm=True)
    with pytest.raises(UserError, match=r"contradict --nhidden_rnn 9 \(the file has 8\)"):
        set_up(few_root, resume_from=str(first / "best_model.pt"), nhidden_rnn=9)
    with pytest.raises(UserError, match="no run and no model file of that name"):
        set_up(few_root, resume_from=str(tmp_path / "none.pt"))


def shares_of_classes(run, units, step=1):
    """Of the frames of every ``step``-th training clip a label has one, the blank the others."""
    corpus = run.train.corpus
    rows = range(0, len(corpus), step)
    labels = [label for i in rows for label in units.encode(corpus.sentence(i))]
    counts = torch.bincount(torch.tensor(labels), minlength=units.vocab_size)
    samples = torch.from_numpy((corpus.durations * run.features.rate).round().astype(np.int64))
    n_frames = run.model.output_lengths(run.features.n_frames(samples[rows])).sum()
    counts[0] = n_frames - counts.sum()
    return (counts + 1) / (counts + 1).sum()


def starts_from(layer, shares):
    return torch.allclose(layer[0].bias.detach().exp(), shares.float(), atol=1e-6)


def test_a_new_output_layer_starts_from_how_often_its_classes_occur(few_root, first, monkeypatch):
    """Of a new run, and of one with other units than the model file's; the file's is as it was."""
    run = set_up(few_root)
    assert starts_from(run.model.charlin, shares_of_classes(run, run.charmap))

    other = set_up(few_root, resume_from=str(first / "best_model.pt"), charset="auto")
    assert other.charmap.vocab_size != run.charmap.vocab_size
    assert starts_from(other.model.charlin, shares_of_classes(other, other.charmap))

    n_clips = len(run.train.corpus)
    monkeypatch.setattr(selection, "COUNTED", n_clips - 1)
    half = set_up(few_root)
    assert starts_from(half.model.charlin, shares_of_classes(half, half.charmap, step=2))
    assert not starts_from(half.model.charlin, shares_of_classes(half, half.charmap))


def test_a_second_output_layer_starts_likewise(few_root, first):
    both = set_up(few_root, units="char+phoneme")
    assert starts_from(both.model.charlin, shares_of_classes(both, both.charmap))
    assert starts_from(both.model.auxlin, shares_of_classes(both, both.train.aux_units))

    added = set_up(few_root, resume_from=str(first / "best_model.pt"), units="char+phoneme")
    trained = weights_of(first, "best_model.pt")["charlin.0.bias"]
    assert torch.equal(added.model.charlin[0].bias, trained)
    assert starts_from(added.model.auxlin, shares_of_classes(added, added.train.aux_units))


def test_settings_are_resolved_into_new_ones(first, few_root):
    """The seed is drawn, sizes come from the model file; what was given stays as it was."""
    flags = {"datasetroot": str(few_root), "resume_from": str(first / "best_model.pt")}
    config = make_config({}, flags)
    before = config.to_yaml()
    start = find_start(config)
    resolved = runs.resolve(start)
    assert resolved.runtime.seed is not None and resolved.model.nhidden_rnn == 8
    assert start.config.to_yaml() == before and start.config.runtime.seed is None
    assert resolved.training == config.training
    assert replace(resolved.runtime, seed=None) == config.runtime


def test_the_best_epoch_is_in_the_result(few_root, tmp_path):
    """Of a run as a library's function, without a command and where nobody has set up the log."""
    logging.getLogger("asr_ctc").setLevel(logging.NOTSET)
    config = make_config(SETTINGS, {"datasetroot": str(few_root), "baselogdir": str(tmp_path)})
    result = train(config)
    assert logging.getLogger("asr_ctc").level == logging.NOTSET
    file = load_model(result.folder / "best_model.pt")
    assert (result.n_epochs, result.signal, file.origin["command"]) == (2, None, "")
    scores = {f"dev_{name}": getattr(result.best, name) for name in ("cer", "wer", "loss")}
    assert file.scores == {"epoch": result.best.epoch, **scores}
    assert "epoch 2/2" in (result.folder / "train.log").read_text()


def test_a_step_minimises_the_objective_that_it_is_given():
    batch, model = make_batch([1, 2], [2]), make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    cpu = torch.device("cpu")

    def halved(model, batch):
        return ctc_objective(model, batch) / 2

    one, half = (
        train_step(
            model,
            [batch],
            optimizer,
            device=cpu,
            precision="fp32",
            scaler=make_scaler(cpu, "fp32"),
            objective=objective,
        )
        for objective in (ctc_objective, halved)
    )
    assert half.loss == pytest.approx(one.loss / 2)
    assert half.grad_norm == pytest.approx(one.grad_norm / 2, rel=1e-4)


def test_charsets(few_root, tmp_path, caplog):
    auto = set_up(few_root, charset="auto", charset_min_count=1).charmap
    assert auto.symbols == tuple("¬❌ .abcdefgh") and auto.eos is None
    rare = set_up(few_root, charset="auto", charset_min_count=10**6).charmap
    assert rare.symbols == ("¬", "❌") and "seen fewer than 1000000 times" in caplog.text
    path = tmp_path / "map.json"
    path.write_text(auto.to_json())
    assert set_up(few_root, charset=str(path)).charmap == auto
    path.write_text('{"symbols": ["a"]}')
    with pytest.raises(UserError, match="not a character map: .*unknown or missing"):
        set_up(few_root, charset=str(path))
    with pytest.raises(UserError, match="--charset none.json: cannot be read"):
        set_up(few_root, charset="none.json")


@pytest.mark.parametrize("local_rank", [0, 1])
def test_one_process_of_a_machine_indexes_the_corpus(few_root, monkeypatch, local_rank):
    """The others read what it has found."""
    happened, prepare = [], clips.prepare_split

    class Watched(World):
        def gather(self, items):
            happened.append("meet")
            return list(items)

    def prepare_split(folder, split, *how, **more):
        happened.append(split)
        return prepare(folder, split, *how, **more)

    monkeypatch.setattr(clips, "prepare_split", prepare_split)
    config = make_config(SETTINGS, {"datasetroot": str(few_root)})
    runs.set_up_run(find_start(config), world=Watched(local_rank=local_rank))
    indexing = ["train", "dev"]
    assert happened == (["meet", *indexing] if local_rank else [*indexing, "meet"])


def test_run_folders_are_never_shared(tmp_path):
    config = make_config(SETTINGS, {"baselogdir": str(tmp_path / "logs")})
    names = [run_folder.make_run_folder(config).name for _ in range(3)]
    assert names == ["fr_GRU_1x8_0", "fr_GRU_1x8_1", "fr_GRU_1x8_2"]
    named = make_config(SETTINGS, {"baselogdir": str(tmp_path / "logs"), "logname": "mine"})
    folder = run_folder.make_run_folder(named)
    run_folder.check_run_folder(named)  # empty still
    (folder / "last.pt").write_text("")
    (tmp_path / "file").write_text("")
    in_the_way = make_config(SETTINGS, {"baselogdir": str(tmp_path / "file")})
    for check in run_folder.check_run_folder, train:  # before any work
        with pytest.raises(UserError, match="mine holds a run already: choose another --logname"):
            check(named)
        with pytest.raises(UserError, match="--baselogdir .*file: cannot be written"):
            check(in_the_way)


# --- Overfitting one batch -----------------------------------------------------------------------


def overfit(root, logs, **flags):
    flags = {"datasetroot": str(root), "baselogdir": str(logs), "debug": True, **flags}
    config = make_config(SETTINGS, flags)
    before = config.to_yaml()
    result = overfit_one_batch(config)
    assert not os.path.exists(logs) and config.to_yaml() == before  # saves and changes nothing
    return result


def test_a_batch_is_learnt_by_heart(few_root, tmp_path, caplog):
    """With all that would stand in the way, were it not switched off."""
    flags = dict(nhidden_rnn=64, batch_size=3, base_lr=3e-3, dropout=0.5, l2=1.0, weight_decay=99.0)
    assert overfit(few_root, tmp_path / "logs", debug_steps=500, **flags).passed
    assert "PASSED: all 3 clips of the batch decoded perfectly" in caplog.text


def test_one_batch_is_no_work_for_several_processes(few_root, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--debug trains in one process: start it with python"):
        overfit(few_root, tmp_path / "logs", debug_steps=1)


def test_one_step_is_not_enough(few_root, tmp_path, caplog):
    result = overfit(few_root, tmp_path / "logs", debug_steps=1)
    assert (result.passed, result.n_steps) == (False, 1)
    assert "FAILED: 0 of 6 clips decoded perfectly after 1 step. " in caplog.text
    assert re.search(r"after 1 step\. \w.*--debug_steps", caplog.text)


@pytest.mark.parametrize("base_lr", [1e-9, 1e3])
def test_a_hopeless_learning_rate_is_diagnosed(few_root, tmp_path, caplog, base_lr):
    assert not overfit(few_root, tmp_path / "logs", debug_steps=12, base_lr=base_lr).passed
    assert re.search(r"FAILED: .*--base_lr", caplog.text)


@pytest.mark.parametrize(
    ("file_values", "flags", "n_steps"),
    [
        ({"num_epochs": 2, "debug_steps": 3}, {}, 3),
        ({"num_epochs": 2}, {"debug_steps": 4}, 4),
        ({"debug_steps": 3}, {"num_epochs": 2}, 3),
        ({}, {"num_epochs": 2}, 2),  # the flag of before
    ],
)
def test_the_steps_are_their_own_setting(file_values, flags, n_steps, few_root, tmp_path, caplog):
    flags = {"datasetroot": str(few_root), "baselogdir": str(tmp_path / "logs"), **flags}
    config = make_config({**SETTINGS, **file_values}, flags)
    assert not overfit_one_batch(config).passed
    assert f"clips decoded perfectly after {n_steps} steps. " in caplog.text
