#!/usr/bin/env python
"""Speak a small corpus in the Common Voice layout, so that everything runs without a download.

    python tools/make_demo_corpus.py --out data       data/demo-1.0/fr: 1680 clips, one hour
    python tools/make_demo_corpus.py --out data --lang de --sentences german.txt

espeak-ng speaks the sentences of a little grammar in several voices, speeds and pitches, and noise
is added. As in clips that people record, there is more or less silence around the words, with the
noise gate more or less shut, and some say two sentences: a model that knows none of this fails on
recordings longer than its clips. Sentences and voices of test and dev occur in no other split; the
same settings write the same bytes. ``Speaker`` also serves alone: it says a sentence and tells when
each word is spoken.

This is a development tool: espeak-ng is GPL, and the package asr_ctc never imports it.
"""

import argparse
import ctypes
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

RECIPE = 2  # counted up whenever the same settings come to write something else
SETTINGS_FILE = "demo_corpus.json"
SAMPLE_RATE = 16000  # Hz, of all that leaves this file
PAIR_EVERY = 7  # a clip in so many says two sentences, with a pause between them
SILENCE_S = (0.05, 0.4)  # put before and after the words; espeak leaves up to 0.06 s of its own
SNR_DB = (20.0, 35.0)
GATE_DB = 15.0  # by which a noise gate dampens the silence, on average; the strongest leave zeros
PEAK = (0.35, 0.8)  # of full scale, before the noise
RATE_WPM = (145, 185)
PITCH = (35, 65)  # espeak's scale: 0 to 99, 50 is the voice's own
COLUMNS = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents "
    "variant locale segment"
).split()
VOICES = {  # espeak variants that sound like people; those of test and dev speak nowhere else
    "train": (
        "m1 f1 m3 f3 m4 f4 m6 Annie m7 steph Mike belinda Michael shelby Denis robert Diogo"
    ).split(),
    "dev": "m5 aunty boris".split(),
    "test": "m2 f2 Gene f5 victor linda".split(),
}
PUNCTUATION = ".,;:!?…\"'’‘“”«»()[]-–—¿¡"  # around words, no part of them
FEMALE = set("f1 f2 f3 f4 f5 Annie steph belinda shelby aunty linda".split())

