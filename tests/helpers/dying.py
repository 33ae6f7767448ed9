"""main_ctc.py without figures, of which the second process is struck once. For tests.

STRIKE, if there is one, says how, such as "SIGKILL 6": with that signal, at its sixth step. Its
loader's workers are struck too, as they are by torchrun.
"""

import os
import signal
import sys

import torch._dynamo  # noqa: F401  as the optimizer does

from asr_ctc.commands import main as cli
from asr_ctc.training import loop as training
from tests.helpers.figures import draw_no_figures
from tests.helpers.interrupted import strike


def main(words: list[str]) -> int:
    draw_no_figures()
    is_second = os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if is_second and "STRIKE" in os.environ:
        name, count = os.environ["STRIKE"].split()
        strike(training, "train_step", int(count), getattr(signal, name), kill=os.killpg)
    return cli.main(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
