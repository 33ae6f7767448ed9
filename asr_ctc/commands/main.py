"""The command line: parses it, runs the command and turns errors into an exit status."""

import sys
from pathlib import Path

from asr_ctc.base.console import configure_logging, separate_standard_error
from asr_ctc.base.errors import LIMITS, UserError, exhausted
from asr_ctc.base.printable import one_line, with_safe_streams
from asr_ctc.commands import (
    align,
    check,
    compare,
    export,
    fetch,
    info,
    inspect,
    lm,
    pretrained,
    runs,
    split,
    test,
    train,
)
from asr_ctc.config.flags import Command, make_completion_parser, parse
from asr_ctc.config.load import make_config, read_yaml

MODULES = (
    train,
    test,
    align,
    inspect,
    compare,
    info,
    runs,
    fetch,
    check,
    split,
    lm,
    pretrained,
    export,
)
COMMANDS: dict[str, Command] = {module.COMMAND.name: module.COMMAND for module in MODULES}
# What the system says of a library for which there is no room.
NOT_MAPPED = "failed to map segment", "cannot allocate memory", "cannot map"


def program_name() -> str:
    """The call of this program: python main_ctc.py, python -m asr_ctc, or asr-ctc."""
    name = Path(sys.argv[0]).name
    if name == "__main__.py":
        return "python -m asr_ctc"
    return f"python {name}" if name.endswith(".py") else name


@with_safe_streams
def main(argv: list[str] | None = None) -> int:
    """Runs a command line; returns its exit status: 0, 1 (a check failed), 2 (wrong use), 130."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        command, words, flags = parse(argv, COMMANDS, program_name())
        if command is None:
            print(completion(flags["print_completion"]))
            return 0
        separate_standard_error()
        configure_logging()
        file = flags.pop("config", None)
        config = make_config(
            {} if file is None else read_yaml(file),
            flags,
            names=command.names,
            defaults=dict(command.defaults),
            file=file,
        )
        return command.run(config, words, ["main_ctc.py", *argv])
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        sys.stderr.close()
        return 0
    except Exception as error:
        if (message := explanation_of(error)) is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return 2


def explanation_of(error: Exception) -> str | None:
    """What the user can do about an error, in one line; None for an error of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "a file name contains a NUL character: no file has such a name"
    if isinstance(error, OSError):  # such as a full disk under the log or the curves
        if error.errno in LIMITS:
            return str(exhausted(error))
        where = f"{one_line(error.filename)}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, ImportError) and any(words in str(error) for words in NOT_MAPPED):
        return f"out of memory (raise `ulimit -v`): {error}"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _is_of_torch(error)):
        what = one_line(str(error).partition("\n")[0].partition(". ")[0]) or "allocation failed"
        return (
            f"out of memory ({what}): close other programs, lower --nthreads, --batch_size or "
            "--beamwidth, or use --device cpu"
        )
    return None


def _is_of_torch(error: RuntimeError) -> bool:
    """Whether torch says so that memory is out."""
    from asr_ctc.acoustic.compute import is_out_of_memory

    return is_out_of_memory(error)


def completion(shell: str) -> str:
    """A script that completes this program's commands and flags in bash, zsh or tcsh."""
    try:
        import shtab
    except ImportError:
        raise UserError("--print_completion needs the package shtab: pip install shtab") from None
    if shell not in shtab.SUPPORTED_SHELLS:
        known = ", ".join(shtab.SUPPORTED_SHELLS)
        raise UserError(f"--print_completion must be one of {known}, found {shell!r}")
    program = program_name().removeprefix("python ")
    parser = make_completion_parser(COMMANDS, program, file=shtab.FILE, folder=shtab.DIRECTORY)
    return shtab.complete(parser, shell)
