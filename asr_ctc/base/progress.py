"""The progress bar: on a terminal only, and removed at the end."""

from collections.abc import Iterable

from tqdm import tqdm


def bar(
    iterable: Iterable | None = None,
    title: str = "",
    unit: str = "it",
    *,
    total: int | None = None,
    initial: int = 0,
) -> tqdm:
    """A tqdm bar; hidden if it has no title or standard error is not a terminal."""
    return tqdm(
        iterable,
        title,
        total,
        unit=unit,
        initial=initial,
        leave=False,
        dynamic_ncols=True,
        disable=None if title else True,
    )
