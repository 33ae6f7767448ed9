"""Word pieces: frequent sequences of characters, learned from transcripts by sentencepiece."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import groupby
from typing import Any, ClassVar

from asr_ctc.base.errors import UserError
from asr_ctc.text.charmap import BLANK, CharMap, is_sounding_character
from asr_ctc.text.units import SPACE_NAME, Units, Word
from asr_ctc.text.writing import Writing

BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))  # classes 1 to 256, as they are called
N_FIXED = 1 + len(BYTES)  # the blank, which has the place of sentencepiece's unknown piece, bytes
INSTALL = "pip install 'asr-ctc[pieces]', or pip install sentencepiece"


@dataclass(frozen=True)
class WordPieces(Units):
    """Pieces by byte-pair encoding, of texts as ``letters`` normalises them.

    A piece that begins a word begins with '▁'. A character that no piece has is spelt by the bytes
    of its UTF-8, so that nothing is lost. ``model`` is what sentencepiece learned; only encoding
    needs that package. Sennrich et al. 2016, "Neural machine translation of rare words with subword
    units"; Kudo & Richardson 2018, "SentencePiece".
    """

    kind: ClassVar[str] = "bpe"
    noun: ClassVar[str] = "piece"

    letters: CharMap
    model: bytes
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        symbols = self.symbols
        if symbols[:N_FIXED] != (BLANK, *BYTES) or not all(
            isinstance(symbol, str) and symbol for symbol in symbols
        ):
            raise ValueError("word pieces are the blank, 256 bytes and texts")

    @classmethod
    def from_transcripts(
        cls, sentences: Iterable[str], n_pieces: int, letters: CharMap
    ) -> "WordPieces":
        """Learns ``n_pieces`` pieces, the blank and the bytes not counted, or as many as there are.

        ValueError for fewer pieces than there are characters, and for no text.
        """
        texts = (" ".join(letters.normalise(sentence).split()) for sentence in sentences)
        buffer = BytesIO()
        try:
            _sentencepiece().SentencePieceTrainer.train(
                sentence_iterator=filter(None, texts),
                model_writer=buffer,
                model_type="bpe",
                vocab_size=N_FIXED + n_pieces,
                byte_fallback=True,
                character_coverage=1.0,
                normalization_rule_name="identity",
                hard_vocab_limit=False,
                max_sentence_length=1 << 20,
                num_threads=1,  # the same pieces every time
                unk_id=0,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                minloglevel=2,
            )
        except RuntimeError as error:
            if "required_chars" in str(error):
                raise ValueError(
                    f"{n_pieces} word pieces are fewer than the transcripts have characters"
                ) from None
            raise ValueError(f"no word pieces can be learned: {error}") from None
        processor = _processor(buffer.getvalue())
        pieces = map(processor.id_to_piece, range(1, processor.get_piece_size()))
        return cls(letters, buffer.getvalue(), (BLANK, *pieces))

    @property
    def writing(self) -> Writing:  # type: ignore[override]
        return self.letters.writing

    @property
    def written_letters(self) -> str:
        return self.letters.written_letters

    @property
    def apostrophe(self) -> str | None:  # type: ignore[override]
        return self.letters.apostrophe

    @property
    def listing(self) -> str:
        return " ".join(self.symbols[N_FIXED:])

    @cached_property
    def processor(self) -> Any:
        """sentencepiece's; UserError where the package is missing, ValueError for a wrong model."""
        processor = _processor(self.model)
        pieces = map(processor.id_to_piece, range(1, processor.get_piece_size()))
        if tuple(pieces) != self.symbols[1:]:
            raise ValueError("its word pieces are not those of its sentencepiece model")
        return processor

    def normalise(self, text: str) -> str:
        return self.letters.normalise(text)

    def encode(self, text: str) -> list[int]:
        return self.processor.encode(" ".join(self.normalise(text).split()))

    def text(self, labels: Sequence[int]) -> str:
        """Bytes that are no UTF-8 become �."""
        return " ".join(self._written(labels).split())

    def _written(self, labels: Sequence[int]) -> str:
        content = bytearray()
        for label in map(int, labels):
            if 1 <= label < N_FIXED:
                content.append(label - 1)
            elif label:
                content += self.symbols[label].encode()
        return content.decode("utf-8", "replace").replace(SPACE_NAME, " ")

    def unknown_characters(self, text: str) -> list[str]:
        return []

    def labels_and_words(self, text: str) -> tuple[list[int], list[Word]]:
        """Words are those between the spaces of the text."""
        labels: list[int] = []
        words: list[Word] = []
        for word in text.split():
            start = len(labels)
            labels += self.encode(word)
            if any(map(self.is_sounding, labels[start:])):
                words.append(Word(word, range(start, len(labels))))
        return labels, words

    def words_of(self, labels: Sequence[int]) -> list[Word]:
        n_begun, number_of = 0, []
        for label in labels:
            n_begun += self.symbols[label].startswith(SPACE_NAME)
            number_of.append(n_begun)
        words = []
        for _, run in groupby(range(len(labels)), number_of.__getitem__):
            indices = [i for i in run if labels[i] != self.blankid]
            if any(self.is_sounding(labels[i]) for i in indices):
                text = self.text([labels[i] for i in indices])
                words.append(Word(text, range(indices[0], indices[-1] + 1)))
        return words

    def is_shown(self, label: int) -> bool:
        return self.symbols[label] != SPACE_NAME

    def is_sounding(self, label: int) -> bool:
        return is_sounding_character(self.symbols[label].removeprefix(SPACE_NAME))

    @cached_property
    def ends_word(self) -> list[bool]:
        """Pieces that begin a word, and punctuation."""
        return [False, *(s.startswith(SPACE_NAME) or self._separates(s) for s in self.symbols[1:])]

    @cached_property
    def begins_word(self) -> list[bool]:
        return [s.startswith(SPACE_NAME) and not self._separates(s[1:]) for s in self.symbols]

    def _separates(self, piece: str) -> bool:
        return piece != "" and all(map(self.letters.separates, piece))

    def vocabulary_of(self, text: str) -> list[str | None]:
        text = self.normalise(text)
        return [*"".join(" " if self.letters.separates(c) else c for c in text).split()]

    def spelling(self, word: str) -> list[int] | None:
        """As sentencepiece cuts it, one of several ways to write it."""
        word = self.with_one_apostrophe(word)
        return self.encode(word) if self.vocabulary_of(word) == [word] else None

    def names_of(self, text: str) -> list[str | None]:
        return [self.symbols[label] for label in self.encode(text)]

    @property
    def names(self) -> list[str | None]:
        return [None, *self.symbols[1:]]

    def with_one_apostrophe(self, text: str) -> str:
        return self.letters.with_one_apostrophe(text)

    def to_dict(self) -> dict:
        return {
            "kind": self.kind,
            "letters": self.letters.to_dict(),
            "model": base64.b64encode(self.model).decode("ascii"),
            "symbols": list(self.symbols),
        }

    @classmethod
    def from_dict(cls, content: dict) -> "WordPieces":
        """ValueError or TypeError for what ``to_dict`` did not write."""
        if set(content) != {"letters", "model", "symbols"}:
            raise ValueError("keys of word pieces: letters, model and symbols are needed")
        model = base64.b64decode(content["model"], validate=True)
        return cls(CharMap.from_dict(content["letters"]), model, tuple(content["symbols"]))


def _processor(model: bytes) -> Any:
    try:
        return _sentencepiece().SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise ValueError(f"not a model of sentencepiece: {error}") from None


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise UserError(f"word pieces need the package sentencepiece: {INSTALL}") from None
    return sentencepiece
