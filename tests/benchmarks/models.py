"""The default U-Net against others, each trained by its own recipe for the same wall-clock time:

    pip install monai segmentation-models-pytorch
    PETS_DATA=... python tests/benchmarks/models.py
        --minutes 15 --seeds 0 --threads 1 --names ... --out FOLDER

All see the same pairs at 128 px, on the CPU, in the same precision (bfloat16), and are scored with
the weights of their best epoch on validation. Each run leaves a record in
runs/records/<dataset>/models/, or in FOLDER/models/; runs that have one are not repeated. The table
at the end is made of all records there.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from helpers.checkpoint import load_model
from helpers.data import Splits, load_splits, make_loader, seed_epoch, seed_random_numbers
from helpers.datasets.pets import find_dataset
from helpers.inference import evaluate
from helpers.losses import LOSSES
from helpers.model import UNet
from helpers.studies.records import load_records, make_record
from helpers.training import History, TrainingConfig, TrainingState, fit, train_one_epoch
from helpers.transforms import default_augmentation

import torch
import torch.nn.functional as F
from common import add_test_scores, make_missing_records, options_of, own_records
from tables import models_table
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR
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
    """How somebody else trains: at a rate that is constant or falls along a cosine."""

    optimizer: str
    learning_rate: float
    batch_size: int
    loss: str
    schedule: str
    weight_decay: float = 0.0
    augmentation: str = "none"


def monai_unet() -> nn.Module:
    from monai.networks.nets import BasicUNet

    return BasicUNet(spatial_dims=2, in_channels=3, out_channels=3)


def smp_unet() -> nn.Module:
    from segmentation_models_pytorch import Unet

    return Unet("resnet34", encoder_weights=None, classes=3)


def monai_dice(logits: Tensor, masks: Tensor) -> Tensor:
    from monai.losses import DiceLoss

    return DiceLoss(to_onehot_y=True, softmax=True)(logits.float(), masks[:, None])


def plain_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), masks)


OWN_LOSSES = {"cross-entropy, plain": plain_cross_entropy, "Dice, MONAI's": monai_dice}
TURN = v2.RandomChoice(
    [v2.Identity(), *(v2.RandomRotation((angle, angle)) for angle in (90, 180, 270))], [3, 1, 1, 1]
)
AUGMENTATIONS = {"ours": default_augmentation(), "none": None, "turns by 90 degrees": TURN}
OURS: dict[str, Callable[[], nn.Module]] = {
    "UNet (ours)": UNet,
    "UNet (ours), no skips": lambda: UNet(skips=False),
    "UNet (ours), from synthetic pets": lambda: load_model("synthetic")[0],
}
OTHERS: dict[str, tuple[Callable[[], nn.Module], Recipe]] = {
    "example project": (
        ExampleUNet,
        Recipe("AdamW", 3e-4, 32, "cross-entropy, plain", "constant", weight_decay=1e-2),
    ),
    "MONAI BasicUNet": (
        monai_unet,
        Recipe("Adam", 1e-3, 8, "Dice, MONAI's", "constant", augmentation="turns by 90 degrees"),
    ),
    "smp Unet resnet34": (smp_unet, Recipe("Adam", 2e-4, 16, "Dice, MONAI's", "cosine")),
}


def train_by_recipe(
    model: nn.Module, splits: Splits, recipe: Recipe, config: TrainingConfig
) -> History:
    """The loop of `fit`, with another optimizer and schedule. Leaves the best weights."""
    seed_random_numbers(config.seed)
    loader = make_loader(splits.train, recipe.batch_size, shuffle=True)
    optimizer = getattr(torch.optim, recipe.optimizer)(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = (
        CosineAnnealingLR(optimizer, config.epochs * len(loader), eta_min=1e-5)
        if recipe.schedule == "cosine"
        else ConstantLR(optimizer, factor=1)
    )
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state = TrainingState(model, optimizer, schedule, scaler, best={"val_miou": -1.0})

    model.to(memory_format=torch.channels_last)
    for epoch in range(1, config.epochs + 1):
        start, rate = time.perf_counter(), optimizer.param_groups[0]["lr"]
        seed_epoch(loader, epoch, config.seed)
        train_loss = train_one_epoch(state, loader, config, torch.bfloat16)
        validation = evaluate(model, make_loader(splits.val), precision=torch.bfloat16)
        seconds = time.perf_counter() - start
        state.record(validation, train_loss=train_loss, learning_rate=rate, seconds=seconds)

    model.load_state_dict(state.best["model"])
    return state.history


def train(
    name: str, model: nn.Module, splits: Splits, epochs: int, seed: int
) -> tuple[History, TrainingConfig]:
    """Train a network by its own recipe for so many epochs."""
    if name in OURS:
        config = TrainingConfig(epochs=epochs, precision="bfloat16", seed=seed)
        loaders = make_loader(splits.train, shuffle=True), make_loader(splits.val)
        return fit(model, *loaders, config, device="cpu", progress=False), config

    recipe = OTHERS[name][1]
    config = TrainingConfig(
        epochs=epochs,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        loss=recipe.loss,
        clip_norm=1e9,  # they do not clip
        precision="bfloat16",
        seed=seed,
    )
    return train_by_recipe(model, splits, recipe, config), config


def run(name: str, splits: dict[str, Splits], minutes: float, seed: int) -> dict:
    """Find out how many epochs fit into the time, then train so many and describe it."""
    LOSSES.update(OWN_LOSSES)
    build = OURS[name] if name in OURS else OTHERS[name][0]
    recipe = {"augmentation": "ours"} if name in OURS else asdict(OTHERS[name][1])
    data = splits[recipe["augmentation"]]

    timing, _ = train(name, build(), data, 2, seed)
    epochs = max(1, int(60 * minutes / min(timing["seconds"])))

    torch.manual_seed(seed)
    model = build()
    history, config = train(name, model, data, epochs, seed)
    settings = {"recipe": recipe, "minutes": minutes}
    record = make_record(name, model, data, history, config, settings)
    speed = len(data.train) * epochs / sum(history["seconds"])
    return add_test_scores(record | {"images_per_second": round(speed, 1)}, model, data)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options_of(__doc__, seeds=(0,))
    parser.add_argument("--minutes", type=float, default=15)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    source = find_dataset()
    out = options.out or own_records(source)
    splits = {name: load_splits(source, SIZE, augment) for name, augment in AUGMENTATIONS.items()}
    make_missing_records(
        "models",
        options.names or [*OURS, *OTHERS],
        options.seeds,
        out,
        lambda name, seed: run(name, splits, options.minutes, seed),
    )
    print(models_table(load_records("models", out)))


if __name__ == "__main__":
    main()
