"""Releases as downloaded: unpacked once and whole, whatever is in them and whenever it stops."""

import errno
import gzip
import io
import os
import shutil
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.corpus import archive as archives
from asr_ctc.corpus.archive import MARK, unpack
from asr_ctc.corpus.corpus import find_corpus, load_split

TSV = b"client_id\tpath\tsentence\np\ta.mp3\tUn deux.\n"
RELEASE = {
    "cv-corpus-27.0-2026-09-11/ka/train.tsv": TSV,
    "cv-corpus-27.0-2026-09-11/ka/clips/a.mp3": bytes(range(256)) * 40,
}
TRICKS = {
    "/tmp/asr_ctc_escaped": "leads out",
    "../escaped": "leads out",
    "a/../../escaped": "leads out",
    "..\\escaped": "leads out",
    "c:escaped": "leads out",
    "c:\\escaped": "leads out",
}
KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a link",
    tarfile.FIFOTYPE: "neither a file nor a folder",
    tarfile.CHRTYPE: "neither a file nor a folder",
    tarfile.BLKTYPE: "neither a file nor a folder",
}


@pytest.fixture(autouse=True, scope="module")
def without_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sync", lambda: None)
        yield


def tar_of(files: dict[str, bytes], *members: tarfile.TarInfo) -> bytes:
    """A tar file, not zipped; further members after the files, without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return buffer.getvalue()


def write_release(folder: Path, files=RELEASE, *members, name="release.tar.gz") -> Path:
    file = folder / name
    file.write_bytes(gzip.compress(tar_of(files, *members), mtime=0))
    return file


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MARK
    }


def refused(file: Path, message: str) -> None:
    """The archive is refused, and nothing lies beside it then."""
    before = sorted(os.listdir(file.parent))
    with pytest.raises(UserError, match=message):
        unpack(file)
    assert sorted(os.listdir(file.parent)) == before


# --- What is right -------------------------------------------------------------------------------


def test_a_release_is_a_corpus_as_it_is(tmp_path):
    file = write_release(tmp_path)
    folder = find_corpus(str(file), None, "ka")
    assert folder == tmp_path / "release" / "cv-corpus-27.0-2026-09-11" / "ka"
    assert load_split(folder, "train").sentence(0) == "Un deux."
    assert content_of(tmp_path / "release") == RELEASE
    assert sorted(os.listdir(tmp_path)) == ["release", "release.tar.gz"]
    with pytest.raises(UserError, match=r"language 'fr'.*found cv-corpus-27\.0-2026-09-11/ka"):
        find_corpus(str(file), None, "fr")


def test_it_is_unpacked_once_and_may_be_deleted_then(tmp_path, monkeypatch):
    file = write_release(tmp_path)
    folder = unpack(file)
    own = folder / "cv-corpus-27.0-2026-09-11" / "ka" / "all.tsv"
    own.write_bytes(TSV)
    monkeypatch.setattr(archives, "_unpack", None)
    assert unpack(file) == folder and own.read_bytes() == TSV
    file.unlink()
    assert find_corpus(str(file), None, "ka") == own.parent


def test_a_manifest_in_an_archive(tmp_path):
    files = {"mine/all.csv": b"path,sentence\na.wav,ab\n", "mine/a.wav": b"x"}
    file = write_release(tmp_path, files, name="mine.tgz")
    assert find_corpus(str(file), None, "fr", layout="manifest") == tmp_path / "mine" / "mine"
    flat = {name.removeprefix("mine/"): content for name, content in files.items()}
    file = write_release(tmp_path, flat, name="flat.tar.gz")
    assert find_corpus(str(file), None, "fr", layout="manifest") == tmp_path / "flat"


names = st.text(st.sampled_from("ab.é-"), min_size=1, max_size=3).filter(
    lambda name: name not in (".", "..")
)


@given(st.dictionaries(names, st.binary(max_size=2000), min_size=1, max_size=5))
def test_what_comes_out_is_what_went_in(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("any")
    files = {f"x/{name}": content for name, content in files.items()}
    assert content_of(unpack(write_release(folder, files))) == files


def test_folders_and_long_names_are_taken(tmp_path):
    long = "v/" + "n" * 120 + "/" + "m" * 130 + ".mp3"
    empty = tarfile.TarInfo("v/empty")
    empty.type = tarfile.DIRTYPE
    folder = unpack(write_release(tmp_path, {long: b"1", "./v/a": b"2"}, empty))
    assert content_of(folder) == {long: b"1", "v/a": b"2"} and (folder / "v/empty").is_dir()


def test_two_processes_do_not_disturb_each_other(tmp_path):
    file, done = write_release(tmp_path, {f"v/{i}": b"x" * 1000 for i in range(200)}), []
    threads = [threading.Thread(target=lambda: done.append(unpack(file))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [tmp_path / "release"] * 4 and len(content_of(done[0])) == 200


# --- What is not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "message"), TRICKS.items())
def test_no_path_leads_out(tmp_path, name, message):
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    refused(write_release(folder, {**RELEASE, name: b"x"}), message)
    assert not list(tmp_path.rglob("*escaped*")) and not os.path.exists("/tmp/asr_ctc_escaped")


@pytest.mark.parametrize(("kind", "message"), KINDS.items())
def test_only_files_and_folders_are_taken(tmp_path, kind, message):
    member = tarfile.TarInfo("cv-corpus-27.0-2026-09-11/other")
    member.type, member.linkname = kind, "/etc/passwd"
    refused(write_release(tmp_path, RELEASE, member), message)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "./a"), ("v/a", "v")])
def test_a_name_is_there_once(tmp_path, names):
    buffer = b"".join(tar_of({name: b"x"})[:1024] for name in names) + bytes(10240)
    file = tmp_path / "release.tar.gz"
    file.write_bytes(gzip.compress(buffer))
    refused(file, "twice")


def test_an_archive_that_is_cut_off_anywhere(tmp_path):
    file = write_release(tmp_path)
    whole = file.read_bytes()
    for n_bytes in range(0, len(whole), max(1, len(whole) // 60)):
        file.write_bytes(whole[:n_bytes])
        refused(file, r"release\.tar\.gz: (is no whole|holds no files)")
    file.write_bytes(whole)
    assert content_of(unpack(file)) == RELEASE


def test_a_tar_file_that_was_cut_off_before_it_was_zipped(tmp_path):
    whole, file = tar_of(RELEASE), tmp_path / "release.tar.gz"
    for n_blocks in range(1, len(whole.rstrip(b"\0")) // 512 + 1):
        file.write_bytes(gzip.compress(whole[: n_blocks * 512]))
        refused(file, "is no whole")


@pytest.mark.parametrize("at", [0, 3, 20, -5, -1])
def test_a_damaged_archive(tmp_path, at):
    file = write_release(tmp_path)
    damaged = bytearray(file.read_bytes())
    damaged[at] ^= 0x55
    file.write_bytes(damaged)
    refused(file, "is no whole")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    tar = bytearray(tar_of(RELEASE))
    second = tar.index(b"cv-corpus-27.0-2026-09-11/ka/clips")
    tar[second + 150] ^= 0xFF  # in its checksum
    file = tmp_path / "release.tar.gz"
    file.write_bytes(gzip.compress(bytes(tar)))
    refused(file, "is no whole")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no whole"),
        (b"<!DOCTYPE html><title>Log in</title>", "Not a gzipped file"),
        (gzip.compress(b"", mtime=0), "is no whole"),
        (gzip.compress(b"no tar file" * 100, mtime=0), "is no whole"),
        (gzip.compress(tar_of({}), mtime=0), "holds no files"),
    ],
)
def test_what_is_no_archive(tmp_path, content, message):
    file = tmp_path / "release.tar.gz"
    file.write_bytes(content)
    refused(file, message)


def test_a_file_that_is_no_archive_by_its_name(tmp_path):
    (tmp_path / "train.tsv").write_bytes(TSV)
    with pytest.raises(UserError, match=r"train\.tsv is a file .*a folder is needed, or a release"):
        find_corpus(str(tmp_path / "train.tsv"), None, "fr")
    with pytest.raises(UserError, match="no corpus folder at .*mozilladatacollective"):
        find_corpus(str(tmp_path / "absent.tar.gz"), None, "fr")


def test_a_folder_of_the_users_is_kept(tmp_path):
    file, folder = write_release(tmp_path), tmp_path / "release"
    folder.mkdir()
    refused(file, "release, which is there already: give that folder as --datasetroot")
    (folder / MARK).write_text("[]")
    refused(file, "which is there already")
    folder.joinpath(MARK).unlink()
    folder.rmdir()
    unpack(file)
    write_release(tmp_path, {**RELEASE, "more": bytes(5000)})
    with pytest.raises(UserError, match=r"content of another release\.tar\.gz: move it away"):
        unpack(file)


# --- When it stops -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(errno.ENOSPC, "full")])
def test_nothing_is_left_when_it_stops_halfway(tmp_path, monkeypatch, error):
    file, copied = write_release(tmp_path), []

    def copy(source, target, n_bytes):
        if copied:
            raise error
        copied.append(target.write(source.read()))

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    expected = UserError if isinstance(error, OSError) else error
    with pytest.raises(expected):
        unpack(file)
    assert copied and os.listdir(tmp_path) == ["release.tar.gz"]
    monkeypatch.undo()
    assert content_of(unpack(file)) == RELEASE


def test_what_a_killed_process_left_is_no_corpus(tmp_path):
    file = write_release(tmp_path)
    left = tmp_path / ".release.unfinished" / "cv-corpus-27.0-2026-09-11" / "ka"
    left.mkdir(parents=True)
    (left / "train.tsv").write_bytes(TSV[:30])
    (left / "stray").write_bytes(b"x")
    (left.parent.parent / "ka").mkdir()
    (left.parent.parent / "ss-corpus-ka.tsv").write_bytes(b"")
    (left / "ss-corpus-ka.tsv").write_bytes(b"")
    for layout in "commonvoice", "spontaneous":
        with pytest.raises(UserError, match="no version below|no spontaneous speech"):
            find_corpus(str(tmp_path), None, "ka", layout=layout)
    assert content_of(unpack(file)) == RELEASE
    assert sorted(os.listdir(tmp_path)) == ["release", "release.tar.gz"]


def test_places_that_cannot_be_written(tmp_path):
    file = write_release(tmp_path)
    (tmp_path / ".release.unfinished").write_bytes(b"a file in its place")
    with pytest.raises(UserError, match="cannot be unpacked beside itself .*may write into"):
        unpack(file)


def test_too_large_a_file_is_refused_before_it_is_written(tmp_path, monkeypatch):
    file = write_release(tmp_path, {"v/large": bytes(1 << 20)})
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    refused(file, "no room")
