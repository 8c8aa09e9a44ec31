import errno
import os
import time
from contextlib import nullcontext
from fnmatch import fnmatch
from pathlib import Path

from helpers import files
from helpers.files import atomic, home, make_folder

import pytest


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestAtomic:
    def test_a_file_gets_its_name_when_it_is_whole(self, tmp_path):
        (tmp_path / "a.txt").write_text("old")
        with atomic(tmp_path / "a.txt") as partial:
            partial.write_text("new")
            assert (tmp_path / "a.txt").read_text() == "old"
        assert (tmp_path / "a.txt").read_text() == "new"
        assert names(tmp_path) == ["a.txt"]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_an_error_leaves_the_old_file_and_nothing_else(self, tmp_path, error):
        (tmp_path / "a.txt").write_text("old")
        with pytest.raises(error), atomic(tmp_path / "a.txt") as partial:
            partial.write_text("ne")
            raise error
        assert (tmp_path / "a.txt").read_text() == "old"
        assert names(tmp_path) == ["a.txt"]

    def test_a_folder_that_another_process_made_stays(self, tmp_path):
        with atomic(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / "ours").touch()
            (tmp_path / "folder").mkdir()
            (tmp_path / "folder" / "theirs").touch()
        assert names(tmp_path) == ["folder"] and names(tmp_path / "folder") == ["theirs"]

    def test_an_error_in_a_folder_leaves_nothing(self, tmp_path):
        with pytest.raises(ValueError), atomic(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / "half").touch()
            raise ValueError
        assert names(tmp_path) == []

    @pytest.mark.parametrize("failures", [1, 3, 4])
    @pytest.mark.parametrize("is_folder", [False, True])
    def test_what_another_program_holds_is_tried_again(
        self, tmp_path, monkeypatch, failures, is_folder
    ):
        """As a virus scanner does on Windows, with a file that was just written."""
        replace, waits, tries = os.replace, [], iter(range(10))

        def held(*paths):
            if next(tries) < failures:
                raise PermissionError("in use")
            replace(*paths)

        monkeypatch.setattr(os, "replace", held)
        monkeypatch.setattr(time, "sleep", waits.append)
        lasting = pytest.raises(PermissionError, match="in use")
        with lasting if failures > 3 else nullcontext(), atomic(tmp_path / "a") as partial:
            partial.mkdir() if is_folder else partial.write_text("whole")
        assert len(waits) == min(failures, 3) and sum(waits) < 2
        assert [p.name for p in tmp_path.iterdir()] == ([] if failures > 3 else ["a"])

    def test_a_full_disk_says_how_to_go_on(self, tmp_path, monkeypatch):
        def full(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match=r"disk is full, .*a\.txt was not written: make") as error:
            with atomic(tmp_path / "a.txt") as partial:
                partial.write_text("new")
        assert error.value.errno == errno.ENOSPC and names(tmp_path) == []

    def test_other_errors_of_the_system_stay_what_they_are(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="not here"), atomic(tmp_path / "a.txt"):
            raise FileNotFoundError("not here")

    def test_what_killed_processes_left_is_swept_and_what_others_write_is_not(self, tmp_path):
        yesterday = time.time() - 25 * 3600
        old, young = ".a.txt.0123456789ab.partial", ".a.txt.cdef01234567.partial"
        theirs = [".Film.partial", ".a.b.partial", "kept"]
        for name in (old, young, *theirs):
            (tmp_path / name).mkdir()
            (tmp_path / name / "half").write_text("ha")
        for name in (old, *theirs):
            os.utime(tmp_path / name, (yesterday, yesterday))

        with atomic(tmp_path / "a.txt") as partial:
            partial.write_text("new")
            assert fnmatch(partial.name, f".a.txt.{'[0-9a-f]' * 12}.partial")
        assert names(tmp_path) == sorted([young, "a.txt", *theirs])

    def test_what_another_user_left_stops_nothing(self, tmp_path, monkeypatch):
        left = tmp_path / ".b.txt.0123456789ab.partial"
        left.write_text("theirs")
        os.utime(left, (0, 0))
        remove = files._remove

        def refused(path):
            if path == left:
                raise PermissionError(1, "Operation not permitted")
            remove(path)

        monkeypatch.setattr(files, "_remove", refused)
        with atomic(tmp_path / "a.txt") as partial:
            partial.write_text("new")
        assert names(tmp_path) == [left.name, "a.txt"]

    @pytest.mark.parametrize("name", ["x" * 251 + ".png", "\u732b" * 83 + ".png"])
    def test_a_name_may_be_as_long_as_names_can_be(self, tmp_path, name):
        with atomic(tmp_path / name) as partial:
            partial.write_text("new")
        assert names(tmp_path) == [name]


class TestHome:
    def test_is_the_clone(self, monkeypatch):
        monkeypatch.delenv("UNET_HOME", raising=False)
        assert (home() / "helpers" / "files.py").is_file()

    def test_moves_with_the_variable(self, monkeypatch, tmp_path):
        monkeypatch.setenv("UNET_HOME", str(tmp_path / "here"))
        assert home() == (tmp_path / "here").resolve()

    def test_of_an_installed_package_is_the_current_folder(self, monkeypatch, tmp_path):
        monkeypatch.delenv("UNET_HOME", raising=False)
        monkeypatch.setattr(files, "__file__", str(tmp_path / "site-packages/helpers/files.py"))
        monkeypatch.chdir(tmp_path)
        assert home() == tmp_path


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to .*file.*: make the folder writable"):
        make_folder(tmp_path / "file" / "folder")
    with pytest.raises(OSError, match=r"cannot write to .*file"):
        make_folder(tmp_path / "file")


def test_a_folder_that_is_not_writable_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # chmod does not stop root
    with pytest.raises(OSError, match=r"cannot write to .* \(no permission to write\)"):
        make_folder(tmp_path / "folder")
