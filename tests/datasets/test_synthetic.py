"""The synthetic pets: the archive is whole and unpacked whole, and its program still draws them."""

import io
import zipfile
from collections.abc import Iterator

from drawing import BREEDS, draw_files, draw_pet
from helpers.datasets import synthetic
from helpers.datasets.pets import PairReader, find_dataset

import numpy as np
import pytest
import shipped
from PIL import Image, ImageFilter
from sklearn.linear_model import LogisticRegression

COUNT = 407


@pytest.fixture(scope="module")
def archive() -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(synthetic.ARCHIVE) as opened:
        yield opened


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    synthetic.extract(root)
    return find_dataset(root)


@pytest.fixture(scope="module")
def few() -> dict[str, bytes]:
    """The smallest dataset that the program draws: two pairs of each breed."""
    return dict(draw_files(74))


def files(root) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


# The archive


def test_the_archive_is_small_and_holds_what_its_own_list_says(archive):
    assert synthetic.ARCHIVE.stat().st_size <= 6e6
    assert archive.testzip() is None
    text = archive.read("oxford-iiit-pet/annotations/list.txt").decode()
    names = [line.split()[0] for line in text.splitlines() if not line.startswith("#")]
    expected = [synthetic.MARKER, *(f"annotations/{x}.txt" for x in ("list", "trainval", "test"))]
    expected += [f"images/{name}.jpg" for name in names]
    expected += [f"annotations/trimaps/{name}.png" for name in names]
    assert len(names) == COUNT
    assert archive.namelist() == [f"oxford-iiit-pet/{path}" for path in sorted(expected)]


