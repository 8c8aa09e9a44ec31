import errno
import os
import time
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
        for name in (".old.partial", ".young.partial", "kept"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "half").write_text("ha")
        for name in (".old.partial", "kept"):
            os.utime(tmp_path / name, (yesterday, yesterday))

        with atomic(tmp_path / "a.txt") as partial:
            partial.write_text("new")
        assert names(tmp_path) == [".young.partial", "a.txt", "kept"]


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
