"""The page of a clip in a browser: no error, a cursor that follows, both widths, both themes."""

import pytest

from asr_ctc.inspection.clip_page import as_page
from asr_ctc.text.charmap import CharMap
from tests.helpers.browser import browser_page, find_browser
from tests.helpers.inspected import noise, sharp, view_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium: make test-browser installs it"),
]
ABC = CharMap.from_symbols(" abcאב")
PATH = "-ab--c-" * 8 + "אב"
CURSOR = "parseFloat(document.querySelector('.cursor').style.left)"
TIME = "document.querySelector('audio').currentTime"
IS_LOADED = "document.querySelector('audio').readyState >= 1"
DURATION_S = noise(len(PATH)).duration_s


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browser_page(find_browser(), tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    text = "abc" * 3
    views = [
        view_of(ABC, sharp(ABC, PATH), title=title, text=text, with_layers=True)
        for title in ("one", "two")
    ]
    file = tmp_path_factory.mktemp("page") / "clip.html"
    file.write_text(as_page(noise(len(PATH)), views), encoding="utf-8")
    return file


def opened(browser, file, **options):
    browser.problems.clear()
    browser.open(file, **options)
    browser.wait_for(IS_LOADED)
    return browser


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_both_widths_and_both_themes(browser, file, width, dark):
    page = opened(browser, file, width=width, dark=dark)
    root = "document.documentElement"
    assert page.run(f"{root}.scrollWidth == {root}.clientWidth")  # nothing is cut off
    ink, paper = page.run(
        "[getComputedStyle(document.body).color,"
        " getComputedStyle(document.querySelector('.scroller')).backgroundColor]"
        ".map(colour => colour.match(/\\d+/g).map(Number).reduce((a, b) => a + b))"
    )
    assert (ink > paper) == dark and abs(ink - paper) > 400
    images = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert page.run(images)
    heights = "[...document.querySelectorAll('details[open] .plot img')].map(i => i.clientHeight)"
    assert min(page.run(heights)) > 10
    assert page.problems == []


def test_a_narrow_page_opens_with_letters_and_names_apart(browser, file):
    page = opened(browser, file, width=390)
    width = page.run("document.querySelector('.timeline > .over').clientWidth")
    assert width / len(PATH) == pytest.approx(10, abs=0.1)  # pixels of a frame
    assert page.run("document.querySelector('.scroller').scrollLeft") == 0
    names, words = page.run(
        "['.ticks .wide', '.lane .cell'].map(kind => [...document.querySelectorAll(kind)]"
        ".map(e => e.getBoundingClientRect()).map(box => [box.top, box.bottom]))"
    )
    assert len(names) == 2 and len(words) >= 2
    for top, bottom in words:
        assert not any(top < name[1] - 1 and name[0] < bottom - 1 for name in names)
    assert page.problems == []


def test_the_player_moves_the_cursor(browser, file):
    page = opened(browser, file)
    assert page.run(CURSOR) == 0
    page.run("document.querySelector('audio').play()")
    page.wait_for(f"{TIME} > 0.3 && {CURSOR} > 5")
    page.run("document.querySelector('audio').pause()")
    page.wait_for(f"Math.abs({CURSOR} - 100 * {TIME} / {DURATION_S}) < 2")
    assert page.problems == []


def test_a_click_seeks_and_the_beam_follows(browser, file):
    page = opened(browser, file)
    left, top, width = page.run(
        "(() => { const b = document.querySelector('.plot .inside').getBoundingClientRect();"
        " return [b.left, b.top, b.width] })()"
    )
    page.click(left + 0.25 * width, top + 20)
    assert page.run(TIME) == pytest.approx(0.25 * DURATION_S, abs=0.02)
    assert page.run(CURSOR) == pytest.approx(25, abs=1)
    frame = int((0.25 * DURATION_S + 0.02) / 0.04)
    spoken = PATH[: frame + 1].replace("-", "")
    first = "document.querySelector('.beam-now td').textContent"
    assert page.run(first) == spoken
    assert page.run("document.querySelector('.now').textContent").startswith("0.5")
    assert page.problems == []


def test_keys(browser, file):
    page = opened(browser, file)
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert page.run(TIME) == pytest.approx(0.2, abs=0.01)
    page.press("ArrowLeft")
    assert page.run(TIME) == pytest.approx(0.1, abs=0.01)
    page.press("ArrowRight", modifiers=8)  # with Shift
    assert page.run(TIME) == pytest.approx(1.1, abs=0.01)
    page.press("Home")
    assert page.run(TIME) == 0
    page.press(" ")
    page.wait_for(f"{TIME} > 0.05")
    page.press(" ")
    assert page.run("document.querySelector('audio').paused")
    width = "document.querySelector('.timeline').clientWidth"
    narrow = page.run(width)
    page.press("+")
    assert page.run(width) == pytest.approx(1.5 * narrow, rel=0.02)
    page.press("-")
    assert page.run(width) == pytest.approx(narrow, rel=0.02)
    assert page.problems == []


def test_letters_from_right_to_left_stay_before_their_shares(browser, file):
    charmap = CharMap.from_symbols(" אבג")
    log_probs = sharp(charmap, "אבג") * 0.3  # more than one letter is likely in a frame
    page_file = file.with_name("hebrew.html")
    page_file.write_text(as_page(noise(3), [view_of(charmap, log_probs)]), encoding="utf-8")
    page = opened(browser, page_file)
    letters, left = page.run(
        "[[...document.querySelectorAll('.now bdi')].map(e => e.textContent),"
        " [...document.querySelectorAll('.now bdi')].map(e => e.getBoundingClientRect().left)]"
    )
    assert letters[0] == "א" and len(letters) > 2 and left == sorted(left)
    assert page.problems == []


def test_the_theme_can_be_chosen(browser, file):
    page = opened(browser, file, dark=False)
    page.run("document.querySelector('[data-do=theme]').click()")
    assert page.run("document.documentElement.dataset.theme") == "dark"
    page.run("document.querySelector('[data-do=theme]').click()")
    assert page.run("document.documentElement.dataset.theme") == "light"
    assert page.problems == []
