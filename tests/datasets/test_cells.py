"""The drawn cells: the same for everybody, and as hard to count as they are meant to be."""

import csv

from helpers.datasets import cells
from helpers.datasets.cells import draw_dish, draw_field, forget_cells, write_cells
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


def test_a_larger_field_is_as_crowded():
    rng = np.random.default_rng(0)
    dish = draw_dish(rng)._replace(crowding=30)
    counts = [[draw_field(dish, rng, side).cells.max() for _ in range(4)] for side in (256, 512)]
    assert 3.3 < np.mean(counts[1]) / np.mean(counts[0]) < 4.7


def test_labels_that_were_forgotten(folder, tmp_path):
    hurried = write_cells(tmp_path / "hurried", dishes=6, fields=2, forgotten=0.1)
    lost, cells_in_all = table(hurried / "forgotten.csv"), table(hurried / "counts.csv")
    share = len(lost) / sum(int(row["cells"]) for row in cells_in_all)
    assert 0.04 < share < 0.16 and cells_in_all == table(folder / "counts.csv")

    for row in lost:
        name, place = f"{row['name']}.png", (int(row["row"]), int(row["column"]))
        mask, whole = (np.asarray(Image.open(f / "masks" / name)) for f in (hurried, folder))
        assert mask[place] == 0 < whole[place]
        assert np.isin(mask[mask != whole], 0).all()
        images = ((f / "images" / name).read_bytes() for f in (hurried, folder))
        assert next(images) == next(images)
    assert not (folder / "forgotten.csv").exists()


def test_slivers_at_the_edge_are_not_forgotten():
    rng = np.random.default_rng(0)
    field = draw_field(draw_dish(rng), rng)
    mask, places = forget_cells(field, 1.0, rng)
    kept = [(field.cells == n).sum() for n in np.unique(field.cells[mask > 0])]
    assert places and all(size <= cells.RADIUS**2 for size in kept)
