"""Intervals, slices, examples, files of hypotheses: answers by hand and by brute force."""

import csv
import io
import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.assembly.scored_split import find_split
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.corpus.corpus import load_split
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.display.terminal import width_of, word_under_word
from asr_ctc.scoring import bootstrap, metrics
from asr_ctc.scoring.clips import (
    ScoredClip,
    as_csv,
    as_jsonl,
    count_errors,
    in_corpus_order,
    operations,
    read_hypotheses,
)
from asr_ctc.scoring.evaluation import Decoded, Evaluation
from asr_ctc.scoring.metrics import COUNTS, Rate
from asr_ctc.scoring.page import as_page
from asr_ctc.scoring.report import (
    Confusions,
    EditCounts,
    SplitDecoding,
    confusions,
    duration_bins,
    examples,
    make_report,
    slices,
)
from asr_ctc.scoring.screen import as_text
from asr_ctc.scoring.split_scores import columns_of
from asr_ctc.text.languages import LANGUAGES
from tests.helpers.segments import in_pairs, without_segmenter

NO_SPACES = "this writing has no spaces between words"
SAID = ["Le chat dort.", "un deux trois", "", "bonjour"]
READ = ["la chat noir dort", "un deux trois", "quoi", ""]
texts = st.text("ab c", max_size=8)


def clips_of(references=SAID, hypotheses=READ):
    named = enumerate(zip(references, hypotheses, strict=True))
    return [ScoredClip(f"{i}.mp3", *pair, -1.5, 2.0 + i, f"s{i % 2}") for i, pair in named]


def full_report(errors, columns=None, *, why_no_wer="", segmenter=""):
    decoding = SplitDecoding(
        corpus="toy test",
        n_decoded=4,
        n_rows=5,
        hours=0.01,
        decoding="greedy",
        device="cpu",
        unreadable=1,
        distinctions=["case"],
        case_folding="default",
        units="characters",
        scored_by="with case, without accents and punctuation",
        has_words=not why_no_wer,
        why_no_wer=why_no_wer,
        segmenter=segmenter,
        seconds=3.6,
        real_time_factor=0.1,
    )
    return make_report(decoding, errors, errors, columns or {})


# ------------------------------------------------------------------------------ errors of clips


def test_errors_of_each_clip_by_hand():
    errors = count_errors(clips_of())
    assert COUNTS[:2] == ("word_errors", "words") and COUNTS[4:] == ("wrong", "sentences")
    # le→la and noir; e→a and the five characters of "noir "
    expected = [[2, 3, 6, 12, 1, 1], [0, 3, 0, 13, 0, 1], [0] * 6, [1, 1, 7, 7, 1, 1]]
    assert errors.counts.tolist() == expected
    assert errors.scored.tolist() == [True, True, False, True]
    assert errors.words[0] == [("le", "la"), ("chat", "chat"), (None, "noir"), ("dort", "dort")]
    assert errors.words[3] == [("bonjour", None)]
    assert [operations(pairs) for pairs in errors.words] == [
        (1, 0, 1),
        (0, 0, 0),
        (0, 0, 0),
        (0, 1, 0),
    ]


def test_case_accents_and_punctuation_count_when_kept():
    clips = clips_of(["L'Été."], ["l'ete"])
    assert count_errors(clips).counts[0, 2] == 0
    assert count_errors(clips, case=True, accents=True, punctuation=True).counts[0, 2] == 4


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_errors_of_clips_add_up_to_the_rates(pairs):
    references, hypotheses = zip(*pairs, strict=True)
    total = count_errors(clips_of(references, hypotheses)).counts.sum(axis=0).tolist()
    scores = metrics.error_rates(references, hypotheses, n_resamples=0)
    words = scores.word_substitutions + scores.word_deletions + scores.word_insertions
    chars = scores.char_substitutions + scores.char_deletions + scores.char_insertions
    assert total[:5] == [words, scores.n_words, chars, scores.n_chars, total[4]]
    assert total[5] == scores.n_clips
    if scores.n_clips:
        assert total[4] / total[5] == pytest.approx(scores.ser)


@given(texts, texts)
def test_an_alignment_spells_both_texts(reference, hypothesis):
    (pairs,) = metrics.align_characters([reference], [hypothesis])
    assert "".join(said for said, _ in pairs if said is not None) == reference.strip()
    assert "".join(read for _, read in pairs if read is not None) == hypothesis.strip()
    assert all(pair != (None, None) for pair in pairs)