# One rule a line, "name: choice | choice"; an indented line goes on with the rule above. {name} is
# replaced by a choice of that rule. Words are picked so that any choice agrees with any other.
FRENCH = """
sentence: {who} {eat} {food}. | {when}, {who} {eat} {food}. | {who} {eat} {food} {where}.
    | {who} {read} {text}. | {when}, {who} {read} {text}. | {who} {use} {thing}.
    | {who} {use} {thing} {where}. | qui {use} {thing} ? | {who} {go} {where}.
    | {when}, {who} {go} {where}. | {pet} {move} {where}. | {pet} {move} {where} !
    | où {move} {pet} ? | {who} est {very} {how}. | {when}, {who} est {very} {how}.
    | {who} n'est pas {how}. | {who} a {number} {many}. | {who} a {number} {many} {where}.
    | il y a {number} {many} {where}. | {like} {topic}. | {like} {topic}, {too}.
    | {who} n'aime pas {topic}. | {when}, il fait {weather} {where}.
    | {who} porte {clothes} {colour}. | {who} porte {clothes} {colour} ! | voici {clothes} {colour}.
who: le voisin | la voisine | le médecin | mon frère | ma sœur | mon père | ma mère | notre ami
    | votre cousine | leur fils | sa fille | un enfant | une femme | un homme | l'élève | l'artiste
    | cette dame | ce garçon | le boulanger | la chanteuse | le facteur | Marie | Paul | Julie
    | Hugo | Élise | Nicolas | il | elle | on
pet: le chat | le chien | l'oiseau | le cheval | la vache | le lapin | la souris | une poule | l'âne
eat: mange | achète | prépare | partage | goûte | commande | vend
food: une pomme | du pain | de la soupe | un gâteau | du fromage | des fraises | une orange
    | du poisson | le dîner | des légumes | de la salade | du chocolat
read: lit | écrit | trouve | cherche | garde | oublie
text: un livre | une lettre | le journal | un poème | une histoire | cette page | un message
    | la réponse
use: ouvre | ferme | regarde | dessine | nettoie | montre | répare
thing: la porte | la fenêtre | une table | le bateau | la voiture | sa chambre | le mur | son vélo
    | la lampe
go: va | arrive | reste | travaille | chante | danse | rêve
move: dort | court | saute | joue | boit | attend | marche
where: dans le jardin | à l'école | près de la gare | sous l'arbre | devant la mairie | au marché
    | à la plage | dans la cuisine | sur la place | au bord du lac | derrière l'église | en ville
    | à Paris | dans la forêt | sur le pont | au théâtre | près du fleuve | dans la rue
when: ce matin | ce soir | aujourd'hui | chaque jour | le dimanche | parfois | souvent | maintenant
    | à midi
very: très | vraiment | assez | toujours | encore | trop | plutôt
how: calme | malade | triste | célèbre | tranquille | timide | drôle | honnête | riche | jeune
number: deux | trois | quatre | cinq | six | sept | huit | neuf | dix
many: chiens | enfants | amis | livres | pommes | maisons | frères | roses | arbres | chaises
like: j'aime | tu aimes | nous aimons | vous aimez | elles aiment
topic: la pluie | le froid | la musique | le sport | l'hiver | la neige | l'été | le bruit | la mer
    | le vent
too: moi aussi | bien sûr | c'est vrai
weather: froid | chaud | beau | sombre
clothes: un manteau | un chapeau | une robe | une chemise | un pull | une jupe
colour: rouge | jaune | rose | magnifique | simple | moderne
"""
ENGLISH = """
sentence: {who} {use} {thing}. | {who} {use} {thing} {where}. | {who} {go} {where}.
    | {when}, {who} {go} {where}. | who {use} {thing}? | {who} has {number} {many}.
    | there are {number} {many} {where}!
who: the doctor | my brother | our friend | the teacher | a child | this woman | that man | Mary
    | your cousin | she
use: buys | sells | finds | wants | draws | likes | forgets
thing: an apple | the bread | some soup | the letter | this picture | a bicycle | the lamp
    | a blue coat | the red hat
go: sings | dances | works | waits | sleeps | plays | walks
where: in the garden | at school | near the station | under the tree | on the beach | by the lake
    | behind the church
when: today | every day | in the morning | at night | on Sunday | sometimes | now
number: two | three | four | five | six | seven | eight | nine | ten
many: dogs | children | books | houses | horses | chairs | flowers | birds
"""
GRAMMARS = {"fr": FRENCH, "en": ENGLISH}


class DemoError(Exception):
    """Something the person can mend; printed in one line."""


def read_rules(grammar: str) -> dict[str, list[str]]:
    """The choices of each rule of a grammar written as above."""
    lines = re.sub(r"\n\s+", " ", grammar.strip()).splitlines()
    return {
        name: re.split(r"\s*\|\s*", choices.strip())
        for name, choices in (line.split(":") for line in lines)
    }


def speak_grammar(rules: dict[str, list[str]], rng: random.Random) -> Iterator[str]:
    """Sentences without end. Choices are dealt like cards: all of a rule come equally often."""
    decks: dict[str, list[str]] = {}

    def deal(name: str) -> str:
        if not decks.get(name):
            decks[name] = rng.sample(rules[name], len(rules[name]))
        return decks[name].pop()

    while True:
        sentence = re.sub(r"{(\w+)}", lambda slot: deal(slot[1]), deal("sentence"))
        yield sentence[0].upper() + sentence[1:]


def words_of(sentence: str) -> list[str]:
    return [word for token in sentence.lower().split() if (word := token.strip(PUNCTUATION))]


def choose_sentences(source: Iterable[str], n: int) -> list[str]:
    """The first ``n`` sentences of the source that differ in more than punctuation."""
    chosen: dict[str, str] = {}
    for n_drawn, sentence in enumerate(source):
        if words := " ".join(words_of(sentence)):
            chosen.setdefault(words, sentence)
        if len(chosen) == n:
            return list(chosen.values())
        if n_drawn > 100 * n:  # a grammar that has no more to say
            break
    raise DemoError(
        f"{n} different sentences are needed, only {len(chosen)} found: "
        "lower --train, --dev or --test"
    )


