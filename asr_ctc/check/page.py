"""The report of a check as one HTML page: no script, and nothing that is loaded from elsewhere."""

from html import escape

from asr_ctc.check.screen import ACTIONS, becomes, gap_of
from asr_ctc.display import charts
from asr_ctc.display.html import document, row, section, table
from asr_ctc.display.terminal import several, shown

N_CLIPS_LISTED, N_CLIPS_OPEN = 200, 20
N_CHARACTERS_DRAWN = 44
N_SUSPECTS_LISTED = 50


def as_page(report: dict) -> str:
    """The whole page."""
    body = "".join(
        [
            f"<h1>{escape(report['corpus'])}</h1>",
            _verdict(report),
            _splits(report),
            _plots(report),
            _faults(report),
            _suspects(report),
            _overlaps(report),
            _characters(report),
        ]
    )
    return document(f"check of {report['corpus']}", body)


def _verdict(report: dict) -> str:
    s, can_train = report["suggestions"], report["verdict"]["can_train"]
    if can_train:
        train = report["splits"]["train"]
        words = (
            f"<b>Can be trained on.</b> {train['usable']:,} of {train['clips']:,} training clips "
            "are good."
        )
    else:
        problems = "".join(f"<li>{escape(p)}</li>" for p in report["verdict"]["problems"])
        words = f"<b>Cannot be trained on.</b><ul>{problems}</ul>"
    if s["batch_size"] is not None:
        words += (
            f"<p class='note'>Suggested: {s['clips_within']:,} training clips of "
            f"{s['min_duration']:g} to {s['max_duration']:g} s, {s['hours_within']:.2f} h.</p>"
            f"<pre>{escape(s['command'])}</pre>"
        )
    return f'\n<section class="verdict{"" if can_train else " no"}">{words}</section>'


def _splits(report: dict) -> str:
    low, high = report["settings"]["min_duration"], report["settings"]["max_duration"]
    head = ["clips", "hours", "speakers", "shortest", "median", "longest", "broken"]
    head.append(f"usable, {low:g} to {high:g} s")
    rows = []
    for name, f in report["splits"].items():
        cells = [f"{f['clips']:,}", f"{f['hours']:.2f}", f"{f['speakers']:,}"]
        cells += [f"{f[key]:.2f} s" for key in ("shortest_s", "median_s", "longest_s")]
        share = 100 * f["within_bounds"] / max(1, f["clips"])
        cells += [
            f"{f['broken']:,}",
            f"{f['within_bounds']:,} <span class='soft'>{share:.3g} %</span>",
        ]
        rows.append(row(escape(name), cells))
    for name, reason in report["absent"].items():
        said = f'<td class="l" colspan="8">{escape(reason)}</td>'
        rows.append(f'<tr><td class="l name">{name}</td>{said}</tr>')
    rendered = table("split", head, rows)
    looked = {n: f for n, f in report["splits"].items() if f["decoded"] < f["clips"]}
    notes = [f"{n}: {f['decoded']:,} of {f['clips']:,} clips decoded." for n, f in looked.items()]
    return section("Splits", rendered, f'<p class="note">{" ".join(notes)}</p>' if notes else "")


