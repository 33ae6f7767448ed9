"""Files written whole: through links, into pipes and devices, and what killed processes left."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from asr_ctc.base import files
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import (
    is_locked,
    open_atomically,
    open_own,
    refuse_links,
    remove_unfinished,
    write_atomically,
)

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def as_a_new_process():
    files._remove_leftovers_once.cache_clear()


# --- Links, pipes, devices -----------------------------------------------------------------------


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "target", tmp_path / "link"
    for before in b"old", None:
        if before:
            target.write_bytes(before)
        else:
            target.unlink()
        link.unlink(missing_ok=True)
        link.symlink_to("far/target")
        write_atomically(link, b"new")
        assert link.is_symlink() and target.read_bytes() == b"new"
        assert os.listdir(tmp_path / "far") == ["target"]


def test_links_in_a_circle_are_a_users_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UserError, match="cannot write .*a: .*symbolic links"):
        write_atomically(tmp_path / "a", b"new")


def test_a_named_pipe_is_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"data" * 100_000)
    reader.join(timeout=60)
    assert read == [b"data" * 100_000] and pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_device_is_written_into_and_stays(tmp_path):
    write_atomically(Path("/dev/null"), b"data")
    (tmp_path / "link").symlink_to("/dev/full")
    for path in Path("/dev/full"), tmp_path / "link":
        for data in b"data", b"data" * 100_000:
            with pytest.raises(UserError, match=f"^cannot write {path}: No space left on device$"):
                write_atomically(path, data)
    for device in "/dev/null", "/dev/full":
        assert Path(device).is_char_device()


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("to_file", [True, False])
def test_standard_output_by_its_name(tmp_path, name, to_file):
    """In order with what is printed, also where the output is a regular file."""
    code = "import sys; from asr_ctc.base.files import write_atomically as write; "
    code += f"print('one'); write({name!r}, b'two\\n'); print('three')"
    words = [sys.executable, "-c", code]
    if to_file:
        with open(tmp_path / "out", "wb") as out:
            subprocess.run(words, cwd=REPOSITORY, stdout=out, check=True)
        said = (tmp_path / "out").read_bytes()
        assert os.listdir(tmp_path) == ["out"]
    else:
        said = subprocess.run(words, cwd=REPOSITORY, capture_output=True, check=True).stdout
    assert said == b"one\ntwo\nthree\n"


def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match="cannot write .*a: Is a directory$"):
        write_atomically(tmp_path / "a", b"data")
    assert os.listdir(tmp_path) == ["a"]


def test_permissions_are_those_of_the_file_before_or_of_a_new_one(tmp_path, monkeypatch):
    def mode_after_writing():
        write_atomically(tmp_path / "a", b"data")
        return (tmp_path / "a").stat().st_mode & 0o777

    monkeypatch.setattr(files, "UMASK", 0o077)
    assert mode_after_writing() == 0o600
    (tmp_path / "a").chmod(0o664)
    assert mode_after_writing() == 0o664


def test_a_runs_own_files_are_no_links_and_no_pipes(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / "log").symlink_to(victim)
    (run / "dangling").symlink_to(tmp_path / "new")
    os.mkfifo(run / "pipe")
    (run / "folder").mkdir()
    for name, why in {
        "log": "is a link",
        "dangling": "is a link",
        "pipe": "",
        "folder": "Is a directory",
    }.items():
        with pytest.raises(UserError, match=f"cannot write .*{name}: .*{why}"):
            open_own(run / name)
    assert victim.read_text() == "mine" and not (tmp_path / "new").exists()
    assert not is_locked(run / "pipe")  # asking does not wait for a writer
    with pytest.raises(UserError, match="dangling is a link"):
        refuse_links(run, ["none", "folder", "dangling"])
    refuse_links(run, ["none", "folder"])
    for line in "first\n", "\udcff\n":
        with open_own(run / "plain") as file:
            file.write(line)
    assert (run / "plain").read_text() == "first\n\\udcff\n"


# --- What killed processes left ------------------------------------------------------------------

WRITE_AND_WAIT = """
import sys
from asr_ctc.base.files import open_atomically
with open_atomically(sys.argv[1]) as file:
    file.write(b"theirs")
    print("writing", flush=True)
    sys.stdin.read()
print("written", flush=True)
"""


def start_to_write(path):
    words = [sys.executable, "-c", WRITE_AND_WAIT, str(path)]
    process = subprocess.Popen(
        words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    return process


def unfinished(folder):
    return sorted(folder.rglob(".*.unfinished"))


def test_the_next_write_removes_what_a_killed_one_left_and_no_other(tmp_path):
    with start_to_write(tmp_path / "a") as killed:
        killed.kill()
    (left,) = unfinished(tmp_path)
    (tmp_path / ".mine").write_text("no leftover")
    (tmp_path / "visible.unfinished").write_text("no leftover")
    with start_to_write(tmp_path / "a") as other:
        (theirs,) = unfinished(tmp_path)  # the other has removed it
        assert theirs != left
        write_atomically(tmp_path / "a", b"ours")
        remove_unfinished(tmp_path)
        assert unfinished(tmp_path) == [theirs]
        other.stdin.close()
        assert other.stdout.readline() == "written\n"
    assert (tmp_path / "a").read_bytes() == b"theirs"
    assert sorted(os.listdir(tmp_path)) == [".mine", "a", "visible.unfinished"]


def test_a_thread_of_the_same_process_keeps_its_file(tmp_path):
    with open_atomically(tmp_path / "a") as file:
        file.write(b"first")
        files._remove_leftovers_once.cache_clear()
        write_atomically(tmp_path / "a", b"second")
        remove_unfinished(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"first" and os.listdir(tmp_path) == ["a"]


def test_a_file_taken_for_a_leftover_before_its_lock_is_made_again(tmp_path, monkeypatch):
    flock, removed = files.fcntl.flock, []

    def cleaned(handle, kind):
        if not removed:
            removed.extend(unfinished(tmp_path))
            removed[0].unlink()
        flock(handle, kind)

    monkeypatch.setattr(files.fcntl, "flock", cleaned)
    write_atomically(tmp_path / "a", b"data")
    assert removed and (tmp_path / "a").read_bytes() == b"data" and os.listdir(tmp_path) == ["a"]


def test_a_run_removes_leftovers_of_all_its_folders(tmp_path):
    (tmp_path / "kept").mkdir()
    for path in tmp_path / "a", tmp_path / "kept" / "b":
        with start_to_write(path) as killed:
            killed.kill()
    assert len(unfinished(tmp_path)) == 2
    remove_unfinished(tmp_path)
    assert not unfinished(tmp_path)
