"""The command line of asr_ctc: train, test, info. `python main_ctc.py --help` says the rest."""

import sys

from asr_ctc.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
