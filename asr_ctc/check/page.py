"""The report of a check as one HTML page, without scripts or external files."""

import math
import unicodedata
from html import escape

from asr_ctc.base.printable import is_lone_mark, visible_form
from asr_ctc.check.faults import ACTION_TITLES
from asr_ctc.check.report import CheckReport, FaultGroup, nothing_shared
from asr_ctc.check.suggestions import rare_characters
from asr_ctc.check.texts import CharacterUse
from asr_ctc.display import charts
from asr_ctc.display.html import character, document, row, section, shortened_id, table, text
from asr_ctc.display.terminal import percent, seconds_range, several

N_CLIPS_LISTED, N_CLIPS_OPEN = 200, 20
N_CHARACTERS_LISTED = 400
N_CHARACTERS_IN_SENTENCES = 40
N_SUSPECTS_LISTED = 50


def as_page(report: CheckReport) -> str:
    """The whole page."""
    body = "".join(
        [
            f"<h1>{text(report.corpus)}</h1>",
            _verdict(report),
            _splits(report),
            _plots(report),
            _faults(report),
            _suspects(report),
            _overlaps(report),
            _characters(report),
            _phonemes(report),
        ]
    )
    return document(f"check of {report.corpus}", body)


def _verdict(report: CheckReport) -> str:
    suggestions, can_train = report.suggestions, report.verdict.can_train
    if can_train:
        train = report.splits["train"]
        good = f"{train.usable:,} of {train.clips:,} training clips are good."
        words = f"<b>Can be trained on.</b> {good}"
    else:
        problems = "".join(f"<li>{escape(p)}</li>" for p in report.verdict.problems)
        words = f"<b>Cannot be trained on.</b><ul>{problems}</ul>"
    if suggestions.batch_size is not None:
        words += (
            f"<p class='note'>Suggested: {suggestions.clips_within:,} training clips, "
            f"{seconds_range(suggestions.min_duration or 0, suggestions.max_duration or 0)}, "
            f"{suggestions.hours_within:.2f} h.</p>"
            f"<pre>{escape(suggestions.command)}</pre>"
        )
    return f'\n<section class="verdict{"" if can_train else " no"}">{words}</section>'


def _splits(report: CheckReport) -> str:
    bounds = seconds_range(report.settings.min_duration, report.settings.max_duration)
    head = ["clips", "hours", "speakers", "shortest", "median", "longest", "broken"]
    head.append(f"usable, {bounds}")
    rows, notes = [], []
    for name, split in report.splits.items():
        share = percent(split.within_bounds / max(1, split.clips))
        cells = [
            f"{split.clips:,}",
            f"{split.hours:.2f}",
            f"{split.speakers:,}",
            *(f"{s:.2f} s" for s in (split.shortest_s, split.median_s, split.longest_s)),
            f"{split.broken:,}",
            f"{split.within_bounds:,} <span class='soft'>{share}</span>",
        ]
        rows.append(row(escape(name), cells))
        if split.decoded < split.clips:
            notes.append(f"{name}: {split.decoded:,} of {split.clips:,} clips decoded.")
    for name, reason in report.absent.items():
        cell = f'<td class="l text" colspan="8">{text(reason)}</td>'
        rows.append(f'<tr><td class="l name">{name}</td>{cell}</tr>')
    if report.unused is not None:
        notes.append(escape(report.unused.to_text()))
    note = f'<p class="note">{" ".join(notes)}</p>' if notes else ""
    return section("Splits", table("split", head, rows), note)


def _plots(report: CheckReport) -> str:
    plots, settings, alphabet = report.plots, report.settings, report.alphabet
    key = _key({name: name for name in report.splits})
    counts = {c: n for c, n in alphabet.counts.items() if c != " "}
    bars = dict(list(counts.items())[: charts.MOST_BARS])
    styles = {
        c: "lost" if c in alphabet.lost else "folded" if c in alphabet.folded else "kept"
        for c in bars
    }
    bounds = settings.min_duration, settings.max_duration
    rest = len(counts) - len(bars)
    more = f"<p class='note'>{rest:,} rarer ones are listed below.</p>" if rest else ""
    meanings = {
        "kept": "kept",
        "folded": "written otherwise",
        "lost": f"lost by --charset {settings.charset}",
    }
    limits = (settings.rate.low, settings.rate.high)
    return "".join(
        [
            '\n<div class="plots">',
            section(
                "Clips by duration",
                key,
                charts.stacked_histogram(plots.durations.edges_s, plots.durations.clips, bounds),
                f"<p class='note'>Used: {seconds_range(*bounds)}; others are grey.</p>",
            ),
            section(
                "Characters per second against duration",
                key,
                charts.scatter(plots.rates, limits if math.isfinite(limits[1]) else (None, None)),
                "<p class='note'>Of sound: pauses do not count. Green: plausible. "
                "Ringed: implausible.</p>",
            ),
            section(
                "Characters by count",
                _key(meanings),
                charts.bars(
                    bars, styles, {c: _label(c) for c in bars}, {c: _hint(c) for c in bars}
                ),
                more,
            ),
            section("Speakers by clips", key, charts.ranks(plots.clips_per_speaker)),
            "</div>",
        ]
    )


