"""What separates words."""

import unicodedata
from functools import lru_cache


@lru_cache(maxsize=4096)
def separates_words(character: str) -> bool:
    """White space and punctuation (Unicode category P), the apostrophe excepted, as in scoring."""
    return character.isspace() or (
        character != "'" and unicodedata.category(character).startswith("P")
    )
