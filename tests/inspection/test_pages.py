"""The pages: their structure, the numbers in them, and texts that must stay texts."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from asr_ctc.inspection import strips
from asr_ctc.inspection.clip_page import as_page, differing
from asr_ctc.inspection.index_page import index_page, index_rows, worst_first
from asr_ctc.scoring.clips import ScoredClip, count_errors
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.label_map import LabelMap
from asr_ctc.text.languages import LANGUAGES
from asr_ctc.text.phonemes import Phonemes, Spoken
from asr_ctc.text.units import Rates
from tests.helpers.inspected import noise, sharp, view_of
from tests.helpers.segments import without_segmenter

ABC = CharMap.from_symbols(" abc")
VOID = {"meta", "img", "br"}
MARKUP = '<script>alert("1")</script> & <b>'


class Structure(HTMLParser):
    """The elements of a page; tags that do not match are errors, but for those that may be open."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.elements, self.texts, self.errors = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.errors.append(f"</{tag}> after {self.open}")

    def handle_data(self, data):
        self.texts.append(data)

    def attributes(self, tag, name):
        return [attrs[name] for found, attrs in self.elements if found == tag and name in attrs]


def checked(page: str) -> Structure:
    structure = Structure(page)
    assert structure.errors == [] and structure.open == []
    for name in ("src", "href"):
        for tag in ("img", "audio", "script", "link", "a"):
            for address in structure.attributes(tag, name):
                assert address.startswith(("data:", "clips/")), address
    assert "http://" not in page and "https://" not in page and "@import" not in page
    return structure


def page_of(path="-ab--c-", **more):
    view = view_of(ABC, sharp(ABC, path), **more)
    return as_page(noise(len(path)), [view])


def data_of(page: str) -> list[dict]:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def cells_of(page: str, title: str) -> list[str]:
    strip = page.split(f"<h3>{title}</h3>")[1].split('<div class="strip">')[0]
    return re.findall(r'<span class="cell[^>]*><bdi>(.*?)</bdi>', strip)


def test_ctc_s_rule_is_three_rows():
    page = page_of("-aab--bc")
    assert cells_of(page, "1. The likeliest symbol of each frame") == list("–aab––bc")
    assert cells_of(page, "2. Repeats merged") == list("–ab–bc")
    assert cells_of(page, "3. Blanks dropped: the text") == list("abbc")


def test_cells_lie_at_their_frames():
    page = page_of("-ab--c-")
    strip = page.split("2. Repeats merged")[1].split('<div class="strip">')[0]
    places = re.findall(r"left:(-?[\d.]+)%;width:([\d.]+)%", strip)
    duration_s = noise(7).duration_s
    starts = [100 * (-0.02 + 0.04 * frame) / duration_s for frame in (0, 1, 2, 3, 5, 6)]
    widths = [100 * 0.04 * n / duration_s for n in (1, 1, 1, 2, 1, 1)]
    assert [float(left) for left, _ in places] == pytest.approx(starts, abs=1e-3)
    assert [float(width) for _, width in places] == pytest.approx(widths, abs=1e-3)


def test_the_data_of_the_player():
    (data,) = data_of(page_of("-ab"))
    assert (data["start"], data["step"]) == (-0.02, 0.04)
    assert [frame[0] for frame in data["likeliest"]] == [["–", 0.9], ["a", 0.9], ["b", 0.9]]
    assert len(data["beams"]) == 3
    best = [data["prefixes"][beam[0][0]] for beam in data["beams"]]
    assert best == ["", "a", "ab"]
    assert data["beams"][1][0][3] == 0  # "a" was in the beam already, of the first frame's 3 %


def test_the_page_is_whole_and_needs_nothing_else():
    structure = checked(page_of(text="ab c", with_layers=True))
    titles = [text for text in structure.texts]
    for title in (
        "Waveform",
        "Posteriorgram",
        "The blank",
        "The beam as it grows",
        "What was said, beside what was heard",
        "The lattice of the text, and its best path",
        "The best hypotheses",
        "Recurrent layer 1",
        "Recurrent layer 2",
    ):
        assert title in titles
    (sound,) = structure.attributes("audio", "src")
    kind, _, content = sound.partition(";base64,")
    decoded, rate = soundfile.read(io.BytesIO(base64.b64decode(content)))
    assert kind == "data:audio/wav" and rate == 16_000
    np.testing.assert_allclose(decoded, noise(7).samples, atol=1e-4)


