"""`main_ctc.py align`, and which recordings it takes and what it writes about them."""

import json
import re
import shutil

import pytest

from asr_ctc.acoustic.model_file import save_model
from asr_ctc.base.errors import UserError
from asr_ctc.commands import main as cli
from asr_ctc.recognition.formats import Transcript
from asr_ctc.recognition.recordings import TranscriptWriter, find_recordings, text_beside


@pytest.fixture
def place(toy_folder, tiny_model, tmp_path, monkeypatch):
    """A folder with a model, a.mp3 with its text beside it, b.mp3 without, and a corpus."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "m.pt", tiny_model)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    shutil.copy(toy_folder / "clips" / "toy_dev_0.mp3", "in/a.mp3")
    shutil.copy(toy_folder / "clips" / "toy_dev_1.mp3", "in/deep/b.mp3")
    (tmp_path / "in" / "a.txt").write_text("\ufeffAbc,\n de.\n", encoding="utf-8")
    return tmp_path


def align(capsys, *words):
    """(exit status, standard output, standard error) of `main_ctc.py align WORDS`."""
    status = cli.main(["align", "--modelpath", "m.pt", "--device", "cpu", *map(str, words)])
    return status, *capsys.readouterr()


def test_a_file_and_its_text(place, capsys):
    status, out, _ = align(capsys, "--audiofile", "in/a.mp3", "--text", "Abc, de.")
    found = json.loads(out)
    assert status == 0
    assert (found["audio"], found["text"]) == ("in/a.mp3", "Abc, de.")
    assert [word["word"] for word in found["words"]] == ["Abc,", "de."]
    assert [c["character"] for c in found["characters"]] == list("abc,de.")
    assert align(capsys, "--audiofile", "in/a.mp3")[1] == out  # as the .txt beside it says


def test_a_folder_in_each_format(place, capsys):
    (place / "in" / "deep" / "b.txt").write_text("abc")
    for name, ending in [("textgrid", "TextGrid"), ("srt", "srt"), ("ctm", "ctm")]:
        status, out, err = align(capsys, "--audiofile", "in", "--format", name, "--out", "o/p")
        assert (status, out) == (0, "")
        assert err.endswith("written: 2 files in o/p\n")
        assert {f.name for f in (place / "o/p").glob(f"*.{ending}")} == {
            f"a.{ending}",
            f"b.{ending}",
        }
    assert "Abc, de." in (place / "o/p/a.srt").read_text()
    status, out, _ = align(capsys, "--audiofile", "in")
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["Abc, de.", "abc"]
    status, out, _ = align(capsys, "--audiofile", "in", "--format", "text")
    assert (status, out) == (0, "in/a.mp3: Abc, de.\nin/deep/b.mp3: abc\n")
    status, out, err = align(capsys, "--audiofile", "in/a.mp3", "--format", "text", "--out", "o")
    assert (status, out) == (0, "") and err.endswith("written: o/a.txt\n")
    assert (place / "o/a.txt").read_text() == "Abc, de.\n"


def test_what_cannot_be_aligned_in_a_folder_is_named_and_counted(place, capsys):
    (place / "in" / "c.mp3").write_bytes(b"no audio")
    (place / "in" / "c.txt").write_text("abc")
    shutil.copy("in/a.mp3", "in/d.mp3")
    (place / "in" / "d.txt").write_text("ab" * 300)
    status, out, err = align(capsys, "--audiofile", "in", "--format", "tsv")
    assert status == 2
    assert [line.split("\t")[0] for line in out.splitlines()] == ["audio", "in/a.mp3", "in/a.mp3"]
    assert "skipped: in/c.mp3: is not audio" in err
    assert "skipped: in/d.mp3: cannot be aligned: transcript too long for its audio: 602 " in err
    assert "skipped: in/deep/b.mp3: no text beside it, b.txt" in err
    assert "1 of 4 aligned, 3 skipped" in err


def test_a_split(place, capsys):
    table = place / "root" / "toy-1.0" / "fr" / "dev.tsv"
    lines = table.read_text().split("\n")
    lines[2] = lines[2].replace(lines[2].split("\t")[3], "ab中")
    table.write_text("\n".join(lines))
    words = "--datasetroot root --lang fr --split dev --nthreads 0".split()
    status, out, err = align(capsys, *words)
    assert status == 0, err  # the letter without a class is of the unknown class
    said = [line.split("\t")[3] for line in lines[1:7]]
    found = [json.loads(line) for line in out.splitlines()]
    assert [transcript["text"] for transcript in found] == said
    assert [word["word"] for word in found[1]["words"]] == ["ab中"]


@pytest.mark.parametrize(
    "words, said",
    [
        ("--audiofile in/a.mp3 --text " + 300 * "ab", "too long for its audio: 602 output frames"),
        ("--audiofile in/deep/b.mp3", "in/deep/b.mp3: no text beside it, b.txt"),
        ("--audiofile gone.mp3 --text a", "gone.mp3: no such file"),
        ("--audiofile in --text a", "--text is what one --audiofile says; found 2"),
        ("--text a", "--text is what one --audiofile says; found 0"),
        ("--audiofile nowhere.mp3", "nowhere.mp3: no such file"),
        ("--audiofile - --text a", "--audiofile -: align reads files, not standard input"),
        ("--audiofile no*.mp3", "--audiofile no.*: nothing matches"),
        ("--audiofile in --format srt", "--format srt holds one recording: --out FOLDER"),
        ("--audiofile in/a.mp3 --format doc", "--format must be one of text, json"),
        ("--audiofile in/a.mp3 --out m.pt", "--out m.pt: cannot be written .m.pt is a file where"),
        ("--audiofile in/a.mp3 --out m.pt/a/b", "m.pt is a file where a folder is needed: name an"),
    ],
)
def test_wrong_use_ends_in_one_line(place, capsys, words, said):
    status, out, err = align(capsys, *words.split())
    assert (status, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(said, last), last


def test_recordings_are_files_folders_and_patterns_each_once(place):
    a, b = (place / "in" / "a.mp3"), (place / "in" / "deep" / "b.mp3")
    assert find_recordings([str(place / "in")]) == [a, b]
    assert find_recordings([str(b), str(place / "in")]) == [b, a]
    assert find_recordings([str(place / "in" / "**" / "*.mp3")]) == [a, b]
    (place / "in" / "odd[1].mp3").write_bytes(b"")
    assert find_recordings(["in/odd[1].mp3"])[0].name == "odd[1].mp3"
    (place / "empty").mkdir()
    with pytest.raises(UserError, match="empty: the folder holds no audio"):
        find_recordings(["empty"])


def test_texts_beside_that_cannot_be_read(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match=r"a.txt: cannot be read \(not UTF-8 text\)"):
        text_beside(tmp_path / "a.mp3")


def test_files_of_one_name_are_refused_before_any_is_written(tmp_path):
    with pytest.raises(UserError, match="x/a.mp3 and y/a.wav would both become a.json"):
        TranscriptWriter(None, str(tmp_path / "out"), ["x/a.mp3", "b.mp3", "y/a.wav"])
    assert not (tmp_path / "out").exists()


def test_a_table_has_one_header_on_the_screen_and_one_in_each_file(tmp_path, capsys):
    transcripts = [Transcript(f"{name}.mp3", 1.0, "", 0.0, (), ()) for name in "ab"]
    for out in (None, str(tmp_path)):
        writer = TranscriptWriter("tsv", out, ["a.mp3", "b.mp3"])
        for transcript in transcripts:
            writer.write(transcript)
    header = "audio\tstart_s\tend_s\tconfidence\tword\n"
    assert capsys.readouterr().out == header
    assert [(tmp_path / f"{name}.tsv").read_text() for name in "ab"] == [header] * 2
