"""A setting: a field of a dataclass, with its default, help and bounds."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any


def setting(
    default: Any,
    help: str,
    *,
    help_of: Mapping[str, str] | None = None,
    value: str | Mapping[str, str] | None = None,
    choices: tuple[str, ...] | None = None,
    bare: str | None = None,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field with the metadata that the command line and the checks need.

    ``help_of`` {command: help} overrides ``help`` for some commands. ``value`` is the placeholder
    of the value in the help, such as FILE, or {command: placeholder}. ``bare`` is the value of the
    flag when given without one; in a YAML file, true stands for it and false for None. Bounds are
    inclusive (``at_least``, ``at_most``) or exclusive (``above``, ``below``).
    """
    metadata = dict(
        help=help,
        help_of=help_of or {},
        value=value,
        choices=choices,
        bare=bare,
        at_least=at_least,
        above=above,
        at_most=at_most,
        below=below,
    )
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)
