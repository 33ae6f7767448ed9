"""A small trained model, which tests of several commands use."""

import pytest

from tests.helpers.command import train_small


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with a corpus in data/ and a trained model in logs/small/; the training's output.

    Tests may add files, but no further model below logs/: the newest one is that of small.
    """
    folder = tmp_path_factory.mktemp("commands")
    settings = folder / "settings.yaml"
    settings.write_text("num_epochs: 7\nbase_lr: 2e-3\nweight_decay: 0\nbeamwidth: 3\n")
    return folder, train_small(folder, "--config", settings)


@pytest.fixture(scope="session")
def folder(place):
    return place[0]