def _label(symbol: str) -> str:
    """A character one wide: a mark stands on a circle, which is empty for an invisible one."""
    if is_lone_mark(symbol):
        return f"◌{symbol}"
    return symbol if visible_form(symbol) == symbol else "◌"


def _hint(symbol: str) -> str:
    if symbol.isascii():
        return symbol
    return f"{_label(symbol)} U+{ord(symbol):04X} {unicodedata.name(symbol, 'unnamed').lower()}"


def _key(meanings: dict[str, str]) -> str:
    entries = "".join(f'<span><i class="{c}"></i>{escape(m)}</span>' for c, m in meanings.items())
    return f'<div class="key">{entries}</div>'


def _faults(report: CheckReport) -> str:
    if not report.faults:
        return section("Clips", "No clip has a fault.")
    parts = []
    for action, title in ACTION_TITLES.items():
        groups = {kind: group for kind, group in report.faults.items() if group.action == action}
        if groups:
            parts.append(f"<h3>{escape(title)}</h3>")
            parts += [_fault(kind, group) for kind, group in groups.items()]
    return section("Clips to exclude, and to listen to", *parts)


def _fault(kind: str, group: FaultGroup) -> str:
    clips = group.clips[:N_CLIPS_LISTED]
    items = [
        f'<li><span class="soft">{escape(clip.split)}</span> <code>{text(clip.clip)}</code> '
        f'<span class="soft">{text(clip.reason)}</span></li>'
        for clip in clips
    ]
    n_more = group.n_clips - len(clips)
    if n_more:
        items.append(f'<li class="soft">and {n_more:,} more in report.json</li>')
    return (
        f"<details{' open' if group.n_clips <= N_CLIPS_OPEN else ''}>"
        f"<summary><b>{escape(kind)}</b> {group.n_clips:,} "
        f'<span class="soft">{escape(group.meaning)}</span></summary>'
        f'<ul class="clips">{"".join(items)}</ul></details>'
    )


def _suspects(report: CheckReport) -> str:
    """A table for each split: each transcript above the hypothesis of the model."""
    if report.suspects is None:
        return ""
    model = f"<code>{text(report.suspects.model)}</code>"
    parts = [
        f'<p class="soft">Transcripts that the model {model} doubts most, the worst first: how '
        "much likelier its own hypothesis is, per character (natural logarithm), and the "
        f"{report.suspects.rate}.</p>"
    ]
    for name, suspects in report.suspects.splits.items():
        rows = [
            f'<tr><td class="l text"><code>{text(suspect.clip)}</code></td>'
            f"<td>{suspect.gap_text}</td><td>{100 * suspect.cer:.0f} %</td>"
            f'<td class="l text">{text(suspect.sentence)}<br>'
            f'<span class="soft">{text(suspect.heard)}</span></td></tr>'
            for suspect in suspects.clips[:N_SUSPECTS_LISTED]
        ]
        head = ["likelier by", report.suspects.rate, "transcript, heard"]
        parts.append(
            f"<details><summary><b>{escape(name)}</b> "
            f'<span class="soft">{len(suspects.clips):,} of {suspects.n_ranked:,} clips</span>'
            f"</summary>{table('clip', head, rows, left=head[2:])}</details>"
        )
    return section("Transcripts to doubt", *parts)


def _overlaps(report: CheckReport) -> str:
    parts = []
    for what, overlaps in vars(report.shared).items():
        if not overlaps:
            said = nothing_shared(report, what)
            parts.append(f"<p>{escape(said[:1].upper() + said[1:])}.</p>")
        for overlap in overlaps:
            first, second = overlap.splits
            title = f"{first} and {second} share {several(overlap.n, what[:-1])}"
            write = shortened_id if what == "speakers" else text
            parts.append(_list(title, list(map(write, overlap.examples)), overlap.n))
    for name, repetition in report.repeated_sentences.items():
        if repetition.sentences:
            title = f"{name}: {several(repetition.sentences, 'sentence')} read more than once"
            title += f" ({repetition.clips:,} clips)"
            sentences = [f"{n} × {text(sentence)}" for sentence, n in repetition.most_read]
            parts.append(_list(title, sentences, repetition.sentences))
    return section("Shared and repeated", *parts)


def _list(title: str, entries: list[str], n: int) -> str:
    """The entries, which are HTML, below a title that shows and hides them."""
    items = "".join(f"<li>{entry}</li>" for entry in entries)
    more = f'<li class="soft">and {n - len(entries):,} more</li>' if n > len(entries) else ""
    return (
        f'<details><summary>{escape(title)}</summary><ul class="clips">{items}{more}</ul></details>'
    )


