"""Estimates a language model from the training transcripts and any text: for `lm`."""

import contextlib
import gzip
import logging
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from asr_ctc.acoustic.model_file import load_model, newest_model
from asr_ctc.assembly.decoder import in_units_of
from asr_ctc.assembly.units import OF_UNITS, make_units
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import Lines
from asr_ctc.base.progress import bar
from asr_ctc.config.load import Config
from asr_ctc.config.settings.language_model import LanguageModelConfig
from asr_ctc.corpus import index
from asr_ctc.corpus.corpus import Corpus, find_corpus, load_split
from asr_ctc.corpus.splitting import sentence_keys
from asr_ctc.corpus.spoken import speak_for
from asr_ctc.display.terminal import several
from asr_ctc.lm.arpa import write_arpa
from asr_ctc.lm.counting import Numbering, count_windows, counts_of_words
from asr_ctc.lm.kneser_ney import estimate
from asr_ctc.lm.lexicon import Lexicon, lexicon_beside, read_lexicon, write_lexicon
from asr_ctc.lm.ngrams import EOS, SPACE, SPECIAL_WORDS, UNK, LanguageModel
from asr_ctc.lm.scoring import score_sentence
from asr_ctc.lm.spelling import words_of
from asr_ctc.lm.word_list import WordList, prepare_word_list, read_word_list
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.ipa import phonemes_of
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.units import Units

log = logging.getLogger(__name__)

SENTENCES_AT_A_TIME = 1 << 14
MOST_LINE_BYTES = 1 << 24
HELD_OUT = ("dev", "test")
ESPEAK = "espeak"  # of --lexicon_from


@dataclass
class Source:
    """A source text of a model; ``n_excluded`` of its sentences are in dev or test."""

    name: str
    n_sentences: int = 0
    n_words: int = 0
    n_excluded: int = 0


@dataclass(frozen=True)
class Perplexity:
    """The perplexity of a text: e to the mean of -log p over known words and sentence ends."""

    value: float
    n_words: int
    n_unknown: int


@dataclass
class Built:
    """The results of `lm`, for its report."""

    path: Path
    model: LanguageModel
    dev: Perplexity
    speller: str  # the units that spell the words
    sources: list[Source] = field(default_factory=list)
    word_list: WordList | None = None
    unit: str = "word"
    lexicon: Lexicon | None = None
    unpronounced: list[str] = field(default_factory=list)

    @property
    def paths(self) -> list[Path]:
        """The files written."""
        return [self.path, lexicon_beside(self.path)] if self.lexicon else [self.path]


def build_language_model(config: Config) -> Built:
    """Estimates the language model of the settings and writes it to --out.

    UserError for a corpus or text that cannot be read, settings that contradict each other, a file
    that cannot be written, and if there is no word to learn from.
    """
    corpus_config, settings = config.corpus, config.lm
    path = _output(config)
    prune = full_prune(settings.prune, settings.order)
    folder = find_corpus(
        corpus_config.datasetroot,
        corpus_config.datasetversion,
        corpus_config.lang,
        layout=corpus_config.corpus,
    )
    index_dir = index.folder(corpus_config.index_dir)
    train, *held_out = (
        load_split(folder, split, corpus_config.corpus, index_dir=index_dir)
        for split in ("train", *HELD_OUT)
    )
    charmap, speller = _units(config, train)
    level = _level(settings, charmap)
    if level == "char" or settings.lexicon_from == ESPEAK:
        speak_for(charmap, (train, held_out[0]))
    keys = [sentence_keys(c.all_sentences(), charmap.words_writing) for c in held_out]
    forbidden = np.unique(np.concatenate(keys))
    if settings.lexicon_from and level == "char":
        raise UserError("--lexicon_from: the language model needs words: omit --level char")
    if settings.word_list and level == "char":
        raise UserError("--word_list is for a language model of words: --level word")
    listed = read_word_list(settings.word_list, corpus_config.lang) if settings.word_list else []
    numbering = Numbering(charmap, level)
    sources = [Source(train.name), *(Source(str(file)) for file in config.input.text)]
    sentences = _numbered(sources, train, config.input.text, forbidden, numbering)
    table = count_windows(sentences, settings.order, prune)
    word_list: WordList | None = None
    if listed:
        counts = counts_of_words(table, len(numbering.ids))
        word_list = prepare_word_list(listed, numbering, counts)
        if not word_list.n_words:
            raise UserError(f"--word_list {settings.word_list}: {speller} can spell no word of it")
    shares = word_list.shares if word_list else None
    model = estimate(table, settings.order, list(numbering.ids), prune=prune, shares=shares)
    n_words = sum(source.n_words for source in sources)
    if not n_words:
        raise UserError("no words to learn from: every sentence is empty or excluded")
    learnt = set(numbering.ids) - {*SPECIAL_WORDS, SPACE}
    if not any(character.isalnum() for word in learnt for character in word):  # but punctuation
        raise UserError(
            f"{speller} can spell none of the {several(n_words, 'word')}: name a model of this "
            "language with --modelpath, or take --charset auto"
        )
    lexicon: Lexicon | None = None
    unpronounced: list[str] = []
    if settings.lexicon_from:
        lexicon, unpronounced = make_lexicon(
            settings.lexicon_from, model, units=charmap, sentences=train.all_sentences()
        )
        write_lexicon(lexicon_beside(path), lexicon)
    write_arpa(path, model)
    dev = perplexity(model, held_out[0].all_sentences(), charmap=charmap, level=level)
    unit = charmap.noun if level == "char" else "word"
    return Built(path, model, dev, speller, sources, word_list, unit, lexicon, unpronounced)


