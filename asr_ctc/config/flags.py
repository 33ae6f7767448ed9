"""The command line: a parser for each command, built from its settings.

A ``Command`` lists its settings; each one is defined in a file of commands/.
"""

import argparse
import os.path
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from asr_ctc.base.errors import UserError
from asr_ctc.config.load import (
    REMOVED,
    Config,
    default_of,
    did_you_mean,
    is_list,
    parse_value,
    plain_type,
    settings,
)

COMMON = "common flags"


@dataclass(frozen=True)
class Command:
    """A command: its flags and words on the command line, and the function that runs it.

    ``run`` receives the settings, the words that belong to no flag, and the whole command line. It
    returns the exit status.
    """

    name: str
    summary: str  # its line in the list of commands
    run: Callable[[Config, list[str], list[str]], int]
    common: tuple[str, ...]  # settings that the help shows first
    further: tuple[str, ...] = ()  # settings, or whole sections of them
    ignored: tuple[str, ...] = ()  # likewise; accepted without effect, and not in the help
    words: str = ""  # arguments besides flags, for the usage line
    takes_words: str = ""  # the same for error messages, such as "two files"
    min_words: int = 0
    max_words: int = 0
    details: str = ""
    examples: tuple[str, ...] = ()  # without the program's name
    defaults: Mapping[str, Any] = field(default_factory=dict)  # see make_config

    @property
    def names(self) -> list[str]:
        """The settings of the command, the common ones first."""
        return list(dict.fromkeys([*self.common, *expand(self.further)]))

    def takes(self, name: str) -> bool:
        return name in self.names or name in expand(self.ignored)


def expand(names: Iterable[str]) -> list[str]:
    """Replaces each section by its settings; names of settings stay."""
    table = settings()
    sections: dict[str, list[str]] = {}
    for name, (section, _, _) in table.items():
        sections.setdefault(section, []).append(name)
    return [n for name in names for n in ([name] if name in table else sections[name])]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see `{self.prog} --help`)")


