"""`compare`: the paired bootstrap of two files of hypotheses."""

import json
from dataclasses import replace

import numpy as np
import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.commands import main as cli
from asr_ctc.scoring.clips import ScoredClip, as_jsonl, read_hypotheses
from asr_ctc.scoring.compare import PairedRate, compare
from asr_ctc.scoring.screen import comparison_as_text
from asr_ctc.text.writing import Writing

NAMES = ("a.jsonl", "b.jsonl")


def clips_of(read, said="oui", first=0):
    return [ScoredClip(f"{i}", said, text) for i, text in enumerate(read, first)]


def test_a_system_against_itself_is_no_better():
    clips = clips_of(["oui", "non", "oui"])
    report = compare(NAMES, clips, clips)
    rate = report.wer.a
    assert report.wer == PairedRate(a=rate, b=rate, difference=0.0, low=0.0, high=0.0, p_better=0.5)
    assert rate == pytest.approx(1 / 3)
    assert report.verdict.startswith("No significant difference in WER")


def test_fewer_errors_on_every_clip_are_better_for_certain():
    report = compare(NAMES, clips_of(["non"] * 4), clips_of(["oui"] * 4))
    assert (report.wer.a, report.wer.b, report.wer.difference) == (1, 0, -1)
    assert (report.wer.low, report.wer.high, report.wer.p_better) == (-1, -1, 1)
    assert report.verdict.startswith("B is better than A")
    swapped = compare(NAMES, clips_of(["oui"] * 4), clips_of(["non"] * 4))
    assert swapped.verdict.startswith("B is worse than A")


def test_probability_of_improvement_by_hand():
    # B is right in one clip more of two: no gain only where that clip is never drawn (1/4, a tie).
    report = compare(NAMES, clips_of(["non", "non"]), clips_of(["oui", "non"]))
    assert report.wer.p_better == pytest.approx(3 / 4 + 1 / 8, abs=0.015)
    assert (report.wer.low, report.wer.high) == (-1.0, 0.0)


def test_pairing_tells_what_two_intervals_apart_would_not():
    hard = np.arange(200) % 2 == 0
    a = clips_of(["non" if is_hard else "oui" for is_hard in hard])
    b = [
        clip if i not in (0, 2, 4, 6, 8, 10, 12) else ScoredClip(clip.id, "oui", "oui")
        for i, clip in enumerate(a)
    ]
    report = compare(NAMES, a, b)
    assert (report.wer.a, report.wer.b) == (0.5, 0.465)
    assert report.wer.high < 0


def test_clips_of_one_file_only_are_counted_and_left_out():
    a, b = clips_of(["oui"] * 3), clips_of(["non"] * 4, first=2)
    report = compare(NAMES, a, b)
    assert (report.clips, report.only_a, report.only_b) == (1, 2, 3)
    text = comparison_as_text(report)
    assert "1 clips in both; 2 only in A: excluded; 3 only in B: excluded" in text


def test_rows_that_name_one_clip_twice_pair_in_order():
    a = [ScoredClip("x", "un", "un"), ScoredClip("x", "deux", "un")]
    report = compare(NAMES, a, [ScoredClip("x", "un", "un"), ScoredClip("x", "deux", "deux")])
    assert (report.clips, report.wer.a, report.wer.b) == (2, 0.5, 0.0)


def test_other_references_are_refused_but_not_other_case_or_marks():
    a, b = clips_of(["oui"] * 2), clips_of(["oui"] * 2, said="Oui !")
    assert compare(NAMES, a, b).wer.b == 0
    with pytest.raises(
        UserError, match="different references for 2 of 2 clips .the first: 0: 'oui'"
    ):
        compare(NAMES, a, b, punctuation=True)
    with pytest.raises(UserError, match="different references for 2 of 2"):
        compare(NAMES, a, clips_of(["oui"] * 2, said=""))


def folded(clips, case_folding):
    scored = case_folding and {"accents": False, "writing": Writing(case_folding=case_folding)}
    return [replace(clip, scored=scored) for clip in clips]


def test_case_is_folded_as_the_clips_say():
    a, b = (clips_of([read], "IŞIK İL") for read in ("ışık il", "işik il"))
    wer = {
        folding: compare(NAMES, *(folded(x, folding) for x in (a, b)), accents=True).wer
        for folding in (None, "default", "german", "turkish")
    }
    assert (wer["turkish"].a, wer["turkish"].b) == (0.0, 0.5)
    for folding in None, "default", "german":
        assert (wer[folding].a, wer[folding].b) == (1.0, 0.5)  # İL is i̇l
    half = compare(NAMES, folded(a, "turkish"), b, accents=True)  # B is another program's
    assert half.wer == wer["turkish"] and half.case_folding == "turkish"
    same = compare(NAMES, folded(a, "german"), folded(b, "default"))
    assert same.case_folding == "default"


