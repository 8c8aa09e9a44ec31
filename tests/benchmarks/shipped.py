"""Make what the repository ships, from trained checkpoints: weights in 16 bits, their sums, and the banner.

    python tests/benchmarks/shipped.py sketch               draws 3700 pets, trains on them, draws notebooks/banner.png
    PETS_DATA=... python tests/benchmarks/shipped.py photos     takes the run of the recipe with seed 0

The second needs runs/ as `experiments.py recipe` left it.
"""

import sys
from pathlib import Path

from helpers.checkpoint import (
    SHIPPED,
    SHIPPED_PHOTOS,
    load_model,
    read_checkpoint,
    save_checkpoint,
    write_sums,
)
from helpers.data import SegmentationDataset, decode, load_splits
from helpers.datasets.pets import PetFolder, find_dataset
from helpers.inference import evaluate, predict
from helpers.model import UNet
from helpers.sketch import write_sketch
from helpers.source import HOME
from helpers.training import TrainingConfig, fit
from helpers.transforms import default_augmentation
from helpers.visualization import plot_samples

import torch

DRAWN, SIZE = 3700, 128
EMBEDDED = HOME / "data" / "sketch"


def ship(state: dict, path) -> None:
    weights = {key: value.half() if value.is_floating_point() else value for key, value in state["model"].items()}
    about = {key: state[key] for key in ("model_config", "trained_on", "val_miou", "epoch", "config")}
    save_checkpoint(path, {"model": weights, **about})
    write_sums()


def drawn(count: int, root: Path) -> Source:
    if not (root / "oxford-iiit-pet").is_dir():
        write_sketch(root, count=count)
    return find_dataset(root)


def train_sketch() -> None:
    """On the trainval list of 3700 drawn pairs, without those that validate the embedded 407."""
    val = load_splits(drawn(407, EMBEDDED), SIZE).val
    trainval = decode(drawn(DRAWN, HOME / "data" / f"sketch-{DRAWN}"), "trainval", SIZE)
    unseen = set(val.names)
    indices = torch.tensor([i for i, name in enumerate(trainval.names) if name not in unseen])
    train = SegmentationDataset(trainval, indices, default_augmentation())
    torch.manual_seed(0)
    folder = trainval.source.runs / f"shipped-{DRAWN}"
    fit(UNet(), train, val, TrainingConfig(epochs=30, mixed_precision=True), folder=folder, resume=True)
    ship(read_checkpoint(folder / "best.pt"), SHIPPED)


def draw_banner(source) -> None:
    test = load_splits(source, SIZE).test
    model, _ = load_model(SHIPPED)
    chosen = torch.linspace(0, len(test) - 1, 8).long()
    answers = predict(model, test.__getitems__(chosen)[0]).argmax(dim=1)
    plot_samples(test.pairs.images[chosen], answers, columns=8).savefig(HOME / "notebooks" / "banner.png", dpi=80)


def main() -> None:
    if sys.argv[1] == "sketch":
        train_sketch()
        source, path = drawn(407, EMBEDDED), SHIPPED
        draw_banner(source)
    else:
        source, path = find_dataset(), SHIPPED_PHOTOS
        ship(
            read_checkpoint(source.runs / "recipe" / "recipe-0" / "best.pt"), path
        )  # the first run, not a pick among several
    miou = evaluate(load_model(path)[0], load_splits(source).test).confusion.mean_iou()
    print(f"{path.name}, as stored in 16 bits: test mIoU {miou:.3f}")


if __name__ == "__main__":
    main()
