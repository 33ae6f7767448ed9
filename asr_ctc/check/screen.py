"""The report of a check as text for a terminal."""

from asr_ctc.check.faults import LEAVE_OUT, LISTEN, REFUSED
from asr_ctc.display.terminal import several, shown

N_EXAMPLES = 3
N_CHARACTERS = 15
ACTIONS = {
    REFUSED: "broken: training leaves them out by itself",
    LEAVE_OUT: "better left out: exclude.txt lists them, train --exclude honours it",
    LISTEN: "kept, but worth a look: exclude.txt holds them as comments",
}


def as_text(report: dict) -> str:
    """Tables and findings, each with its first few examples."""
    parts = [
        report["corpus"],
        _splits(report),
        _overlaps(report),
        *(_faults(report, action, title) for action, title in ACTIONS.items()),
        _suspects(report),
        _characters(report),
        _suggestions(report),
        _verdict(report),
    ]
    return "\n\n".join(
        "\n".join(part) if isinstance(part, list) else part for part in parts if part
    )


def _splits(report: dict) -> list[str]:
    low, high = report["settings"]["min_duration"], report["settings"]["max_duration"]
    within = f"usable, {low:g} to {high:g} s"
    lines = [
        f"{'split':8}{'clips':>9}{'hours':>9}{'speakers':>10}"
        f"{'shortest':>10}{'median':>8}{'longest':>9}{within:>22}{'broken':>8}"
    ]
    for name, f in report["splits"].items():
        share = 100 * f["within_bounds"] / max(1, f["clips"])
        held = f"{f['within_bounds']} ({share:.3g} %)"
        lines.append(
            f"{name:8}{f['clips']:>9}{f['hours']:>9.2f}{f['speakers']:>10}"
            f"{f['shortest_s']:>8.2f} s{f['median_s']:>6.2f} s{f['longest_s']:>7.2f} s"
            f"{held:>22}{f['broken']:>8}"
        )
        if f["decoded"] < f["clips"]:
            lines.append(f"{'':8}{f['decoded']} of them decoded (--check_clips)")
    lines += [f"{name:8}{reason}" for name, reason in report["absent"].items()]
    return lines


def _overlaps(report: dict) -> list[str]:
    lines = []
    for what, found in report["shared"].items():
        if not found:
            lines.append(f"no {what} are shared between splits")
        for pair in found:
            first, second = pair["splits"]
            lines.append(f"{first} and {second} share {several(pair['n'], what[:-1])}:")
            lines += _examples([_short(which) for which in pair["which"]], pair["n"])
    for name, repeated in report["repeated_sentences"].items():
        if repeated["sentences"]:
            lines.append(
                f"{name}: {several(repeated['sentences'], 'sentence')} read more than once "
                f"({repeated['clips']} clips):"
            )
            read = [f"{n} × {_short(text)}" for text, n in repeated["most_read"]]
            lines += _examples(read, repeated["sentences"])
    return lines


def _faults(report: dict, action: str, title: str) -> list[str]:
    kinds = {kind: f for kind, f in report["faults"].items() if f["action"] == action}
    if not kinds:
        return []
    lines = [title]
    for kind, found in kinds.items():
        lines.append(f"  {kind:17}{found['n']:>5}  {found['what']}")
        clips = [f"{c['split']:5} {c['clip']}  {c['reason']}" for c in found["clips"]]
        lines += _examples(clips, found["n"], indent=26)
    return lines


def _suspects(report: dict) -> list[str]:
    if "suspects" not in report:
        return []
    lines = [f"transcripts that {report['suspects']['model']} doubts most; listen to them"]
    for name, found in report["suspects"]["splits"].items():
        if not found["clips"]:
            continue
        listed = several(len(found["clips"]), "clip")
        lines.append(f"  {name}: {listed} of {found['ranked']:,} in report.json, the worst first")
        for clip in found["clips"][:N_EXAMPLES]:
            lines.append(
                f"    {clip['clip']}  CER {clip['cer']:.0%}, {clip['gap']:.2f} a character"
            )
            lines += [
                f"      says  {_short(clip['sentence'])}",
                f"      heard {_short(clip['heard'])}",
            ]
    return lines


def gap_of(clip: dict) -> str:
    return "too long" if clip["gap"] is None else f"{clip['gap']:.2f} a character"


