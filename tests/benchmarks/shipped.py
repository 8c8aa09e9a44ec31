"""Make what the repository ships: helpers/weights/sketch.pt and notebooks/banner.png.

    python tests/benchmarks/shipped.py [epochs]

Trains the default U-Net on the drawn pets, stores it in 16 bits (4 MB), and draws what it makes of test pairs.
"""

import sys

import torch

from helpers.checkpoint import SHIPPED, load_model, save_checkpoint
from helpers.data import default_augmentation, load_splits
from helpers.model import UNet
from helpers.source import HOME, find_dataset
from helpers.training import TrainingConfig, evaluate, fit, predict
from helpers.visualization import plot_samples


def train(source, epochs: int) -> None:
    train, val, _ = load_splits(source, 128, default_augmentation())
    torch.manual_seed(0)
    model = UNet()
    config = TrainingConfig(epochs=epochs, mixed_precision=True)
    history = fit(model, train, val, config)
    weights = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    about = {"model_config": model.config, "trained_on": source.name, "val_miou": max(history["val_miou"])}
    epoch = 1 + history["val_miou"].index(about["val_miou"])
    SHIPPED.parent.mkdir(exist_ok=True)
    save_checkpoint(SHIPPED, {"model": weights, **about, "epoch": epoch})
    print(f"validation mIoU {about['val_miou']:.3f}")


def draw_banner(source) -> None:
    test = load_splits(source, 128).test
    model, _ = load_model(SHIPPED)
    print(f"as stored in 16 bits: test mIoU {evaluate(model, test).confusion.mean_iou():.3f}")
    chosen = torch.linspace(0, len(test) - 1, 8).long()
    answers = predict(model, test.__getitems__(chosen)[0]).argmax(dim=1)
    plot_samples(test.pairs.images[chosen], answers, columns=8).savefig(HOME / "notebooks" / "banner.png", dpi=80)


if __name__ == "__main__":
    drawn = find_dataset(HOME / "data" / "sketch")
    train(drawn, int(sys.argv[1]) if len(sys.argv) > 1 else 60)
    draw_banner(drawn)
