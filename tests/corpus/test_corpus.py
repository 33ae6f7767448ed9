import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import lines
from asr_ctc.corpus.corpus import (
    ExcludedClip,
    Strings,
    between,
    find_corpus,
    load_split,
    refuse_if_mostly_broken,
)
from asr_ctc.corpus.durations import with_durations
from asr_ctc.loading.selection import prepare_split

# What a sentence may hold: anything but the tab and the line ends that separate.
sentences = st.text(
    st.sampled_from("ab \"'é\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\ufeff")
    | st.characters(codec="utf-8", exclude_characters="\t\n\r")
)


@pytest.fixture
def folder(tmp_path):
    """ROOT/VERSION/LANG with an empty clips folder."""
    folder = tmp_path / "v-1.0" / "fr"
    (folder / "clips").mkdir(parents=True)
    return folder


def write_split(folder, text, split="train"):
    (folder / f"{split}.tsv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def write_clips(folder, **durations_s):
    """Clips of noise, and a split that lists them in order; a duration of None writes no file."""
    for name, duration_s in durations_s.items():
        if duration_s is not None:
            noise = np.random.default_rng(0).uniform(-0.1, 0.1, int(duration_s * 16_000))
            soundfile.write(folder / "clips" / f"{name}.wav", noise, 16_000)
    rows = "".join(f"{name}.wav\tsentence {name}\n" for name in durations_s)
    return write_split(folder, "path\tsentence\n" + rows)


# --- Columns of strings --------------------------------------------------------------------------


@given(st.lists(sentences))
def test_strings_are_a_list_of_strings(values):
    column = Strings(values)
    assert list(column) == values and len(column) == len(values)
    for i in range(-len(values), len(values)):
        assert column[i] == values[i]
    for i in len(values), -len(values) - 1:
        with pytest.raises(IndexError):
            column[i]


# --- Reading a split -----------------------------------------------------------------------------


def test_columns_wherever_they_stand(folder):
    write_split(folder, "age\tsentence\tx\tpath\tclient_id\n1\tUn.\t\ta.mp3\tp\n2\tDeux.\t\tb\tq\n")
    corpus = load_split(folder, "train")
    assert (len(corpus), corpus.name, corpus.excluded) == (2, "v-1.0/fr train", ())
    assert [corpus.path(i) for i in range(2)] == ["a.mp3", "b.mp3"]  # early releases have no ending
    assert [corpus.sentence(i) for i in range(2)] == ["Un.", "Deux."]
    assert list(corpus.speakers) == ["p", "q"]
    assert corpus.file(1) == folder / "clips" / "b.mp3"


def test_speakers_may_be_unknown(folder):
    write_split(folder, "path\tsentence\na.mp3\tUn.\n")
    assert list(load_split(folder, "train").speakers) == [""]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("last", ["", "end", "end end"])
def test_rows_read_are_lines_minus_one(folder, line_end, bom, last):
    texts = ['"Oui', '"Non"', 'il dit "', "a\u2028b\u2029c", "d\x85e\x0bf\x0cg\x1ch", "''", " "]
    lines = ["path\tsentence", *(f"{i}.mp3\t{text}" for i, text in enumerate(texts))]
    ending = line_end * len(last.split())
    write_split(folder, bom + line_end.join(lines) + ending)
    corpus = load_split(folder, "train")
    assert [corpus.sentence(i) for i in range(len(corpus))] == texts
    assert corpus.path(0) == "0.mp3" and corpus.excluded == ()


@given(st.lists(st.tuples(sentences, sentences), min_size=1))
def test_no_row_swallows_the_next(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    text = "".join(f"{a}\t{b}\n" for a, b in [("path", "sentence"), *rows])
    path.write_bytes(text.encode())
    assert list(lines(path)) == ["path\tsentence", *("\t".join(row) for row in rows)]


def test_short_rows_are_excluded_and_named_by_line(folder):
    lines = ["path\tx\tsentence", "a.mp3\t\tUn.", "b.mp3\t", "", "c.mp3\t\tTrois."]
    lines += [" \t\tQuatre.", "d.mp3\t\tCinq.\td", "e.mp3\t\tSix.", "f.mp3\t\tSept."]
    write_split(folder, "\n".join(lines))
    corpus = load_split(folder, "train")
    assert [corpus.path(i) for i in range(len(corpus))] == ["a.mp3", "c.mp3", "e.mp3", "f.mp3"]
    assert [corpus.sentence(i) for i in range(len(corpus))] == ["Un.", "Trois.", "Six.", "Sept."]
    assert corpus.excluded == (
        ExcludedClip("train.tsv line 3", "2 columns, 3 needed"),
        ExcludedClip("train.tsv line 4", "1 columns, 3 needed"),
        ExcludedClip("train.tsv line 6", "no path"),
        ExcludedClip("train.tsv line 7", "4 columns, 3 needed"),
    )


def test_a_table_of_short_rows_is_refused(folder):
    write_split(folder, "path\tsentence\na.mp3\tUn.\nb.mp3\nc.mp3\n")
    with pytest.raises(UserError, match=r"2 of 3 clips cannot be used .*train\.tsv line 3"):
        load_split(folder, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: it holds no clips"),
        ("\n\n", "is empty: it holds no clips"),
        ("path\tsentence\n", "is empty but for its header: it holds no clips"),
        ("\ufeffpath\tsentence\r\n\r\n", "is empty but for its header"),
        (
            "file\tsentence\na.mp3\tUn.\n",
            r"no column named path in its first line \(file, sentence",
        ),
        ("path\ttext\na.mp3\tUn.\n", "no column named sentence"),
        ("a.mp3,Un\nb.mp3,Deux\n", "no column named path or sentence"),
        (b"path\tsentence\t\xe2ge\na.mp3\tUn\t\n", "its first line is not UTF-8 text: save it as"),
        ("path\tsentence\na.mp3\tUn".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        ("path\tsentence\na.mp3\tUn".encode("utf-16-le"), "is UTF-16 text: save it as UTF-8"),
        (
            "path\tsentence\na.mp3\tété\nb.mp3\tdeux\nc.mp3\tçà\n".encode("latin-1"),
            r"is in another encoding than UTF-8 \(line 2 and 1 more\): save it as",
        ),
    ],
)
def test_tables_that_are_refused(folder, text, message):
    write_split(folder, text)
    with pytest.raises(UserError, match=message) as caught:
        load_split(folder, "train")
    assert str(folder / "train.tsv") in str(caught.value)


def test_missing_split_and_clips(folder):
    write_split(folder, "path\tsentence\na.mp3\tUn.\n")
    with pytest.raises(UserError, match=r"validated\.tsv \(available: train\).*make demo"):
        load_split(folder, "validated")
    # What else a release holds is no split.
    (folder / "clip_durations.tsv").write_text("clip\tduration[ms]\na.mp3\t1000\n")
    (folder / "reported.tsv").write_text("sentence_id\tsentence\tlocale\treason\n1\tUn.\tfr\t\n")
    (folder / "empty.tsv").write_text("")
    (folder / "other.tsv").write_text("\ufeffpath\tclient_id\tsentence\r\n")
    with pytest.raises(UserError, match=r"\(available: other, train\)"):
        load_split(folder, "validated")
    (folder / "clips").rmdir()
    with pytest.raises(UserError, match="clips.*make demo") as caught:
        load_split(folder, "train")
    assert str(folder / "clips") in str(caught.value)


def test_the_fingerprint_is_that_of_the_table(folder):
    def fingerprint(text):
        return load_split(write_split(folder, text), "train").fingerprint

    first = fingerprint("path\tsentence\na.mp3\tUn.\n")
    assert fingerprint("path\tsentence\na.mp3\tUne.\n") != first
    assert fingerprint("path\tsentence\na.mp3\tUn.\n") == first


# --- Durations -----------------------------------------------------------------------------------


def test_durations_come_from_the_release_else_from_the_files(folder, monkeypatch):
    write_clips(folder, a=1.5, b=None, c=0.25, d=0.75, e=0.5, f=1.25)
    (folder / "clip_durations.tsv").write_text(
        "clip\tduration[ms]\nb.wav\t2500\na.wav\t1250\nx.wav\t1\nc.wav\tnan\nd.wav\ne.wav\tinf\n"
        "f.wav\t-3\n"
    )
    opened, duration_s = [], audio.duration_s

    def measure(path):
        opened.append(path.name)
        return duration_s(path)

    monkeypatch.setattr(audio, "duration_s", measure)
    corpus = with_durations(load_split(folder, "train"))
    assert corpus.durations.tolist() == [1.25, 2.5, 0.25, 0.75, 0.5, 1.25]
    assert corpus.durations.dtype == np.float32
    assert sorted(opened) == ["c.wav", "d.wav", "e.wav", "f.wav"]
    assert corpus.hours == pytest.approx(6.5 / 3600)


def test_clips_that_cannot_be_opened_are_excluded_and_named(folder):
    write_clips(folder, a=1, missing=None, c=0.5, empty=1)
    (folder / "clips" / "empty.wav").write_bytes(b"")
    corpus = load_split(folder, "train")
    assert np.isnan(corpus.durations).all()
    measured = with_durations(corpus)
    assert [measured.path(i) for i in range(len(measured))] == ["a.wav", "c.wav"]
    assert measured.durations.tolist() == [1.0, 0.5]
    assert measured.excluded == (
        ExcludedClip("missing.wav", "no such file"),
        ExcludedClip("empty.wav", "is empty (0 bytes)"),
    )
    kept = with_durations(corpus, keep_broken=True)
    assert kept.durations.tolist() == [1.0, 0.0, 0.5, 0.0] and kept.excluded == ()
    bounded = prepare_split(folder, "train", min_s=0.8, keep_broken=True)
    assert bounded.durations.tolist() == [1.0, 0.0, 0.0]


def test_more_than_half_broken_is_refused(folder):
    write_clips(folder, a=1, b=None, c=None)
    for keep_broken in False, True:
        with pytest.raises(UserError, match=r"2 of 3 clips .*\(the first: b\.wav: no such file\)"):
            with_durations(load_split(folder, "train"), keep_broken=keep_broken)


@pytest.mark.parametrize(("n_broken", "n_clips"), [(0, 0), (0, 5), (2, 5), (2, 4)])
def test_up_to_half_may_be_broken(n_broken, n_clips):
    refuse_if_mostly_broken("x", [ExcludedClip("a", "b")] * n_broken, n_clips)


def test_bounds_are_inclusive_and_selections_remember(folder):
    write_clips(folder, a=1, missing=None, b=2, c=3, d=4)
    corpus = between(with_durations(load_split(folder, "train")), 2, 3)
    assert [corpus.sentence(i) for i in range(len(corpus))] == ["sentence b", "sentence c"]
    fewer = corpus.select(np.array([False, True]), [ExcludedClip("b.wav", "too long")])
    assert (fewer.path(0), fewer.file(0)) == ("c.wav", folder / "clips" / "c.wav")
    assert [clip for clip, _ in fewer.excluded] == ["missing.wav", "b.wav"]
    assert (len(corpus), len(corpus.excluded)) == (2, 1)  # as it was


# --- Finding a corpus ----------------------------------------------------------------------------


VERSIONS = {
    "cv-corpus-9.0-2022-04-27": "fr en",
    "cv-corpus-15.0-2023-09-08": "fr en",
    "cv-corpus-15.0-delta-2023-09-08": "fr",
    "cv-corpus-16.1-2023-12-06": "en",
    "cv-corpus-16.10": "",
    "backup-2024-01": "fr en",
}


@pytest.fixture
def versions(tmp_path):
    for version, languages in VERSIONS.items():
        (tmp_path / version).mkdir()
        for lang in languages.split():
            (tmp_path / version / lang).mkdir()
    (tmp_path / "cv-corpus-99.0").write_text("a file")
    return tmp_path


@pytest.mark.parametrize(
    ("version", "lang", "found"),
    [
        (None, "fr", "cv-corpus-15.0-2023-09-08"),  # 15 after 9; the release after its delta
        (None, "en", "cv-corpus-16.1-2023-12-06"),
        ("backup-2024-01", "en", "backup-2024-01"),  # a folder of another name: only by its name
        ("v15.0", "fr", "cv-corpus-15.0-2023-09-08"),
        ("15.0", "fr", "cv-corpus-15.0-2023-09-08"),
        ("cv-corpus-15.0", "en", "cv-corpus-15.0-2023-09-08"),
        ("v9.0", "fr", "cv-corpus-9.0-2022-04-27"),
        ("cv-corpus-15.0-delta-2023-09-08", "fr", "cv-corpus-15.0-delta-2023-09-08"),
        ("v16.1", "en", "cv-corpus-16.1-2023-12-06"),  # not 16.10
    ],
)
def test_versions(versions, version, lang, found):
    assert find_corpus(str(versions), version, lang) == versions / found / lang


@pytest.mark.parametrize(
    ("version", "lang", "message"),
    [
        (None, "de", "looked for {root}/VERSION/de (found backup-2024-01/en, "),
        ("v17.0", "fr", "looked for {root}/v17.0 (found backup-2024-01, cv-corpus-15.0-"),
        ("v1", "fr", "no version 'v1' below {root}"),
        ("v16.1", "fr", "looked for {root}/cv-corpus-16.1-2023-12-06/fr (found en)"),
        ("v16.10", "fr", "looked for {root}/cv-corpus-16.10/fr (found nothing)"),
    ],
)
def test_what_is_not_found_is_named(versions, version, lang, message):
    with pytest.raises(UserError, match="make demo") as caught:
        find_corpus(str(versions), version, lang)
    assert message.format(root=versions) in str(caught.value)


def test_the_root_is_asked_for_then_the_environment_then_data(versions, tmp_path, monkeypatch):
    here = tmp_path / "here"
    (here / "data" / "v1" / "fr").mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("COMMONVOICE_ROOT", str(versions))
    assert find_corpus("data", None, "fr").resolve() == here / "data" / "v1" / "fr"
    assert find_corpus(None, "v9.0", "fr") == versions / "cv-corpus-9.0-2022-04-27" / "fr"
    monkeypatch.delenv("COMMONVOICE_ROOT")
    assert find_corpus(None, None, "fr").resolve() == here / "data" / "v1" / "fr"
    with pytest.raises(UserError, match="no corpus folder at elsewhere .*make demo"):
        find_corpus("elsewhere", None, "fr")


def test_other_layouts_lie_in_the_root_or_in_a_version(tmp_path):
    (tmp_path / "LJSpeech-1.1").mkdir()
    root = str(tmp_path)
    assert find_corpus(root, None, "fr", layout="kaldi") == tmp_path
    assert find_corpus(root, "LJSpeech-1.1", "fr", layout="ljspeech") == tmp_path / "LJSpeech-1.1"
    with pytest.raises(UserError, match=r"no folder .*LJSpeech-2 .*found LJSpeech-1\.1"):
        find_corpus(root, "LJSpeech-2", "fr", layout="ljspeech")
