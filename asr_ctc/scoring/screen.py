"""Scores and comparisons as text for a terminal."""

from asr_ctc.display.terminal import padded, shortened, shown, width_of

WIDTH = 100
N_SLICES = 12
KINDS = {"worst": "worst clips", "median": "clips in the middle", "best": "best clips"}


def as_text(report: dict) -> str:
    """The report of a split."""
    parts = [_heading(report)]
    if report["clips"]:
        parts += [
            _rates(report),
            *(_slices(name, rows) for name, rows in report["slices"].items()),
            _confusions(report["confusions"]),
            *(_examples(KINDS[kind], found) for kind, found in report["examples"].items()),
        ]
    else:
        parts.append(["no clip has a transcript: there is nothing to score"])
    first, second, *others = ["\n".join(part) for part in parts if part]
    return "\n\n".join([f"{first}\n{second}", *others])


def _heading(report: dict) -> list[str]:
    lines = [
        f"{report['corpus']}: {report['clips_read']} of {report['clips_there']} clips scored, "
        f"{report['hours']:.2f} h, {report['decoding']}, on {report['device']}"
    ]
    if report["unreadable"]:
        lines.append(
            f"{report['unreadable']} clips could not be read or are silent: they count as empty "
            "hypotheses"
        )
    if report["empty_references"]:
        lines.append(
            f"{report['empty_references']} clips have an empty transcript: not in the rates"
        )
    if report["kept"]:
        lines.append(f"scored with {' and '.join(report['kept'])}")
    return lines


def _rates(report: dict) -> list[str]:
    lines = []
    for name, unit in (("wer", "words"), ("cer", "characters")):
        n = report[unit]
        lines.append(
            f"{name.upper()} {with_interval(report[name])}   {n['total']} {unit}: "
            f"{n['substituted']} substituted, {n['deleted']} deleted, {n['inserted']} inserted"
        )
    lines.append(f"SER {with_interval(report['ser'])}   {report['clips']} sentences")
    lines.append(
        f"in brackets: 95 % intervals, {report['resamples']:,} bootstrap resamples of clips"
    )
    strict = report["strict"]
    lines.append(
        f"with case, accents and punctuation: WER {100 * strict['wer']:.2f} %, "
        f"CER {100 * strict['cer']:.2f} %"
    )
    if report["real_time_factor"] is not None:
        lines.append(
            f"real-time factor {report['real_time_factor']:.3f}: "
            f"{report['seconds']:.1f} s for {3600 * report['hours']:.0f} s of audio"
        )
    return lines


def with_interval(rate: dict) -> str:
    """A rate in percent and its interval, in columns of the same width."""
    if rate["low"] is None:
        return f"{100 * rate['rate']:6.2f} % {'':18}"
    return f"{100 * rate['rate']:6.2f} % ({100 * rate['low']:6.2f} to{100 * rate['high']:7.2f})"


def _slices(name: str, rows: list[dict]) -> list[str]:
    labels = [shortened(row["value"] or "(empty)") for row in rows[:N_SLICES]]
    width = max(map(width_of, [name, *labels]))
    lines = [f"{padded(name, width)}  clips   words   {'WER':27} CER"]
    for label, row in zip(labels, rows, strict=True):
        lines.append(
            f"{padded(label, width)} {row['clips']:6} {row['words']:7} "
            f"{with_interval(row['wer'])} {with_interval(row['cer'])}".rstrip()
        )
    if len(rows) > N_SLICES:
        lines.append(f"and {len(rows) - N_SLICES} more (--json and --html have all)")
    return lines


def _confusions(found: dict) -> list[str]:
    if not any(found.values()):
        return []
    lines = ["characters, most frequent first"]
    for kind, rows in found.items():
        if rows:
            told = ", ".join(f"{'→'.join(map(shown, pair))} {times}" for *pair, times in rows)
            lines.append(f"  {kind:12} {told}")
    return lines


# ---------------------------------------------------------------------------- word under word


def _examples(title: str, found: list[dict]) -> list[str]:
    lines = [title] if found else []
    for clip in found:
        lines.append(
            f"  {clip['id']}   WER {100 * clip['wer']:.0f} %, CER {100 * clip['cer']:.0f} %"
        )
        lines += [f"    {line}" for line in word_under_word(clip["words"], WIDTH - 4)]
    return lines


def word_under_word(pairs: list, width: int) -> list[str]:
    """Lines of at most ``width`` columns, if the words allow it: reference, hypothesis, marks.

    S substituted, D deleted, I inserted; the line of marks is left out where all is right.
    """
    lines, rows, used = [], [], 0
    for said, read in pairs:
        columns = max(width_of(said or ""), width_of(read or ""))
        if rows and used + columns > width - 4:
            lines += _three_lines(rows)
            rows, used = [], 0
        rows.append((said, read, columns))
        used += columns + 1
    return lines + _three_lines(rows)


def _three_lines(rows: list[tuple]) -> list[str]:
    reference = " ".join(padded(said or "", columns) for said, _, columns in rows)
    hypothesis = " ".join(padded(read or "", columns) for _, read, columns in rows)
    marks = " ".join(mark(said, read).ljust(columns) for said, read, columns in rows)
    lines = [f"ref {reference}", f"hyp {hypothesis}", f"    {marks}"]
    return [line.rstrip() for line in lines if line.strip()]


def mark(said: str | None, read: str | None) -> str:
    if said == read:
        return ""
    return "I" if said is None else "D" if read is None else "S"


# ---------------------------------------------------------------------------------- compare


def comparison_as_text(report: dict) -> str:
    lines = [f"A  {report['a']}", f"B  {report['b']}"]
    held = f"{report['clips']} clips in both"
    for name in "ab":
        if n := report[f"only_{name}"]:
            held += f"; {n} only in {name.upper()}: left out"
    if n := report["empty_references"]:
        held += f"; {n} with an empty transcript: left out"
    lines.append(held)
    lines.append(f"{'':8}{'A':>8}{'B':>10}{'B - A':>10}   {'95 % interval':20}B is better")
    for name in ("wer", "cer"):
        row = report[name]
        low, high = 100 * row["low"], 100 * row["high"]
        lines.append(
            f"{name.upper():6}{100 * row['a']:8.2f} %{100 * row['b']:8.2f} %"
            f"{100 * row['difference']:+8.2f} %   {f'{low:+.2f} to {high:+.2f} %':20}"
            f"in {100 * row['p_better']:.1f} % of {report['resamples']:,} paired resamples"
        )
    return "\n".join([*lines, report["verdict"]])