class Word(NamedTuple):
    text: str  # as written, without the punctuation around it
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Utterance:
    samples: np.ndarray  # (S,) float32, mono, within [-1, 1]
    rate: int  # Hz
    words: list[Word]


class Event(ctypes.Structure):
    """``espeak_EVENT`` of espeak-ng's speak_lib.h; the last field is a union of eight bytes."""

    _fields_ = [
        (name, ctypes.c_int)
        for name in "type id text_position length audio_position_ms sample".split()
    ]
    _fields_ += [("user_data", ctypes.c_void_p), ("union", ctypes.c_char * 8)]


Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event)
)
SYNCHRONOUS, DONT_EXIT, POS_CHARACTER, CHARS_UTF8 = 2, 0x8000, 1, 1
PARAMETER_RATE, PARAMETER_VOLUME, PARAMETER_PITCH, EVENT_WORD = 1, 2, 3, 1
VOLUME = 50  # half of espeak's normal volume, at which some voices are clipped


class Speaker:
    """espeak-ng as a pure function from text to speech: equal arguments give equal samples.

    The library keeps state from one utterance to the next (the phase of its pitch flutter, among
    others) which no call resets, so it is loaded afresh for each, from a copy: the original may be
    loaded elsewhere in the process (phonemizer does), and would then stay. Some builds cut the path
    of their data at 160 bytes, so they are shown a link in a short temporary folder. And espeak
    runs in a thread of its own, because a Ctrl-C that arrives inside its callback would be
    swallowed.
    """

    def __init__(self, data_path: str | Path | None = None):
        try:
            import espeakng_loader
        except ImportError:
            raise DemoError(
                "espeakng-loader is not installed: pip install -r requirements-dev.txt"
            ) from None
        data_path = Path(data_path or espeakng_loader.get_data_path()).resolve()
        self._folder = tempfile.TemporaryDirectory(
            prefix="tts", dir="/tmp" if os.access("/tmp", os.W_OK) else None
        )
        self._library_path = shutil.copy(espeakng_loader.get_library_path(), self._folder.name)
        self._data_path = Path(self._folder.name, "espeak-ng-data")
        try:
            self._data_path.symlink_to(data_path, target_is_directory=True)
        except OSError:  # where links are not allowed
            shutil.copytree(data_path, self._data_path)
        # "roa/fr" for "fr": shown the file, espeak need not read those of all languages to find it;
        # and the name of a folder there ("roa") would crash it.
        files = [path for path in data_path.glob("lang/**/*") if path.is_file()]
        self._languages = {
            path.name.lower(): path.relative_to(data_path / "lang").as_posix() for path in files
        }
        self._thread = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> "Speaker":
        return self

    def __exit__(self, *_) -> None:
        self._thread.shutdown()
        self._folder.cleanup()

    def say(self, text: str, voice: str = "fr+m1", rate: int = 170, pitch: int = 50) -> Utterance:
        """Say a text at 16 kHz. Raises DemoError for an unknown voice or a text without sound.

        ``voice`` is an espeak language with or without a variant; ``rate`` is in words a minute,
        ``pitch`` from 0 to 99. A word ends with its last sound, so that a pause belongs to no word.
        """
        language, plus, variant = voice.partition("+")
        if language.lower() not in self._languages:
            raise DemoError(
                f"espeak has no language {language!r}; it has de, en, es, fr, it, nl, pt, ru ..."
            )
        if variant and not (self._data_path / "voices" / "!v" / variant).is_file():
            raise DemoError(f"espeak has no voice variant {variant!r}")
        voice_file = self._languages[language.lower()] + plus + variant
        pcm, native_rate, marks = self._thread.submit(
            self._synthesise, text, voice_file, rate, pitch
        ).result()
        if not pcm.any():
            raise DemoError(f"espeak says nothing for {text!r}")
        samples = soxr.resample(pcm.astype(np.float32) / 32768, native_rate, SAMPLE_RATE)
        return Utterance(samples, SAMPLE_RATE, word_times(text, marks, samples))

    def _synthesise(
        self, text: str, voice_file: str, rate: int, pitch: int
    ) -> tuple[np.ndarray, int, list]:
        """16-bit samples, their rate, and (character, second) of each word that espeak reports."""
        buffers = [np.zeros(0, np.int16)]
        marks: list[tuple[int, float]] = []

        @Callback
        def receive(wav, n_samples, events):
            if wav and n_samples:
                buffers.append(np.ctypeslib.as_array(wav, (n_samples,)).copy())
            i = 0
            while events[i].type:  # the list ends with a 0
                if events[i].type == EVENT_WORD:
                    marks.append((events[i].text_position - 1, events[i].audio_position_ms / 1000))
                i += 1
            return 0

        library = ctypes.CDLL(self._library_path)
        try:
            native_rate = library.espeak_Initialize(
                SYNCHRONOUS, 0, os.fsencode(self._data_path), DONT_EXIT
            )
            if native_rate <= 0 or library.espeak_SetVoiceByName(voice_file.encode()) != 0:
                raise DemoError(
                    "espeak cannot read its data: pip install --force-reinstall espeakng-loader"
                )
            library.espeak_SetSynthCallback(receive)
            for parameter, value in (
                (PARAMETER_RATE, rate),
                (PARAMETER_PITCH, pitch),
                (PARAMETER_VOLUME, VOLUME),
            ):
                library.espeak_SetParameter(parameter, value, 0)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # the breath in some voices is noise
            encoded = text.encode() + b"\0"
            library.espeak_Synth(
                encoded, ctypes.c_size_t(len(encoded)), 0, POS_CHARACTER, 0, CHARS_UTF8, None, None
            )
        finally:
            library.espeak_Terminate()
            import _ctypes  # the only place where Python keeps the counterpart of ctypes.CDLL

            getattr(_ctypes, "FreeLibrary" if os.name == "nt" else "dlclose")(library._handle)
        return np.concatenate(buffers), native_rate, marks


