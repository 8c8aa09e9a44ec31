"""The default U-Net against four others, each trained by its own recipe for the same wall-clock time:

    pip install monai segmentation-models-pytorch
    PETS_DATA=... python tests/benchmarks/models.py [--minutes 15] [--seeds 0] [--threads 1] [--names ...]

All see the same pairs at 128 px, in the same precision (bfloat16 autocast), and are scored with the weights of their
best epoch on validation. Each run leaves a record in runs/records/<dataset>/models/, or in FOLDER/models/ with
--out FOLDER; runs that have one are not repeated.
The table at the end is made of all records there.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.checkpoint import SHIPPED, load_model
from helpers.data import Splits, load_splits, make_loader
from helpers.datasets.pets import find_dataset
from helpers.inference import evaluate
from helpers.model import UNet
from helpers.studies.experiments import (
    add_test_scores,
    load_records,
    own_records,
    record_path,
    record_run,
    save_record,
)
from helpers.studies.tables import models_table
from helpers.training import History, TrainingConfig, fit
from helpers.transforms import default_augmentation

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from torchvision.transforms import v2

SIZE = 128


def half(in_channels: int, out_channels: int, *between: nn.Module) -> nn.Sequential:
    """BN-ReLU-conv, something, BN-ReLU-conv: a block of the example project."""

    def conv(inputs: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, out_channels, 3, padding=1)]

    return nn.Sequential(*conv(in_channels), *between, *conv(out_channels))


class ExampleUNet(nn.Module):
    """The U-Net of the known example project, rebuilt from its description: 2.66 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1)
        widths = [(64, 64), (64, 128), (128, 128), (128, 256)]
        self.downs = nn.ModuleList(half(a, b, nn.MaxPool2d(2)) for a, b in widths)
        widths = [(256, 128), (256, 128), (256, 64), (128, 64)]
        self.ups = nn.ModuleList(half(a, b, nn.Upsample(scale_factor=2)) for a, b in widths)
        self.head = nn.Conv2d(128, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        x, skips = self.stem(images), []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up in self.ups:
            x = torch.cat([up(x), skips.pop()], dim=1)
        return self.head(x)


@dataclass(frozen=True)
class Recipe:
    """How somebody else trains: Adam or AdamW at a rate, constant or falling along a cosine, no mixed losses."""

    optimizer: str
    learning_rate: float
    batch_size: int
    loss: str
    schedule: str
    augmentation: str = "none"


DICE = DiceLoss(to_onehot_y=True, softmax=True)
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": F.cross_entropy,
    "Dice": lambda logits, masks: DICE(logits, masks[:, None]),
}
TURN = v2.RandomChoice([v2.Identity(), *(v2.RandomRotation((angle, angle)) for angle in (90, 180, 270))], [3, 1, 1, 1])
OURS = {
    "UNet (ours)": UNet,
    "UNet (ours), no skips": lambda: UNet(skips=False),
    "UNet (ours), from drawn pets": lambda: load_model(SHIPPED)[0],
}
OTHERS = {
    "example project": (ExampleUNet, Recipe("AdamW", 3e-4, 32, "cross-entropy", "constant")),
    "MONAI BasicUNet": (
        lambda: BasicUNet(spatial_dims=2, in_channels=3, out_channels=3),
        Recipe("Adam", 1e-3, 8, "Dice", "constant", "turns by 90 degrees"),
    ),
    "smp Unet resnet34": (
        lambda: smp.Unet("resnet34", encoder_weights=None, classes=3),
        Recipe("Adam", 2e-4, 16, "Dice", "cosine"),
    ),
}


def train_by_recipe(model: nn.Module, splits: Splits, recipe: Recipe, epochs: int, seed: int) -> History:
    """The same bookkeeping as `fit`, with another optimizer, loss and schedule."""
    loader = make_loader(splits.train, recipe.batch_size, shuffle=True, seed=seed)
    optimizer = getattr(torch.optim, recipe.optimizer)(model.parameters(), lr=recipe.learning_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader), eta_min=1e-5)
    history: History = {key: [] for key in ("train_loss", "val_loss", "val_miou", "learning_rate", "seconds")}
    model.to(memory_format=torch.channels_last)
    best = None
    for _ in range(epochs):
        start, total = time.perf_counter(), 0.0
        rate = optimizer.param_groups[0]["lr"]
        model.train()
        for images, masks in loader:
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(images.to(memory_format=torch.channels_last))
            loss = LOSSES[recipe.loss](logits.float(), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if recipe.schedule == "cosine":
                scheduler.step()
            total += loss.item() * len(images)
        confusion, val_loss = evaluate(model, splits.val, device="cpu", precision=torch.bfloat16)
        row = (total / len(splits.train), val_loss, confusion.mean_iou(), rate, time.perf_counter() - start)
        for key, value in zip(history, row, strict=True):
            history[key].append(value)
        if history["val_miou"][-1] == max(history["val_miou"]):
            best = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(best)
    return history


def run(name: str, splits: dict[str, Splits], minutes: float, seed: int) -> dict:
    """Find out how many epochs fit into the time, then train so many and describe it."""
    torch.manual_seed(seed)
    if name in OURS:
        build, data = OURS[name], splits["ours"]

        def train(model: nn.Module, epochs: int) -> History:
            config = TrainingConfig(epochs=epochs, mixed_precision=True, seed=seed)
            return fit(model, data.train, data.val, config, device="cpu", progress=False)

        settings = {"recipe": asdict(TrainingConfig(mixed_precision=True, seed=seed)) | {"epochs": "as fit"}}
    else:
        build, recipe = OTHERS[name]
        data = splits[recipe.augmentation]

        def train(model: nn.Module, epochs: int) -> History:
            return train_by_recipe(model, data, recipe, epochs, seed)

        settings = {"recipe": asdict(recipe)}
    epochs = max(1, int(60 * minutes / min(train(build(), 2)["seconds"])))
    torch.manual_seed(seed)
    model = build()
    record = record_run(name, model, data, seed, settings | {"minutes": minutes}, lambda: train(model, epochs))
    pairs = len(data.train)
    record["images_per_second"] = round(pairs * epochs / sum(record["history"]["seconds"]), 1)
    return add_test_scores(record, model, data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--names", nargs="+", default=[*OURS, *OTHERS])
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of records; helpers/records makes README's tables")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = find_dataset()
    out = options.out or own_records(source)
    augmentations = {"ours": default_augmentation(), "none": None, "turns by 90 degrees": TURN}
    splits = {name: load_splits(source, SIZE, augment) for name, augment in augmentations.items()}
    for seed in options.seeds:
        for name in options.names:
            path = record_path(name, seed, "models", out)
            if path.is_file():
                print(f"skipped: {path} exists", flush=True)
                continue
            record = run(name, splits, options.minutes, seed)
            print(save_record(record, "models", out), record["test"]["miou"], flush=True)
    print(models_table(load_records("models", out)))


if __name__ == "__main__":
    main()