def _plots(report: dict) -> str:
    plots, settings, alphabet = report["plots"], report["settings"], report["alphabet"]
    key = _key({name: name for name in report["splits"]})
    counts = {c: n for c, n in alphabet["counts"].items() if c != " "}
    drawn = dict(list(counts.items())[:N_CHARACTERS_DRAWN])
    styles = {
        c: "lost" if c in alphabet["lost"] else "folded" if c in alphabet["folded"] else "kept"
        for c in drawn
    }
    bounds = settings["min_duration"], settings["max_duration"]
    charset = escape(settings["charset"])
    rest = len(counts) - len(drawn)
    more = f"<p class='note'>{rest} rarer ones are listed below.</p>" if rest else ""
    meanings = {
        "kept": "kept",
        "folded": "written otherwise",
        "lost": f"lost by --charset {charset}",
    }
    rate = settings["rate"]
    return "".join(
        [
            '\n<div class="plots">',
            section(
                "Clips by duration",
                key,
                charts.stacked_histogram(
                    plots["durations"]["edges_s"], plots["durations"]["clips"], bounds
                ),
                f"<p class='note'>Grey: outside {bounds[0]:g} to {bounds[1]:g} s.</p>",
            ),
            section(
                "Characters per second against duration",
                key,
                charts.scatter(plots["rates"], (rate["low"], rate["high"])),
                "<p class='note'>Of sound: pauses do not count. Green: plausible. "
                "Ringed: implausible.</p>",
            ),
            section(
                "Characters by count",
                _key(meanings),
                charts.bars(drawn, styles, {c: shown(c) for c in drawn}),
                more,
            ),
            section("Speakers by clips", key, charts.ranks(plots["clips_per_speaker"])),
            "</div>",
        ]
    )


def _key(meanings: dict[str, str]) -> str:
    entries = "".join(f'<span><i class="{c}"></i>{escape(m)}</span>' for c, m in meanings.items())
    return f'<div class="key">{entries}</div>'


def _faults(report: dict) -> str:
    if not report["faults"]:
        return section("Clips", "Nothing is wrong with any clip.")
    parts = []
    for action, title in ACTIONS.items():
        kinds = {kind: f for kind, f in report["faults"].items() if f["action"] == action}
        if kinds:
            parts.append(f"<h3>{escape(title)}</h3>")
            parts += [_fault(kind, found) for kind, found in kinds.items()]
    return section("Clips to leave out, and to listen to", *parts)


def _fault(kind: str, found: dict) -> str:
    listed = found["clips"][:N_CLIPS_LISTED]
    items = [
        f'<li><span class="soft">{escape(c["split"])}</span> <code>{escape(c["clip"])}</code> '
        f'<span class="soft">{escape(c["reason"])}</span></li>'
        for c in listed
    ]
    if found["n"] > len(listed):
        items.append(f'<li class="soft">and {found["n"] - len(listed):,} more in report.json</li>')
    return (
        f"<details{' open' if found['n'] <= N_CLIPS_OPEN else ''}>"
        f"<summary><b>{escape(kind)}</b> {found['n']:,} "
        f'<span class="soft">{escape(found["what"])}</span></summary>'
        f'<ul class="clips">{"".join(items)}</ul></details>'
    )


def _suspects(report: dict) -> str:
    """A table for each split: what the transcript says over what the model heard."""
    if "suspects" not in report:
        return ""
    model = f"<code>{escape(report['suspects']['model'])}</code>"
    parts = [
        f'<p class="soft">Transcripts that the model {model} doubts most, the worst first: how '
        "much likelier its own reading is, per character (natural logarithm), and the CER.</p>"
    ]
    for name, found in report["suspects"]["splits"].items():
        rows = "".join(
            f'<tr><td class="l"><code>{escape(c["clip"])}</code></td><td>{gap_of(c)}</td>'
            f"<td>{100 * c['cer']:.0f} %</td>"
            f'<td class="l">{escape(c["sentence"])}<br>'
            f'<span class="soft">{escape(c["heard"])}</span></td></tr>'
            for c in found["clips"][:N_SUSPECTS_LISTED]
        )
        head = '<th>likelier by</th><th>CER</th><th class="l">transcript, heard</th>'
        parts.append(
            f"<details><summary><b>{escape(name)}</b> "
            f'<span class="soft">{len(found["clips"]):,} of {found["ranked"]:,} clips</span>'
            f'</summary><table><tr><th class="l">clip</th>{head}</tr>{rows}</table></details>'
        )
    return section("Transcripts to doubt", *parts)


