"""How many made inputs a property test tries."""

from hypothesis import settings


def examples(n: int) -> settings:
    """``n`` of them, for a test that needs more or can afford fewer than others.

    `make quick` tries no more of them than of others.
    """
    is_quick = settings.get_profile("quick").max_examples == settings.default.max_examples
    return settings(max_examples=min(n, settings.default.max_examples) if is_quick else n)
