"""Writers against files made by hand, and against readers of the formats' own rules."""

import json
import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.config.load import settings
from asr_ctc.decoding.hypothesis import Hypothesis, Timed
from asr_ctc.recognition.formats import (
    CUE_S,
    FORMATS,
    LINE_CHARACTERS,
    PAUSE_S,
    Transcript,
    as_ctm,
    as_json,
    as_jsonl,
    as_srt,
    as_text,
    as_textgrid,
    as_tsv,
    as_vtt,
    cues,
)

WORDS = (Timed('Say"', 0.1, 0.5, 0.98765), Timed("<hé>", 0.5, 0.9004, 0.5))
CHARACTERS = (Timed("s", 0.1, 0.3, 1.0), Timed("h", 0.5, 0.7, 0.25))
TRANSCRIPT = Transcript("in/a b.mp3", 1.25, 'Say" <hé>', -1.23456, WORDS, CHARACTERS)


def transcript(*words: tuple[str, float, float], characters=()) -> Transcript:
    timed = [Timed(*word, 0.5) for word in words]
    return Transcript("a.mp3", 3600.0, " ".join(w.text for w in timed), -1.0, timed, characters)


def test_text():
    assert as_text(TRANSCRIPT) == 'Say" <hé>\n'


def test_json():
    wanted = {
        "audio": "in/a b.mp3",
        "duration_s": 1.25,
        "text": 'Say" <hé>',
        "logp": -1.235,
        "words": [
            {"word": 'Say"', "start_s": 0.1, "end_s": 0.5, "confidence": 0.9877},
            {"word": "<hé>", "start_s": 0.5, "end_s": 0.9, "confidence": 0.5},
        ],
        "characters": [
            {"character": "s", "start_s": 0.1, "end_s": 0.3, "confidence": 1.0},
            {"character": "h", "start_s": 0.5, "end_s": 0.7, "confidence": 0.25},
        ],
    }
    assert json.loads(as_json(TRANSCRIPT)) == wanted
    line = as_jsonl(TRANSCRIPT)
    assert json.loads(line) == wanted and line.count("\n") == 1 and "é" in line


def test_other_readings_are_in_the_json():
    others = [Hypothesis("une", (1,), -2.3456)]
    several = Transcript("a.wav", 1.0, "un", -0.1, (), (), others)
    assert json.loads(as_json(several))["alternatives"] == [{"text": "une", "logp": -2.346}]


def test_tsv():
    assert FORMATS["tsv"].header + as_tsv(TRANSCRIPT) == (
        "audio\tstart_s\tend_s\tconfidence\tword\n"
        'in/a b.mp3\t0.100\t0.500\t0.9877\tSay"\n'
        "in/a b.mp3\t0.500\t0.900\t0.5000\t<hé>\n"
    )


def test_ctm():
    assert as_ctm(TRANSCRIPT) == 'a_b 1 0.100 0.400 Say" 0.9877\na_b 1 0.500 0.400 <hé> 0.5000\n'


def test_srt():
    two = transcript(("One.", 0.0, 0.5), ("two", 3661.0, 3661.9996))
    assert as_srt(two) == (
        "1\n00:00:00,000 --> 00:00:00,500\nOne.\n\n2\n01:01:01,000 --> 01:01:02,000\ntwo\n"
    )


def test_vtt():
    assert as_vtt(TRANSCRIPT) == (
        'WEBVTT\n\n00:00:00.100 --> 00:00:00.900\nSay" <00:00:00.500>&lt;hé&gt;\n'
    )


