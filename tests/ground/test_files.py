"""What the system refuses becomes one line that names the file, and nothing half-written is left."""

import contextlib
import errno
import os
import tempfile

import numpy as np
import pytest
from refusals import refused

from emotion.console import run_program
from emotion.errors import ConfigError, EmotionError, FileError, first_line
from emotion.files import (
    check_writable,
    file_error,
    folder_written_whole,
    locked_names,
    make_folder,
    named_errors,
    own_temporary_folder,
    shorten_name,
    write_whole,
    written_whole,
)
from emotion.models.run_folder import check_run


@pytest.mark.parametrize("name", ["x" * 300, "a_file/inside"])
def test_impossible_names_are_called_so_and_nothing_is_left(tmp_path, name):
    (tmp_path / "a_file").write_text("text")
    path = tmp_path / name
    for write in (lambda: write_whole(path, "text"), lambda: make_folder(path)):
        with refused(FileError, path):
            write()
    with refused(EmotionError, path):
        check_run(path)
    assert [item.name for item in tmp_path.iterdir()] == ["a_file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe: is a device or a pipe"):
        check_writable(tmp_path / "pipe")


def test_a_long_name_that_the_system_takes_is_written(tmp_path):
    write_whole(tmp_path / ("x" * 250 + ".json"), "text")
    assert (tmp_path / ("x" * 250 + ".json")).read_text() == "text"


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError("75781 requested and 51168 written")]
)
def test_a_full_disk_is_told_by_the_file_that_was_meant(tmp_path, error):
    (tmp_path / "a.npy").write_text("before")
    told = refused(FileError, tmp_path / "a.npy", os.strerror(errno.ENOSPC)[1:], "Make room")
    with told, written_whole(tmp_path / "a.npy") as partial:
        np.save(partial, np.zeros(3))
        raise error
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [("a.npy", "before")]


def test_a_partial_file_is_never_named():
    error = OSError(errno.EROFS, "Read-only file system", "/data/.123.partial.a.png")
    assert "/data/.123" not in str(file_error(error)) and "a.png" in str(file_error(error))


def test_errors_of_programs_pass_through_unchanged(tmp_path):
    with refused(EmotionError, "mine"), named_errors(tmp_path):
        raise EmotionError("mine")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), OSError("unable to lock file")])
def test_a_program_tells_any_file_error_in_one_line(capsys, error):
    def fail():
        raise error

    assert run_program(fail) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_words_of_other_packages_stay_one_short_line():
    assert first_line(ValueError("what\nand more")) == "what"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(ValueError("{" * 9000))) < 400


@pytest.mark.parametrize("fails", [False, True])
def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, fails):
    folder = tmp_path / "made" / "folder"
    for content in ("old", "new"):
        with contextlib.suppress(ZeroDivisionError), folder_written_whole(folder) as partial:
            (partial / f"{content}.txt").write_text(content)
            if fails and content == "new":
                raise ZeroDivisionError
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    assert [path.name for path in folder.iterdir()] == ["old.txt" if fails else "new.txt"]


# ---- A shared temporary folder ----


@pytest.fixture
def shared_folder(tmp_path, monkeypatch):
    """A temporary folder that strangers may write to, too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_a_planted_link_does_not_harm_what_it_leads_to(shared_folder):
    victim = shared_folder / "thesis.txt"
    victim.write_text("years of work")
    with locked_names([shared_folder / "out.mp4"]):
        (lock,) = own_temporary_folder().iterdir()
    lock.symlink_to(victim)
    with pytest.raises(FileError), locked_names([shared_folder / "out.mp4"]):
        pass
    lock.unlink()
    os.link(victim, lock)  # a hard link is followed, but never truncated
    with locked_names([shared_folder / "out.mp4"]):
        pass
    assert victim.read_text() == "years of work"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_a_lock_that_its_holder_deletes_at_that_moment_is_no_lock(shared_folder, monkeypatch):
    import fcntl

    take, deleted = fcntl.flock, []

    def delete_once(file, how):
        if not deleted:
            (lock,) = own_temporary_folder().iterdir()
            deleted.append(lock.unlink())
        return take(file, how)

    monkeypatch.setattr(fcntl, "flock", delete_once)
    with locked_names([shared_folder / "out.mp4"]):
        assert len(list(own_temporary_folder().iterdir())) == 1  # which the next program finds locked


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
@pytest.mark.parametrize("planted", ["link", "open", "file"])
def test_only_a_folder_of_your_own_holds_locks(shared_folder, planted):
    folder = own_temporary_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    other = shared_folder / "other"
    other.mkdir(mode=0o700)
    {"link": lambda: folder.symlink_to(other), "open": lambda: folder.mkdir() or folder.chmod(0o777),
     "file": folder.touch}[planted]()  # fmt: skip
    with pytest.raises(ConfigError, match=str(folder)), locked_names([shared_folder / "out.mp4"]):
        pass
    assert not list(other.iterdir())


def test_a_shortened_name_leaves_room_stays_its_own_and_cuts_no_letter():
    assert shorten_name("clip", 17) == "clip"
    names = ["é" * 123 + letter for letter in "ab"]
    short = [shorten_name(name, 17) for name in names]
    assert len(set(short)) == 2
    for name in short:
        assert len(name.encode()) <= 255 - 17
        assert name.startswith("é" * 110) and "\ufffd" not in name
