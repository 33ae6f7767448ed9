"""What a browser would make of a report's HTML, as far as a parser can tell. For tests."""

import unicodedata
from html.parser import HTMLParser

EMPTY = {"meta", "br", "line", "circle", "path", "rect"}  # of which some are closed, some not
RIGHT_TO_LEFT = {"R", "AL", "AN"}


class Reading(HTMLParser):
    """Texts of a page by what isolates them, and the tables without a box that scrolls.

    ``bare`` are texts in the direction of the page, ``isolated`` those of a <bdi>, ``blocks`` those
    of an element with dir=auto, ``hints`` its titles and the texts of its charts.
    """

    def __init__(self, page: str):
        super().__init__()
        self.bare, self.isolated, self.blocks, self.hints = [], [], [], []
        self.loose_tables = 0
        self._open: list[tuple[str, dict]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        classes = [attrs.get("class") for _, attrs in self._open]
        self.loose_tables += tag == "table" and "wide" not in classes
        if "title" in attributes:
            self.hints.append(attributes["title"])
        self._open.append((tag, attributes))

    def handle_endtag(self, tag):
        while self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tags = [tag for tag, _ in self._open]
        if "style" in tags:
            return
        if "svg" in tags or "title" in tags:
            self.hints.append(data)
        elif "bdi" in tags:
            self.isolated.append(data)
        elif any("dir" in attributes for _, attributes in self._open):
            self.blocks.append(data)
        else:
            self.bare.append(data)


def is_right_to_left(text: str) -> bool:
    return any(unicodedata.bidirectional(c) in RIGHT_TO_LEFT for c in text)
