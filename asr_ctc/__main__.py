"""`python -m asr_ctc`: the command line."""

import sys

from asr_ctc.commands.main import main

sys.exit(main())
