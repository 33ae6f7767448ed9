"""docs/report-format.md against the reports that the commands write, and the keys of version 1."""

import json
import re
from collections.abc import Iterator

import pytest

from asr_ctc.acoustic.model_file import save_model
from asr_ctc.commands import main as cli
from asr_ctc.config.load import make_config
from asr_ctc.scoring.metrics import error_rates
from tests.check.test_check import COUNTS, Rows, break_everything
from tests.helpers.command import REPOSITORY
from tools.toy_corpus import make_toy_corpus

PAGE = (REPOSITORY / "docs" / "report-format.md").read_text("utf-8")
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]*)\| ([^|]+) \| `([^`]+)` \|$", re.MULTILINE)
SECTIONS = ("check", "test --split", "compare", "runs", "error_rates")
TYPES = {"text": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}

Key = tuple[str, ...]  # names of objects; * for any name, [] for each entry of a list


def documented(section: str) -> dict[Key, tuple[str, str]]:
    """{key: (type, example)} of a section of the page."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = ROW.findall(text)
    assert len(rows) == text.count("\n| `"), "a row that is not | key | type | unit | ... |"
    keys = {
        tuple(key.replace("[]", ".[]").split(".")): (kind, example)
        for key, kind, _, _, example in rows
    }
    assert len(keys) == len(rows)
    return keys


def leaves(value: object, key: Key = ()) -> Iterator[tuple[Key, object]]:
    """(key, value) of everything in a report that is no object and no list of objects."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from leaves(item, (*key, name))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from leaves(item, (*key, "[]"))
    else:
        yield key, value


def stands_for(pattern: Key, key: Key) -> bool:
    return len(pattern) == len(key) and all(
        p == k or (p == "*" and k != "[]") for p, k in zip(pattern, key, strict=True)
    )


def is_of(value: object, kind: str) -> bool:
    if kind.startswith("list of "):
        return isinstance(value, list) and all(is_of(v, kind[8:]) for v in value)
    if kind.startswith("[") and kind.endswith("]"):
        kinds = kind[1:-1].split(", ")
        return (
            isinstance(value, list) and len(value) == len(kinds) and all(map(is_of, value, kinds))
        )
    if kind.endswith(" or null"):
        return value is None or is_of(value, kind.removesuffix(" or null"))
    return kind == "any" or type(value) in TYPES[kind]


def check_section(section: str, reports: list[dict]) -> None:
    """Every key of the reports is documented with its type, and every documented one is there."""
    keys, unused = documented(section), set(documented(section))
    for key, value in (leaf for report in reports for leaf in leaves(report)):
        patterns = [pattern for pattern in keys if stands_for(pattern, key)]
        if not patterns and value in ({}, [], None):  # of what might have held more
            assert any(stands_for(pattern[: len(key)], key) for pattern in keys), key
            continue
        assert len(patterns) == 1, f"{section}: {key} is documented {len(patterns)} times"
        unused.discard(patterns[0])
        kind, _ = keys[patterns[0]]
        assert is_of(value, kind), f"{section}: {key} is {value!r}, documented as {kind}"
    assert unused == set(), f"{section}: in no report"


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_model):
    path = tmp_path_factory.mktemp("model") / "m.pt"
    save_model(path, tiny_model)
    return path


def run(capsys, line: str, *words) -> str:
    cli.main([*line.split(), *map(str, words)])
    return capsys.readouterr().out


@pytest.mark.slow
def test_check(tmp_path, model, capsys):
    folder = make_toy_corpus(tmp_path / "data", COUNTS)
    break_everything(folder)
    train = Rows(folder, "train")
    train.set(30, "sentence", train.get(30, "sentence") + "\u200b")
    train.save()
    (folder / "validated.tsv").write_bytes((folder / "train.tsv").read_bytes())
    validated = Rows(folder, "validated")
    for i in range(40):
        validated.rows.append([*validated.rows[34]])
        validated.set(-1, "path", f"more{i}.mp3")
        validated.set(-1, "client_id", f"more{i}")
    validated.save()
    line = f"check --nthreads 0 --device cpu --datasetroot {tmp_path / 'data'}"
    run(capsys, line, "--out", tmp_path / "all", "--modelpath", model)
    (folder / "test.tsv").unlink()
    run(capsys, f"{line} --check_clips 5 --max_duration 0.5 --min_duration 0.1", "--out", tmp_path)
    reports = [
        json.loads((out / "report.json").read_text("utf-8")) for out in (tmp_path / "all", tmp_path)
    ]
    for key in "suspects", "unused":
        assert key in reports[0] and key not in reports[1]
    check_section("check", reports)


def test_test_split_and_compare(toy_root, tmp_path, model, capsys):
    hypotheses = tmp_path / "a.jsonl"
    line = "test --split dev --json --by gender duration --nthreads 0 --device cpu --case "
    line += f"--datasetroot {toy_root}"
    output = run(capsys, line, "--modelpath", model, "--hypotheses", hypotheses)
    check_section("test --split", [json.loads(output)])
    output = run(capsys, "compare --json", hypotheses, hypotheses)
    check_section("compare", [json.loads(output)])


def test_runs(tmp_path, capsys):
    for seed in (1, 2):
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        (folder / "config.yaml").write_text(make_config({}, {"seed": seed}).to_yaml())
    metrics = {"epoch": 1, "dev_loss": None, "dev_cer": 0.5, "dev_wer": 0.5}
    (folder / "metrics.jsonl").write_text(json.dumps(metrics) + "\n{")
    (tmp_path / "broken").mkdir()
    output = run(capsys, "runs --json --baselogdir", tmp_path)
    check_section("runs", json.loads(output))


def test_error_rates():
    several = error_rates(["a b", "c"], ["a", "c"])
    nothing = error_rates([], [])
    check_section("error_rates", [several.to_dict(), nothing.to_dict()])


@pytest.mark.parametrize("section", SECTIONS)
def test_examples_are_of_their_type(section):
    for key, (kind, example) in documented(section).items():
        assert is_of(json.loads(example), kind), key


@pytest.mark.parametrize("section", SECTIONS[:4])
def test_the_keys_of_version_1_stay(section):
    """Scripts read them: a key that goes or is renamed needs a new version."""
    lines = (REPOSITORY / "tests/data/report_keys_1.txt").read_text("utf-8").splitlines()
    first = {key for name, key in (line.split("\t") for line in lines) if name == section}
    keys = {".".join(key).replace(".[]", "[]") for key in documented(section)}
    assert first and first <= keys


def test_the_page_has_these_sections():
    assert tuple(re.findall(r"^## (.+)$", PAGE, re.MULTILINE)) == SECTIONS


@pytest.mark.parametrize(
    ("report", "problem"),
    [
        ({"a": 1.5, "b": {"x": []}}, "documented as integer"),
        ({"a": 1, "b": {"x": []}, "c": 1}, "documented 0 times"),
        ({"b": {"x": []}}, "in no report"),
        ({"a": 1, "b": {"x": [{"z": "y"}]}}, "documented 0 times"),
    ],
)
def test_a_report_that_is_not_as_documented_is_noticed(monkeypatch, report, problem):
    rows = "| `a` | integer | s | time | `1` |\n| `b.*` | list of text | | names | `[]` |\n"
    monkeypatch.setattr(f"{__name__}.PAGE", f"\n## some\n\n{rows}")
    check_section("some", [{"a": 1, "b": {"x": ["y"]}}])
    with pytest.raises(AssertionError, match=problem):
        check_section("some", [report])