# ------------------------------------------------------------------------------------ bootstrap


def test_resampled_sums_have_the_distribution_of_all_samples():
    counts = np.array([[1, 2], [0, 3], [4, 5]])
    every = np.array(
        [counts[list(drawn)].sum(axis=0) for drawn in itertools.product(range(3), repeat=3)]
    )
    sums = bootstrap.resampled_sums(counts, 40_000)
    for row in np.unique(every, axis=0):
        exact = np.mean((every == row).all(axis=1))
        drawn = np.mean((sums == row).all(axis=1))
        assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / 40_000))
    assert {tuple(row) for row in sums} == {tuple(row) for row in every}


def test_sums_drawn_in_pieces_belong_to_as_many_clips(monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 7)
    sums = bootstrap.resampled_sums(np.ones((3, 1)), 5)
    assert sums.ravel().tolist() == [3.0] * 5


def test_interval_of_a_share_is_the_binomial_one():
    wrong = (np.arange(400) < 80).astype(int)
    sums = bootstrap.resampled_sums(np.stack([wrong, np.ones(400, int)], axis=1))
    low, high = bootstrap.interval(sums[:, 0] / sums[:, 1])
    half = 1.96 * math.sqrt(0.2 * 0.8 / 400)
    assert (low, high) == pytest.approx((0.2 - half, 0.2 + half), abs=0.003)


def test_ties_count_half():
    assert bootstrap.probability_below(np.array([1, 2, 3, 4]), np.array([2, 2, 2, 2])) == 0.375


# --------------------------------------------------------------------------------------- report


def test_report_by_hand():
    report = full_report(count_errors(clips_of()))
    assert (report.clips, report.empty_references) == (3, 1)
    assert report.wer.rate == pytest.approx(3 / 7)
    assert report.cer.rate == pytest.approx(13 / 32)
    assert report.ser.rate == pytest.approx(2 / 3)
    assert 0 <= report.wer.low <= report.wer.rate <= report.wer.high <= 1
    assert report.words == EditCounts(total=7, substituted=1, deleted=1, inserted=1)
    assert json.loads(report.to_json()) == report.to_dict()


def test_intervals_are_those_of_error_rates():
    report, rates = full_report(count_errors(clips_of())), metrics.error_rates(SAID, READ)
    for name in ("wer", "cer", "ser"):
        rate = Rate(getattr(rates, name), *getattr(rates, f"{name}_interval"))
        assert getattr(report, name) == rate


def test_slices_by_hand():
    errors = count_errors(clips_of())
    found = slices(errors, "gender", ["f", "m", "f", "m"])
    assert [(part.value, part.clips, part.words) for part in found] == [
        ("m", 2, 4),
        ("f", 1, 3),
    ]
    assert [part.wer.rate for part in found] == [1 / 4, 2 / 3]
    assert found[1].wer == Rate(2 / 3, low=None, high=None)  # of one clip


def test_slices_by_duration_come_in_order():
    names = duration_bins(np.array([31.0, 2.0, 1.99, 0.0, 30.0, 12.0]))
    assert names == [
        "30 s and more", "2 to 4 s", "under 2 s", "not readable", "30 s and more", "10 to 15 s"
    ]  # fmt: skip
    errors = count_errors(clips_of(["a"] * 6, ["a"] * 6))
    assert [part.value for part in slices(errors, "duration", names)] == [
        "under 2 s", "2 to 4 s", "10 to 15 s", "30 s and more", "not readable"
    ]  # fmt: skip


def test_confusions_by_hand():
    alignments = metrics.align_characters(["aba", "aa", "c d"], ["xbx", "a", "c dé"])
    assert confusions(alignments) == Confusions(
        substituted=[("a", "x", 2)], deleted=[("a", 1)], inserted=[("é", 1)]
    )


def test_examples_are_the_worst_the_median_and_the_best():
    said = [" ".join("abcdefghij")] * 11
    read = [text[: 2 * n] for n, text in enumerate(said)]  # n of 10 words are right
    found = examples(count_errors(clips_of(said, read)))
    ids = {kind: [clip.id for clip in clips] for kind, clips in vars(found).items()}
    assert ids == {
        "worst": ["0.mp3", "1.mp3", "2.mp3"],
        "median": ["4.mp3", "5.mp3", "6.mp3"],
        "best": ["10.mp3", "9.mp3", "8.mp3"],
    }
    assert found.worst[1].wer == pytest.approx(9 / 10)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_few_clips_are_told_once_each(n):
    found = examples(count_errors(clips_of(["a b"] * n, ["a"] * n)))
    told = [clip.id for clips in vars(found).values() for clip in clips]
    assert len(told) == len(set(told)) and found.worst


