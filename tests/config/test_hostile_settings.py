"""Settings files that were made to harm, or are no settings at all: one line, at once."""

import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config, parse_yaml

pytestmark = pytest.mark.slow

LAUGHS = "a: &a [ha, ha]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}, *{before}, *{before}]\n"
    for before, name in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "nmels: &n [*n]",
        "nmels: " + "[" * 10_000,
        "nmels: " + "[" * 10_000 + "]" * 10_000,
        "nmels: " + "{a: " * 10_000,
        "\n".join(" " * i + "a:" for i in range(300)),
        "nmels: [[1]]",
        "nmels: {a: 1}",
        "? [a]\n: 1",
        "? {a: b}\n: 1",
        "nmels: " + "9" * 10**6,
        "nmels: " + "9" * 20,
        "base_lr: " + "9" * 10**6,
        "base_lr: -1e300",
        "9" * 10**6 + ": 1",
        "x" * 2**21,
        "nmels: 0x14",
        "nmels: 1_000_000_000_000_000_000_000",
        "nmels: !!python/object/apply:os.system [ls]",
        "a: b: c",
        "nmels: 20\n--- \nnmels: 20",
        "\x00",
        "\ufffe",
    ],
    ids=range(23),
)
def test_one_line(text):
    with pytest.raises(UserError) as caught:
        make_config(parse_yaml(text, "--config s.yaml"), {})
    said = str(caught.value)
    assert "\n" not in said and len(said) < 500


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "inf", "nan", "1e999"])
def test_numbers_that_are_not_finite(value):
    with pytest.raises(UserError, match="base_lr"):
        make_config(parse_yaml(f"base_lr: {value}", "s.yaml"), {})