def test_textgrid():
    assert as_textgrid(TRANSCRIPT).startswith(
        'File type = "ooTextFile"\n'
        'Object class = "TextGrid"\n'
        "\n"
        "xmin = 0\n"
        "xmax = 1.250000\n"
        "tiers? <exists>\n"
        "size = 3\n"
        "item []:\n"
        "    item [1]:\n"
        '        class = "IntervalTier"\n'
        '        name = "words"\n'
        "        xmin = 0\n"
        "        xmax = 1.250000\n"
        "        intervals: size = 4\n"
        "        intervals [1]:\n"
        "            xmin = 0.000000\n"
        "            xmax = 0.100000\n"
        '            text = ""\n'
        "        intervals [2]:\n"
        "            xmin = 0.100000\n"
        "            xmax = 0.500000\n"
        '            text = "Say"""\n'
        "        intervals [3]:\n"
        "            xmin = 0.500000\n"
        "            xmax = 0.900400\n"
        '            text = "<hé>"\n'
        "        intervals [4]:\n"
        "            xmin = 0.900400\n"
        "            xmax = 1.250000\n"
        '            text = ""\n'
        "    item [2]:\n"
        '        class = "IntervalTier"\n'
        '        name = "confidence"\n'
    )
    assert re.findall('name = "(.*)"', as_textgrid(TRANSCRIPT)) == [
        "words",
        "confidence",
        "characters",
    ]


@given(
    st.lists(
        st.tuples(st.text("ab.", min_size=1, max_size=50), st.floats(0, 3), st.floats(0.01, 2)),
        max_size=30,
    )
)
def test_subtitles_hold_every_word_once_in_short_lines(drawn):
    words, characters, now_s = [], [], 0.0
    for text, pause_s, length_s in drawn:
        words.append((text, now_s + pause_s, now_s + pause_s + length_s))
        each_s = length_s / len(text)
        for i, character in enumerate(text):
            start_s = words[-1][1] + i * each_s
            characters.append(Timed(character, start_s, start_s + each_s, 0.5))
        now_s = words[-1][2]
    made = transcript(*words, characters=characters)
    lines = list(cues(made))
    units = []
    for word in made.words:
        is_long = len(word.text) > LINE_CHARACTERS
        inside = [c for c in characters if word.start_s <= c.start_s < word.end_s]
        units += inside if is_long else [word]
    assert [unit for cue in lines for unit in cue.units] == units
    assert "".join(cue.text for cue in lines).replace(" ", "") == made.text.replace(" ", "")
    for cue in lines:
        for before, unit in pairwise(cue.units):
            assert unit.start_s - before.end_s <= PAUSE_S
    for cue in lines:
        assert len(cue.text) <= LINE_CHARACTERS
        assert cue.units[-1].end_s - cue.units[0].start_s <= max(CUE_S, 2)
        for unit, following in pairwise(cue.units):
            assert following.start_s - unit.end_s <= PAUSE_S
    starts = [cue.units[0].start_s for cue in lines]
    assert starts == sorted(starts)


def test_a_long_word_alone_is_cut():
    """The others keep their spaces, their capitals and their marks."""
    long = "Donaudampfschifffahrtsgesellschaftskapitänsmütze"
    words = [("Die", 0.0, 0.2), (f"{long},", 0.3, 3.0), ("sagt", 3.1, 3.2), ("er.", 3.2, 3.4)]
    each_s = 2.7 / len(long)
    heard = [Timed(c, 0.3 + i * each_s, 0.3 + (i + 1) * each_s, 0.5) for i, c in
             enumerate(long.lower())]  # fmt: skip
    lines = [cue.text for cue in cues(transcript(*words, characters=heard))]
    assert lines == [f"Die {long[:38]}", f"{long[38:]}, sagt er."]
    starts_s = [cue.units[0].start_s for cue in cues(transcript(*words, characters=heard))]
    assert starts_s[1] == pytest.approx(0.3 + 38 * each_s, abs=2 * each_s)
    unheard = list(cues(transcript(*words)))  # no characters are known: evenly
    assert [cue.text for cue in unheard] == lines
    assert unheard[1].units[0].start_s == pytest.approx(0.3 + 38 * each_s, abs=2 * each_s)


def test_letters_keep_their_marks():
    word = "क्षि" * 20
    times = [Timed(c, i / 10, (i + 1) / 10, 0.5) for i, c in enumerate(word)]
    made = transcript((word, 0.0, 8.0), characters=times)
    lines = [cue.text for cue in cues(made)]
    assert "".join(lines) == word and len(lines) == 2
    assert all(not unicodedata.category(line[0]).startswith("M") for line in lines)


