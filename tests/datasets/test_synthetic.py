"""The drawn dataset is reproducible, in the official layout, whole or absent, and not solved by colour."""

from pathlib import Path

from helpers import sketch

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torchvision.datasets import OxfordIIITPet

COUNT = 111


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return sketch.write_sketch(tmp_path_factory.mktemp("drawn"), COUNT)


def read(root: Path, split: str) -> OxfordIIITPet:
    return OxfordIIITPet(root, split=split, target_types=["segmentation", "category"], download=False)


def files(root: Path) -> dict[str, bytes]:
    folder = root / "oxford-iiit-pet"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_breeds_are_the_official_ones():
    assert [breed.class_id for breed in sketch.BREEDS] == list(range(1, 38))
    for species, count in ((1, 12), (2, 25)):
        ids = [breed.breed_id for breed in sketch.BREEDS if breed.species == species]
        assert ids == list(range(1, count + 1))
    cats = [breed.name for breed in sketch.BREEDS if breed.species == 1]
    assert all(name[0].isupper() for name in cats) and sum(b.name[0].isupper() for b in sketch.BREEDS) == 12
    assert cats[0] == "Abyssinian" and cats[-1] == "Sphynx" and sketch.BREEDS[36].name == "yorkshire_terrier"


def test_same_seed_draws_the_same_bytes_and_a_larger_count_keeps_them(root, tmp_path):
    seen = []

    def progress(items):
        for item in items:
            seen.append(item)
            yield item

    smaller, whole = files(sketch.write_sketch(tmp_path, 74, progress=progress)), files(root)
    assert len(seen) == 74 and len(smaller) == 2 * 74 + 4 and len(whole) == 2 * COUNT + 4
    assert all(whole[name] == smaller[name] for name in smaller if name.endswith((".jpg", ".png")))
    for name in ("list", "trainval", "test"):
        path = f"annotations/{name}.txt"
        assert set(smaller[path].splitlines()) <= set(whole[path].splitlines())


def test_another_seed_draws_other_pets():
    first, same, other = (sketch.draw_pet(sketch.BREEDS[4], np.random.default_rng(s)) for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_every_file_depends_on_count_and_seed_alone(tmp_path, monkeypatch):
    def quick(breed, rng):
        return rng.integers(0, 256, (8, 8, 3), np.uint8), rng.integers(1, 4, (8, 8), np.uint8)

    monkeypatch.setattr(sketch, "draw_pet", quick)
    runs = [files(sketch.write_sketch(tmp_path / str(i), 80, seed)) for i, seed in enumerate((5, 5, 6))]
    assert runs[0] == runs[1]
    assert runs[0].keys() == runs[2].keys()
    assert not any(runs[0][name] == runs[2][name] for name in runs[0] if name.endswith((".jpg", ".png")))


def test_torchvision_reads_both_splits(root):
    splits = {split: read(root, split) for split in ("trainval", "test")}
    names = {split: {path.stem for path in data._images} for split, data in splits.items()}
    assert not names["trainval"] & names["test"]
    assert len(names["trainval"]) + len(names["test"]) == COUNT
    assert 0.5 < len(names["trainval"]) / COUNT < 0.72
    for data in splits.values():
        assert len(data.classes) == 37 and set(data._labels) == set(range(37))
    listed = (root / "oxford-iiit-pet" / "annotations" / "list.txt").read_text().splitlines()
    rows = [line.split() for line in listed if not line.startswith("#")]
    assert {row[0] for row in rows} == names["trainval"] | names["test"]
    assert ["american_bulldog_1", "2", "2", "1"] in rows


def test_trimaps_are_like_the_real_ones(root):
    shares = []
    for split in ("trainval", "test"):
        for image, (trimap, _) in read(root, split):
            assert image.size == trimap.size and 160 <= min(image.size) <= 256
            values = np.asarray(trimap)
            assert values.dtype == np.uint8 and set(np.unique(values)) == {1, 2, 3}
            shares.append([(values == k).mean() for k in (1, 2, 3)])
    pet, background, border = np.mean(shares, axis=0)  # 0.29, 0.59, 0.12 over real photos
    assert 0.22 < pet < 0.38 and 0.5 < background < 0.68 and 0.09 < border < 0.15


def test_border_separates_pet_from_background(root):
    for path in sorted((root / "oxford-iiit-pet" / "annotations" / "trimaps").glob("*_1.png")):
        trimap = np.asarray(Image.open(path)).astype(int)
        for a, b in ((trimap[1:], trimap[:-1]), (trimap[:, 1:], trimap[:, :-1])):
            assert not np.any(a * b == 2), f"{path.name}: pet touches background"


def test_colour_does_not_give_the_pet_away(root):
    rng = np.random.default_rng(0)

    def pixels(split, per_image):
        colours, classes = [], []
        for image, (trimap, _) in read(root, split):
            chosen = rng.choice(image.width * image.height, per_image, replace=False)
            colours.append(np.asarray(image).reshape(-1, 3)[chosen] / 255)
            classes.append(np.asarray(trimap).ravel()[chosen] - 1)
        return np.concatenate(colours), np.concatenate(classes)

    model = LogisticRegression(max_iter=500).fit(*pixels("trainval", 300))
    colours, classes = pixels("test", 1000)
    confusion = np.zeros((3, 3))
    np.add.at(confusion, (classes, model.predict(colours)), 1)
    hits = np.diag(confusion)
    assert np.mean(hits / (confusion.sum(0) + confusion.sum(1) - hits)) < 0.5


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_break(tmp_path, monkeypatch, error):
    draw, calls = sketch.draw_pet, []

    def breaks(breed, rng):
        calls.append(breed)
        if len(calls) > 10:
            raise error("half-way")
        return draw(breed, rng)

    monkeypatch.setattr(sketch, "draw_pet", breaks)
    with pytest.raises(error, match="half-way"):
        sketch.write_sketch(tmp_path, COUNT)
    assert list(tmp_path.iterdir()) == []


def test_refuses_an_existing_folder_and_too_few_pairs(root, tmp_path):
    with pytest.raises(FileExistsError, match="exists"):
        sketch.write_sketch(root, COUNT)
    with pytest.raises(ValueError, match="74"):
        sketch.write_sketch(tmp_path, 73)
    assert list(tmp_path.iterdir()) == []