def test_unpacking_gives_the_same_bytes_and_leaves_what_is_there(archive, source, tmp_path):
    unpacked = files(source.root)
    assert unpacked == {name: archive.read(name) for name in archive.namelist()}

    synthetic.extract(tmp_path)
    assert files(tmp_path) == unpacked
    mark = tmp_path / "oxford-iiit-pet" / "mark"
    mark.touch()
    synthetic.extract(tmp_path)
    assert mark.exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_break(tmp_path, monkeypatch, error):
    read, calls = zipfile.ZipFile.read, []

    def breaks(self, name, *args):
        calls.append(name)
        if len(calls) > 10:
            raise error("half-way")
        return read(self, name, *args)

    monkeypatch.setattr(zipfile.ZipFile, "read", breaks)
    with pytest.raises(error, match="half-way"):
        synthetic.extract(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_another_archive_is_unpacked_to_another_folder(tmp_path, monkeypatch):
    first = synthetic.synthetic_root(tmp_path)
    other = tmp_path / "other.zip"
    other.write_bytes(b"other drawings")
    monkeypatch.setattr(synthetic, "ARCHIVE", other)
    assert synthetic.synthetic_root(tmp_path) != first


def test_making_the_archive_again_gives_the_same_bytes(tmp_path, monkeypatch, few):
    monkeypatch.setattr(shipped, "draw_files", lambda: few.items())
    made = []
    for number in range(2):
        monkeypatch.setattr(synthetic, "ARCHIVE", tmp_path / f"{number}.zip")
        shipped.draw_archive()
        made.append(synthetic.ARCHIVE.read_bytes())
    assert made[0] == made[1]

    synthetic.extract(tmp_path)
    assert files(tmp_path / "oxford-iiit-pet") == {**few, synthetic.MARKER: shipped.NOTE}


# The pairs


def test_both_lists_hold_every_breed(source):
    lists = {split: PairReader(source, split) for split in ("trainval", "test")}
    assert not set(lists["trainval"].names) & set(lists["test"].names)
    assert [len(reader) for reader in lists.values()] == [259, 148]
    for reader in lists.values():
        assert set(reader.breeds) == set(range(37))


def test_trimaps_are_like_the_real_ones(source):
    fractions = []
    for split in ("trainval", "test"):
        for image, mask in PairReader(source, split):
            assert 160 <= min(image.size) <= 256
            fractions.append(np.bincount(mask.ravel(), minlength=3) / mask.size)

            # A band of border lies between pet and background everywhere.
            trimap = mask.astype(int) + 1
            for a, b in ((trimap[1:], trimap[:-1]), (trimap[:, 1:], trimap[:, :-1])):
                assert not np.any(a * b == 2)

    pet, background, border = np.mean(fractions, axis=0)
    assert abs(pet - 0.29) < 0.04 and abs(background - 0.59) < 0.04 and abs(border - 0.12) < 0.02
    small, large = np.quantile([fraction[0] for fraction in fractions], (0.05, 0.95))
    assert small < 0.15 and large > 0.5


def test_colors_do_not_give_the_pet_away(source):
    rng = np.random.default_rng(0)

    def sample(split, per_image):
        colors, classes = [], []
        for image, mask in PairReader(source, split):
            chosen = rng.choice(mask.size, per_image, replace=False)
            colors.append(np.asarray(image).reshape(-1, 3)[chosen] / 255)
            classes.append(mask.ravel()[chosen])
        return np.concatenate(colors), np.concatenate(classes)

    model = LogisticRegression(max_iter=500).fit(*sample("trainval", 200))
    colors, classes = sample("test", 500)
    confusion = np.zeros((3, 3))
    np.add.at(confusion, (classes, model.predict(colors)), 1)
    hits = np.diag(confusion)
    assert np.mean(hits / (confusion.sum(0) + confusion.sum(1) - hits)) < 0.32


def profile(image: Image.Image, mask: np.ndarray) -> np.ndarray:
    """Mean brightness, 0..1, in seven bands from inside the pet, over its border, to outside."""
    gray = np.asarray(image.convert("L")) / 255

    # How far a pixel is across the border, from the pet (1) to the background (0): as it is drawn.
    pet = Image.fromarray(np.where(mask == 0, 255, np.where(mask == 2, 128, 0)).astype(np.uint8))
    soft = np.asarray(pet.filter(ImageFilter.GaussianBlur(2))) / 255
    edges = (0.995, 0.9, 0.75, 0.6, 0.4, 0.25, 0.1, 0.005)
    bands = zip(edges[1:], edges[:-1], strict=True)
    return np.array([gray[(soft > low) & (soft <= high)].mean() for low, high in bands])


def dips(pairs) -> np.ndarray:
    """By how much the border's darkest band is darker than both of its sides, in each pair."""
    profiles = np.array([profile(*pair) for pair in pairs])
    return np.minimum(profiles[:, 0], profiles[:, -1]) - profiles[:, 1:-1].min(axis=1)


def test_no_dark_line_runs_along_the_border(source):
    found = dips(PairReader(source, "test"))
    assert np.nanmean(found > 0.04) < 0.1 and abs(np.nanmean(found)) < 0.02

    # The measure sees such a line where there is one.
    def with_line(image, mask):
        soft = np.asarray(
            Image.fromarray(
                np.where(mask == 0, 255, np.where(mask == 2, 128, 0)).astype(np.uint8)
            ).filter(ImageFilter.GaussianBlur(2))
        )
        inked = np.asarray(image) * np.where(np.abs(soft - 128.0) < 40, 0.6, 1)[..., None]
        return Image.fromarray(inked.astype(np.uint8)), mask

    found = dips(with_line(*pair) for pair in PairReader(source, "test"))
    assert np.nanmean(found > 0.04) > 0.7


# The program


def test_breeds_are_the_official_ones():
    assert [breed.class_id for breed in BREEDS] == list(range(1, 38))
    for species, count in ((1, 12), (2, 25)):
        breeds = [breed for breed in BREEDS if breed.species == species]
        assert [breed.breed_id for breed in breeds] == list(range(1, count + 1))
        assert all(breed.name[0].isupper() == (species == 1) for breed in breeds)
    names = [BREEDS[i].name for i in (0, 33, 36)]
    assert names == ["Abyssinian", "Sphynx", "yorkshire_terrier"]


def test_the_program_still_draws_the_archive(archive, few):
    assert len(few) == 2 * 74 + 3
    trimaps = [path for path in few if path.endswith(".png")]
    for path in trimaps:
        drawn = pixels(few[path])
        shipped = pixels(archive.read(f"oxford-iiit-pet/{path}"))
        assert drawn.dtype == np.uint8 and drawn.shape == shipped.shape
        assert np.mean(drawn != shipped) < 0.01, path  # Pillow's versions may differ a little
    for path in (path for path in few if path.endswith(".jpg")):
        drawn = pixels(few[path]).astype(float)
        shipped = pixels(archive.read(f"oxford-iiit-pet/{path}"))
        assert np.abs(drawn - shipped).mean() < 3, path


def test_its_lists_are_part_of_those_of_a_larger_dataset(archive, few):
    for name in ("list", "trainval", "test"):
        path = f"annotations/{name}.txt"
        larger = archive.read(f"oxford-iiit-pet/{path}").decode().splitlines()
        assert set(few[path].decode().splitlines()) <= set(larger)


def test_the_same_seed_draws_the_same_pet_and_another_seed_another():
    first, same, other = (draw_pet(BREEDS[4], np.random.default_rng(s)) for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_fewer_than_two_pairs_of_a_breed_are_refused():
    with pytest.raises(ValueError, match="74"):
        next(draw_files(73))