def word_times(text: str, marks: list[tuple[int, float]], samples: np.ndarray) -> list[Word]:
    """Times of the words between blanks, from (character, second) of what espeak calls words.

    espeak reports two words for "l'eau", and in some languages one for several: here the parts of a
    word are joined, and a word without a mark of its own is joined to the word before it.
    """
    starts: list[tuple[str, float]] = []
    for token in re.finditer(r"\S+", text):
        word = token[0].strip(PUNCTUATION)
        own = [second for position, second in marks if token.start() <= position < token.end()]
        if word and (own or not starts):
            starts.append((word, min(own, default=0.0)))
        elif word:
            starts[-1] = (f"{starts[-1][0]} {word}", starts[-1][1])
    loud_s = (np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max()) + 1) / SAMPLE_RATE
    next_starts = [start_s for _, start_s in starts[1:]] + [len(samples) / SAMPLE_RATE]
    words = []
    for (word, start_s), next_s in zip(starts, next_starts, strict=True):
        sounding = loud_s[(loud_s > start_s) & (loud_s <= next_s)]
        words.append(Word(word, start_s, float(sounding[-1]) if len(sounding) else next_s))
    return words


def record(utterance: Utterance, rng: np.random.Generator) -> np.ndarray:
    """What a microphone makes of an utterance: a level, pink noise, and silence around it.

    A noise gate, as browsers have, opens some time before the words and shuts some time after.
    """
    speech = utterance.samples * (rng.uniform(*PEAK) / np.abs(utterance.samples).max())
    noise_rms = np.sqrt(np.mean(speech**2)) * 10 ** (-rng.uniform(*SNR_DB) / 20)
    before, after = (round(rng.uniform(*SILENCE_S) * utterance.rate) for _ in range(2))
    speech = np.pad(speech, (before, after))
    n_noise = 1 << len(speech).bit_length()  # a power of two, else the Fourier transforms take long
    spectrum = np.fft.rfft(rng.standard_normal(n_noise))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1))[: len(speech)]
    noise *= noise_rms / noise.std()
    gate = 10 ** (-rng.exponential(GATE_DB) / 20)
    noise[: rng.integers(before)] *= gate
    noise[len(noise) - rng.integers(after) :] *= gate
    return (speech + noise).astype(np.float32)


