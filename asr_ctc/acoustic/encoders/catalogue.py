"""The published models that are known by name: what each is for, and under which licence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

from asr_ctc.base.errors import UserError


class Published(NamedTuple):
    """A model by the name that --encoder or --pretrained takes.

    ``size_m`` is its millions of parameters, of Whisper those of its encoder. All read 16 kHz.
    """

    name: str
    language: str
    size_m: int
    licence: str
    purpose: str
    transcribes: bool = False


MIT, NON_COMMERCIAL, APACHE = "MIT", "CC BY-NC 4.0", "Apache 2.0"
SHARE_ALIKE = "CC BY-SA 3.0"
LIBRISPEECH = "fine-tuned on LibriSpeech"
RATE_HZ = 16_000


def _fine_tuned(
    name: str, language: str, size_m: int, purpose: str, licence: str = MIT
) -> Published:
    return Published(name, language, size_m, licence, purpose, transcribes=True)


# Of torchaudio.pipelines, from its documentation; the sizes are those of its models.
BUNDLES = (
    Published("WAV2VEC2_BASE", "English", 94, MIT, "960 h of LibriSpeech, unlabelled"),
    Published("WAV2VEC2_LARGE", "English", 315, MIT, "960 h of LibriSpeech, unlabelled"),
    Published("WAV2VEC2_LARGE_LV60K", "English", 315, MIT, "60,000 h of Libri-Light, unlabelled"),
    Published("WAV2VEC2_XLSR53", "53 languages", 315, MIT, "56,000 h; for other languages"),
    Published("WAV2VEC2_XLSR_300M", "128 languages", 315, MIT, "436,000 h; for other languages"),
    Published("WAV2VEC2_XLSR_1B", "128 languages", 963, MIT, "as XLSR_300M, with more memory"),
    Published("WAV2VEC2_XLSR_2B", "128 languages", 2159, MIT, "as XLSR_1B, with more memory"),
    Published("HUBERT_BASE", "English", 94, MIT, "960 h of LibriSpeech, unlabelled"),
    Published("HUBERT_LARGE", "English", 315, MIT, "60,000 h of Libri-Light, unlabelled"),
    Published("HUBERT_XLARGE", "English", 963, MIT, "60,000 h of Libri-Light, unlabelled"),
    Published("WAVLM_BASE", "English", 94, MIT, "960 h of LibriSpeech, unlabelled"),
    Published("WAVLM_BASE_PLUS", "English", 94, MIT, "94,000 h; robust to noise and overlap"),
    Published("WAVLM_LARGE", "English", 316, MIT, "94,000 h; robust to noise and overlap"),
    _fine_tuned("WAV2VEC2_ASR_BASE_10M", "English", 94, "BASE, 10 min of Libri-Light"),
    _fine_tuned("WAV2VEC2_ASR_BASE_100H", "English", 94, f"BASE, {LIBRISPEECH}, 100 h"),
    _fine_tuned("WAV2VEC2_ASR_BASE_960H", "English", 94, f"BASE, {LIBRISPEECH}, 960 h"),
    _fine_tuned("WAV2VEC2_ASR_LARGE_10M", "English", 315, "LARGE, 10 min of Libri-Light"),
    _fine_tuned("WAV2VEC2_ASR_LARGE_100H", "English", 315, f"LARGE, {LIBRISPEECH}, 100 h"),
    _fine_tuned("WAV2VEC2_ASR_LARGE_960H", "English", 315, f"LARGE, {LIBRISPEECH}, 960 h"),
    _fine_tuned("WAV2VEC2_ASR_LARGE_LV60K_10M", "English", 315, "LV60K, 10 min of Libri-Light"),
    _fine_tuned("WAV2VEC2_ASR_LARGE_LV60K_100H", "English", 315, f"LV60K, {LIBRISPEECH}, 100 h"),
    _fine_tuned("WAV2VEC2_ASR_LARGE_LV60K_960H", "English", 315, f"LV60K, {LIBRISPEECH}, 960 h"),
    _fine_tuned("HUBERT_ASR_LARGE", "English", 316, f"{LIBRISPEECH}, 960 h"),
    _fine_tuned("HUBERT_ASR_XLARGE", "English", 963, f"{LIBRISPEECH}, 960 h"),
    _fine_tuned("VOXPOPULI_ASR_BASE_10K_DE", "German", 94, "parliament, 282 h", NON_COMMERCIAL),
    _fine_tuned("VOXPOPULI_ASR_BASE_10K_EN", "English", 94, "parliament, 543 h", NON_COMMERCIAL),
    _fine_tuned("VOXPOPULI_ASR_BASE_10K_ES", "Spanish", 94, "parliament, 166 h", NON_COMMERCIAL),
    _fine_tuned("VOXPOPULI_ASR_BASE_10K_FR", "French", 94, "parliament, 211 h", NON_COMMERCIAL),
    _fine_tuned("VOXPOPULI_ASR_BASE_10K_IT", "Italian", 94, "parliament, 91 h", NON_COMMERCIAL),
    _fine_tuned("MMS_FA", "1,130 languages", 315, "aligns romanised text", NON_COMMERCIAL),
)

# Of the Hugging Face hub, from the cards of the models: those most often started from. The card of
# WavLM names the licence of UniSpeech, where torchaudio names that of the files that it serves.
WHISPER = "680,000 h, transcribed"
HUB = (
    Published("openai/whisper-tiny", "99 languages", 8, APACHE, WHISPER),
    Published("openai/whisper-base", "99 languages", 21, APACHE, WHISPER),
    Published("openai/whisper-small", "99 languages", 88, APACHE, WHISPER),
    Published("openai/whisper-medium", "99 languages", 307, APACHE, WHISPER),
    Published("openai/whisper-large-v2", "99 languages", 637, APACHE, WHISPER),
    Published(
        "facebook/wav2vec2-xls-r-300m", "128 languages", 315, APACHE, "436,000 h, unlabelled"
    ),
    Published("facebook/mms-300m", "1,406 languages", 315, NON_COMMERCIAL, "491,000 h, unlabelled"),
    Published("facebook/data2vec-audio-base", "English", 93, APACHE, "960 h, unlabelled"),
    Published("facebook/w2v-bert-2.0", "143 languages", 580, MIT, "4.5 million h; reads mels"),
    Published("microsoft/wavlm-base-plus", "English", 94, SHARE_ALIKE, "as WAVLM_BASE_PLUS"),
    _fine_tuned(
        "facebook/mms-1b-all", "1,162 languages", 965, "with --adapter fra", NON_COMMERCIAL
    ),
    _fine_tuned("facebook/wav2vec2-base-960h", "English", 94, "as ASR_BASE_960H", APACHE),
)


def license_of(name: str) -> str:
    """The licence of a published model."""
    return next(model.licence for model in (*BUNDLES, *HUB) if model.name == name)


def refuse_unknown(name: str, known: Iterable[str]) -> NoReturn:
    """UserError for a name that is none of ``known``, with similar ones.

    They are names of the hub that it is a part of, and those of about the same letters.
    """
    known = list(known)
    similar = [model for model in known if "/" in model and name.lower() in model.lower()]
    similar += difflib.get_close_matches(name.upper(), known, n=3, cutoff=0.5)
    hint = f"similar: {', '.join(similar[:3])}" if similar else "`pretrained list` shows the names"
    raise UserError(f"{name}: neither a folder nor the name of a published model; {hint}")