def make_parser(command: Command, program: str) -> argparse.ArgumentParser:
    """The flags of one command, with the common ones in a separate group."""
    examples = "\n".join(f"  {program} {example}" for example in command.examples)
    parser = _Parser(
        prog=f"{program} {command.name}",
        usage=" ".join(f"{program} {command.name} {command.words} [flags]".split()),
        description="\n\n".join(filter(None, (command.summary, command.details))),
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    _fill(parser, command)
    return parser


def _fill(parser: argparse.ArgumentParser, command: Command) -> None:
    table = settings()
    group = parser.add_argument_group(COMMON)
    group.add_argument("-h", "--help", action="help", help="show this help and exit")
    group.add_argument(
        "--config",
        metavar="FILE.yaml",
        default=argparse.SUPPRESS,
        help="settings to start from, of this and other commands; flags override them",
    )
    for name in command.common:
        _add_flag(group, name, command)
    groups = {}
    for name in table:  # in the order of the settings
        section = table[name][0]
        if name in command.names and name not in command.common:
            if section not in groups:
                section_class = type(getattr(Config(), section))
                groups[section] = parser.add_argument_group(section, section_class.__doc__)
            _add_flag(groups[section], name, command)
    for name in expand(command.ignored):
        _add_flag(parser, name, command, hidden=True)


def help_of(name: str, command: Command) -> str:
    """The help of a setting for a command, with its default."""
    default = default_text(name, command)
    return meaning_of(name, command) + (f" (default: {default})" if default else "")


def meaning_of(name: str, command: Command) -> str:
    return _own_help(name, command).partition(" (default: ")[0]


def default_text(name: str, command: Command) -> str:
    """The default as shown to a user: that of the help text, else the value; '' for no value."""
    stated = _own_help(name, command).partition(" (default: ")[2]
    if stated:
        return stated.removesuffix(")")
    _, f, hint = settings()[name]
    default = command.defaults.get(name, default_of(f))
    if hint is bool:
        return "on" if default else "off"
    if default in (None, []):
        return ""
    return " ".join(map(str, default)) if is_list(hint) else str(default)


def _own_help(name: str, command: Command) -> str:
    metadata = settings()[name][1].metadata
    return metadata["help_of"].get(command.name, metadata["help"])


def value_of(name: str, command: Command) -> str:
    """The placeholder of a flag's value in the help of a command."""
    _, f, hint = settings()[name]
    choices, value = "|".join(f.metadata["choices"] or ()), f.metadata["value"]
    if isinstance(value, Mapping):
        value = value.get(command.name)
    plain = {int: "N", float: "X", str: name.upper()}
    return choices or value or plain.get(plain_type(hint), "")


def _add_flag(
    group: argparse._ActionsContainer, name: str, command: Command, hidden: bool = False
) -> None:
    _, f, hint = settings()[name]
    text = argparse.SUPPRESS if hidden else help_of(name, command).replace("%", "%%")
    if hint is bool:
        group.add_argument(
            f"--{name}",
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=text,
        )
        return
    bare = f.metadata["bare"]
    several = "+" if is_list(hint) else None
    group.add_argument(
        f"--{name}",
        metavar=value_of(name, command),
        default=argparse.SUPPRESS,
        help=text,
        nargs="?" if bare else several,
        const=bare,
        action="extend" if several else "store",
    )
    if bare:
        group.add_argument(
            f"--no-{name}",
            dest=name,
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS if hidden else f"the same as --{name} none",
            action="store_const",
            const="none",
        )


def make_main_parser(commands: Mapping[str, Command], program: str) -> argparse.ArgumentParser:
    """The parser without a command: the list of commands, and the flags of the program itself."""
    lines = "\n".join(f"  {name:8} {command.summary}" for name, command in commands.items())
    examples = "\n".join(f"  {program} {c.examples[0]}" for c in commands.values() if c.examples)
    parser = _Parser(
        prog=program,
        usage=f"{program} COMMAND [flags]",
        description="Speech recognition with CTC, from scratch.\n\n"
        f"commands:\n{lines}\n\n`{program} COMMAND --help` shows the flags of a command.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--print_completion",
        metavar="bash|zsh",
        default=argparse.SUPPRESS,
        help="print a script that completes commands and flags in a shell",
    )
    return parser


def make_completion_parser(
    commands: Mapping[str, Command], program: str, *, file: dict, folder: dict
) -> argparse.ArgumentParser:
    """A parser of all commands and flags, for the package shtab.

    ``file`` and ``folder`` are shtab's completions of file and folder names.
    """
    parser, table = argparse.ArgumentParser(prog=program), settings()
    parsers = parser.add_subparsers()
    for name, command in commands.items():
        below = parsers.add_parser(name, help=command.summary, add_help=False)
        _fill(below, command)
        for action in below._actions:
            if action.dest in table:
                action.choices = table[action.dest][1].metadata["choices"]
            if "FILE" in str(action.metavar):
                action.complete = file  # type: ignore[attr-defined]  # shtab's
            elif action.metavar == "FOLDER":
                action.complete = folder  # type: ignore[attr-defined]  # shtab's
    return parser


def parse(
    argv: list[str], commands: Mapping[str, Command], program: str = "python main_ctc.py"
) -> tuple[Command | None, list[str], dict]:
    """(command, its other words, {setting: value}) of a command line.

    The command may stand anywhere, even after a list: a list flag takes at least one value and ends
    at the first word that is a command, unless the command came before it. Without a command, the
    flags are those of the program itself. UserError for wrong use; --help exits.
    """
    words, options = _split_words(argv, commands)
    for option in options:
        name = option.partition("=")[0].removeprefix("--").removeprefix("no-")
        if option.startswith("--") and name in REMOVED:
            raise UserError(f"--{name} was removed, delete it: {REMOVED[name][1]}")
    if not words:
        own = vars(make_main_parser(commands, program).parse_args(_own_flags(options)))
        if not own:
            raise UserError(f"a command is needed: {', '.join(commands)} (see `{program} --help`)")
        return None, [], own
    name, *others = words
    if name not in commands:
        near = did_you_mean(name, commands)
        listed = ", ".join(commands)
        raise UserError(f"unknown command {name!r}{near}: {listed} (see `{program} --help`)")
    command = commands[name]
    _refuse_foreign(options, command, commands, f"{program} {name}")
    namespace = vars(make_parser(command, program).parse_args(options))  # --help ends here
    if not command.min_words <= len(others) <= command.max_words:
        if command.max_words:
            wrong = f"{name} takes {command.takes_words}, found {len(others)}"
        else:
            wrong = f"unexpected word {others[0]!r}"
        raise UserError(f"{wrong} (see `{program} {name} --help`)")
    table, flags = settings(), {}
    for setting, value in namespace.items():
        if setting == "config" or isinstance(value, bool):
            flags[setting] = value
            continue
        try:
            _, f, hint = table[setting]
            flags[setting] = parse_value(setting, value, hint, f.metadata["bare"])
        except UserError as error:
            raise UserError(f"--{error}") from None
    return command, others, flags


def _own_flags(options: list[str]) -> list[str]:
    own = "-h", "--help", "--print_completion"
    return [option for option in options if option.partition("=")[0] in own]


def _refuse_foreign(options: list[str], command: Command, commands: Mapping, program: str) -> None:
    """UserError for a flag of other commands, which it names, for one that none has, and for a file
    in place of a flag."""
    table = settings()
    for option in options:
        flag = option.partition("=")[0]
        name = flag.removeprefix("--").removeprefix("no-")
        if name in table and not command.takes(name):
            theirs = [other.name for other in commands.values() if name in other.names]
            raise UserError(
                f"{flag} is a flag of {_listed(theirs)}; `{command.name}` does not have it"
            )
        if name not in table and os.path.exists(option):
            raise UserError(f"{option} is not a flag; for the file of that name, write ./{option}")
        if flag.startswith("--") and name not in table and name not in ("", "help", "config"):
            near = did_you_mean(flag, [f"--{known}" for known in ("config", *command.names)])
            raise UserError(f"unknown flag {flag}{near} (see `{program} --help`)")


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _split_words(argv: list[str], commands: Mapping) -> tuple[list[str], list[str]]:
    """(words that belong to no flag, the command first; the flags, each value as --flag=value).

    All flags except -h begin with two dashes, so that a value may begin with one dash, such as a
    file name that the shell expanded.
    """
    table = settings()
    takes_many = {f"--{n}" for n, (_, _, hint) in table.items() if is_list(hint)}
    may_take_one = {f"--{n}" for n, (_, field, _) in table.items() if field.metadata["bare"]}
    switches = {f"--{n}" for n, (_, _, hint) in table.items() if hint is bool}
    takes_one = {f"--{n}" for n in table} - takes_many - may_take_one - switches
    takes_one |= {"--config", "--print_completion"}
    words: list[str] = []
    options: list[str] = []
    open_flag: str | None = None
    n_taken = 0
    for word in argv:
        ends_list = word in commands and not words
        if word.startswith("--") or word == "-h":
            open_flag, equals, _ = word.partition("=")
            n_taken = len(equals)
            options.append(word)
        elif (
            open_flag in takes_one
            and n_taken == 0
            or open_flag in may_take_one
            and n_taken == 0
            and not ends_list
            or open_flag in takes_many
            and (n_taken == 0 or not ends_list)
        ):
            if n_taken == 0:
                options.pop()
            options.append(f"{open_flag}={word}")
            n_taken += 1
        elif word.startswith("-") and word != "-":
            open_flag = None
            options.append(word)  # belongs to no flag: the parser rejects it
        else:
            words.append(word)
            open_flag = None
    return words, options