class Clip(NamedTuple):
    split: str
    path: str
    sentence: str
    voice: str

    def row(self, lang: str) -> list[str]:
        """The clip's line in a Common Voice table."""
        cells = dict.fromkeys(COLUMNS, "")
        cells["client_id"] = hashlib.sha512(self.voice.encode()).hexdigest()
        cells["sentence_id"] = hashlib.sha256(self.sentence.encode()).hexdigest()
        cells["gender"] = (
            "female_feminine" if self.voice.partition("+")[2] in FEMALE else "male_masculine"
        )
        cells |= {
            "path": self.path,
            "sentence": self.sentence,
            "up_votes": "2",
            "down_votes": "0",
            "locale": lang,
        }
        return list(cells.values())


def plan_clips(lang: str, n_clips: dict[str, int], source: Iterable[str]) -> list[Clip]:
    """Who says what. Test comes first, so that a larger train leaves test and dev as they are."""
    splits = [split for split in ("test", "dev", "train") for _ in range(n_clips[split])]
    n_said = [2 if number % PAIR_EVERY == PAIR_EVERY - 1 else 1 for number in range(len(splits))]
    sentences = iter(choose_sentences(source, sum(n_said)))
    clips = []
    for number, split in enumerate(splits):
        said = " ".join(itertools.islice(sentences, n_said[number]))
        voice = f"{lang}+{VOICES[split][number % len(VOICES[split])]}"
        clips.append(Clip(split, f"demo_{lang}_{number:06d}.mp3", said, voice))
    return clips


def write_clips(folder: Path, clips: list[Clip], seed: int, speaker: Speaker) -> list[int]:
    """Speak the clips into an existing folder; returns their durations in milliseconds."""

    def encode(path: str, samples: np.ndarray) -> None:
        soundfile.write(
            folder / path, samples, SAMPLE_RATE, bitrate_mode="CONSTANT", compression_level=0.8
        )

    durations_ms = []
    encoding: Future | None = None
    with ThreadPoolExecutor(max_workers=1) as encoder:  # encodes a clip while the next is spoken
        for number, clip in enumerate(
            tqdm(clips, unit="clip", disable=None)
        ):  # no bar but on a terminal
            rng = np.random.default_rng([seed, number])
            rate, pitch = int(rng.integers(*RATE_WPM)), int(rng.integers(*PITCH))
            samples = record(speaker.say(clip.sentence, clip.voice, rate, pitch), rng)
            durations_ms.append(round(1000 * len(samples) / SAMPLE_RATE))
            if encoding:
                encoding.result()
            encoding = encoder.submit(encode, clip.path, samples)
        encoding.result()
    return durations_ms


def write_tsv(path: Path, columns: list[str], rows: Iterable) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        for row in [columns, *rows]:  # no quotes around anything, as Common Voice has it
            file.write("\t".join(map(str, row)) + "\n")


def write_corpus(folder: Path, settings: dict, clips: list[Clip], speaker: Speaker) -> str:
    """Write a whole corpus into an existing folder; returns one line that sums it up."""
    (folder / "clips").mkdir()
    durations_ms = write_clips(folder / "clips", clips, settings["seed"], speaker)
    write_tsv(
        folder / "clip_durations.tsv",
        ["clip", "duration[ms]"],
        zip([clip.path for clip in clips], durations_ms, strict=True),
    )
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    summary = []
    for split in VOICES:
        own = [clip for clip in clips if clip.split == split]
        write_tsv(folder / f"{split}.tsv", COLUMNS, (clip.row(settings["lang"]) for clip in own))
        hours = (
            sum(ms for clip, ms in zip(clips, durations_ms, strict=True) if clip.split == split)
            / 3.6e6
        )
        n_types = len({word for clip in own for word in words_of(clip.sentence)})
        n_voices = len({clip.voice for clip in own})
        summary.append(
            f"{split} {len(own)} clips, {hours:.2f} h, {n_voices} voices, {n_types} word types"
        )
    return "; ".join(summary)


