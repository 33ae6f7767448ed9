"""Text files in pieces, and compact columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.corpus import columns
from asr_ctc.corpus.columns import Categories, line_blocks, lines
from tests.helpers.made_corpora import write


def test_an_endless_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "PIECE_BYTES", 64)
    monkeypatch.setattr(columns, "MAX_LINE_BYTES", 1000)
    file = write(tmp_path / "a", "a\n" + "x" * 900 + "\n" + "y" * 5000)
    with pytest.raises(UserError, match="line 3 is longer than 0 MiB"):
        list(lines(file))


@given(st.binary(max_size=60), st.integers(1, 9))
def test_pieces_of_a_file_are_its_lines(tmp_path_factory, content, piece_bytes):
    file = write(tmp_path_factory.mktemp("pieces") / "a", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "PIECE_BYTES", piece_bytes)
        try:
            text = content.rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            with pytest.raises(UserError, match=f"line {line} is not UTF-8"):
                list(lines(file))
            return
        text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        found = list(lines(file))
    assert found == (text.split("\n") if content.rstrip(b"\r\n") else [])


def test_blocks_feed_the_digest_every_byte(tmp_path):
    class Digest(list):
        update = list.append

    content = b"\xef\xbb\xbfa\r\nb\n\n\n"
    digest = Digest()
    assert b"".join(line_blocks(write(tmp_path / "a", content), digest)) == b"a\nb"
    assert b"".join(digest) == content


@given(st.lists(st.sampled_from(["", "a", "é", "ab"])))
def test_categories_are_a_list_of_strings(values):
    column = Categories(values)
    assert list(column) == values and [column[i] for i in range(len(values))] == values
    assert list(column.names) == list(dict.fromkeys(values))
