"""The facts of a dataset, on pairs whose facts are known, and the record that is shipped."""

import json
from dataclasses import replace

from helpers.data import Pairs, load_splits
from helpers.datasets.duplicates import make_thumbnail
from helpers.datasets.pets import FULL_COUNT, PetFolder
from helpers.studies.records import load_records

import facts
import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture
def two_pairs(tmp_path) -> PetFolder:
    """A cat for training, half a pet with a collar; a dog for the test, a gray PNG without a pet.

    The cat's trimap also has a line of border where there is no pet: ten pixels on top.
    """
    folder = tmp_path / "oxford-iiit-pet"
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    (folder / "images").mkdir()
    source = PetFolder(tmp_path, "two", 2)

    color = np.zeros((32, 64, 3), dtype=np.uint8)
    color[..., 0], color[:, 32:, 2] = 255, 255  # red; half of it violet
    gray = np.full((64, 32, 3), 51, dtype=np.uint8)
    cat, dog = np.full((32, 64), 2), np.full((64, 32), 2)
    cat[:, :32], cat[:, 30:32] = 1, 3  # a pet with a border on its right
    cat[10:14, 10:15] = 3
    cat[0, 40:50] = 3

    pairs = {"trainval": ("Bombay_1", color, cat), "test": ("pug_2", gray, dog)}
    for split, (name, pixels, trimap) in pairs.items():
        (folder / "annotations" / f"{split}.txt").write_text(f"{name} 1 1 1\n")
        kind = "jpeg" if split == "trainval" else "png"
        Image.fromarray(pixels).save(source.image_path(name), format=kind, quality=100)
        Image.fromarray(trimap.astype(np.uint8)).save(source.trimap_path(name))
    return source


def test_facts_of_known_pairs(two_pairs):
    found = facts.facts(two_pairs)
    json.dumps(found)
    assert found["pairs"] == {"trainval": 1, "test": 1}
    assert found["breeds"] == {"Bombay": {"trainval": 1}, "pug": {"test": 1}}
    assert found["cats"] == found["dogs"] == {"breeds": 1, "pairs": 1}
    assert found["files"] == {"JPEG RGB": 1, "PNG RGB": 1} and found["gray"] == 1
    assert found["without_a_pet"] == ["pug_2"]

    # 64 x 32 and 32 x 64 pixels: red in all of the one, in a fifth in the other.
    assert found["sizes"]["different"] == 2 and found["sizes"]["shorter_side"]["0.5"] == 32
    assert found["aspect"]["quantiles"]["0"] == 0.5 and found["aspect"]["quantiles"]["1"] == 2
    assert found["channels"]["mean"] == pytest.approx([0.6, 0.1, 0.35], abs=0.01)
    assert found["channels"]["std"] == pytest.approx([0.4, 0.1, 0.384], abs=0.01)

    # Of 2,048 pixels, the pet has 32 * 30 - 20 and the border 32 * 2 + 20 + 10, in one of the two.
    pet, border = 940 / 2048, 94 / 2048
    shares = {name: share["mean"] for name, share in found["shares"].items()}
    wanted = {"pet": pet / 2, "background": 1 - (pet + border) / 2, "border": border / 2}
    assert shares == pytest.approx(wanted, abs=1e-4)
    assert found["shares"]["pet"]["quantiles"]["1"] == pytest.approx(pet, abs=1e-4)
    assert found["shares"]["pet"]["histogram"]["counts"][0] == 1
    assert np.mean(found["mean_masks"]["pet"]) == pytest.approx(pet / 2, abs=0.002)
    assert found["mean_masks"]["pet"][20][0] == 0.5 and found["mean_masks"]["pet"][20][31] == 0


def test_where_pet_and_border_are(two_pairs):
    found = facts.facts(two_pairs)
    assert found["pet_at"] == {"top": 0.5, "bottom": 0.5, "left": 0.5, "right": 0}
    assert found["pet_at_the_edge"] == 0.5
    assert found["stray_line"] == {"top": 0.5, "bottom": 0, "left": 0, "right": 0}
    assert found["border_inside_the_pet"] == 0.5


def test_photographs_that_stand_there_twice():
    rng = np.random.default_rng(0)
    one, other = (make_thumbnail(rng.integers(0, 256, (80, 80, 3), np.uint8)) for _ in range(2))
    columns = {
        "name": ["a_1", "a_2", "b_1", "a_3", "c_1"],
        "list": ["trainval", "test", "test", "trainval", "test"],
        "thumbnail": [one, one, other, one, None],
    }
    assert facts.repeated(columns) == {
        "groups": 1,
        "images": 3,
        "groups_in_both_lists": 1,
        "such_as": [["a_1", "a_2", "a_3"]],
    }
    columns["thumbnail"][1] = None
    assert facts.repeated(columns)["groups_in_both_lists"] == 0


