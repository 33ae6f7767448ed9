"""The command line: every setting as a flag, one command, and its other words."""

import argparse

from asr_ctc.base.errors import UserError
from asr_ctc.config.load import (
    REMOVED,
    Config,
    default_of,
    is_list,
    parse_value,
    plain_type,
    settings,
)

COMMANDS = {
    "train": "train a model on a corpus (--debug: see that one batch can be overfitted)",
    "test": "transcribe --audiofile FILE..., or score a --split of a corpus",
    "compare": "say whether B is better than A: `compare A.jsonl B.jsonl`, of test --hypotheses",
    "align": "say when each word of a known --text, of .txt files or of a --split was said",
    "info": "say what a model file is: `info FILE`",
    "runs": "list the runs below --baselogdir: settings that differ, best scores (--json)",
    "check": "say what is wrong with a corpus, before any training",
    "split": "make train, dev and test of one table (--from), sharing no speaker, no sentence",
    "lm": "make an n-gram language model of the training transcripts and --text FILE...; "
    "--tune finds its weights",
}
EXAMPLES = """examples:
  python main_ctc.py check --lang fr
  python main_ctc.py train --scheduler --train_augment
  python main_ctc.py train --debug --batch_size 16
  python main_ctc.py test --audiofile clip.mp3 --beamsearch
  python main_ctc.py test --split test --by gender age --html scores.html
  python main_ctc.py align --audiofile clip.mp3 --text "what was said" --format srt
  python main_ctc.py info logs/RUN/best_model.pt"""


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(f"{message} (see `python main_ctc.py --help`)")


def make_parser() -> argparse.ArgumentParser:
    """Every setting as a flag, made of the dataclasses in settings.py."""
    commands = "\n".join(f"  {name:7} {what}" for name, what in COMMANDS.items())
    parser = _Parser(
        prog="main_ctc.py",
        usage="python main_ctc.py COMMAND [flags]",
        description=f"Speech recognition with CTC, from scratch.\n\ncommands:\n{commands}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        metavar="FILE.yaml",
        default=argparse.SUPPRESS,
        help="settings to start from; flags win over them",
    )
    groups = {}
    for name, (section, field, hint) in settings().items():
        if section not in groups:
            section_class = type(getattr(Config(), section))
            groups[section] = parser.add_argument_group(section, section_class.__doc__)
        _add_flag(groups[section], name, field, hint)
    return parser


def _add_flag(group, name: str, field, hint) -> None:
    default = default_of(field)
    help_line = field.metadata["help"].replace("%", "%%")
    if hint is bool:
        help_line += f" (default: {'on' if default else 'off'})"
        group.add_argument(
            f"--{name}",
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=help_line,
        )
        return
    if default not in (None, []):
        help_line += f" (default: {default})"
    kind = plain_type(hint)
    metavar = (
        "|".join(field.metadata["choices"] or ()) or {int: "N", float: "X", str: name.upper()}[kind]
    )
    bare = field.metadata["bare"]
    several = "+" if is_list(hint) else None
    group.add_argument(
        f"--{name}",
        metavar=metavar,
        default=argparse.SUPPRESS,
        help=help_line,
        nargs="?" if bare else several,
        const=bare,
        action="extend" if several else "store",
    )
    if bare:
        group.add_argument(
            f"--no-{name}",
            dest=name,
            default=argparse.SUPPRESS,
            help=f"the same as --{name} none",
            action="store_const",
            const="none",
        )


def parse(argv: list[str]) -> tuple[str, list[str], dict]:
    """(command, its other words, {setting: value}) of a command line.

    The command may stand anywhere, also behind a list: a list flag takes at least one value, then
    ends at the first word that is a command, unless the command was given already.
    """
    parser = make_parser()
    words, options = _split_words(argv)
    for option in options:
        name = option.partition("=")[0].removeprefix("--").removeprefix("no-")
        if option.startswith("--") and name in REMOVED:
            raise UserError(f"--{name} is gone, leave it out: {REMOVED[name][1]}")
    namespace = vars(parser.parse_args(options))  # --help ends here
    if not words:
        raise UserError(f"a command is needed: {', '.join(COMMANDS)} (see --help)")
    command, *others = words
    if command not in COMMANDS:
        raise UserError(f"unknown command {command!r}: {', '.join(COMMANDS)} (see --help)")
    if command == "info":
        if len(others) > 1:
            raise UserError(f"info takes one model file, found {' '.join(others)}")
    elif command == "compare":
        if len(others) != 2:
            raise UserError(f"compare takes two files of hypotheses, found {len(others)}")
    elif others:
        raise UserError(f"unexpected word {others[0]!r} (see `python main_ctc.py --help`)")
    table = settings()
    flags = {}
    for name, value in namespace.items():
        if name == "config" or isinstance(value, bool):
            flags[name] = value
            continue
        try:
            _, field, hint = table[name]
            flags[name] = parse_value(name, value, hint, field.metadata["bare"])
        except UserError as error:
            raise UserError(f"--{error}") from None
    return command, others, flags


def _split_words(argv: list[str]) -> tuple[list[str], list[str]]:
    """(words that belong to no flag, the command first; the flags with their values)."""
    table = settings()
    takes_many = {f"--{n}" for n, (_, _, hint) in table.items() if is_list(hint)}
    may_take_one = {f"--{n}" for n, (_, field, _) in table.items() if field.metadata["bare"]}
    switches = {f"--{n}" for n, (_, _, hint) in table.items() if hint is bool}
    takes_one = {"--config", *(f"--{n}" for n in table)} - takes_many - may_take_one - switches
    words, options, open_flag, n_taken = [], [], None, 0
    for word in argv:
        if word.startswith("-") and word != "-" and not _is_number(word):
            open_flag, _, value = word.partition("=")
            n_taken = 1 if value else 0
            options.append(word)
        elif (
            open_flag in takes_one
            and n_taken == 0
            or open_flag in may_take_one
            and n_taken == 0
            and not _ends_list(word, words)
        ):
            options.append(word)
            n_taken = 1
        elif open_flag in takes_many and (n_taken == 0 or not _ends_list(word, words)):
            options.append(word)
            n_taken += 1
        else:
            words.append(word)
            open_flag = None
    return words, options


def _ends_list(word: str, words: list[str]) -> bool:
    return word in COMMANDS and not words


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
