"""The report of a check as text for a terminal."""

from asr_ctc.base.printable import visible_form
from asr_ctc.check.faults import ACTION_TITLES
from asr_ctc.check.report import CheckReport, nothing_shared
from asr_ctc.check.suggestions import rare_characters
from asr_ctc.display.terminal import percent, seconds_range, several, shortened, spelled

N_EXAMPLES = 3
N_CHARACTERS = 15
WIDTH, ID_WIDTH = 72, 20  # of a transcript, of a speaker


def as_text(report: CheckReport) -> str:
    """The tables and results, each with its first few examples."""
    parts = [
        [report.corpus],
        _splits(report),
        _overlaps(report),
        *(_faults(report, action, title) for action, title in ACTION_TITLES.items()),
        _suspects(report),
        _characters(report),
        _phonemes(report),
        _suggestions(report),
        _verdict(report),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _splits(report: CheckReport) -> list[str]:
    bounds = seconds_range(report.settings.min_duration, report.settings.max_duration)
    within = f"usable, {bounds}"
    lines = [
        f"{'split':8}{'clips':>9}{'hours':>9}{'speakers':>10}"
        f"{'shortest':>10}{'median':>8}{'longest':>9}{within:>22}{'broken':>8}"
    ]
    for name, split in report.splits.items():
        share = percent(split.within_bounds / max(1, split.clips))
        usable = f"{split.within_bounds} ({share})"
        lines.append(
            f"{name:8}{split.clips:>9}{split.hours:>9.2f}{split.speakers:>10}"
            f"{split.shortest_s:>8.2f} s{split.median_s:>6.2f} s{split.longest_s:>7.2f} s"
            f"{usable:>22}{split.broken:>8}"
        )
        if split.decoded < split.clips:
            lines.append(f"{'':8}{split.decoded} of them decoded (--check_clips)")
    lines += [f"{name:8}{reason}" for name, reason in report.absent.items()]
    if report.unused is not None:
        lines += [report.unused.to_text()]
    return lines


def _overlaps(report: CheckReport) -> list[str]:
    lines = []
    for what, overlaps in vars(report.shared).items():
        if not overlaps:
            lines.append(nothing_shared(report, what))
        for overlap in overlaps:
            first, second = overlap.splits
            lines.append(f"{first} and {second} share {several(overlap.n, what[:-1])}:")
            width = ID_WIDTH if what == "speakers" else WIDTH
            lines += _examples([shortened(text, width) for text in overlap.examples], overlap.n)
    for name, repetition in report.repeated_sentences.items():
        if repetition.sentences:
            lines.append(
                f"{name}: {several(repetition.sentences, 'sentence')} read more than once "
                f"({repetition.clips} clips):"
            )
            sentences = [f"{n} × {shortened(text, WIDTH)}" for text, n in repetition.most_read]
            lines += _examples(sentences, repetition.sentences)
    return lines


def _faults(report: CheckReport, action: str, title: str) -> list[str]:
    groups = {kind: group for kind, group in report.faults.items() if group.action == action}
    if not groups:
        return []
    lines = [title]
    for kind, group in groups.items():
        lines.append(f"  {kind:17}{group.n_clips:>5}  {group.meaning}")
        clips = [f"{clip.split:5} {clip.clip}  {clip.reason}" for clip in group.clips]
        lines += _examples(clips, group.n_clips, indent=26)
    return lines


def _suspects(report: CheckReport) -> list[str]:
    if report.suspects is None:
        return []
    lines = [f"transcripts that {report.suspects.model} doubts most; listen to them"]
    for name, suspects in report.suspects.splits.items():
        if not suspects.clips:
            continue
        n_clips = several(len(suspects.clips), "clip")
        lines.append(
            f"  {name}: {n_clips} of {suspects.n_ranked:,} in report.json, the worst first"
        )
        for suspect in suspects.clips[:N_EXAMPLES]:
            lines += [
                f"    {suspect.clip}  {report.suspects.rate} {suspect.cer:.0%}, {suspect.gap_text}",
                f"      says  {shortened(suspect.sentence, WIDTH)}",
                f"      heard {shortened(suspect.heard, WIDTH)}",
            ]
    return lines


def _examples(texts: list[str], n: int, indent: int = 4) -> list[str]:
    """The first few texts, and the number of the others."""
    first = texts if n <= N_EXAMPLES + 1 else texts[:N_EXAMPLES]
    lines = [" " * indent + text for text in first]
    if n > len(first):
        lines.append(" " * indent + f"and {n - len(first)} more")
    return lines


def _phonemes(report: CheckReport) -> list[str]:
    use = report.phonemes
    if use is None:
        return []
    lines = [
        f"{several(len(use.counts), 'different phoneme')}, as espeak reads {use.language}",
        "  " + _listed([f"{phoneme} {n:,}" for phoneme, n in use.counts.items()]),
    ]
    if use.rare:
        rare = _listed([f"{phoneme} {n}" for phoneme, n in use.rare.items()])
        n = report.settings.charset_min_count
        lines.append(f"  seen fewer than {n} times in train, without a class: {rare}")
    if use.unseen:
        lines.append(f"  in dev or test only: {_listed(use.unseen)}")
    return lines


def _characters(report: CheckReport) -> list[str]:
    alphabet, forms, settings = report.alphabet, report.unicode, report.settings
    total = max(1, alphabet.n_characters)
    lines = [
        f"{several(len(alphabet.counts), 'different character')} in the transcripts, "
        f"{alphabet.n_characters:,} in all",
        "  " + _counted({c: n for c, n in alphabet.counts.items() if c != " "}),
    ]
    charset = f"--charset {settings.charset} ({settings.classes} classes)"
    if alphabet.lost:
        lines.append(f"  {charset} has no class for {_share(alphabet.n_lost, total)}:")
        lines.append("    " + _counted({c: use.count for c, use in alphabet.lost.items()}))
    elif alphabet.counts:
        lines.append(f"  {charset} has a class for every character")
    if alphabet.folded:
        foldings = [
            f"{visible_form(c)}→{spelled(folding.written)} {folding.count}"
            for c, folding in alphabet.folded.items()
        ]
        lines.append(f"  it writes {_share(alphabet.n_folded, total)} otherwise:")
        lines.append("    " + _listed(foldings))
    if alphabet.rare:
        summary, *advice = rare_characters(alphabet, settings.charset, settings.charset_min_count)
        lines.append(f"  {summary}")
        lines += [f"    {line}" for line in advice]
        rare = [
            f"{visible_form(c)}  {use.count} in {shortened(use.first, WIDTH)!r}"
            for c, use in alphabet.rare.items()
        ]
        lines += _examples(rare, len(rare))
    if alphabet.unseen:
        lines.append(
            f"  in dev or test only: {_listed([visible_form(c) for c in alphabet.unseen])}"
        )
    if forms.sentences_other:
        mixed = f", {forms.sentences_nfc} in it: mixed forms" if forms.mixed else ""
        lines.append(
            f"  {several(forms.sentences_other, 'sentence')} not in composed form (NFC){mixed}; "
            "training composes them"
        )
        first = [shortened(text, WIDTH) for text in forms.first_other]
        lines += _examples(first, forms.sentences_other)
    for mark, counts in forms.variants.items():
        variants = ", ".join(f"{_form(form)} {n}" for form, n in counts.items())
        lines.append(f"  one {mark}, written in {len(counts)} ways: {variants}")
    if forms.invisible:
        codes = ", ".join(f"{code} {n}" for code, n in forms.invisible.items())
        lines.append(f"  invisible characters: {codes}")
    if report.error_rate:
        lines.append(f"  {report.error_rate}")
    return lines


def _form(form: str) -> str:
    return form if len(form) > 1 else visible_form(form)


def _share(n: int, total: int) -> str:
    return f"{several(n, 'character')} ({percent(n / total)})"


def _counted(counts: dict[str, int]) -> str:
    return _listed([f"{visible_form(c)} {n}" for c, n in counts.items()])


def _listed(texts: list[str]) -> str:
    more = f"  … {len(texts) - N_CHARACTERS} more" if len(texts) > N_CHARACTERS else ""
    return "  ".join(texts[:N_CHARACTERS]) + more


def _suggestions(report: CheckReport) -> list[str]:
    suggestions = report.suggestions
    if suggestions.batch_size is None:
        return []
    return [
        "suggested",
        f"  --charset {suggestions.charset}",
        f"  --min_duration {suggestions.min_duration:g} "
        f"--max_duration {suggestions.max_duration:g}    "
        f"{several(suggestions.clips_within or 0, 'training clip')}, "
        f"{suggestions.hours_within:.2f} h",
        f"  --batch_size {suggestions.batch_size}",
        f"  {suggestions.command}",
    ]


def _verdict(report: CheckReport) -> list[str]:
    if not report.verdict.can_train:
        return ["cannot be trained on:", *(f"  {p}" for p in report.verdict.problems)]
    train = report.splits["train"]
    n_bad = train.clips - train.usable
    bounds = seconds_range(report.settings.min_duration, report.settings.max_duration)
    unused = [name for name in ("train", "dev") if report.splits[name].within_bounds == 0]
    return [
        f"can be trained on: {train.usable:,} of {several(train.clips, 'training clip')} "
        + ("is good" if train.usable == 1 else "are good")
        + (f", {n_bad:,} better excluded" if n_bad else ""),
        f"  {train.within_bounds:,} of the good ones last {bounds} "
        "(--min_duration, --max_duration)",
        *(
            f"  but every {name} clip of these lengths is better excluded: without those in "
            "exclude.txt none is left"
            for name in unused
        ),
    ]