def test_all_pixels_count_alike_or_all_pairs_do(two_pairs):
    """A pair of four times the size moves the one, not the other."""
    small = facts.facts(two_pairs)["shares"]["pet"]
    for path in (two_pairs.image_path("pug_2"), two_pairs.trimap_path("pug_2")):
        image = Image.open(path)
        image.resize((64, 128), Image.Resampling.NEAREST).save(path, format="png")
    large = facts.facts(two_pairs)["shares"]["pet"]
    assert large["mean"] == small["mean"] == small["of_all_pixels"]
    assert large["of_all_pixels"] == pytest.approx(940 / (5 * 2048), abs=1e-4)


@pytest.mark.parametrize(
    ("patch", "inside"),
    [
        ((slice(4, 8), slice(4, 9)), True),
        ((slice(4, 8), slice(4, 8)), False),  # 16 pixels: a speck
        ((slice(0, 4), slice(4, 9)), False),  # cut by the edge of the image
        ((slice(11, 15), slice(4, 9)), False),  # beside background
    ],
)
def test_a_patch_of_border_inside_the_pet(patch, inside):
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[15:] = 1
    mask[patch] = 2
    assert facts.has_border_inside(mask) is inside


def test_what_lies_beyond_a_histogram_is_in_its_end_bins():
    found = facts.distribution(np.array([0.1, 1.0, 9.0]), facts.ASPECTS)["histogram"]
    assert found["counts"][0] == found["counts"][-1] == 1 and sum(found["counts"]) == 3


def test_colors_have_the_class_that_is_most_frequent_in_them():
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    images[:, 0, :2] = 255  # red is pet, but for one of eight pixels; black is border
    masks = torch.full((1, 4, 4), 2, dtype=torch.uint8)
    masks[:, :2], masks[0, 0, 0] = 0, 2
    classes = facts.class_of_each_color(Pairs("own", ("a",), images, masks))
    red, black = facts.color_numbers(torch.tensor([[[255, 0]], [[0, 0]], [[0, 0]]]))[0]
    assert classes[red] == 0 and classes[black] == 2

    # Border is the most frequent class of all: so it is that of colors that do not occur.
    assert len(classes) == 4096 and (classes == 2).sum() == 4095


def test_the_best_ellipse_is_the_best_of_its_kind(drawn):
    pairs = load_splits(drawn, 32).train.pairs
    best = facts.constant_masks(pairs)["best ellipse"]
    assert set(best.unique().tolist()) == {0, 1, 2}
    assert best[16, 16] == 0 and best[0, 0] == 1

    # Where all pets are one ellipse of the list, it is found.
    wanted = facts.ellipse(32, height=0.5, width=0.9, band=0.1)
    alike = replace(pairs, masks=wanted.byte().expand(len(pairs), -1, -1))
    assert facts.constant_masks(alike)["best ellipse"].equal(wanted)


def test_records_of_a_dataset(tmp_path, drawn, monkeypatch):
    monkeypatch.setenv("PETS_DATA", str(drawn.root))
    facts.main(["--out", str(tmp_path), "--note", "drawn"], size=32)
    (dataset,) = load_records("dataset", tmp_path)
    assert dataset["pairs"] == {"trainval": 37, "test": 37} and dataset["note"] == "drawn"
    assert dataset["cats"]["pairs"] == 24 and len(dataset["breeds"]) == 37

    baselines = {record["name"]: record for record in load_records("baselines", tmp_path)}
    scores = {name: record["test"]["miou"] for name, record in baselines.items()}
    assert scores["all background"] < min(scores["mean mask"], scores["best ellipse"])
    assert scores["all background"] < scores["color alone"] < scores["mean mask"]
    for record in baselines.values():
        assert record["size"] == 32 and record["split_hash"] == dataset["split_hash"]


def test_the_shipped_record_is_of_all_official_pairs():
    (dataset,) = load_records("dataset")
    pairs = sum(dataset["pairs"].values())
    assert pairs == FULL_COUNT == sum(sum(counts.values()) for counts in dataset["breeds"].values())
    assert len(dataset["breeds"]) == dataset["cats"]["breeds"] + dataset["dogs"]["breeds"] == 37
    assert len(dataset["without_a_pet"]) == 14
    assert sum(share["mean"] for share in dataset["shares"].values()) == pytest.approx(1, abs=1e-3)
    for name, share in dataset["shares"].items():
        assert sum(share["histogram"]["counts"]) == pairs
        assert np.mean(dataset["mean_masks"][name]) == pytest.approx(share["mean"], abs=1e-3)

    for record in load_records("baselines"):
        assert record["test"]["images"] == dataset["pairs"]["test"]
        assert record["split_hash"] == dataset["split_hash"]
        assert record["test"]["without_a_pet"] <= len(dataset["without_a_pet"])


@pytest.mark.slow
def test_the_shipped_record_is_what_the_photographs_say(real):
    (dataset,) = load_records("dataset")
    if real.name != dataset["dataset"]:
        pytest.skip("this is not the whole dataset")
    found = facts.facts(real)
    assert {key: dataset[key] for key in found} == found