def _overlaps(report: dict) -> str:
    rows = []
    for what, found in report["shared"].items():
        if not found:
            rows.append(f"<p>No {what} are shared between splits.</p>")
        for pair in found:
            first, second = pair["splits"]
            title = f"{first} and {second} share {several(pair['n'], what[:-1])}"
            rows.append(_list(title, pair["which"], pair["n"]))
    for name, repeated in report["repeated_sentences"].items():
        if repeated["sentences"]:
            title = f"{name}: {several(repeated['sentences'], 'sentence')} read more than once"
            title += f" ({repeated['clips']:,} clips)"
            read = [f"{n} × {text}" for text, n in repeated["most_read"]]
            rows.append(_list(title, read, repeated["sentences"]))
    return section("Shared and repeated", *rows)


def _list(title: str, texts: list[str], n: int) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    more = f'<li class="soft">and {n - len(texts):,} more</li>' if n > len(texts) else ""
    return (
        f'<details><summary>{escape(title)}</summary><ul class="clips">{items}{more}</ul></details>'
    )


def _characters(report: dict) -> str:
    a, forms, settings = report["alphabet"], report["unicode"], report["settings"]
    total = max(1, a["n_characters"])
    parts = [f"<h3>All {len(a['counts'])} (in lower case), {a['n_characters']:,} in all</h3>"]
    parts.append(_chips([(shown(c), n, c in a["lost"]) for c, n in a["counts"].items()]))
    charset = f"--charset {settings['charset']}, {settings['classes']} classes"
    if a["lost"]:
        parts.append(f"<h3>Lost by {escape(charset)}: {100 * a['n_lost'] / total:.2g} %</h3>")
        parts.append(_in_sentences(a["lost"]))
    if a["folded"]:
        folded = [
            (f"{shown(c)}→{becomes(f['written'])}", f["count"], 0) for c, f in a["folded"].items()
        ]
        share = 100 * a["n_folded"] / total
        parts.append(f"<h3>Written otherwise by {escape(charset)}: {share:.2g} %</h3>")
        parts.append(_chips(folded))
    if a["rare"]:
        parts.append(f"<h3>Seen fewer than {settings['charset_min_count']} times in train</h3>")
        parts.append(_in_sentences(a["rare"]))
    if a["unseen"]:
        parts.append("<h3>In dev or test only</h3><p>")
        parts.append("  ".join(escape(shown(c)) for c in a["unseen"]) + "</p>")
    for mark, used in forms["variants"].items():
        parts.append(f"<h3>{escape(mark.capitalize())}, written in {len(used)} ways</h3>")
        named = [(f if len(f) > 1 else shown(f), n, False) for f, n in used.items()]
        parts.append(_chips(named))
    if forms["invisible"]:
        parts.append("<h3>Invisible characters</h3>")
        parts.append(_chips([(c, n, True) for c, n in forms["invisible"].items()]))
    if forms["sentences_other"]:
        mixed = f"; {forms['sentences_nfc']:,} are, so forms are mixed" if forms["mixed"] else ""
        parts.append(
            f"<h3>Unicode forms</h3><p>{forms['sentences_other']:,} sentences are not in composed "
            f"form (NFC){mixed}. Training composes them.</p>"
        )
    return section("Characters", *parts)


def _chips(entries: list[tuple]) -> str:
    chips = "".join(
        f'<span class="chip{" bad" if bad else ""}">{escape(name)} <span class="soft">{n:,}</span>'
        "</span>"
        for name, n, bad in entries
    )
    return f'<div class="chips">{chips}</div>'


def _in_sentences(found: dict) -> str:
    rows = [
        f'<tr><td class="l name">{escape(shown(c))}</td><td>{f["count"]:,}</td>'
        f'<td class="l soft">{escape(f["name"].lower())}</td>'
        f'<td class="l">{escape(f["first"])}</td></tr>'
        for c, f in list(found.items())[:N_CLIPS_LISTED]
    ]
    head = '<th>times</th><th class="l">name</th><th class="l">first sentence</th>'
    return f'<table><tr><th class="l"></th>{head}</tr>{"".join(rows)}</table>'
