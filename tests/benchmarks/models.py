"""The default U-Net against MONAI's BasicUNet and segmentation_models.pytorch's Unet(resnet34), all from scratch:

    pip install monai segmentation-models-pytorch
    PETS_DATA=... python tests/benchmarks/models.py [minutes]

Prints training throughput at 128 px (batch 16, this device, 32 bits, as `fit` trains) and the validation and test
mIoU after equal minutes of training with the same data, augmentation, loss and schedule.
"""

import sys
import time

import segmentation_models_pytorch as smp
import torch
from monai.networks.nets import BasicUNet

from helpers.data import PetDataset, default_augmentation, load_splits
from helpers.model import UNet
from helpers.source import find_dataset
from helpers.training import TrainingConfig, evaluate, fit, pick_device

SIZE, SEED = 128, 0
MODELS = {
    "UNet (ours)": UNet,
    "MONAI BasicUNet": lambda: BasicUNet(spatial_dims=2, in_channels=3, out_channels=3),
    "smp Unet(resnet34)": lambda: smp.Unet("resnet34", encoder_weights=None, classes=3),
}


def images_per_second(build, train) -> float:
    """Of the second epoch of a short training on unaugmented pairs: the first warms up."""
    few = PetDataset(train.pairs, train.indices[:96])
    one = PetDataset(train.pairs, train.indices[:1])
    torch.manual_seed(SEED)
    history = fit(build(), few, one, TrainingConfig(epochs=3, mixed_precision=False), progress=False)
    return len(few) / min(history["seconds"][1:])


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    source = find_dataset()
    splits = load_splits(source, SIZE, default_augmentation())
    print(f"{source.name}, {SIZE} px, {pick_device()}, {torch.get_num_threads()} threads, {minutes:g} minutes each")
    speeds = {name: [images_per_second(build, splits.train) for _ in range(2)] for name, build in MODELS.items()}
    rows = {}
    for name, build in MODELS.items():
        torch.manual_seed(SEED)
        model = build()
        start = time.perf_counter()
        one = TrainingConfig(epochs=1, mixed_precision=False)
        fit(build(), splits.train, splits.val, one, progress=False)
        epochs = max(1, int(60 * minutes / (time.perf_counter() - start)))
        start = time.perf_counter()
        config = TrainingConfig(epochs=epochs, mixed_precision=False, seed=SEED)
        history = fit(model, splits.train, splits.val, config, progress=False)
        spent = time.perf_counter() - start
        miou = evaluate(model, splits.test).confusion.mean_iou()
        rows[name] = max(speeds[name])
        parameters = sum(p.numel() for p in model.parameters()) / 1e6
        print(
            f"{name:<20} {parameters:5.2f} M parameters  {max(speeds[name]):5.1f} images/s  {epochs:3d} epochs in"
            f" {spent / 60:.1f} min: validation mIoU {max(history['val_miou']):.3f}, test mIoU {miou:.3f}",
            flush=True,
        )
    ours = rows.pop("UNet (ours)")
    for name, rate in rows.items():
        print(f"ours / {name}: {ours / rate:.2f} times the images/s")
        assert ours > rate, f"target: faster than {name}"


if __name__ == "__main__":
    main()
