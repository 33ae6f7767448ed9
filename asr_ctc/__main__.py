"""The entry point of all three: `python main_ctc.py`, `python -m asr_ctc` and `asr-ctc`."""

import sys


def main() -> int:
    """Runs the command line; Ctrl-C ends it quietly also while its modules are imported."""
    try:
        from asr_ctc.commands.main import main

        return main()
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
