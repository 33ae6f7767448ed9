"""`python -m asr_ctc` is `asr-ctc`."""

import sys

from asr_ctc.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