def _characters(report: CheckReport) -> str:
    alphabet, forms, settings = report.alphabet, report.unicode, report.settings
    total = max(1, alphabet.n_characters)
    head = f"All {len(alphabet.counts):,} (in lower case), {alphabet.n_characters:,} in all"
    which = report.error_rate
    parts = [
        f'<p class="note">{escape(which[:1].upper() + which[1:])}.</p>' if which else "",
        f"<h3>{head}</h3>",
        _chips([(character(c), n, c in alphabet.lost) for c, n in alphabet.counts.items()]),
    ]
    charset = escape(f"--charset {settings.charset}, {settings.classes:,} classes")
    if alphabet.lost:
        parts.append(f"<h3>Lost by {charset}: {percent(alphabet.n_lost / total)}</h3>")
        parts.append(_in_sentences(alphabet.lost))
    if alphabet.folded:
        foldings = [
            (f"{character(c)}→{_written(folding.written)}", folding.count, False)
            for c, folding in alphabet.folded.items()
        ]
        share = percent(alphabet.n_folded / total)
        parts.append(f"<h3>Written otherwise by {charset}: {share}</h3>")
        parts.append(_chips(foldings))
    if alphabet.rare:
        first, *advice = rare_characters(alphabet, settings.charset, settings.charset_min_count)
        parts.append(f"<h3>{escape(first[:1].upper() + first[1:])}</h3>")
        parts += [f"<p class='note'>{escape(line)}</p>" for line in advice]
        parts.append(_in_sentences(alphabet.rare))
    if alphabet.unseen:
        parts.append("<h3>In dev or test only</h3>")
        unseen = " &ensp;".join(map(character, alphabet.unseen[:N_CHARACTERS_LISTED]))
        parts.append(f"<p>{unseen}{_and_more(len(alphabet.unseen), N_CHARACTERS_LISTED)}</p>")
    for mark, counts in forms.variants.items():
        parts.append(f"<h3>{escape(mark.capitalize())}, written in {len(counts)} ways</h3>")
        variants = [
            (text(form) if len(form) > 1 else character(form), n, False)
            for form, n in counts.items()
        ]
        parts.append(_chips(variants))
    if forms.invisible:
        parts.append("<h3>Invisible characters</h3>")
        parts.append(_chips([(text(code), n, True) for code, n in forms.invisible.items()]))
    if forms.sentences_other:
        mixed = f"; {forms.sentences_nfc:,} are, so forms are mixed" if forms.mixed else ""
        parts.append(
            f"<h3>Unicode forms</h3><p>{several(forms.sentences_other, 'sentence')} not in "
            f"composed form (NFC){mixed}. Training composes them.</p>"
        )
    return section("Characters", *parts)


def _phonemes(report: CheckReport) -> str:
    use = report.phonemes
    if use is None:
        return ""
    chips = _chips([(phoneme, n, phoneme in use.rare) for phoneme, n in use.counts.items()])
    parts = [f"<h3>{len(use.counts)}, as espeak reads {escape(use.language)}</h3>", chips]
    if use.rare:
        n = report.settings.charset_min_count
        parts.append(f"<p>Marked: seen fewer than {n} times in train, without a class.</p>")
    if use.unseen:
        parts.append(f"<p>In dev or test only: {escape('  '.join(use.unseen))}</p>")
    return section("Phonemes", *parts)


def _written(letters: str) -> str:
    """What a map writes in place of a character: perhaps nothing, or several letters."""
    if not letters:
        return "nothing"
    return character(letters) if len(letters) == 1 else text(letters)


def _chips(entries: list[tuple[str, int, bool]]) -> str:
    """Names, which are HTML, each with its count; some are marked as bad."""
    chips = "".join(
        f'<span class="chip{" bad" if bad else ""}">{name} <span class="soft">{n:,}</span></span>'
        for name, n, bad in entries[:N_CHARACTERS_LISTED]
    )
    return f'<div class="chips">{chips}{_and_more(len(entries), N_CHARACTERS_LISTED)}</div>'


def _and_more(n: int, n_listed: int) -> str:
    if n <= n_listed:
        return ""
    return f' <span class="soft">and {n - n_listed:,} more in report.json</span>'


def _in_sentences(uses: dict[str, CharacterUse]) -> str:
    rows = [
        f'<tr><td class="l name">{character(c)}</td><td>{use.count:,}</td>'
        f'<td class="l soft">{escape(use.name.lower())}</td>'
        f'<td class="l text">{text(use.first)}</td></tr>'
        for c, use in list(uses.items())[:N_CHARACTERS_IN_SENTENCES]
    ]
    head = ["times", "name", "first sentence"]
    more = _and_more(len(uses), N_CHARACTERS_IN_SENTENCES)
    return table("", head, rows, left=head[1:]) + (more and f"<p>{more}</p>")
