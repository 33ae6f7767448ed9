"""The command line of asr_ctc: `python main_ctc.py --help` lists the commands."""

import sys

if __name__ == "__main__":
    try:
        from asr_ctc.commands.main import main
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(main())
