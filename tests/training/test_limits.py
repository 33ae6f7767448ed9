"""Limits of the process and full disks: one line, no traceback, no accusation of the corpus."""

import resource
import subprocess
import sys

import pytest
from torch.utils.data import Dataset

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.loading.loader import make_loader
from tests.helpers.command import MAIN, REPOSITORY, SMALL, environment

pytestmark = pytest.mark.slow


@pytest.fixture
def few_descriptors():
    """No file can be opened any more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_clip_is_not_accused_of_the_limit(toy_folder, few_descriptors):
    clip = toy_folder / "clips/toy_train_0.mp3"
    for function in audio.load, audio.duration_s:
        with pytest.raises(UserError, match="^too many open files for this process: .*ulimit -n"):
            function(clip)
        try:
            function(clip)
        except UserError as error:
            assert not isinstance(error, AudioError)


@pytest.mark.parametrize("words", ["train --num_epochs 1 --nthreads 2", "check --nthreads 2"])
@pytest.mark.parametrize("n_files", [12, 24])
def test_few_file_descriptors(few_root, tmp_path, words, n_files):
    flags = SMALL.replace("--nthreads 0", "").split() if words.startswith("train") else []
    finished = subprocess.run(
        [sys.executable, str(MAIN), *words.split(), *flags, "--datasetroot", str(few_root)],
        cwd=tmp_path,
        env=environment(XDG_CACHE_HOME=str(tmp_path / "caches")),
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n_files, n_files)),
    )
    said = finished.stdout + finished.stderr
    assert "Traceback" not in said and "Exception ignored" not in said
    assert "excluded: " not in finished.stderr and "broken" not in finished.stderr
    if finished.returncode == 2:
        errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and "too many open files" in errors[0]
    else:
        assert finished.returncode == 0 and n_files == 24


FULL = """
import errno, os, sys
from tensorboard.summary.writer import record_writer
def write(self, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
record_writer.RecordWriter.write = write
from asr_ctc.commands.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_disk_that_is_full_for_the_curves(few_root, tmp_path):
    words = f"train {SMALL} --num_epochs 1 --datasetroot {few_root} --baselogdir {tmp_path}".split()
    finished = subprocess.run(
        [sys.executable, "-c", FULL, *words],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 2 and "Traceback" not in finished.stderr, finished.stderr
    *_, last = finished.stderr.splitlines()
    assert last.startswith(f"error: cannot write {tmp_path}/")
    assert "No space left on device" in last


class Refusing(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, row):
        raise UserError("what the user gave is wrong: UserErrors have one line")


@pytest.mark.parametrize("n_threads", [0, 1])
def test_an_error_of_a_worker_is_one_line(n_threads):
    with pytest.raises(UserError) as caught:
        list(make_loader(Refusing(), [[0], [1]], n_threads))
    assert str(caught.value) == "what the user gave is wrong: UserErrors have one line"
