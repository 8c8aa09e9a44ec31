"""The runs behind notebook 10: which images they train on, and what a record keeps."""

import csv

from helpers.losses import LOSSES
from helpers.studies.records import load_records
from helpers.studies.tables import own_images_table

import own_images
import pytest
import torch
from own_images import ARMS, Arm, add_losses, run, write_subset


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A pool of five dishes with two images each, and runs of one step."""
    sizes = {"FIELDS": 2, "TRAIN": 2, "VAL": 1, "TEST": 2, "EPOCHS": 1, "TILES": 8}
    for name, value in sizes.items():
        monkeypatch.setattr(own_images, name, value)
    monkeypatch.setenv("UNET_HOME", str(tmp_path / "home"))
    before = dict(LOSSES)
    yield own_images.write_cells(tmp_path / "cells", 5, 2)
    LOSSES.clear()
    LOSSES.update(before)


def test_a_seed_chooses_the_images():
    for name, arm in ARMS.items():
        assert name.startswith(f"{arm.dishes * arm.fields} images"), name
        chosen = [arm.chosen(seed) for seed in range(3)]
        assert all(len(names) == arm.dishes * arm.fields for names in chosen)
        dishes = {len({name.partition("_")[0] for name in names}) for names in chosen}
        assert dishes == {arm.dishes}
        assert arm.chosen(0) == chosen[0]
        assert (chosen[0] == chosen[1]) == (len(chosen[0]) == 100)  # all there are


def test_a_subset_keeps_all_of_validation_and_test(small, tmp_path, capsys):
    source = write_subset(small, tmp_path / "subset", Arm(1).chosen(0))
    assert {split: len(source.reader(split)) for split in source.lists} == {
        "train": 1,
        "val": 2,
        "test": 4,
    }
    with open(tmp_path / "subset" / "images.csv", encoding="utf-8") as file:
        groups = {row["split"]: set() for row in csv.DictReader(file)}
    assert len(groups) == 3 and "drawn cells" in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_losses_with_weights_of_the_classes():
    masks = torch.tensor([[[0] * 6 + [1] * 3 + [2]]], dtype=torch.uint8)
    add_losses(masks[0])
    logits = torch.zeros(1, 3, 1, 10)
    logits[:, 2, 0, -1] = 5  # the rare class is right
    plain, heavy = (LOSSES[name](logits, masks[0][None].long()) for name in ("ce", "balanced"))
    assert heavy < LOSSES["root of balanced"](logits, masks[0][None].long()) < plain


@pytest.mark.slow
def test_a_run_leaves_a_record_and_is_not_made_twice(small, tmp_path, capsys):
    run("1 images, cross-entropy", Arm(1, loss="balanced"), 0, tmp_path, small)
    (record,) = load_records("own-images", tmp_path / "records")
    assert record["images"] == 1 and record["dataset"] == "drawn cells"
    assert set(record["count"]) == {"relative_error", "deviation", "absolute_relative_error"}
    assert set(record["test"]["iou"]) == {"background", "cell", "dividing"}
    assert own_images_table([record]).splitlines()[2].startswith("| 1 images, cross-entropy | 1 |")
    capsys.readouterr()
    run("1 images, cross-entropy", Arm(1, loss="balanced"), 0, tmp_path, small)
    assert not capsys.readouterr().out