def _level(settings: LanguageModelConfig, units: Units) -> str:
    """What the words of the language model are: --level, else what the writing has."""
    if units.writing.spaces or settings.lexicon_from:
        return settings.level or "word"
    if settings.level == "word":
        log.warning(
            "this writing has no spaces between words: a model of words learns whole sentences; "
            "--level char suits it"
        )
    elif settings.level is None:
        log.info(
            "a model of %ss, because this writing has no spaces between words (--level char)",
            units.noun,
        )
    return settings.level or "char"


def make_lexicon(
    source: str, model: LanguageModel, *, units: Units, sentences: Iterable[str] = ()
) -> tuple[Lexicon, list[str]]:
    """(how the words of a language model sound, those of which that is not known).

    ``source`` is espeak, which reads the ``sentences`` too, or a file. UserError for units that are
    not phonemes with word boundaries, and where no word can be pronounced.
    """
    words = model.words[EOS + 1 :]
    if not isinstance(units, Phonemes):
        raise UserError(
            "--lexicon_from: for a model of phonemes: --modelpath MODEL, or --units phoneme"
        )
    lexicon = (
        _read_aloud(words, units, sentences) if source == ESPEAK else read_lexicon(Path(source))
    )
    lexicon, _ = lexicon.of_words(words)
    spelt = {word for word, _ in lexicon.spellings(units)}
    if not spelt:
        raise UserError(
            f"--lexicon_from {source}: no word of the language model is there in phonemes of the "
            f"model: {' '.join(units.symbols[2:]):.200}"
        )
    return lexicon, [word for word in words if word not in spelt]


def _read_aloud(words: Sequence[str], units: Phonemes, sentences: Iterable[str]) -> Lexicon:
    """How the words sound by themselves and, more than once, in the sentences, as in liaison."""
    in_context: Counter[tuple[str, str]] = Counter()
    for sentence in sentences:
        written, spoken = units.normalise(sentence).split(), units.ipa(sentence).split()
        if len(written) == len(spoken):  # else nobody knows which is which
            in_context.update(zip(written, spoken, strict=True))
    spellings = {
        word: [ipa.replace(" ", "")] for word, ipa in zip(words, units.read(words), strict=True)
    }
    for (word, ipa), count in in_context.items():
        if count > 1 and word in spellings and ipa not in spellings[word]:
            spellings[word].append(ipa)
    return Lexicon(
        tuple((word, tuple(phonemes_of(ipa))) for word in words for ipa in spellings[word] if ipa)
    )


