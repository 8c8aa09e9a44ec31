"""How many labeled images, from which weights, with which loss: the records of notebook 10.

    python tests/benchmarks/own_images.py --folder FOLDER

Drawn cells of 36 dishes, 5 images each: 20 dishes to train on, 4 for validation, 12 for the test.
Every run sees as many tiles. A seed chooses the images, too. Runs that have a record are left out,
and so is what another process with the same folder works on. FOLDER/records is to be copied to
helpers/studies/records.
"""

import argparse
import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from helpers.data import describe
from helpers.datasets.cells import write_cells
from helpers.datasets.folder import OwnFolder, open_folder
from helpers.losses import LOSSES
from helpers.studies.experiments import Experiment, run_experiment, splits_of
from helpers.studies.objects import group_errors, label_objects
from helpers.studies.records import record_path, save_record
from helpers.teaching.checks.nb10 import our_class_weights
from helpers.tiling.prediction import predict_image

import numpy as np
import torch
import torch.nn.functional as F
from runs import claimed
from torch import Tensor
from torchvision.transforms import v2

STUDY = "own-images"
FIELDS, TRAIN, VAL, TEST = 5, 20, 4, 12  # of a dish; dishes of each split
EPOCHS, TILES = 4, 300  # of an "epoch"


class Arm(NamedTuple):
    """What a run does: on the images of so many dishes, so many of each."""

    dishes: int
    fields: int = 1
    weights: str = "synthetic"
    loss: str = "ce+dice"

    def chosen(self, seed: int) -> set[str]:
        """The names of the images to train on."""
        numbers = np.random.default_rng(seed).permutation(TRAIN)[: self.dishes]
        first = 0 if self.fields == FIELDS else seed % FIELDS
        return {
            name_of(dish, field) for dish in numbers for field in range(first, first + self.fields)
        }


ARMS = {
    **{
        f"{dishes * fields} images, {name}": Arm(dishes, fields, weights)
        for dishes, fields in ((5, 1), (20, 1), (20, 5))
        for name, weights in (("random", ""), ("synthetic", "synthetic"), ("ImageNet", "imagenet"))
    },
    "5 images of one dish": Arm(1, 5),
    "20 images of four dishes": Arm(4, 5),
    "20 images, cross-entropy": Arm(20, loss="ce"),
    "20 images, balanced cross-entropy": Arm(20, loss="balanced"),
    "20 images, weights' roots": Arm(20, loss="root of balanced"),
}


def name_of(dish: int, field: int) -> str:
    return f"dish{dish:02d}_{field}"


def write_subset(pool: Path, root: Path, chosen: set[str]) -> OwnFolder:
    """The chosen images of the pool to train on, and all of those for validation and test."""
    shutil.rmtree(root, ignore_errors=True)
    rows = [("name", "group", "split")]
    for dish in range(TRAIN + VAL + TEST):
        split = "train" if dish < TRAIN else "val" if dish < TRAIN + VAL else "test"
        names = [name_of(dish, field) for field in range(FIELDS)]
        rows += [(n, n.partition("_")[0], split) for n in names if split != "train" or n in chosen]

    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
        for name, *_ in rows[1:]:
            shutil.copy(pool / kind / f"{name}.png", root / kind)
    shutil.copy(pool / "classes.csv", root)
    with open(root / "images.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return open_folder(root, name="drawn cells")


def add_losses(masks: Tensor) -> None:
    """The cross-entropy with the balanced weights of these masks, and with their roots."""
    heavy = our_class_weights(masks.long(), 3)
    for name, power in (("balanced", 1.0), ("root of balanced", 0.5)):
        weights = (heavy**power).float()

        def loss(logits: Tensor, target: Tensor, weights: Tensor = weights) -> Tensor:
            return F.cross_entropy(logits.float(), target, weight=weights, ignore_index=255)

        LOSSES[name] = loss


def flips() -> v2.Transform:
    """A cell has no top."""
    return v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])


def count(model: torch.nn.Module, about: dict, source: OwnFolder, pool: Path) -> dict:
    """Counts of the test images with cuts at necks, and their error over dishes."""
    with open(pool / "counts.csv", encoding="utf-8") as file:
        by_hand = {row["name"]: int(row["cells"]) for row in csv.DictReader(file)}
    test = source.reader("test")
    found = []
    for image, _ in test:
        mask = predict_image(image, model, about).numpy()
        labels = label_objects((mask > 0).astype(np.uint8), 1, min_area=40, split=1.0)
        found.append(int(labels.max()))

    truth = [by_hand[row.name] for row in test.rows]
    of_dish = group_errors(found, truth, [row.group for row in test.rows])
    absolute = np.abs(np.divide(found, truth) - 1).mean()
    return {
        "relative_error": round(float(of_dish.mean()), 4),
        "deviation": round(float(of_dish.std(ddof=1)), 4),
        "absolute_relative_error": round(float(absolute), 4),
    }


def run(name: str, arm: Arm, seed: int, folder: Path, pool: Path) -> None:
    """Train, score on the test dishes, count, and write the record."""
    out = folder / STUDY / record_path(name, seed, STUDY).stem
    with claimed(out) as mine:
        if not mine or record_path(name, seed, STUDY, folder / "records").is_file():
            return
        source = write_subset(pool, out / "images", arm.chosen(seed))
        encoder = arm.weights == "imagenet"
        experiment = Experiment(
            network="PretrainedUNet" if encoder else "UNet",
            training={"loss": arm.loss} | ({"encoder_rate": 0.3} if encoder else {}),
            scale=1.0,
            augment="own_images:flips",
            batch_size=4,
            samples=TILES,
            weights=arm.weights,
        )
        splits = splits_of(experiment, source)
        add_losses(splits.train.pairs.masks)
        model, record = run_experiment(
            name, source, experiment, seed=seed, device="cpu", test=True, epochs=EPOCHS,
            learning_rate=3e-3, progress=False,
        )  # fmt: skip
        record["images"] = len(arm.chosen(seed))
        record["count"] = count(model, describe(splits.train, splits.val), source, pool)
        save_record(record, STUDY, folder / "records")
        print(name, seed, record["test"]["iou"], record["count"], flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--folder", type=Path, required=True, help="of all runs")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--threads", type=int, default=1)
    options = made.parse_args(arguments)
    torch.set_num_threads(options.threads)
    pool = write_cells(options.folder / "cells", TRAIN + VAL + TEST, FIELDS)
    for seed in range(options.seeds):
        for name, arm in ARMS.items():
            run(name, arm, seed, options.folder, pool)


if __name__ == "__main__":
    main()
