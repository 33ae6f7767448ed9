"""main_ctc.py, of which the second process is struck once. For tests.

STRIKE says how, such as "SIGKILL 6": with that signal, at its sixth step. Its loader's workers are
struck too, as they are by torchrun.
"""

import os
import signal
import sys

from asr_ctc.commands import main as cli
from asr_ctc.training import loop as training
from tests.helpers.interrupted import strike

if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    name, count = os.environ["STRIKE"].split()
    strike(training, "train_step", int(count), getattr(signal, name), kill=os.killpg)
sys.exit(cli.main(sys.argv[1:]))
