"""A data set of the Mozilla Data Collective, where Common Voice is published, to this machine.

Its package datacollective talks to its API: it wants the terms of the data set accepted, once, in
a browser, and a key, and goes on with a download that was interrupted.
"""

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import why_no_folder
from asr_ctc.corpus.archive import ENDINGS, unpack
from asr_ctc.corpus.layouts.spontaneous import TABLES

SITE = "https://mozilladatacollective.com"
KEY = "MDC_API_KEY"  # the environment variable of datacollective
HOW_TO_GET_A_KEY = (
    f"make one at {SITE}/api-reference, where you are logged in, then `export {KEY}=...`"
)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Release(NamedTuple):
    """What was fetched: its name, the archive, and the folder with its content."""

    name: str
    archive: Path
    folder: Path


class Content(NamedTuple):
    """A corpus in a folder."""

    layout: str
    lang: str


def fetch(dataset: str, folder: Path) -> Release:
    """Downloads a data set, by its ID or the address of its page, into a folder, and unpacks it.

    What is there already is not downloaded again; what is there in part is completed. UserError
    says what is missing: the package, the key, the terms accepted, the network, room on the disk.
    """
    collective = _collective()
    name = dataset.rstrip("/").rsplit("/", 1)[-1]
    if not _ID.fullmatch(name):
        raise UserError(f"{dataset}: is no ID of a data set: it ends the address of its page")
    if not os.environ.get(KEY):
        raise UserError(f"the Data Collective wants a key in {KEY}: {HOW_TO_GET_A_KEY}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = why_no_folder(folder, error)
        raise UserError(f"--datasetroot {folder}: cannot be written ({why})") from None
    title, archive = _download(collective, name, folder)
    return Release(title, archive, unpack(archive))


def _collective() -> Any:
    try:
        import datacollective
    except ImportError:
        raise UserError(
            "fetch needs the package datacollective, for Python 3.11.4 or later: "
            "pip install datacollective; or download the release in a browser, and give the "
            ".tar.gz as --datasetroot"
        ) from None
    return datacollective


def _download(collective: Any, name: str, folder: Path) -> tuple[str, Path]:
    """(title, archive) of a data set. UserError as the site's answer means it."""
    from datacollective.errors import DownloadError, ResourceRemovedError
    from requests import RequestException

    page = f"{SITE}/datasets/{name}"
    try:
        details = collective.get_dataset_details(name)
        filename = str(details.filename)
        if Path(filename).name != filename or not filename.endswith(ENDINGS):
            raise UserError(f"{page}: its file {filename!r} is no .tar.gz archive")
        with contextlib.redirect_stdout(sys.stderr):  # its progress bar
            show = sys.stderr.isatty()
            archive = Path(collective.download_dataset(name, str(folder), show_progress=show))
    except collective.AuthenticationError:
        raise UserError(f"the key in {KEY} is not accepted: {HOW_TO_GET_A_KEY}") from None
    except collective.RateLimitError:
        raise UserError("the Data Collective wants a pause: try again in some minutes") from None
    except DownloadError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            print("the same command goes on with this download", file=sys.stderr)
            raise KeyboardInterrupt from None
        raise UserError(
            f"the download stopped after {error.total_downloaded_bytes} of "
            f"{error.total_archive_bytes} ({_reason(error.__cause__)}): the same command goes on"
        ) from None
    except ResourceRemovedError:
        raise UserError(f"{page}: the data set was removed") from None
    except FileNotFoundError:
        raise UserError(f"no data set {page}: the ID ends the address of its page") from None
    except PermissionError as error:
        raise UserError(
            f"{page}: no access ({_reason(error)}): log in there and accept its terms, once, with "
            "the account of the key"
        ) from None
    except RequestException as error:
        raise UserError(f"{page}: cannot be fetched ({_reason(error)})") from None
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{page}: an answer that is not understood ({_reason(error)})") from None
    n_bytes = archive.stat().st_size
    if details.sizeBytes and n_bytes != details.sizeBytes:
        raise UserError(
            f"{archive}: has {n_bytes:,} bytes, and its page says {details.sizeBytes:,.0f}: "
            "move it away, and fetch it again"
        )
    return str(details.name or name), archive


def _reason(error: BaseException | None) -> str:
    """The first line of an error, without the address of the API."""
    text = str(error).partition("\n")[0]
    return text.rpartition(" — ")[2] or type(error).__name__


def contents(folder: Path) -> list[Content]:
    """The corpora in the folder of a release, by the names of their files."""
    corpora = {Content("commonvoice", clips.parent.name) for clips in folder.glob("*/*/clips")}
    before, after = TABLES.split("*")
    for table in (*folder.glob(TABLES), *folder.glob(f"*/{TABLES}"), *folder.glob(f"*/*/{TABLES}")):
        lang = table.name.removeprefix(before).removesuffix(after)
        corpora.add(Content("spontaneous", lang))
    return sorted(corpora)
