"""main_ctc.py, of which the second process dies once, at its sixth step. For tests."""

import os
import signal
import sys

from asr_ctc import cli, training
from tests.interrupted import strike

if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    strike(training, "train_step", 6, signal.SIGKILL)
sys.exit(cli.main(sys.argv[1:]))
