"""The programs in README run as they stand."""

import re
from pathlib import Path

from helpers.datasets.pets import read_list
from helpers.source import HOME

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import chelsea

PROGRAMS = re.findall(r"```python\n(.*?)```", (HOME / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_two():
    assert len(PROGRAMS) == 2


def test_a_photo(folder):
    Image.fromarray(chelsea()).save(folder / "cat.jpg")
    exec(PROGRAMS[0], {})
    mask = np.array(Image.open(folder / "cat-mask.png"))
    assert mask.shape == chelsea().shape[:2]
    assert set(np.unique(mask)) == {0, 255} and 0.5 < (mask == 255).mean() < 0.95


def test_a_dataset_of_ones_own(folder, drawn, capsys):
    for kind in ("images", "masks"):
        (folder / "mine" / kind).mkdir(parents=True)
    for i, name in enumerate(read_list(drawn, "trainval")[0][:8]):
        Image.open(drawn.image_path(name)).save(folder / "mine" / "images" / f"dish{i // 2}_{i}.png")
        trimap = np.array(Image.open(drawn.trimap_path(name)))
        mask = np.select([trimap == 1, trimap == 2], [1, 0], 255).astype(np.uint8)
        Image.fromarray(mask).save(folder / "mine" / "masks" / f"dish{i // 2}_{i}.png")
    short = PROGRAMS[1].replace("2, 128, 40", "2, 64, 1")
    assert short != PROGRAMS[1]
    told = {}
    exec(short, told)
    assert (len(told["train"]), len(told["val"])) == (6, 2)  # one dish of four is held out whole
    assert (folder / "runs" / "mine" / "best.pt").is_file()
    assert told["model"](torch.zeros(1, 3, 64, 64)).shape == (1, 2, 64, 64)
    assert "tensor(" in capsys.readouterr().out
