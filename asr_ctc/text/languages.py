"""The writing profiles of languages: a table, and how the profile of a corpus is found.

A language that is not in the table is written as its transcripts show: see ``writing_of_script``.
Sources are named at the rows; UCD is the Unicode Character Database, TUS the Unicode Standard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from asr_ctc.text.folding import JOINER, NON_JOINER
from asr_ctc.text.writing import Writing, script_of

# CLDR's exemplar characters of French, without the ligatures; English has loanwords with them.
FRENCH_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzàâæçéèêëîïôœùûüÿ")
LARGEST_FOREIGN_SHARE = 0.01  # of letters: proper names, and less than German's ä, ö and ß
LEAST_DOTLESS_SHARE = 0.001  # of letters: in Turkish one in twenty is ı


def characters(*ranges: str) -> dict[str, str]:
    """{character: ''} of ranges such as 'a-z'."""
    return {chr(code): "" for part in ranges for code in range(ord(part[0]), ord(part[-1]) + 1)}


# TUS 9.2, tashkil (U+064B-0652, U+0670) and Koranic annotation signs: ordinary texts lack them.
# Maddah and hamza above and below (U+0653-0655) belong to their letter.
HARAKAT = characters("\u0610-\u061a", "\u064b-\u0652", "\u0670", "\u06d6-\u06dc", "\u06df-\u06e4")
HARAKAT |= characters("\u06e7-\u06e8", "\u06ea-\u06ed")
TATWEEL = {"\u0640": ""}  # TUS 9.2: stretches a line, has no meaning
# TUS 9.1: points and cantillation marks, optional in Hebrew; in Yiddish they make letters.
NIQQUD = characters("\u0591-\u05bd", "\u05bf", "\u05c1-\u05c2", "\u05c4-\u05c5", "\u05c7")
STRESS = {"\u0301": "", "\u0300": ""}  # TUS 7.4: in dictionaries and primers only
# UTS #39, confusables.txt: Latin letters that look like Cyrillic ones.
CYRILLIC_LOOK_ALIKES = dict(zip("aceopxyABCEHKMOPTX", "асеорхуАВСЕНКМОРТХ", strict=True))
UKRAINIAN_LOOK_ALIKES = CYRILLIC_LOOK_ALIKES | {"i": "і"}
SERBIAN_LOOK_ALIKES = CYRILLIC_LOOK_ALIKES | {"j": "ј"}
# TUS 9.2, "Letters for Persian and Urdu": keyboards for Arabic write yeh and kaf of their own.
YEH, KAF, FARSI_YEH, KEHEH = "\u064a", "\u0643", "\u06cc", "\u06a9"
TO_PERSIAN = {YEH: FARSI_YEH, "\u0649": FARSI_YEH, KAF: KEHEH}
# Digits of the other form: UCD, General_Category Nd of the Arabic block.
TO_PERSIAN_DIGITS = {chr(0x660 + i): chr(0x6F0 + i) for i in range(10)}
TO_ARABIC_DIGITS = {form: digit for digit, form in TO_PERSIAN_DIGITS.items()}
# TUS 12.9: chillu letters were a consonant, virama and ZWJ before Unicode 5.1.
CHILLU = {
    "\u0d23\u0d4d\u200d": "\u0d7a", "\u0d28\u0d4d\u200d": "\u0d7b", "\u0d30\u0d4d\u200d": "\u0d7c",
    "\u0d32\u0d4d\u200d": "\u0d7d", "\u0d33\u0d4d\u200d": "\u0d7e", "\u0d15\u0d4d\u200d": "\u0d7f",
}  # fmt: skip
KHANDA_TA = {"\u09a4\u09cd\u200d": "\u09ce"}  # TUS 12.2: the same before Unicode 4.1
# TUS 7.1: Romanian has comma below; ISO 8859-2 and old fonts had the letters with cedilla.
COMMA_BELOW = {"ş": "ș", "ţ": "ț"}
# UTS #39, confusables.txt: Greek and Cyrillic letters typed for those of the Latin Berber alphabet.
BERBER = {"γ": "ɣ", "ε": "ɛ", "ԑ": "ɛ", "Σ": "Ɛ"}
CHUVASH = {"ă": "ӑ", "ĕ": "ӗ", "ç": "ҫ", "ÿ": "ӳ"}  # the same: Latin for Cyrillic letters
# TUS 7.4: the palochka is on no keyboard; I, l, 1 and the Ukrainian і stand for it.
PALOCHKA = {"I": "\u04c0", "l": "\u04cf", "1": "\u04cf", "і": "\u04cf", "І": "\u04c0"}

ARABIC = Writing(
    alternatives={**TATWEEL, FARSI_YEH: YEH, KEHEH: KAF, **TO_ARABIC_DIGITS},
    optional=HARAKAT,
    invisible="",  # the non-joiner separates suffixes in Persian; Arabic has no such spelling
)
PERSIAN = Writing(
    alternatives={**TATWEEL, **TO_PERSIAN, **TO_PERSIAN_DIGITS},
    optional=HARAKAT,
    invisible=NON_JOINER,  # TUS 9.2 and 23.2
)
POINTS_ARE_LETTERS = Writing(alternatives=TATWEEL, invisible=NON_JOINER)
INDIC = Writing(invisible=NON_JOINER + JOINER)  # TUS 12.1, 23.2
NO_SPACES = Writing(spaces=False)  # UAX #14: line breaks are found by ideographs or a dictionary
TURKIC = Writing(case_folding="turkish")  # UCD, SpecialCasing.txt: tr and az
CYRILLIC = Writing(look_alikes=CYRILLIC_LOOK_ALIKES)

# {language codes: profile}, by BCP 47's primary subtag.
ROWS: dict[str, Writing] = {
    "fr en": Writing(),
    "tr az crh gag": TURKIC,
    "de": Writing(case_folding="german"),  # UCD: ẞ becomes ß, which is no ss here
    "el": Writing(case_folding="greek"),  # UCD, CaseFolding.txt: ς folds to σ
    "ar arz ary apc arb aeb acm afb ajp": ARABIC,
    "fa pes prs glk mzn": PERSIAN,
    "ur": replace(PERSIAN, alternatives={**PERSIAN.alternatives, "\u0647": "\u06c1"}),  # TUS 9.2
    "ckb": replace(PERSIAN, optional={}),  # its vowels are letters
    "ps sd": replace(PERSIAN, alternatives=TATWEEL),  # their letters yeh differ
    "ug ks kas pnb skr lrc": POINTS_ARE_LETTERS,
    "he": Writing(optional=NIQQUD, invisible=""),
    "ru": Writing(look_alikes=CYRILLIC_LOOK_ALIKES, optional={**STRESS, "ё": "е"}),  # TUS 7.4
    "bg": Writing(look_alikes=CYRILLIC_LOOK_ALIKES, optional=STRESS),
    "uk be rue": Writing(look_alikes=UKRAINIAN_LOOK_ALIKES, optional=STRESS),
    "kk": Writing(look_alikes=UKRAINIAN_LOOK_ALIKES),
    "sr mk": Writing(look_alikes=SERBIAN_LOOK_ALIKES),
    "ky tg tt ba mn sah ab os udm mhr mrj myv mdf kv bxr tyv xal alt koi krc nog kum": CYRILLIC,
    "cv": Writing(alternatives=CHUVASH, look_alikes=CYRILLIC_LOOK_ALIKES),
    "av ce inh lez kbd ady dar lbe tab ddo": Writing(
        look_alikes={**CYRILLIC_LOOK_ALIKES, **PALOCHKA}
    ),
    "ro mo": Writing(alternatives=COMMA_BELOW),
    "kab zgh ber rif shi tzm": Writing(alternatives=BERBER),
    "nl fy": Writing(alternatives={"ĳ": "ij"}),  # UCD: a compatibility character
    "ca": Writing(alternatives={"ŀ": "l·"}),  # UCD: a compatibility character
    "hi mr ne sa gu pa ta te kn or si kok mai bho doi sat": INDIC,
    "bn as": replace(INDIC, alternatives=KHANDA_TA),
    "ml": replace(INDIC, alternatives=CHILLU),
    "zh yue nan hak wuu gan lzh cmn ja th lo km my shn mnw bo dz": NO_SPACES,
}
# French and English read text as ever: their recipes and numbers are published.
LANGUAGES: dict[str, Writing] = {
    code: replace(row, name=code, compatible=row != Writing())
    for codes, row in ROWS.items()
    for code in codes.split()
}
OF_DEFAULT_MAP = {"fr": "French", "en": "English"}  # the languages of the default character map
# The scripts, by the names of their characters, of texts in a language that is not known.
SCRIPTS: dict[str, Writing] = {
    "ARABIC": replace(POINTS_ARE_LETTERS, optional=HARAKAT),
    "HEBREW": LANGUAGES["he"],
    "CYRILLIC": Writing(),  # which Latin letters look alike depends on the language
    "GREEK": LANGUAGES["el"],
    **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO"), NO_SPACES),
    **dict.fromkeys(("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"), NO_SPACES),
}


def writing_of_language(language: str) -> Writing | None:
    """The profile of a code such as tr, zh-CN or pa-IN; None if the table lacks it."""
    code = language.lower().replace("_", "-")
    return LANGUAGES.get(code) or LANGUAGES.get(code.partition("-")[0])


def letters_by_script(counts: Mapping[str, int]) -> Counter[str]:
    """The number of letters of each script among counted characters."""
    scripts: Counter[str] = Counter()
    for character, n in counts.items():
        if script := script_of(character):
            scripts[script] += n
    return scripts


def writing_of_script(counts: Mapping[str, int], language: str = "") -> Writing:
    """The profile of texts by their characters, for a language that the table lacks.

    Latin letters are Turkish ones where ı is among them.
    """
    scripts = letters_by_script(counts)
    script = max(scripts, key=scripts.__getitem__, default="")
    profile = SCRIPTS.get(script, Writing())
    dotless = counts.get("ı", 0) + counts.get("İ", 0)
    if script == "LATIN" and dotless > LEAST_DOTLESS_SHARE * scripts["LATIN"]:
        profile = TURKIC
    name = language or f"{script.title() if script != 'CJK' else 'Chinese'} script"
    return replace(profile, name=name, compatible=True)


def writing_of_texts(language: str, counts: Mapping[str, int]) -> Writing:
    """The profile of a corpus in ``language`` whose transcripts have these characters.

    The table's, unless most letters are of another script than the language's; by the script, where
    the table lacks the language or is wrong.
    """
    row = writing_of_language(language)
    if row is None:
        return writing_of_script(counts, language)
    return row if is_in_script_of(row.name, counts) else writing_of_script(counts)


def is_in_script_of(language: str, counts: Mapping[str, int]) -> bool:
    """Whether transcripts with these characters can be in a language of the table."""
    scripts = letters_by_script(counts)
    total = sum(scripts.values())
    expected = SCRIPTS_OF.get(language, ("LATIN",))
    return not total or 2 * sum(scripts[script] for script in expected) >= total


def is_french_or_english(counts: Mapping[str, int]) -> bool:
    """Whether transcripts may be in one of these languages: few letters are of no French word."""
    letters = {c: n for c, n in counts.items() if c.isalpha()}
    foreign = sum(n for c, n in letters.items() if c.lower() not in FRENCH_LETTERS)
    return foreign <= LARGEST_FOREIGN_SHARE * max(1, sum(letters.values()))


def _by_language(scripts: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    return {code: script for codes, script in scripts for code in codes.split()}


# Languages of the table that are not in Latin letters: CLDR, likelySubtags.
SCRIPTS_OF = _by_language(
    [
        (" ".join(c for c, row in LANGUAGES.items() if row.look_alikes), ("CYRILLIC",)),
        ("sr", ("CYRILLIC", "LATIN")),
        ("tg mn", ("CYRILLIC",)),
        ("tt az kk ug crh", ("CYRILLIC", "LATIN", "ARABIC")),
        ("el", ("GREEK",)),
        ("ar arz ary apc arb aeb acm afb ajp fa pes prs glk mzn ur ckb ps", ("ARABIC",)),
        ("pnb skr lrc", ("ARABIC",)),
        ("sd ks kas", ("ARABIC", "DEVANAGARI")),
        ("he", ("HEBREW",)),
        ("kab zgh ber rif shi tzm", ("LATIN", "TIFINAGH", "GREEK")),
        ("hi mr ne sa kok mai bho doi", ("DEVANAGARI",)),
        ("gu", ("GUJARATI",)), ("pa", ("GURMUKHI", "ARABIC")), ("ta", ("TAMIL",)),
        ("te", ("TELUGU",)), ("kn", ("KANNADA",)), ("or", ("ORIYA",)), ("si", ("SINHALA",)),
        ("sat", ("OL", "DEVANAGARI", "BENGALI")), ("bn as", ("BENGALI",)), ("ml", ("MALAYALAM",)),
        ("zh yue hak wuu gan lzh cmn", ("CJK", "BOPOMOFO")), ("nan", ("CJK", "BOPOMOFO", "LATIN")),
        ("ja", ("CJK", "HIRAGANA", "KATAKANA")), ("th", ("THAI",)), ("lo", ("LAO",)),
        ("km", ("KHMER",)), ("my shn mnw", ("MYANMAR",)), ("bo dz", ("TIBETAN",)),
    ]
)  # fmt: skip
