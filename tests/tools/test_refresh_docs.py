"""Which blocks of the pages the tool refreshes, and which it leaves to a person."""

from tools.refresh_docs import BLOCK, ROOT, fresh_block, unmarked

PAGE = """# A page

```text
by hand
```

<!-- output of: echo 1&& echo 2&& echo 3 (its last 2 lines) -->
```text
old
```
"""


def test_blocks_with_a_comment_are_refreshed_and_others_listed(capsys):
    (block,) = BLOCK.finditer(PAGE)
    assert fresh_block(block) == block[1] + "2\n3\n```\n"
    assert unmarked(PAGE) == [3]


def test_every_comment_has_its_block():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        assert text.count("<!-- output of: ") == len(BLOCK.findall(text)), page
