"""The writing profile of a corpus, and the character map where no setting names one."""

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from asr_ctc.base.errors import UserError
from asr_ctc.config.load import FALSE_WORDS, NONE_WORDS, TRUE_WORDS, Config, load_yaml
from asr_ctc.corpus import transcripts
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.text.languages import (
    LANGUAGES,
    OF_DEFAULT_MAP,
    is_french_or_english,
    writing_of_language,
    writing_of_script,
    writing_of_texts,
)
from asr_ctc.text.writing import Writing

log = logging.getLogger(__name__)

TABLES = "alternatives", "look_alikes", "optional"
SWITCHES = "compatible", "spaces"


def find_writing(config: Config, train: Corpus | None) -> Writing:
    """The profile of the language, or of the transcripts of ``train``, as --profile changes it.

    The language of a corpus without a language folder counts only if it was given. UserError for a
    profile that cannot be used.
    """
    writing = _writing_of_corpus(config, train)
    if config.corpus.profile:
        writing = extend_writing(config.corpus.profile, writing)
    if config.corpus.case_folding is not None:
        writing = replace(writing, case_folding=config.corpus.case_folding)
    return writing


def _writing_of_corpus(config: Config, train: Corpus | None) -> Writing:
    language = config.corpus.lang
    if train is None:
        return writing_of_language(language) or Writing(name=language, compatible=True)
    counts = transcripts.character_counts(train)
    if not _language_is_known(config):
        if is_french_or_english(counts):
            return LANGUAGES["fr"]
        return writing_of_script(counts)
    writing = writing_of_texts(language, counts)
    row = writing_of_language(language)
    if row and row.name != writing.name:
        log.info(
            "the transcripts are in %s, which is not that of --lang %s: read as such",
            writing.name,
            language,
        )
    return writing


def _language_is_known(config: Config) -> bool:
    return config.corpus.corpus == "commonvoice" or config.has("lang")


def with_charset(config: Config, writing: Writing) -> Config:
    """The settings with a --charset: without one, the default map for its languages, French and
    English, and 'auto' for others. Says which was taken and why."""
    if config.corpus.charset is not None:
        return config
    is_known = _language_is_known(config) and not writing.name.endswith(" script")
    if language := OF_DEFAULT_MAP.get(writing.language):
        why = f"the language is {language}" if is_known else "no letter is foreign to French"
        log.info(
            "character map: the default one, because %s: é is written e, capitals are small "
            "letters, ! ? ; a full stop, - and : a space; --charset auto keeps accents and signs",
            why,
        )
        return config.replace(charset="default")
    log.info(
        "character map: auto, from the training transcripts, because the default one is for "
        "French and English, and this is %s",
        f"--lang {config.corpus.lang}" if is_known else f"another language, in {writing.name}",
    )
    return config.replace(charset="auto")


def extend_writing(path: str, writing: Writing) -> Writing:
    """``writing`` with what the file of --profile says; UserError if it cannot be used.

    Its tables extend those of ``writing``, 'none' empties them; other keys replace. ``language``
    names the profile to start from, in place of ``writing``.
    """
    content = dict(_read_profile(path))
    try:
        if language := content.pop("language", None):
            base = writing_of_language(str(language))
            if base is None:
                raise ValueError(f"language: there is no profile of {language!r}")
            writing = base
        values = {f.name: getattr(writing, f.name) for f in fields(Writing)}
        values["name"] = f"{writing.name} with {Path(path).name}".strip()[:100]
        for name, raw in content.items():
            values[name] = _value(name, raw, values.get(name))
        return Writing.from_dict(values)
    except ValueError as error:
        raise UserError(f"--profile {path}: {error}") from None


def _read_profile(path: str) -> Mapping[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text"
        raise UserError(f"--profile {path}: cannot be read ({reason})") from None
    return load_yaml(text, f"--profile {path}")


def _value(name: str, raw: Any, before: Any) -> Any:
    """A key of a profile as Writing takes it; YAML has texts and tables of texts."""
    is_none = isinstance(raw, str) and raw.strip().lower() in NONE_WORDS
    if name in TABLES:
        if is_none:
            return {}
        if isinstance(raw, str) and name == "optional":
            raw = dict.fromkeys("".join(raw.split()), "")
        if not isinstance(raw, dict):
            raise ValueError(f"{name} must be a table of a form and the form it stands for")
        return {**before, **raw}
    if name in SWITCHES and isinstance(raw, str) and raw.lower() in TRUE_WORDS | FALSE_WORDS:
        return raw.lower() in TRUE_WORDS
    return "" if name == "invisible" and is_none else raw
