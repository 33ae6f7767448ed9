"""Makes the character map that --charset names, and says what it does with rare characters."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.base.printable import visible_form, visible_text
from asr_ctc.config.settings.corpus import CorpusConfig
from asr_ctc.corpus import transcripts
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.display.terminal import percent, several
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.rare import MOST_UNKNOWN_SHARE, suitable_min_count, unknown_share
from asr_ctc.text.writing import PLAIN, Writing

log = logging.getLogger(__name__)

MOST_LISTED, MOST_LISTED_RARE = 100, 20  # characters in a line of the log


def make_charmap(settings: CorpusConfig, train: Corpus | None, writing: Writing = PLAIN) -> CharMap:
    """The map that ``--charset`` names; reports the rare characters that 'auto' excludes.

    Without a train split 'auto' is the default map. A file's own writing profile stays, unless a
    setting names another.
    """
    name, min_count = settings.charset or "default", settings.charset_min_count
    if name == "auto" and train is not None:
        counts = transcripts.character_counts(train, writing)
        charmap, rare = CharMap.from_counts(counts, min_count, writing)
        more = "…" if charmap.vocab_size > MOST_LISTED + 2 else ""
        log.info(
            "character map from %s: %d classes: %s%s",
            several(len(train), "transcript"),
            charmap.vocab_size,
            visible_text("".join(charmap.symbols[2 : MOST_LISTED + 2])),
            more,
        )
        if rare:
            for line in described_rare(rare, min_count, sum(counts.values())):
                log.info("%s", line)
        return charmap
    if name in ("default", "auto"):
        return CharMap(writing=writing)
    try:
        charmap = CharMap.from_json(Path(name).read_text(encoding="utf-8-sig"))
        is_named = charmap.writing.name and not (settings.profile or settings.case_folding)
        return charmap if is_named else replace(charmap, writing=writing)
    except OSError as error:
        raise UserError(
            f"--charset {name}: cannot be read ({error.strerror}); 'default', 'auto' or a FILE.json"
        ) from None
    except (ValueError, TypeError) as error:
        raise UserError(f"--charset {name}: not a character map: {error}") from None


def described_rare(rare: Mapping[str, int], min_count: int, total: int) -> list[str]:
    """What becomes of the characters {them: count} seen fewer than ``min_count`` times in train.

    A few are listed; of many, their number and their share of the ``total`` characters are said.
    """
    seen = f"seen fewer than {min_count} times"
    if len(rare) <= MOST_LISTED_RARE:
        ordered = sorted(rare.items(), key=lambda item: -item[1])
        listed = " ".join(f"{visible_form(c)}×{n}" for c, n in ordered)
        lines = [f"{seen}, mapped to the unknown class: {listed}"]
    else:
        share = percent(unknown_share(rare.values(), min_count, total))
        lines = [
            f"{len(rare):,} characters {seen}, {share} of the text, mapped to the unknown class"
        ]
    return lines + advice_on_rare(rare.values(), min_count, total)


def advice_on_rare(counts: Collection[int], min_count: int, total: int) -> list[str]:
    """A line that says what helps if too much of a text of ``total`` characters becomes unknown.

    ``counts`` are those of its rare characters.
    """
    if unknown_share(counts, min_count, total) <= MOST_UNKNOWN_SHARE:
        return []
    helps = suitable_min_count(counts, min_count, total)
    left = percent(unknown_share(counts, helps, total))
    return [
        f"--charset_min_count {helps} leaves {left} of the text to the unknown class; so would "
        "more transcripts"
    ]