def _examples(texts: list[str], n: int, indent: int = 4) -> list[str]:
    """The first few, and how many more there are."""
    first = texts if n <= N_EXAMPLES + 1 else texts[:N_EXAMPLES]
    lines = [" " * indent + text for text in first]
    if n > len(first):
        lines.append(" " * indent + f"and {n - len(first)} more")
    return lines


def _short(text: str, width: int = 72) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _characters(report: dict) -> list[str]:
    a, forms, settings = report["alphabet"], report["unicode"], report["settings"]
    total = max(1, a["n_characters"])
    lines = [
        f"{len(a['counts'])} different characters in the transcripts, {a['n_characters']} in all"
    ]
    lines.append("  " + _counted({c: n for c, n in a["counts"].items() if c != " "}))
    charset = f"--charset {settings['charset']} ({settings['classes']} classes)"
    if a["lost"]:
        lines.append(f"  {charset} has no class for {_share(a['n_lost'], total)}:")
        lines.append("    " + _counted({c: found["count"] for c, found in a["lost"].items()}))
    else:
        lines.append(f"  {charset} has a class for every character")
    if a["folded"]:
        folded = [
            f"{shown(c)}→{becomes(f['written'])} {f['count']}" for c, f in a["folded"].items()
        ]
        lines.append(f"  it writes {_share(a['n_folded'], total)} otherwise:")
        lines.append("    " + _listed(folded))
    if a["rare"]:
        lines.append(f"  seen fewer than {settings['charset_min_count']} times in train:")
        rare = [f"{shown(c)}  {f['count']} in {_short(f['first'])!r}" for c, f in a["rare"].items()]
        lines += _examples(rare, len(rare))
    if a["unseen"]:
        lines.append(f"  in dev or test only: {_listed([shown(c) for c in a['unseen']])}")
    if forms["sentences_other"]:
        mixed = f", {forms['sentences_nfc']} in it: mixed forms" if forms["mixed"] else ""
        lines.append(
            f"  {several(forms['sentences_other'], 'sentence')} not in composed form (NFC){mixed}; "
            "training composes them"
        )
        lines += _examples([_short(t) for t in forms["first_other"]], forms["sentences_other"])
    for mark, used in forms["variants"].items():
        listed = ", ".join(f"{_form(form)} {n}" for form, n in used.items())
        lines.append(f"  one {mark}, written in {len(used)} ways: {listed}")
    if forms["invisible"]:
        listed = ", ".join(f"{c} {n}" for c, n in forms["invisible"].items())
        lines.append(f"  invisible characters: {listed}")
    return lines


def becomes(written: str) -> str:
    return {"": "nothing", " ": "space"}.get(written, written)


def _form(form: str) -> str:
    return form if len(form) > 1 else shown(form)


def _share(n: int, total: int) -> str:
    return f"{n} characters ({100 * n / total:.2g} %)"


def _counted(counts: dict[str, int]) -> str:
    return _listed([f"{shown(c)} {n}" for c, n in counts.items()])


def _listed(texts: list[str]) -> str:
    more = f"  … {len(texts) - N_CHARACTERS} more" if len(texts) > N_CHARACTERS else ""
    return "  ".join(texts[:N_CHARACTERS]) + more


def _suggestions(report: dict) -> list[str]:
    s = report["suggestions"]
    if s["batch_size"] is None:
        return []
    return [
        "suggested",
        f"  --charset {s['charset']}",
        f"  --min_duration {s['min_duration']:g} --max_duration {s['max_duration']:g}    "
        f"{s['clips_within']} training clips, {s['hours_within']:.2f} h",
        f"  --batch_size {s['batch_size']}",
        f"  {s['command']}",
    ]


def _verdict(report: dict) -> list[str]:
    if not report["verdict"]["can_train"]:
        return ["cannot be trained on:", *(f"  {p}" for p in report["verdict"]["problems"])]
    train = report["splits"]["train"]
    n_left = train["clips"] - train["usable"]
    low, high = report["settings"]["min_duration"], report["settings"]["max_duration"]
    return [
        f"can be trained on: {train['usable']} of {train['clips']} training clips are good"
        + (f", {n_left} better left out" if n_left else ""),
        f"  {train['within_bounds']} of the good ones last {low:g} to {high:g} s "
        "(--min_duration, --max_duration)",
    ]
