"""What several test files share. Training and plain arithmetic are tested on one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch starts: others use the machine too

import gc
import logging
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers.log import log_put_back
from tools.toy_corpus import make_toy_corpus

ALL_SLOW = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.slow\b", re.MULTILINE)

settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.register_profile("quick", settings.get_profile("house"), max_examples=8)


def pytest_configure(config):
    """`make quick` tries fewer made inputs of each kind."""
    is_quick = config.option.markexpr == "not slow"
    settings.load_profile("quick" if is_quick else "house")
    if is_quick:
        os.environ.setdefault("ASR_CTC_FUZZ", "8")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """What is imported for the tests stays: no later search for garbage looks at it again.

    Such searches, with torch imported, took a sixth of the suite's time.
    """
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20)
    return collected


def pytest_ignore_collect(collection_path, config):
    """`make quick` does not import files in which every test is slow."""
    if config.option.markexpr == "not slow" and collection_path.suffix == ".py":
        return bool(ALL_SLOW.search(collection_path.read_text("utf-8"))) or None


@pytest.hookimpl(tryfirst=True)  # before those marked slow are left out
def pytest_collection_modifyitems(items):
    _mark_most_cases_slow(items)
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    # It imports torch, which the process that only hands out the tests does not need.
    from tests.helpers.gpu import is_missing

    if is_missing():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))


def _mark_most_cases_slow(items):
    """Of a test marked few(n): all but n cases, spread evenly from the first to the last."""
    cases_of = defaultdict(list)
    for item in items:
        if item.get_closest_marker("few") and not item.get_closest_marker("cuda"):
            cases_of[item.parent, item.originalname].append(item)
    for cases in cases_of.values():
        (n,) = cases[0].get_closest_marker("few").args
        last = len(cases) - 1
        quick = {round(i * last / max(n - 1, 1)) for i in range(n)}
        for i, case in enumerate(cases):
            if i not in quick:
                case.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def user_caches(tmp_path_factory):
    """What commands keep for the next time stays away from the user's own folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("caches"))


@pytest.fixture(autouse=True)
def own_log():
    """A command sets up the log for its process: here it is put back after each test."""
    with log_put_back():
        yield


@pytest.fixture
def log_everything(own_log, caplog):
    """``caplog`` has what a command says, as far as INFO."""
    caplog.set_level(logging.INFO, "asr_ctc")
    logging.getLogger("asr_ctc").propagate = True


@pytest.fixture(scope="session")
def few_root(tmp_path_factory):
    """ROOT of a toy corpus, toy-1.0/fr, of 6, 3 and 1 clips. Read only."""
    root = tmp_path_factory.mktemp("few")
    make_toy_corpus(root, (6, 3, 1))
    return root


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory):
    """ROOT of a toy corpus, toy-1.0/fr: 24, 6 and 6 clips of one to three seconds. Read only."""
    root = tmp_path_factory.mktemp("toy")
    make_toy_corpus(root)
    return root


@pytest.fixture
def toy_folder(toy_root, tmp_path):
    """ROOT/VERSION/LANG of a toy corpus that the test may damage."""
    return shutil.copytree(toy_root, tmp_path / "root") / "toy-1.0" / "fr"


@pytest.fixture(scope="session")
def tiny_model():
    """An untrained model of the published kind with one layer of 8 GRU cells, as a ModelFile."""
    import torch

    from asr_ctc.acoustic.architecture import Architecture
    from asr_ctc.acoustic.ctc_model import CTCModel
    from asr_ctc.acoustic.model_file import ModelFile
    from asr_ctc.audio.log_mel import FeatureSettings
    from asr_ctc.text.charmap import CharMap

    torch.manual_seed(0)
    charmap = CharMap()
    model = CTCModel(
        Architecture(
            n_mels=20, nhidden_rnn=8, nlayers_rnn=1, cell_type="GRU", vocab_size=charmap.vocab_size
        )
    )
    return ModelFile(
        state_dict=model.state_dict(),
        architecture=model.architecture,
        features=FeatureSettings(rate=16_000, win_length=0.04, win_step=0.01, nmels=20),
        normalization=(-22.0, 12.0),
        charmap=charmap,
        scores={"epoch": 3, "dev_cer": 0.25},
        origin={"command": "python main_ctc.py train", "versions": {"torch": "2"}},
    )


@pytest.fixture(scope="session")
def real_posteriors():
    """{clip: log posteriors (T', 44)} of three clips of connected digits.

    ``Recognizer.log_posteriors`` of a model of letters of the connected digits, kept as float16.
    """
    import numpy as np
    import torch

    with np.load(Path(__file__).parent / "data/digits_posteriors.npz") as kept:
        logits = {clip: torch.from_numpy(kept[clip]).double() for clip in kept}
    return {clip: frames.log_softmax(dim=1).numpy() for clip, frames in logits.items()}