def make_corpus(target: Path, settings: dict, source: Iterable[str], force: bool = False) -> str:
    """Make the corpus in ``target`` unless it is there; returns the line to print.

    All is written next to the target and renamed at the end: there is a whole corpus or none.
    """
    clips = plan_clips(settings["lang"], settings, source)
    if target.exists():
        try:
            same = json.loads((target / SETTINGS_FILE).read_text(encoding="utf-8")) == settings
        except (OSError, ValueError):
            raise DemoError(
                f"{target} exists and is no demo corpus: choose another --out or --version"
            ) from None
        files = (
            [f"{split}.tsv" for split in VOICES]
            + ["clip_durations.tsv"]
            + [f"clips/{clip.path}" for clip in clips]
        )
        if same and not force and all((target / file).is_file() for file in files):
            return f"{target} is there already, made with the same settings"
        if not force:
            state = "is incomplete" if same else "was made with other settings"
            raise DemoError(f"{target} {state}: --force replaces it, another --version keeps it")
    work, old = (
        target.with_name(f".{target.name}.{os.getpid()}.{kind}") for kind in ("partial", "old")
    )
    with Speaker() as speaker:
        speaker.say(
            "a", settings["lang"]
        )  # an unknown language ends here, before any folder is made
        try:
            work.mkdir(parents=True)
            summary = write_corpus(work, settings, clips, speaker)
            if target.exists():
                target.rename(old)
            work.rename(target)
        finally:
            if old.exists() and not target.exists():
                old.rename(target)
            shutil.rmtree(work, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    return f"{target}: {summary}"


def get_source(
    lang: str, sentences_file: Path | None, seed: int
) -> tuple[Iterator[str], str | None]:
    """Sentences in the order in which they are used, and the hash of the file they came from."""
    rng = random.Random(seed)
    if sentences_file:
        try:
            text = sentences_file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise DemoError(f"{sentences_file} is not UTF-8 text") from None
        lines = sorted({" ".join(line.split()) for line in text.splitlines()})
        return iter(rng.sample(lines, len(lines))), hashlib.sha256(text.encode()).hexdigest()
    grammar = GRAMMARS.get(lang.lower().split("-")[0])
    if grammar is None:
        raise DemoError(
            f"no built-in sentences for {lang!r}: give --sentences FILE with one sentence a line"
        )
    return speak_grammar(read_rules(grammar), rng), None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="the corpus is written to OUT/VERSION/LANG"
    )
    parser.add_argument("--lang", default="fr", help="an espeak language (default: fr)")
    parser.add_argument(
        "--version", default="demo-1.0", help="name of the corpus (default: demo-1.0)"
    )
    parser.add_argument(
        "--sentences",
        type=Path,
        help="text file, one sentence a line; needed unless LANG is fr or en",
    )
    parser.add_argument(
        "--train", type=int, default=1450, help="clips to train with (default: 1450)"
    )
    parser.add_argument("--dev", type=int, default=80, help="clips to validate with (default: 80)")
    parser.add_argument("--test", type=int, default=150, help="clips to test with (default: 150)")
    parser.add_argument(
        "--seed", type=int, default=1, help="another seed, another corpus (default: 1)"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a demo corpus made with other settings"
    )
    args = parser.parse_args(argv)
    try:
        if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]+)*", args.lang):
            raise DemoError(f"--lang {args.lang!r} is no language code such as fr, en or pt-br")
        if min(args.train, args.dev, args.test) < 1 or args.seed < 0:
            raise DemoError("--train, --dev and --test must be at least 1, --seed at least 0")
        source, file_hash = get_source(args.lang, args.sentences, args.seed)
        settings = {name: getattr(args, name) for name in ("lang", "train", "dev", "test", "seed")}
        settings |= {"sentences": file_hash, "recipe": RECIPE}  # all that decides what is written
        print(make_corpus(args.out / args.version / args.lang, settings, source, args.force))
    except (DemoError, OSError, soundfile.LibsndfileError) as error:
        print(f"make_demo_corpus: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # a polite kill cleans up as Ctrl-C does
    raise SystemExit(main())
