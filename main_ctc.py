"""The command line of asr_ctc: `python main_ctc.py --help` lists the commands."""

import sys

from asr_ctc.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