def _units(config: Config, train: Corpus) -> tuple[Units, str]:
    """The units that spell the words, and what they are: those of --modelpath, those which the
    settings name, those of the newest model of the language, or those that training would make."""
    settings, path = config.corpus, config.input.modelpath
    if path:
        units = in_units_of(config, Path(path), load_model(path)).charmap
        return units, f"the {units.described} of {path}"
    if not any(map(config.has, OF_UNITS)):
        with contextlib.suppress(UserError):
            newest = newest_model(config.logs.baselogdir)
            file = load_model(newest)
            if file.origin.get("corpus", {}).get("lang") == settings.lang:
                return file.charmap, f"the {file.charmap.described} of {newest}"
    config, (units, _) = make_units(config, train)
    kind = config.classes.units
    named = f"--charset {config.corpus.charset}" if kind == CharMap.kind else f"--units {kind}"
    return units, f"the {units.described} of {named}"


def full_prune(prune: list[int], order: int) -> tuple[int, ...]:
    """--prune with one count for every order: the last value holds for the higher orders too."""
    if prune[:1] != [0] or sorted(prune) != list(prune) or len(prune) > order:
        raise UserError(
            f"--prune {' '.join(map(str, prune))}: needs at most --order {order} counts, the "
            "first 0 (no word is dropped), in ascending order"
        )
    return (*prune, *[prune[-1]] * (order - len(prune)))


def perplexity(
    model: LanguageModel, sentences: Iterable[str], *, charmap: Units, level: str
) -> Perplexity:
    """The perplexity of sentences under a model of words or characters (``level``)."""
    total, n_scored, n_words, n_unknown = 0.0, 0, 0, 0
    for sentence in sentences:
        words = words_of(sentence, charmap, level)
        known = np.array([*(model.ids.get(word, UNK) != UNK for word in words), True])
        total += float(score_sentence(model, words)[known].sum())
        n_scored += int(known.sum())
        n_words += len(words)
        n_unknown += len(known) - int(known.sum())
    return Perplexity(float(np.exp(-total / n_scored)), n_words, n_unknown)


def _output(config: Config) -> Path:
    path = Path(config.output.out or f"{config.corpus.lang}.arpa")
    if not path.name.endswith((".arpa", ".arpa.gz")):
        raise UserError(f"--out {path}: the name of a language model ends in .arpa or .arpa.gz")
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no folder {path.parent}")
    return path


def _numbered(
    sources: list[Source],
    train: Corpus,
    files: list[str],
    forbidden: np.ndarray,
    numbering: Numbering,
) -> Iterator[list[int]]:
    """Yields the word numbers of every sentence absent from dev and test; counts in ``sources``."""
    texts = [_pieces(train.all_sentences()), *map(read_text, files)]
    for source, pieces in zip(sources, texts, strict=True):
        for piece in pieces:
            piece = [sentence for sentence in piece if sentence.strip()]
            allowed = ~np.isin(sentence_keys(piece, numbering.units.words_writing), forbidden)
            source.n_excluded += len(piece) - int(allowed.sum())
            for sentence, is_allowed in zip(piece, allowed.tolist(), strict=True):
                if is_allowed:
                    ids = numbering.sentence(sentence)
                    source.n_sentences += 1
                    source.n_words += len(ids)
                    yield ids


def _pieces(sentences: Iterator[str]) -> Iterator[list[str]]:
    while piece := list(islice(sentences, SENTENCES_AT_A_TIME)):
        yield piece


def read_text(path: str | Path) -> Iterator[list[str]]:
    """Yields the lines of a UTF-8 text, plain or gzip-compressed, in lists, with a progress bar."""
    n_lines = 0
    try:
        n_megabytes = Path(path).stat().st_size // 10**6
        with (
            open(path, "rb") as raw,
            bar(None, f"reading {Path(path).name}", "MB", total=n_megabytes) as progress,
        ):
            is_gzip = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_gzip else raw
            in_pieces = Lines(path, file, MOST_LINE_BYTES)
            while lines := in_pieces.take(SENTENCES_AT_A_TIME):
                try:
                    text = b"\n".join(lines).decode("utf-8-sig" if n_lines == 0 else "utf-8")
                except UnicodeDecodeError as error:
                    n_lines += error.object[: error.start].count(b"\n") + 1
                    raise UserError(f"{path}: line {n_lines} is not UTF-8 text") from None
                n_lines += len(lines)
                yield text.split("\n")
                progress.update(raw.tell() // 10**6 - progress.n)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged or truncated gzip file ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
