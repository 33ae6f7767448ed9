"""Clips with reference and hypothesis, their errors counted; as JSONL and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import lines
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.scoring.evaluation import Decoded, Evaluation
from asr_ctc.scoring.metrics import (
    COUNTS,
    RATES,
    Pairs,
    align_characters,
    align_words,
    normalised,
)
from asr_ctc.text.languages import writing_of_language
from asr_ctc.text.normalise import Distinctions
from asr_ctc.text.segments import segmenter_of, why_no_words
from asr_ctc.text.writing import PLAIN, Writing

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class ScoredClip:
    """A line of the hypotheses file: texts before normalisation, ``logp`` natural.

    ``duration_s`` is 0 for a clip that cannot be opened. ``scored`` are the differences that count
    as errors where the decoding model is scored; None if unknown. ``segmenter`` cut the words of a
    writing without spaces there, '' if nothing did.
    """

    id: str
    reference: str
    hypothesis: str
    logp: float | None = None
    duration_s: float | None = None
    speaker: str = ""
    scored: Distinctions | None = None
    segmenter: str = ""


TEXTS_OF_CLIP = "id", "reference", "hypothesis", "logp", "duration_s", "speaker"


def in_corpus_order(
    evaluation: Evaluation, corpus: Corpus, scored: Distinctions | None = None
) -> list[ScoredClip]:
    """The best hypothesis of each clip; clip i is that of row i of the corpus."""
    decoded: dict[tuple[str, str], list[Decoded]] = {}
    for clip in evaluation.clips:  # a clip may have several rows, each with its sentence
        decoded.setdefault((clip.id, clip.transcript), []).append(clip)
    clips = []
    segmenter = segmenter_of((scored or {}).get("writing", PLAIN))
    for i in range(len(corpus)):
        clip = decoded[corpus.path(i), corpus.sentence(i)].pop()
        best = clip.hypotheses[0]
        speaker = corpus.speakers[corpus.rows[i]]
        logp = best.logp if math.isfinite(best.logp) else None
        clips.append(
            ScoredClip(
                corpus.path(i),
                clip.reference,
                best.text,
                None if logp is None else round(logp, 4),
                round(corpus.duration(i), 3),
                speaker,
                scored,
                segmenter.name if segmenter else "",
            )
        )
    return clips


@dataclass(frozen=True)
class ClipErrors:
    """N clips normalised and aligned. Empty references have no pairs, and zeros as counts.

    ``counts`` (N, 6) int64 has the columns COUNTS. Where no words can be counted, because the
    writing has no spaces between them and nothing cuts it, ``words`` are the characters.
    """

    clips: Sequence[ScoredClip]
    words: list[Pairs]
    characters: list[Pairs]
    counts: np.ndarray

    @property
    def scored(self) -> np.ndarray:
        """Mask (N,) of the clips with a reference that is not empty: the rates are over these."""
        return self.counts[:, COUNTS.index("sentences")] > 0


def count_errors(clips: Sequence[ScoredClip], **distinctions: Unpack[Distinctions]) -> ClipErrors:
    """Aligns every clip; ``distinctions`` are those of ``metrics.error_rates``, such as case."""
    references = normalised([clip.reference for clip in clips], **distinctions)
    hypotheses = normalised([clip.hypothesis for clip in clips], **distinctions)
    writing = distinctions.get("writing", PLAIN)
    aligned: list[list[Pairs]] = []  # by words, by characters
    scored = [i for i, reference in enumerate(references) if reference]
    of_words = partial(align_words, writing=writing)
    of_symbols = partial(align_characters, phonemes=distinctions.get("phonemes", False))
    for align in (of_words, of_symbols):
        alignments = align([references[i] for i in scored], [hypotheses[i] for i in scored])
        pairs_of = dict(zip(scored, alignments, strict=True))
        aligned.append([pairs_of.get(i, []) for i in range(len(clips))])
    counts = np.zeros((len(clips), len(COUNTS)), dtype=np.int64)
    if why_no_words(writing):
        aligned[0] = aligned[1]
    for i in scored:
        for column, pairs in zip((0, 2), (aligned[0][i], aligned[1][i]), strict=True):
            counts[i, column] = sum(ref != hyp for ref, hyp in pairs)
            counts[i, column + 1] = sum(ref is not None for ref, _ in pairs)
        counts[i, 4:] = references[i] != hypotheses[i], 1
    if aligned[0] is aligned[1]:
        counts[:, :2] = 0
    return ClipErrors(clips, words=aligned[0], characters=aligned[1], counts=counts)


def operations(pairs: Pairs) -> tuple[int, int, int]:
    """(substitutions, deletions, insertions) of an alignment."""
    n_deletions = sum(hyp is None for _, hyp in pairs)
    n_insertions = sum(ref is None for ref, _ in pairs)
    n_errors = sum(ref != hyp for ref, hyp in pairs)
    return n_errors - n_deletions - n_insertions, n_deletions, n_insertions


# -------------------------------------------------------------------------------------- files


def as_jsonl(clips: Iterable[ScoredClip]) -> str:
    """One line per clip; ``read_hypotheses`` reads it back."""
    return "".join(
        json.dumps(
            {
                **{name: getattr(clip, name) for name in TEXTS_OF_CLIP},
                **_as_plain(clip.scored),
                **({"segmenter": clip.segmenter} if clip.segmenter else {}),
            },
            ensure_ascii=False,
        )
        + "\n"
        for clip in clips
    )


def _as_plain(scored: Distinctions | None) -> dict[str, Any]:
    """Accents and writing profile as a file has them: a profile of the table by its name."""
    if scored is None:
        return {}
    writing = scored.get("writing", PLAIN)
    is_known = writing_of_language(writing.name) == writing
    return {
        "accents": scored.get("accents", False),
        "writing": writing.name if is_known else writing.to_dict(),
        **({"phonemes": True} if scored.get("phonemes") else {}),
    }


def _from_plain(content: dict[str, Any]) -> Distinctions | None:
    """ValueError for wrong values. A file of an earlier version has a case folding alone."""
    if "writing" not in content:
        folding = content.get("case_folding")
        if folding is None:
            return None
        return {"accents": False, "writing": Writing(case_folding=folding)}
    profile, accents = content["writing"], content.get("accents", False)
    writing = writing_of_language(profile) if isinstance(profile, str) else None
    if isinstance(profile, dict):
        writing = Writing.from_dict(profile)
    if writing is None:
        raise ValueError(f"writing: there is no profile {reprlib.repr(profile)}")
    scored: Distinctions = {"accents": accents, "writing": writing}
    if "phonemes" in content:
        scored["phonemes"] = content["phonemes"]
    for name in ("accents", "phonemes"):
        if not isinstance(value := scored.get(name, False), bool):
            raise ValueError(f"{name} must be true or false, found {reprlib.repr(value)}")
    return scored


def read_hypotheses(path: Path) -> list[ScoredClip]:
    """Reads a file of ``as_jsonl``, or of another program with id, reference and hypothesis.

    UserError names the file and the wrong line.
    """
    clips = []
    for number, line in enumerate(lines(Path(path)), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            clip = ScoredClip(content["id"], content["reference"], content["hypothesis"])
            "".join((clip.id, clip.reference, clip.hypothesis)).encode()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise UserError(
                f"{path}: line {number} is not an object with id, reference and hypothesis, as "
                "`test --split --hypotheses FILE.jsonl` writes it"
            ) from None
        try:
            segmenter = content.get("segmenter", "")
            if not isinstance(segmenter, str):
                raise ValueError(f"segmenter must be a text, found {reprlib.repr(segmenter)}")
            clips.append(replace(clip, scored=_from_plain(content), segmenter=segmenter))
        except ValueError as error:
            raise UserError(f"{path}: line {number}: {error}") from None
    if not clips:
        raise UserError(f"{path}: is empty: it holds no clips")
    return clips


def as_csv(errors: ClipErrors, columns: Mapping[str, Sequence[str]]) -> str:
    """One row per clip: its texts, errors and rates, and further ``columns`` {name: N texts}."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    fields = list(TEXTS_OF_CLIP) if errors.clips else []
    further = {name: values for name, values in columns.items() if name not in fields}
    edits = ("substitutions", "deletions", "insertions")
    is_ipa = any((clip.scored or {}).get("phonemes", False) for clip in errors.clips)
    symbol, rate = ("phoneme", "per") if is_ipa else ("character", "cer")
    table.writerow(
        [*fields]
        + ["words", *(f"word_{edit}" for edit in edits), "wer"]
        + [f"{symbol}s", *(f"{symbol}_{edit}" for edit in edits), rate]
        + list(further)
    )
    for i, clip in enumerate(errors.clips):
        row = [getattr(clip, name) for name in fields]
        for pairs, (wrong, total) in (
            (errors.words[i], RATES["wer"]),
            (errors.characters[i], RATES["cer"]),
        ):
            n_errors, n = errors.counts[i, wrong], errors.counts[i, total]
            row += [n, *operations(pairs if n else []), round(n_errors / n, 6) if n else ""]
        table.writerow(row + [values[i] for values in further.values()])
    return file.getvalue()
