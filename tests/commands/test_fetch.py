"""`fetch`, from a stand-in of the Mozilla Data Collective on this machine."""

import gzip
import os
import random
import sys
from importlib.util import find_spec

import pytest

from asr_ctc.corpus.archive import MARK
from tests.corpus.test_archive import RELEASE, tar_of
from tests.helpers import command
from tests.helpers.collective import KEY, site_of

pytestmark = pytest.mark.skipif(
    not find_spec("datacollective"),
    reason="datacollective is missing: pip install -r requirements-dev.txt",
)
NAME = "cminc35no007no707hql26lzk"
LARGE = {**RELEASE, "cv-corpus-27.0-2026-09-11/ka/clips/b.mp3": random.Random(0).randbytes(300_000)}
ARCHIVE = gzip.compress(tar_of(LARGE), mtime=0)


@pytest.fixture
def site(tmp_path):
    with site_of({NAME: ("ka.tar.gz", ARCHIVE)}) as site:
        yield site


def fetch(site, folder, *words, **extra):
    settings = {"MDC_API_URL": f"{site.address}/api", "MDC_API_KEY": KEY, "no_proxy": "*"}
    return command.call("fetch", *(words or (NAME,)), cwd=folder, **{**settings, **extra})


def refused(site, folder, message, *words, **extra):
    finished = fetch(site, folder, *words, **extra)
    assert finished.returncode == 2 and finished.stdout == "", finished
    assert finished.stderr.count("\n") == 1 and finished.stderr.startswith("error: ")
    assert message in finished.stderr, finished.stderr


def n_downloads(site):
    return sum(path.startswith("/files/") for _, path, _ in site.asked)


def test_a_release_is_fetched_and_unpacked_once(site, tmp_path):
    for word in NAME, f"https://mozilladatacollective.com/datasets/{NAME}", f"x/{NAME}/":
        finished = fetch(site, tmp_path, word)
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.splitlines() == [
            f"Set {NAME}: data/ka.tar.gz, unpacked in data/ka",
            "next: python main_ctc.py check --datasetroot data/ka --lang ka",
        ]
    assert n_downloads(site) == 1
    assert sorted(os.listdir(tmp_path / "data")) == ["ka", "ka.tar.gz"]
    train = tmp_path / "data/ka/cv-corpus-27.0-2026-09-11/ka/train.tsv"
    assert train.read_bytes() == RELEASE["cv-corpus-27.0-2026-09-11/ka/train.tsv"]


def test_the_next_command_is_right(tmp_path):
    """It is for the layout and the language of what was fetched, in a folder of any name."""
    sets = {
        "sps": "sps-corpus-5.0-2026-09-11-en/ss-corpus-en.tsv",
        "other": "some/README.md",
    }
    archives = {
        name: (f"{name}.tar.gz", gzip.compress(tar_of({file: b"x\n"})))
        for name, file in sets.items()
    }
    with site_of(archives) as site:
        finished = fetch(site, tmp_path, "sps", "--datasetroot", tmp_path / "my data")
        line = f"check --corpus spontaneous --datasetroot '{tmp_path}/my data/sps' --lang en"
        assert finished.stdout.endswith(f"next: python main_ctc.py {line}\n"), finished.stderr
        finished = fetch(site, tmp_path, "other")
        assert finished.returncode == 0 and "layout is not known" in finished.stdout


def test_an_interrupted_download_goes_on(site, tmp_path):
    site.breaks_after = 100_000
    refused(site, tmp_path, "the download stopped after")
    assert sorted(os.listdir(tmp_path / "data")) == ["ka.tar.gz.checksum", "ka.tar.gz.part"]
    n_bytes = (tmp_path / "data" / "ka.tar.gz.part").stat().st_size
    assert 0 < n_bytes <= 100_000
    finished = fetch(site, tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert site.asked[-1] == ("GET", f"/files/{NAME}", f"bytes={n_bytes}-")
    assert (tmp_path / "data" / "ka.tar.gz").read_bytes() == ARCHIVE
    assert (tmp_path / "data" / "ka" / MARK).is_file()


def test_ctrl_c_ends_it_and_the_download_goes_on(site, tmp_path, monkeypatch):
    import datacollective.download as download

    send = download._send_api_request

    def interrupted(**options):
        response = send(**options)
        if options["method"] == "GET":
            response.iter_content = lambda chunk_size: (_ for _ in ()).throw(KeyboardInterrupt)
        return response

    monkeypatch.setattr(download, "_send_api_request", interrupted)
    finished = fetch(site, tmp_path)
    assert finished.returncode == 130
    assert "the same command goes on with this download" in finished.stderr
    monkeypatch.undo()
    assert fetch(site, tmp_path).returncode == 0


def test_what_is_not_accepted(site, tmp_path):
    refused(site, tmp_path, "wants a key in MDC_API_KEY: make one at", MDC_API_KEY="")
    refused(site, tmp_path, "the key in MDC_API_KEY is not accepted", MDC_API_KEY="wrong")
    site.accepted.clear()
    refused(site, tmp_path, f"datasets/{NAME}: no access (terms not agreed to): log in there")
    assert n_downloads(site) == 0 and not os.listdir(tmp_path / "data")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("absent", "no data set https://mozilladatacollective.com/datasets/absent"),
        ("..", "is no ID of a data set"),
        ("a?b", "is no ID of a data set"),
        ("/", "is no ID of a data set"),
    ],
)
def test_ids_that_are_none(site, tmp_path, word, message):
    refused(site, tmp_path, message, word)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (410, "was removed"),
        (429, "wants a pause"),
        (402, "cannot be fetched"),
        (500, "cannot be f"),
    ],
)
def test_answers_that_are_refusals(site, tmp_path, status, message):
    site.status = status
    refused(site, tmp_path, message)


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ({"filename": "../ka.tar.gz"}, "'../ka.tar.gz' is no .tar.gz archive"),
        ({"filename": "/tmp/ka.tar.gz"}, "is no .tar.gz archive"),
        ({"filename": "ka.zip"}, "'ka.zip' is no .tar.gz archive"),
        ({"filename": None}, "is no .tar.gz archive"),
        ({"id": None}, "an answer that is not understood"),
        ({"sizeBytes": 5}, f"has {len(ARCHIVE):,} bytes, and its page says 5: move it away"),
    ],
)
def test_answers_that_are_wrong(site, tmp_path, says, message):
    site.says = says
    refused(site, tmp_path, message)


def test_a_damaged_archive_is_not_unpacked(tmp_path):
    with site_of({NAME: ("ka.tar.gz", ARCHIVE[:-20] + bytes(20))}) as site:
        refused(site, tmp_path, "ka.tar.gz: is no whole .tar.gz archive")
        assert os.listdir(tmp_path / "data") == ["ka.tar.gz"]


def test_no_site_and_no_folder(site, tmp_path):
    refused(site, tmp_path, "cannot be fetched", MDC_API_URL="http://127.0.0.1:9/api")
    (tmp_path / "file").write_text("")
    refused(site, tmp_path, "file is a file where a folder", NAME, "--datasetroot file/data")


def test_without_the_package(site, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datacollective", None)
    refused(site, tmp_path, "needs the package datacollective")
