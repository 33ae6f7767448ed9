"""Text in columns of a terminal."""

import unicodedata


def shown(character: str) -> str:
    """A character as it can be seen: itself, 'space', or its code point."""
    if character == " ":
        return "space"
    visible = unicodedata.category(character)[0] not in "ZCM"
    return character if visible else f"U+{ord(character):04X}"


def shortened(value: str, width: int = 20) -> str:
    return value if len(value) <= width else value[: width - 1] + "…"


def padded(text: str, columns: int) -> str:
    return text + " " * (columns - width_of(text))


def width_of(text: str) -> int:
    """Columns that a text takes on a terminal: wide characters two, combining marks none."""
    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def several(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")
