"""Contents of files changed at random, as damage and malice would. For tests.

ASR_CTC_FUZZ is how many files each fuzz test tries; the seeds are fixed.
"""

import os

import torch

N_TRIES = int(os.environ.get("ASR_CTC_FUZZ", "60"))
STRANGE = [
    None, True, -1, 0, 2**62, 10**30, 1e308, float("nan"), "", "x" * 1000, "\udc80", [], [[]], {},
    {"a": {}}, (), b"x", torch.zeros(0), torch.zeros(3).expand(5, 3), torch.tensor(1j),
    torch.zeros(2, dtype=torch.bool), torch.full((2, 2), torch.nan), torch.zeros(2, device="meta"),
]  # fmt: skip


def places(value, place=()):
    """Every place in nested tables and lists: the keys that lead to it."""
    if place:
        yield place
    keys = (
        range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
    )
    for key in list(keys)[:60]:
        yield from places(value[key], (*place, key))


def mutate(content, draw):
    """Changes, removes, doubles or renames something somewhere in the content."""
    *to, key = draw.choice(list(places(content)))
    for step in to:
        content = content[step]
    change = draw.randrange(5)
    if change == 0 or isinstance(content, list):
        content[key] = draw.choice(STRANGE)
    elif change == 1:
        del content[key]
    elif change == 2:
        content[draw.choice(["x", 5, f"{key}0"])] = content[key]
    elif change == 3:
        content[f"{key}x"] = content.pop(key)
    elif isinstance(content[key], torch.Tensor) and content[key].dim() == 2:
        content[key] = draw.choice(
            [content[key].T, content[key][:1], content[key].double(), content[key] * 1e30]
        )
    else:
        content[key] = draw.choice(STRANGE)
