"""The index of a split that was looked at: its clips, worst first, each with its page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from asr_ctc.display.html import document
from asr_ctc.inspection.clip_page import resource, text_of
from asr_ctc.scoring.clips import ClipErrors
from asr_ctc.scoring.metrics import RATES
from asr_ctc.text.units import Rates


class IndexRow(NamedTuple):
    """A clip of the index; ``page`` is the address of its page, None where it has none."""

    clip: str
    wer: float  # nan where no words can be counted
    cer: float
    reference: str
    hypothesis: str
    page: str | None


def worst_first(errors: ClipErrors) -> list[int]:
    """The scored clips by CER, then WER, the worst first; of equals in the corpus's order."""
    scored = np.flatnonzero(errors.scored)
    wer, cer = _rates(errors)
    return scored[np.lexsort([scored, -wer[scored], -cer[scored]])].tolist()


def index_rows(errors: ClipErrors, order: Sequence[int], pages: dict[int, str]) -> list[IndexRow]:
    """Rows of the clips of ``order``; ``pages`` {clip: address}."""
    wer, cer = _rates(errors)
    return [
        IndexRow(
            errors.clips[i].id,
            float(wer[i]),
            float(cer[i]),
            errors.clips[i].reference,
            errors.clips[i].hypothesis,
            pages.get(i),
        )
        for i in order
    ]


def _rates(errors: ClipErrors) -> tuple[np.ndarray, np.ndarray]:
    counts = errors.counts.astype(float)
    wer, cer = (
        np.where(counts[:, total] > 0, counts[:, wrong] / np.maximum(counts[:, total], 1), np.nan)
        for wrong, total in (RATES["wer"], RATES["cer"])
    )
    return wer, cer


def index_page(
    title: str, rows: Sequence[IndexRow], notes: Sequence[str] = (), *, rates: Rates
) -> str:
    """The whole page; ``rates`` are the names of its error rates."""
    body = [f"<h1>{text_of(title)}</h1>"]
    n_pages = sum(row.page is not None for row in rows)
    has_words = not all(math.isnan(row.wer) for row in rows)
    of_words = f"; {rates.of_words} is that of wrong words" if has_words else ""
    body.append(
        f'<p class="note">Clips by their share of wrong {rates.symbols} ({rates.of_symbols}'
        f"{of_words}), the worst first, each with what was said and, in grey, what was heard; "
        f"{n_pages:,} of {len(rows):,} have a page that shows what the model heard, frame by "
        "frame.</p>"
    )
    body += [f'<p class="remark">{escape(note)}</p>' for note in notes]
    body.append('<section><table class="index"><tr>')
    body.append(f"<th>{rates.of_symbols}</th>")
    body.append(f"<th>{rates.of_words}</th>" if has_words else "")
    body.append('<th class="l">clip, said, heard</th></tr>')
    for row in rows:
        name = text_of(row.clip)
        link = f'<a href="{escape(row.page)}">{name}</a>' if row.page else name
        of_words = f"<td>{100 * row.wer:.0f} %</td>" if has_words else ""
        body.append(
            f"<tr><td>{100 * row.cer:.0f} %</td>{of_words}"
            f'<td class="l"><span class="clip">{link}</span><br>{text_of(row.reference)}<br>'
            f'<span class="soft">{text_of(row.hypothesis)}</span></td></tr>'
        )
    body.append("</table></section>")
    return document(title, "\n".join(body), resource("page.css"))