@pytest.mark.parametrize("said", [[], ["", "?"]])
def test_nothing_to_score_is_said_so(said):
    errors = count_errors(clips_of(said, ["a"] * len(said)))
    report = full_report(errors, {"duration": ["under 2 s"] * len(said)})
    assert report.to_dict()["wer"] == {"rate": None, "low": None, "high": None}
    assert "there is nothing to score" in as_text(report)
    assert "There is nothing to score." in as_page(report)


def test_a_writing_without_spaces_has_a_cer_and_no_wer(monkeypatch):
    without_segmenter(monkeypatch)
    clips = clips_of(["你好，世界", "再见。", ""], ["你好世 界", "再贝", "x"])
    errors = count_errors(clips, writing=LANGUAGES["zh"])
    assert errors.counts.tolist() == [[0, 0, 0, 4, 0, 1], [0, 0, 1, 2, 1, 1], [0] * 6]
    report = full_report(errors, {"gender": ["f", "m", "f"]}, why_no_wer=NO_SPACES)
    assert report.cer.rate == 1 / 6 and math.isnan(report.wer.rate) and report.wer.interval is None
    assert report.words.total == 0 and report.slices["gender"][0].words == 0
    assert report.to_dict()["wer"] == {"rate": None, "low": None, "high": None}
    assert [example.id for example in report.examples.worst] == ["1.mp3"]
    assert report.examples.worst[0].words == [("再", "再"), ("见", "贝")]
    text, page = as_text(report), as_page(report)
    assert f"no WER: {NO_SPACES}" in text
    assert f"No WER: {NO_SPACES}." in page
    for shown in text, page:
        assert "nan" not in shown and "WER " not in shown.replace("no WER", "").replace(
            "No WER", ""
        )
    rows = list(csv.DictReader(io.StringIO(as_csv(errors, {}))))
    assert [row["words"] + row["word_substitutions"] + row["wer"] for row in rows] == ["00"] * 3


def test_word_segments_come_after_characters_and_are_named(monkeypatch):
    in_pairs(monkeypatch)
    clips = clips_of(["你好，世界", "再见。我们", ""], ["你好世 节", "再贝我门", "x"])
    errors = count_errors(clips, writing=LANGUAGES["zh"])
    assert errors.counts.tolist() == [[1, 2, 1, 4, 1, 1], [2, 2, 2, 4, 1, 1], [0] * 6]
    assert errors.words[0] == [("你好", "你好"), ("世界", "世节")]
    report = full_report(errors, {"gender": ["f", "m", "f"]}, segmenter="pairs 1")
    assert (report.cer.rate, report.wer.rate, report.words.total) == (3 / 8, 3 / 4, 4)
    assert report.to_dict()["segmenter"] == "pairs 1" and report.to_dict()["has_words"]
    text, page = as_text(report), as_page(report)
    assert text.index("CER  37.50 %") < text.index("WER  75.00 %")
    assert "4 word segments: 3 substituted" in text and "no WER" not in text
    assert "characters, word segments, sentences" in page
    assert page.index("37.50 %") < page.index("75.00 %")
    head, *rows = text[text.index("gender ") :].splitlines()[:3]
    assert head.split() == ["gender", "clips", "CER", "words", "WER"]
    for row, cer in zip(rows, ("25.00 %", "50.00 %"), strict=True):  # of f and m, below CER
        assert row.index(cer) == head.index("CER") - 1
    by_gender = page[page.index("By gender") :]
    assert by_gender.index("CER") < by_gender.index("WER")
    for shown in text, page:
        assert "CER 50 %, WER 100 %" in shown and "CER 25 %, WER 50 %" in shown


def test_examples_without_spaces_are_ranked_by_characters(monkeypatch):
    in_pairs(monkeypatch)
    # Wrong are 2 of 2 words and 2 of 4 characters, then 2 of 3 and 4 of 6.
    said, heard = ["你好世界", "再见我们天地", "天地"], ["你坏世外", "不不不不天地", "天地"]
    errors = count_errors(clips_of(said, heard), writing=LANGUAGES["zh"])
    report = full_report(errors, segmenter="pairs 1")
    assert [example.id for example in report.examples.worst] == ["1.mp3"]


