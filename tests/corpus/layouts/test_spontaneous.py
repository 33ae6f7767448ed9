"""Releases of spontaneous speech: their rows, marks and tags, and splits of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.corpus import find_corpus, load_split
from asr_ctc.corpus.layouts.named_columns import read_columns
from asr_ctc.corpus.layouts.registry import read_table
from asr_ctc.corpus.layouts.spontaneous import disqualified, without_marks
from asr_ctc.corpus.layouts.table import ExcludedClip
from tests.helpers import command

HEADER = (
    "client_id audio_id audio_file duration_ms prompt_id prompt transcription votes age gender "
    "split quality_tags"
).split()
NEWEST = "sps-corpus-5.0-2026-09-11-en"


def row(number, transcription, split="train", tags="", speaker=None, **cells):
    made = {
        **dict.fromkeys(HEADER, ""),
        "client_id": speaker or f"p{number}",
        "audio_id": str(number),
        "audio_file": f"spontaneous-speech-en-{number}.mp3",
        "duration_ms": "7200",
        "prompt": "What did you eat?",
        "transcription": transcription,
        "votes": "2",
        "split": split,
        "quality_tags": tags,
        **cells,
    }
    return made


def write_release(root, rows, version=NEWEST, header=HEADER, lang="en"):
    folder = root / version
    (folder / "audios").mkdir(parents=True)
    lines = ["\t".join(header), *("\t".join(cells[name] for name in header) for cells in rows)]
    (folder / f"ss-corpus-{lang}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def rows_of(table):
    return list(zip(table.paths, table.sentences, table.speakers, strict=True))


# --- What is transcribed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transcription", "sentence"),
    [
        ("I ate soup.", "I ate soup."),
        ("[noise] I ate [disfluency] soup.", "I ate soup."),
        ("I ate soup [laugh].", "I ate soup."),
        ("I ate [a] [b], well, soup [c]", "I ate, well, soup"),
        ("soup[disfluency]yes", "soup yes"),
        ("Какой [шум] суп [смех]؟", "Какой суп؟"),
        ("汤[noise]。好", "汤。好"),
        ("[noise]", ""),
        ("[] two  spaces ", "two spaces"),
        ("not [closed", "not [closed"),
        ("a ] b [c] d", "a ] b d"),
        ("outer [one [two] three] end", "outer [one three] end"),
    ],
)
def test_marks_leave_the_transcript(transcription, sentence):
    assert without_marks(transcription) == sentence


@given(st.lists(st.sampled_from(["ab", "[x]", "[y z]", ".", ","]), max_size=9))
def test_words_stay_as_they_are_and_in_their_order(pieces):
    sentence = without_marks(" ".join(pieces))
    assert "[" not in sentence and "  " not in sentence
    bare = [piece for piece in pieces if not piece.startswith("[")]
    assert sentence.replace(" ", "") == "".join(bare)


@pytest.mark.parametrize(
    ("tags", "duration_s", "reason"),
    [
        ("", 5.0, None),
        ("short-audio", 1.0, None),
        ("mixed-script-words|mixed-script-transcription", 5.0, None),
        ("a-tag-of-tomorrow", 5.0, None),
        ("", float("nan"), None),
        ("speech-rate", 5.0, "speech-rate: more than 30"),
        ("short-audio | transcription-length", 5.0, "transcription-length: fewer than 3"),
        ("non-allowed-script", 5.0, "non-allowed-script"),
        ("dataset-language-audio-mismatch", 5.0, "dataset-language-audio-mismatch: another"),
        ("long-audio", 301.0, "long-audio: longer than five minutes"),
        ("", 300.1, "long-audio: longer than five minutes"),  # as in version 1.0, without tags
        ("", 300.0, None),
    ],
)
def test_tags_that_disqualify(tags, duration_s, reason):
    found = disqualified(tags, duration_s)
    assert found is None if reason is None else found.startswith(reason)


# --- Splits --------------------------------------------------------------------------------------

ROWS = [
    row(1, "I ate [noise] soup."),
    row(2, "And you?", "dev"),
    row(3, "", "unassigned"),
    row(4, "Bread.", "test", gender="female"),
    row(5, "Too fast", "train", "speech-rate"),
    row(6, "[noise]", "train"),
    row(7, "Not yet validated", "unassigned"),
    row(8, "More bread.", duration_ms="9500.5"),
    row(9, "", "train"),
    row(10, "No file", audio_file=" "),
]


def test_the_column_split_says_which_rows(tmp_path):
    folder = write_release(tmp_path, ROWS)
    train = read_table("spontaneous", folder, "train")
    assert rows_of(train) == [
        ("spontaneous-speech-en-1.mp3", "I ate soup.", "p1"),
        ("spontaneous-speech-en-8.mp3", "More bread.", "p8"),
    ]
    assert train.duration_s.tolist() == pytest.approx([7.2, 9.5005])
    assert train.record.tolist() == [0, 7] and train.n_records == 10
    assert train.clips == folder / "audios" and train.n_untranscribed == 1
    assert [clip for clip, _ in train.excluded] == [
        "spontaneous-speech-en-5.mp3",
        "spontaneous-speech-en-6.mp3",
        "ss-corpus-en.tsv line 11",
    ]
    assert read_table("spontaneous", folder, "dev").sentences[0] == "And you?"
    whole = read_table("spontaneous", folder, "all")
    assert whole.record.tolist() == [0, 1, 3, 6, 7] and whole.n_untranscribed == 2


def test_recordings_without_a_transcription_are_counted_aloud(tmp_path, caplog):
    folder = write_release(tmp_path, [*ROWS, *(row(i, "", "unassigned") for i in range(20, 60))])
    with caplog.at_level("INFO", "asr_ctc"):
        corpus = load_split(folder, "all", "spontaneous")
    assert len(corpus) == 5  # and it is not "mostly broken"
    assert f"{NEWEST} all: 42 recordings without a transcription excluded" in caplog.text


def test_durations_beyond_a_minute_are_those_of_the_table(tmp_path):
    folder = write_release(tmp_path, [row(1, "Long.", duration_ms="190000")])
    assert read_table("spontaneous", folder, "train").duration_s.tolist() == [190.0]


def test_further_columns(tmp_path):
    folder = write_release(tmp_path, ROWS)
    assert read_columns("spontaneous", folder, "test", names=["gender"]) == {"gender": ["female"]}


def test_the_first_release_has_fewer_columns(tmp_path):
    header = ["audio_file", "transcription", "split"]
    folder = write_release(tmp_path, ROWS[:2], header=header)
    table = read_table("spontaneous", folder, "train")
    assert rows_of(table) == [("spontaneous-speech-en-1.mp3", "I ate soup.", "")]


def test_damaged_rows_are_named(tmp_path):
    folder = write_release(tmp_path, ROWS)
    table = folder / "ss-corpus-en.tsv"
    lines = table.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"And you?", b"And\tyou?")
    lines[8] = lines[8].replace(b"More", b"M\xf6re")
    table.write_bytes(b"\n".join(lines))
    found = read_table("spontaneous", folder, "train")
    assert ExcludedClip("ss-corpus-en.tsv line 3", "13 columns, 12 needed") in found.excluded
    assert ExcludedClip("ss-corpus-en.tsv line 9", "not UTF-8 text") in found.excluded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: b"", "is empty"),
        (lambda text: text.split(b"\n")[0] + b"\n", "is empty|no transcribed row"),
        (lambda text: text.replace(b"transcription\t", b"words\t", 1), "no column named transcrip"),
        (lambda text: text.replace(b"\tvotes\t", b"\tsplit\t", 1), "2 columns are named split"),
        (lambda text: text.decode().encode("utf-16"), "is UTF-16 text"),
        (lambda text: text.replace(b"train", b"dev"), r"no transcribed row.*dev \(7\), test"),
    ],
)
def test_tables_that_are_refused(tmp_path, change, message):
    folder = write_release(tmp_path, ROWS)
    table = folder / "ss-corpus-en.tsv"
    table.write_bytes(change(table.read_bytes()))
    with pytest.raises(UserError, match=message):
        read_table("spontaneous", folder, "train")


def test_a_folder_of_two_languages_or_none(tmp_path):
    folder = write_release(tmp_path, ROWS)
    (folder / "ss-corpus-de.tsv").write_text("")
    with pytest.raises(UserError, match=r"ss-corpus-de\.tsv, ss-corpus-en\.tsv: which one"):
        read_table("spontaneous", folder, "train")
    with pytest.raises(UserError, match="no table: looked for"):
        read_table("spontaneous", tmp_path, "train")


# --- Where they are ------------------------------------------------------------------------------


def test_the_newest_release_that_has_the_language(tmp_path):
    for version in ("sps-corpus-10.0-2027-12-01-en", "sps-corpus-9.0-2027-09-01-en", NEWEST):
        write_release(tmp_path, ROWS, version)
    deep = write_release(
        tmp_path / "shared-task", ROWS, "sps-corpus-1.0-2025-09-05-ttj", lang="ttj"
    )

    def find(lang, version=None, root=tmp_path):
        return find_corpus(str(root), version, lang, layout="spontaneous")

    assert find("en").name == "sps-corpus-10.0-2027-12-01-en"
    assert find("en", "v5.0").name == find("en", NEWEST).name == NEWEST
    assert find("ttj") == find("ttj", root=deep) == deep
    with pytest.raises(UserError, match=r"language 'fr' .*ss-corpus-fr\.tsv \(found .*en\.tsv"):
        find("fr")
    with pytest.raises(UserError, match=r"version '7' \(--datasetversion\)"):
        find("en", "7")


@pytest.mark.slow
def test_splits_of_all_that_is_transcribed(tmp_path):
    rows = [row(i, f"Words number {i} [noise]", speaker=f"p{i % 20}") for i in range(100)]
    rows += [row(200 + i, "", "unassigned") for i in range(150)]
    rows += [row(400, "Too fast", "train", "speech-rate")]
    rows[3]["split"], rows[4]["split"] = "dev", "test"
    folder = write_release(tmp_path, rows)
    (folder / "audios").rmdir()
    (folder / "audios").mkdir()
    flags = "--corpus spontaneous --datasetroot . --lang en"
    kept = command.call(f"split {flags} --keep_test", cwd=tmp_path)
    assert kept.returncode == 0, kept.stderr
    assert "excluded: no transcription" in kept.stdout and "excluded: speech-rate" in kept.stdout
    assert len(read_table("spontaneous", folder, "train").record) == 90  # without p3 and p4
    assert read_table("spontaneous", folder, "train").sentences[0] == "Words number 0"
    anew = command.call(f"split {flags} --force", cwd=tmp_path)
    assert anew.returncode == 0, anew.stderr
    sizes = [len(read_table("spontaneous", folder, s).record) for s in ("train", "dev", "test")]
    assert sum(sizes) == 100 and sizes[1] == sizes[2] == 10