def test_every_strip_has_a_caption_of_one_sentence():
    page = page_of(text="ab c", with_layers=True)
    captions = re.findall(r'<h3>.*?</h3><p class="note">(.*?)</p>', page)
    assert len(captions) >= 12
    for caption in captions:
        assert caption.endswith(".") and len(caption.split()) > 5, caption


def test_transcripts_with_markup_stay_text():
    charmap = CharMap.from_symbols(' <>/&;"abclertsip()1')
    path = "<b>&a"
    view = view_of(charmap, sharp(charmap, path), title=MARKUP, text=MARKUP)
    page = as_page(noise(len(path)), [view])
    structure = checked(page)
    assert [tag for tag, _ in structure.elements].count("script") == 2
    assert page.count("</script>") == 2
    assert MARKUP in structure.texts and "<b>&a" in structure.texts
    (data,) = data_of(page)
    assert data["model"] == MARKUP and any(p.startswith("<b>") for p in data["prefixes"])
    index = index_page(MARKUP, index_rows(errors_of([("a", "<i>", "<u>")]), [0], {}), rates=Rates())
    assert {MARKUP, "<i>", "<u>"} <= set(checked(index).texts)


def test_right_to_left_text_and_marks():
    charmap = CharMap.from_symbols(" אבגשלום\u05b8")
    view = view_of(charmap, sharp(charmap, "שלום-\u05b8-אב"), text="שלום אב")
    page = as_page(noise(9), [view])
    structure = checked(page)
    assert "שלום אב" in structure.texts and "ש" in structure.texts
    assert strips.symbol(charmap, charmap.char2idx["\u05b8"]) == "◌\u05b8"
    assert "שלום\u05b8" in data_of(page)[0]["prefixes"]  # there it stands on its letter
    isolated = [tag for tag, _ in structure.elements].count("bdi")
    assert isolated > 20


def test_symbols_of_several_code_points():
    labels, _ = LabelMap.from_labels({0: "<pad>", 1: "|", 2: "ch", 3: "a"}, blank=0)
    assert [strips.symbol(labels, k) for k in range(4)] == ["–", "␣", "ch", "a"]


def test_controls_of_direction_have_no_effect():
    page = page_of("abc", text="a\u202eb")
    assert "\u202e" not in page and "\\u202e" in page


@pytest.mark.parametrize("path", ["a", "-", "a" * 300])
def test_short_blank_and_long_clips(path):
    checked(page_of(path, with_layers=True))


def test_what_part_of_a_long_recording_is_shown_stands_above_the_strips():
    view = view_of(ABC, sharp(ABC, "ab"))
    note = "Shown: 0 to 20.0 s of 3600.0 s; times count from there."
    page = as_page(noise(2), [replace(view, notes=[note])])
    assert page.index(note) < page.index("<h3>")


def test_rare_classes_have_no_row():
    view = view_of(ABC, sharp(ABC, "a-b", certainty=0.99))
    assert strips.shown_classes(view) == [2, 3]
    many = CharMap.from_symbols([chr(0x4E00 + i) for i in range(200)])
    flat = view_of(many, np.full((3, 201), 1 / 201))
    assert strips.shown_classes(flat) == []
    checked(as_page(noise(3), [flat]))
    half = np.full((2, 201), 0.5 / 199)
    half[:, 5] = 0.5
    half /= half.sum(axis=1, keepdims=True)
    assert strips.shown_classes(view_of(many, half)) == [5]


# --------------------------------------------------------------------------- several models


