"""`fetch`: downloads a data set of the Mozilla Data Collective, and unpacks it."""

import os
import shlex
from pathlib import Path

from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config


def run_fetch(config: Config, words: list[str], command: list[str]) -> int:
    from asr_ctc.corpus.fetch import contents, fetch

    root = config.corpus.datasetroot or os.environ.get("COMMONVOICE_ROOT") or "./data"
    release = fetch(words[0], Path(root))
    print(f"{release.name}: {release.archive}, unpacked in {release.folder}")
    corpora = contents(release.folder)
    where = f"--datasetroot {shlex.quote(str(release.folder))}"
    for layout, lang in corpora:
        as_what = "" if layout == "commonvoice" else f"--corpus {layout} "
        print(f"next: python main_ctc.py check {as_what}{where} --lang {shlex.quote(lang)}")
    if not corpora:
        print("its layout is not known: see --corpus in `python main_ctc.py check --help`")
    return 0


COMMAND = Command(
    name="fetch",
    summary="download a data set of the Mozilla Data Collective, where Common Voice is, and unpack",
    run=run_fetch,
    words="DATASET_ID",
    takes_words="the ID of one data set, which ends the address of its page",
    min_words=1,
    max_words=1,
    common=("datasetroot",),
    details="Once, in a browser: log in at mozilladatacollective.com, accept the terms of the data "
    "set on its page,\nand make a key of the API, which is read from MDC_API_KEY. An interrupted "
    "download goes on.\nIt needs the package datacollective: pip install datacollective.",
    examples=(
        "fetch cminc35no007no707hql26lzk",
        "fetch https://mozilladatacollective.com/datasets/cminc35no007no707hql26lzk",
    ),
)