@pytest.mark.parametrize(("pause_s", "n_cues"), [(0.0, 1), (0.99, 1), (1.01, 2), (5.0, 2)])
def test_a_cue_spans_no_pause(pause_s, n_cues):
    made = transcript(("one", 0.0, 0.5), ("two", 0.5 + pause_s, 1.0 + pause_s))
    assert len(list(cues(made))) == n_cues
    text = "天" * 43
    times = [Timed(c, i / 10 + pause_s * (i > 20), (i + 1) / 10 + pause_s * (i > 20), 0.5)
             for i, c in enumerate(text)]  # fmt: skip
    made = transcript((text, 0.0, 4.3 + pause_s), characters=times)
    lengths = [len(cue.text) for cue in cues(made)]
    assert lengths == ([21, 22] if pause_s > 1 else [42, 1])


def test_a_script_without_spaces_is_cut_at_its_full_stops():
    text = "今天天气很好。" * 7
    times = [Timed(c, i / 10, (i + 1) / 10, 0.5) for i, c in enumerate(text)]
    assert {cue.text for cue in cues(transcript((text, 0.0, 4.9), characters=times))} == {
        "今天天气很好。"
    }


ODD = "a\tb\nc\rd\x1b[31me\x07\x9b\x00\u2028f\x85g\udcff"


@pytest.mark.parametrize("name", FORMATS)
def test_controls_break_no_format(name):
    timed = [Timed(ODD, 0.0, 0.5, 0.5), Timed("ok", 0.5, 0.6, 0.5)]
    odd = Transcript(f"in/{ODD}.mp3", 1.0, ODD, -1.0, timed, timed)
    plain = Transcript("in/x.mp3", 1.0, "x", -1.0, [timed[0]._replace(text="x"), timed[1]], timed)
    written = FORMATS[name].write(odd)
    content = written.encode("utf-8", "backslashreplace" if "json" in name else "strict")
    if "json" in name:
        assert json.loads(content)["text"] == ODD
        return
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", written.replace("\t", "", 99))
    assert written.count("\n") == FORMATS[name].write(plain).count("\n")
    assert written.count("\t") == FORMATS[name].write(plain).count("\t")


def test_controls_by_hand():
    timed = [Timed("a\tb\x1b[c", 0.0, 0.5, 0.5)]
    odd = Transcript("in/x y\n.mp3", 1.0, "", -1.0, timed, ())
    assert as_tsv(odd) == "in/x y .mp3\t0.000\t0.500\t0.5000\ta b\ufffd[c\n"
    assert as_ctm(odd) == "x_y 1 0.000 0.500 a_b\ufffd[c 0.5000\n"
    assert as_srt(odd) == "1\n00:00:00,000 --> 00:00:00,500\na b\ufffd[c\n"
    assert 'text = "a b\ufffd[c"' in as_textgrid(odd)


@given(
    st.lists(st.floats(0, 9), max_size=20).map(sorted).map(lambda x: x[: len(x) // 2 * 2]),
    st.floats(0, 2),
)
def test_the_intervals_of_a_tier_leave_no_gap(bounds, rest_s):
    spans = [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if b > a]
    words = [Timed("w", a, b, 1.0) for a, b in spans]
    duration_s = (spans[-1][1] if spans else 0.5) + rest_s
    grid = as_textgrid(Transcript("a", duration_s, "", 0.0, words, ()))
    tier = grid.split("item [2]:")[0]
    edges = [float(x) for x in re.findall(r"^ {12}xm(?:in|ax) = (.*)$", tier, re.MULTILINE)]
    assert edges[0] == 0 and edges[-1] == pytest.approx(duration_s, abs=1e-6)
    assert edges[1:-1:2] == edges[2::2]
    assert tier.count('text = "w"') == len(words)


def test_silence_makes_empty_files():
    silent = Transcript("a.mp3", 1.0, "", 0.0, (), ())
    assert [as_text(silent), as_tsv(silent), as_ctm(silent), as_srt(silent)] == ["\n", "", "", ""]
    assert as_vtt(silent) == "WEBVTT\n"
    assert json.loads(as_json(silent))["words"] == []
    assert as_textgrid(silent).count("intervals: size = 1") == 3


def test_the_flag_offers_every_format():
    of_models = ("huggingface",)
    assert settings()["format"][1].metadata["choices"] == (*FORMATS, *of_models)