# ------------------------------------------------------------------------------- for the screen


def test_text_of_a_report():
    columns = {"gender": ["female", "", "female", "female"]}
    lines = as_text(full_report(count_errors(clips_of()), columns)).splitlines()
    assert lines[0] == "toy test: 4 of 5 clips scored, 0.01 h, greedy, on cpu"
    assert "1 clip with an empty transcript: not in the rates" in lines
    assert "scored with case, without accents and punctuation" in lines
    assert any(
        line.startswith("WER  42.86 % (")
        and line.endswith("7 words: 1 substituted, 1 deleted, 1 inserted")
        for line in lines
    )
    assert "real-time factor 0.100: 3.6 s for 36 s of audio" in lines
    assert "(empty)      1       3   0.00 %" in "\n".join(lines)
    assert "female       2       4  75.00 %" in "\n".join(lines)


def test_many_slices_are_counted_on_the_screen_and_all_in_json():
    errors = count_errors(clips_of(["a"] * 14, ["b"] * 14))
    report = full_report(errors, {"speaker": [f"s{i:02}" for i in range(14)]})
    text = as_text(report)
    assert "s11 " in text and "s12 " not in text
    assert "and 2 more (--json and --html have all)" in text
    assert len(report.to_dict()["slices"]["speaker"]) == 14 and "s13" in as_page(report)


def test_words_stand_under_words_in_lines_that_fit():
    pairs = [("le", "la"), ("chat", "chat"), (None, "noir"), ("dort", None)]
    assert word_under_word(pairs, 40) == [
        "ref le chat      dort",
        "hyp la chat noir",
        "    S       I    D",
    ]
    assert word_under_word(pairs, 11) == [
        "ref le chat", "hyp la chat", "    S",
        "ref", "hyp noir", "    I",
        "ref dort", "hyp", "    D",
    ]  # fmt: skip
    assert word_under_word([("a", "a")], 40) == ["ref a", "hyp a"]
    assert word_under_word([("ab", None)], 40) == ["ref ab", "hyp", "    D"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("日本", 4), ("ｶﾅ", 2), ("за\u0301мок", 5), ("नमस्ते", 4), ("a\u200db", 2), ("", 0)],
)
def test_columns_of_a_text(text, columns):
    assert width_of(text) == columns


def test_wide_characters_and_combining_marks_line_up():
    pairs = [("日本", "за\u0301"), ("a", "b")]
    assert word_under_word(pairs, 40) == ["ref 日本 a", "hyp за\u0301   b", "    S    S"]


def test_page_escapes_what_was_said():
    page = as_page(
        full_report(count_errors(clips_of(["a <b> c"] * 3, ["a & c"] * 3)), {"age": ["<i>"] * 3})
    )
    assert "&lt;b&gt;" in page and "&lt;i&gt;" in page and "<b>" not in page and "<i>" not in page
    assert "<script" not in page and "http" not in page


# ------------------------------------------------------------------------------------- as files


def test_hypotheses_are_read_back(tmp_path):
    clips = clips_of(["l'été", "日本"], ["", "a\u2028b"])
    file = tmp_path / "a.jsonl"
    file.write_text(as_jsonl(clips), encoding="utf-8")
    assert json.loads(file.read_text("utf-8").split("\n")[0]) == {
        "id": "0.mp3", "reference": "l'été", "hypothesis": "",
        "logp": -1.5, "duration_s": 2.0, "speaker": "s0",
    }  # fmt: skip
    read = read_hypotheses(file)
    assert [(c.id, c.reference, c.hypothesis) for c in read] == [
        (c.id, c.reference, c.hypothesis) for c in clips
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("", "is empty: it holds no clips"),
        ("\n\n", "is empty: it holds no clips"),
        (
            '{"id": "a", "reference": "b", "hypothesis": "c"}\n{"id"',
            "line 2 is not an object with id",
        ),
        ('{"id": "a", "reference": "b"}', "line 1 is not"),
        ('{"id": "a", "reference": "b", "hypothesis": null}', "line 1 is not"),
        ("[1]", "line 1 is not"),
        ('{"id": "\\ud800", "reference": "b", "hypothesis": "c"}', "line 1 is not"),
    ],
)
def test_broken_hypotheses_are_refused(tmp_path, content, said):
    file = tmp_path / "a.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=f"{file}: .*{said}"):
        read_hypotheses(file)


