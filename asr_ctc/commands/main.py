"""The commands of main_ctc.py; the only file that prints results for a person.

Heavy imports wait until a command runs, so that --help answers at once.
"""

import importlib
import sys

from asr_ctc.base.console import configure_logging, separate_standard_error
from asr_ctc.base.errors import LIMITS, UserError, exhausted
from asr_ctc.config.flags import parse
from asr_ctc.config.load import make_config, read_yaml

# What the system says of a library for which there is no room.
NOT_MAPPED = "failed to map segment", "cannot allocate memory", "cannot map"


def main(argv: list[str] | None = None) -> int:
    """Runs a command line; returns its exit status: 0, 1 (a check failed), 2 (wrong use), 130."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        command, words, flags = parse(argv)
        separate_standard_error()
        configure_logging()
        file_values = read_yaml(flags.pop("config")) if "config" in flags else {}
        config = make_config(file_values, flags, scoring=command in ("test", "align"))
        module = importlib.import_module(f"asr_ctc.commands.{command}")
        return getattr(module, f"run_{command}")(config, words, ["main_ctc.py", *argv])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return 130
    except ValueError as error:
        if "embedded null" not in str(error):
            raise
        print("error: the name of a file holds a NUL: no file has one", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except OSError as error:  # such as a full disk under the log or the curves
        if error.errno in LIMITS:
            error = exhausted(error)
            print(f"error: {error}", file=sys.stderr)
            return 2
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except ImportError as error:
        if not any(words in str(error) for words in NOT_MAPPED):
            raise
        print(f"error: out of memory (raise `ulimit -v`): {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        from asr_ctc.acoustic.compute import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        what = str(error).partition(". ")[0] or "no more can be had"
        print(
            f"error: out of memory ({what}): see what else uses it; a smaller --batch_size or "
            "--beamwidth takes less, --device cpu none of the GPU's",
            file=sys.stderr,
        )
        return 2