@pytest.mark.parametrize("other", ["default", "german"])
def test_two_case_foldings_are_refused(other):
    a, b = clips_of(["oui"] * 2), clips_of(["oui"] * 2)
    with pytest.raises(UserError, match="different writing profiles .none.*: an error in"):
        compare(NAMES, folded(a, other), folded(b, "turkish"))
    with pytest.raises(UserError, match="different writing profiles"):
        compare(NAMES, [*folded(a[:1], other), *folded(a[1:], "turkish")], b)


def test_the_case_folding_is_in_the_file(tmp_path):
    file = tmp_path / "a.jsonl"
    clips = folded(clips_of(["a", "b"]), "turkish")
    file.write_text(as_jsonl(clips), encoding="utf-8")
    assert read_hypotheses(file) == clips
    file.write_text(as_jsonl(clips_of(["a"])), encoding="utf-8")
    assert "writing" not in file.read_text() and read_hypotheses(file)[0].scored is None
    old = '{"id": "a", "reference": "İ", "hypothesis": "", "case_folding": "turkish"}'
    file.write_text(old, encoding="utf-8")  # of an earlier version
    assert read_hypotheses(file)[0].scored == clips[0].scored


@pytest.mark.parametrize("value", ['"french"', "3", "[]", "{}", "true"])
def test_unknown_case_foldings_are_refused(tmp_path, value):
    file = tmp_path / "a.jsonl"
    file.write_text(f'{{"id": "a", "reference": "", "hypothesis": "", "case_folding": {value}}}')
    with pytest.raises(UserError, match="line 1: case_folding must be one of default, turkish"):
        read_hypotheses(file)


@pytest.mark.parametrize("line", ["[" * 100_000, "[]", "1", '{"id": 1}', '{"id": []}', "1" * 9000])
def test_lines_that_are_no_hypotheses_are_named(tmp_path, line):
    file = tmp_path / "a.jsonl"
    file.write_text(as_jsonl(clips_of(["a"])) + line)
    with pytest.raises(UserError, match=r"a\.jsonl: line 2 is not an object with id"):
        read_hypotheses(file)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (clips_of(["oui"]), clips_of(["oui"], first=9), "no clip in common"),
        (
            clips_of(["oui"], said="?"),
            clips_of([""], said=""),
            "no clip in common has a transcript",
        ),
    ],
)
def test_nothing_to_compare_is_refused(a, b, said):
    with pytest.raises(UserError, match=said):
        compare(NAMES, a, b)


# ---------------------------------------------------------------------------------- the command


@pytest.fixture
def files(tmp_path):
    paths = [str(tmp_path / name) for name in NAMES]
    for path, read in zip(paths, (["non", "oui", "non"], ["oui", "oui", "oui"]), strict=True):
        with open(path, "w", encoding="utf-8") as file:
            file.write(as_jsonl(clips_of(read)))
    return paths


def test_compare_prints_a_table_and_a_verdict(files, capsys):
    assert cli.main(["compare", *files]) == 0
    a, b, held, _, wer, cer, scored, verdict = capsys.readouterr().out.splitlines()
    assert scored == "scored without case, accents and punctuation"
    assert (a, b, held) == (f"A  {files[0]}", f"B  {files[1]}", "3 clips in both")
    assert wer.startswith("WER      66.67 %    0.00 %  -66.67 %   -100.00 to +0.00 %")
    assert cer.startswith("CER") and verdict


def test_compare_prints_json(files, capsys):
    assert cli.main(["compare", "--json", *files]) == 0
    assert json.loads(capsys.readouterr().out)["wer"]["a"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_compare_takes_two_files(files, capsys, n):
    assert cli.main(["compare", *[files[0]] * n]) == 2
    assert f"error: compare takes two files of hypotheses, found {n}" in capsys.readouterr().err


def test_compare_refuses_a_file_that_is_not_there(files, capsys):
    assert cli.main(["compare", files[0], "nosuch.jsonl"]) == 2
    assert (
        capsys.readouterr().err
        == "error: nosuch.jsonl: cannot be read (No such file or directory)\n"
    )