def test_table_of_the_clips():
    table = as_csv(count_errors(clips_of()), {"gender": ["f", "", "m", "f"], "speaker": ["x"] * 4})
    rows = list(csv.DictReader(io.StringIO(table)))
    first, _, empty, _ = rows
    assert (first["id"], first["hypothesis"], first["gender"]) == ("0.mp3", READ[0], "f")
    assert first["speaker"] == "s0"  # once, as the clip has it
    assert [first[f"word_{kind}"] for kind in ("substitutions", "deletions", "insertions")] == [
        "1",
        "0",
        "1",
    ]
    assert (float(first["wer"]), float(first["cer"])) == pytest.approx((2 / 3, 6 / 12), abs=1e-6)
    assert (empty["words"], empty["wer"], empty["cer"]) == ("0", "", "")


# ------------------------------------------------------------------------- columns of the corpus


def test_columns_belong_to_their_clips(toy_folder):
    tsv = toy_folder / "test.tsv"
    header, *rows = tsv.read_text().splitlines()
    cells = [row.split("\t") for row in rows]
    for i, row in enumerate(cells):
        row[header.split("\t").index("gender")] = f"g{i}"
    cells[1] = ["too", "short"]  # left out
    tsv.write_text("\n".join([header, *("\t".join(row) for row in cells)]) + "\n")
    corpus = load_split(toy_folder, "test")
    corpus = corpus.select(np.array([False, True, True, False, True]))
    found = columns_of(corpus, ["gender", "speaker", "age"])
    assert found["gender"] == ["g2", "g3", "g5"]
    assert found["speaker"] == ["speaker2-test", "speaker0-test", "speaker2-test"]
    assert found["age"] == ["", "", ""]
    with pytest.raises(
        UserError, match=r"test.tsv: no column named 'shoes' \(available: client_id, path"
    ):
        columns_of(corpus, ["shoes"])


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        ("tsv", "path\tsentence\tmood\na.wav\tx\tgood\n\tx\tlost\nb.wav\ty\t\n"),
        ("csv", 'path,mood,sentence\na.wav,good,"x, y"\n,lost,x\nb.wav,,y\n'),
        (
            "jsonl",
            '{"path": "a.wav", "sentence": "x", "mood": "good"}\n{"path": \n'
            '{"path": "b.wav", "sentence": "y"}\n',
        ),
    ],
)
def test_columns_of_a_manifest(tmp_path, ending, text):
    (tmp_path / f"dev.{ending}").write_text(text)
    corpus = load_split(tmp_path, "dev", "manifest")
    assert [corpus.path(i) for i in range(len(corpus))] == ["a.wav", "b.wav"]
    assert corpus.columns(["mood"]) == {"mood": ["good", ""]}
    with pytest.raises(UserError, match="no column named 'hat'"):
        corpus.columns(["hat"])


def test_a_layout_that_this_version_lacks_is_named():
    file = SimpleNamespace(origin={"corpus": {"layout": "newer", "lang": "fr"}})
    with pytest.raises(UserError, match="of the layout 'newer', which this version does not have"):
        find_split(file, make_config({}, {}), "test")


def test_layouts_without_columns_say_so(tmp_path):
    (tmp_path / "dev.csv").write_text("a|x|x\nb|y|y\n")
    corpus = load_split(tmp_path, "dev", "ljspeech")
    with pytest.raises(UserError, match="--corpus ljspeech has no column 'gender'"):
        corpus.columns(["gender"])


def test_clips_come_in_the_order_of_the_corpus(toy_folder):
    corpus = load_split(toy_folder, "test")
    named = [(corpus.path(i), corpus.sentence(i)) for i in range(len(corpus))]
    decoded = [
        Decoded(*clip, [Hypothesis(f"h{i}", (), -float(i) if i else -math.inf)])
        for i, clip in enumerate(named)
    ]
    clips = in_corpus_order(Evaluation(decoded[::-1]), corpus)
    assert [(clip.id, clip.reference) for clip in clips] == named
    assert [clip.hypothesis for clip in clips] == [f"h{i}" for i in range(6)]
    assert [clip.logp for clip in clips] == [None, -1.0, -2.0, -3.0, -4.0, -5.0]
