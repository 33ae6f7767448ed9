"""Word boundaries."""

import unicodedata
from functools import lru_cache


@lru_cache(maxsize=4096)
def separates_words(character: str) -> bool:
    """True for white space and punctuation (Unicode category P) except the apostrophe."""
    return character.isspace() or (
        character != "'" and unicodedata.category(character).startswith("P")
    )
