"""The drawn cells: the same for everybody, and as hard to count as they are meant to be."""

import csv

from helpers.datasets import cells
from helpers.datasets.cells import draw_dish, draw_field, write_cells
from helpers.datasets.folder import open_folder

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label
from skimage.filters import threshold_otsu


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_cells(tmp_path_factory.mktemp("drawn") / "cells", dishes=6, fields=2)


def table(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_ones_own(folder):
    source = open_folder(folder)
    assert source.class_names == ("background", "cell", "dividing") and len(source.rows) == 12
    assert len({row.group for row in source.rows}) == 6
    image, mask = source.reader("train")[0]
    assert image.size == (256, 256) and set(np.unique(mask)) <= {0, 1, 2}


def test_the_same_seed_draws_the_same(folder, tmp_path):
    again = write_cells(tmp_path / "again", dishes=6, fields=2)
    for path in sorted(folder.rglob("*.*")):
        assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()
    other = write_cells(tmp_path / "other", dishes=1, fields=1, seed=1)
    name = "images/dish00_0.png"
    assert (other / name).read_bytes() != (folder / name).read_bytes()


def test_what_is_there_stays(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    write_cells(folder, dishes=1)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}


def test_a_break_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cells, "_write_table", full)
    with pytest.raises(OSError, match="the disk is full"):
        write_cells(tmp_path / "cells", dishes=1, fields=1)
    assert not list(tmp_path.iterdir())


def test_cells_are_numbered_without_a_gap():
    rng = np.random.default_rng(0)
    for _ in range(5):
        field = draw_field(draw_dish(rng), rng)
        assert set(np.unique(field.cells)) == set(range(field.cells.max() + 1))
        assert np.array_equal(field.cells > 0, field.mask > 0)


def test_a_threshold_and_naive_counting_err(folder):
    """By more than 10 %, and so does naive counting in the true masks: cells touch."""
    kinds = {"threshold": [], "truth": []}
    for row in table(folder / "counts.csv"):
        image, mask = (
            np.asarray(Image.open(folder / kind / f"{row['name']}.png"))
            for kind in ("images", "masks")
        )
        for kind, found in (("threshold", image > threshold_otsu(image)), ("truth", mask > 0)):
            sizes = np.bincount(label(found)[0].ravel())[1:]
            kinds[kind].append((sizes > 40).sum() / int(row["cells"]) - 1)
    assert np.mean(kinds["threshold"]) < -0.1 and np.mean(kinds["truth"]) < -0.1


def test_dividing_cells_are_rare(folder):
    masks = np.stack([np.asarray(Image.open(path)) for path in (folder / "masks").iterdir()])
    shares = np.bincount(masks.ravel(), minlength=3) / masks.size
    assert shares[0] > 0.6 and 0.001 < shares[2] < 0.02 < shares[1]