def test_models_are_beside_each_other_and_differences_are_marked():
    views = [
        view_of(ABC, sharp(ABC, "ab cc-"), title="letters", text="ab cc"),
        view_of(ABC, sharp(ABC, "ab c-c"), title="sounds", text="ab cc"),
    ]
    page = as_page(noise(6), views)
    structure = checked(page)
    assert [data["model"] for data in data_of(page)] == ["letters", "sounds"]
    strip = page.split("The models beside each other")[1].split('<div class="strip">')[0]
    marked = re.findall(r'class="cell differs".*?<bdi>(.*?)</bdi>', strip)
    assert marked == ["c"]  # the word; of its letters one is missing, none wrong
    assert [tag for tag, _ in structure.elements].count("details") == 2


def marked_of(page):
    strip = page.split("The models beside each other")[1].split('<div class="strip">')[0]
    caption = re.search(r'<p class="note">(.*?)</p>', strip)[1]
    return re.findall(r'class="cell differs".*?<bdi>(.*?)</bdi>', strip), caption


def test_letters_and_sounds_differ_from_the_text_each_in_their_own_units():
    letters, sounds = CharMap.from_symbols(" abcé"), Phonemes.from_readings(["aʃ bə"], "fr")[0]
    sounds.remember(Spoken.of([("ab cé", "aʃ bə")]))
    ipa = np.full((6, sounds.vocab_size), 0.01)
    ipa[range(6), [0, *sounds.encode_ipa("aʃ bʃ")]] = 0.9
    views = [
        view_of(letters, sharp(letters, "ab cc-"), title="letters", text="ab cé"),
        view_of(sounds, ipa, title="sounds", text="ab cé"),
    ]
    marked, caption = marked_of(as_page(noise(6), views))
    assert marked == ["c", "bʃ", "ʃ"]
    assert caption.endswith("in red where they differ from what was said.")


def test_without_a_text_models_are_compared_with_the_first_in_the_same_units():
    views = [
        view_of(ABC, sharp(ABC, "ab c-"), title="one"),
        view_of(ABC, sharp(ABC, "ab a-"), title="two"),
    ]
    marked, caption = marked_of(as_page(noise(5), views))
    assert marked == ["a", "a"] and caption.endswith("what “one” hears in the same units.")


def test_differing_words():
    assert differing(["a", "x", "c"], ["a", "b", "c"]) == [False, True, False]
    assert differing(["a", "c"], ["a", "b", "c"]) == [False, False]
    assert differing(["a", "b"], ["b"]) == [True, False]
    assert differing(["a"], []) == [True] and differing([], ["a"]) == []


# ------------------------------------------------------------------------------ the index


def errors_of(rows):
    return count_errors([ScoredClip(*row) for row in rows])


def test_an_index_without_words_has_no_wer(monkeypatch):
    without_segmenter(monkeypatch)
    clips = [ScoredClip("a", "กข", "กค"), ScoredClip("b", "กข", "กข")]
    errors = count_errors(clips, writing=LANGUAGES["th"])
    rows = index_rows(errors, worst_first(errors), {})
    page = index_page("dev", rows, rates=Rates())
    assert [row.clip for row in rows] == ["a", "b"]
    assert "WER" not in page and "nan" not in page and "<td>50 %</td>" in page


def test_the_index_is_worst_first():
    errors = errors_of(
        [
            ("good", "abcd", "abcd"),
            ("empty", "", "a"),
            ("bad", "abcd", "xxxx"),
            ("half", "abcd", "abxx"),
            ("also bad", "ab", "xx"),
        ]
    )
    order = worst_first(errors)
    assert [errors.clips[i].id for i in order] == ["bad", "also bad", "half", "good"]
    rows = index_rows(errors, order, {2: "clips/0001.html"})
    assert [(row.cer, row.wer) for row in rows] == [(1, 1), (1, 1), (0.5, 1), (0, 0)]
    rates = Rates("WER (IPA)", "PER", "phonemes")
    structure = checked(index_page("dev", rows, ["gone.mp3: no such file"], rates=rates))
    assert {"PER", "WER (IPA)"} <= set(structure.texts)
    assert structure.attributes("a", "href") == ["clips/0001.html"]
    texts = structure.texts
    assert texts.index("half") < texts.index("good") and "gone.mp3: no such file" in texts
    assert any("1 of 4 have a page" in text for text in texts)
