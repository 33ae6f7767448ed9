"""Reports as plain values."""

import json
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from asr_ctc.base.report import Report, plain


class Point(NamedTuple):
    x: float
    name: str | None


@dataclass(frozen=True)
class Part:
    n_clips: int = field(metadata={"json": "n"})
    rate: float


@dataclass(frozen=True)
class Whole(Report):
    parts: dict[str, Part]
    points: list[Point]
    pair: tuple[str, str]


REPORT = Whole({"é": Part(2, math.nan)}, [Point(1.5, None)], ("a", "b"))


def test_a_report_becomes_plain_values_with_its_version():
    assert REPORT.to_dict() == {
        "version": 1,
        "parts": {"é": {"n": 2, "rate": None}},
        "points": [[1.5, None]],
        "pair": ["a", "b"],
    }
    assert list(REPORT.to_dict())[0] == "version"


def test_json_is_the_dictionary_in_readable_text():
    assert json.loads(REPORT.to_json()) == REPORT.to_dict()
    assert '"é"' in REPORT.to_json()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_none(value):
    assert plain([value, {"a": value}, (0.0, value)]) == [None, {"a": None}, [0.0, None]]


@pytest.mark.parametrize("value", [0, True, None, "", "text", 1.5])
def test_plain_values_stay(value):
    assert plain(value) is value
