"""`python -m helpers.datasets`: one line and code 1 after an error, never a traceback."""

import subprocess
import sys

from helpers.datasets.__main__ import main
from helpers.datasets.formats.common import open_ours

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "mine"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
        Image.fromarray(np.eye(5, dtype=np.uint8)).save(folder / part / "a.png")
    (folder / "classes.csv").write_text("value,name\n0,background\n1,line\n")
    return folder


def test_out_and_in_again(mine, tmp_path, capsys):
    assert main(["export", "coco", str(mine), "--out", str(tmp_path / "coco")]) == 0
    assert main(["import", "coco", str(tmp_path / "coco"), "--out", str(tmp_path / "b")]) == 0
    assert "1 images; classes: background, line." in capsys.readouterr().out
    ours = open_ours(tmp_path / "b")
    assert (ours.mask(ours.rows[0]) == np.eye(5)).all()


def test_images_of_another_folder(mine, tmp_path):
    main(["export", "voc", str(mine), "--out", str(tmp_path / "voc")])
    (tmp_path / "voc" / "JPEGImages").rename(tmp_path / "photos")
    command = ["import", "voc", str(tmp_path / "voc"), "--out", str(tmp_path / "b")]
    assert main(command) == 1
    assert main([*command, "--images", str(tmp_path / "photos")]) == 0


def test_an_error_is_one_line(mine, tmp_path):
    (mine / "masks" / "a.png").write_bytes(b"no image")
    command = ["export", "cvat", str(mine), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "helpers.datasets", *command], capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "a.png cannot be decoded" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [[], ["import"], ["import", "yolo", "x", "--out", "y"]])
def test_a_wrong_command_shows_how_it_goes(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage: python -m helpers.datasets" in capsys.readouterr().err
