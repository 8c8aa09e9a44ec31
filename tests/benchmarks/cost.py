"""What the U-Net costs on this machine: PETS_DATA=... python tests/benchmarks/cost.py

Parameters, multiply-adds and activation memory of four widths; the speed of
`helpers.training.train_one_epoch` in several settings, on the GPU if there is one; the fraction of
an epoch that is lost to waiting for data. Writes helpers/studies/records/cost/DEVICE.json, or
FOLDER/cost/DEVICE.json with --out FOLDER.

    --widths 8 16 32 64 --seconds 4 (for each speed) --out FOLDER
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from helpers.data import load_splits, make_loader
from helpers.datasets.pets import find_dataset
from helpers.inference import memory_format, pick_device, pick_precision
from helpers.losses import LOSSES
from helpers.model import UNet
from helpers.studies.records import RECORDS, provenance, save_record
from helpers.training import Batches, TrainingConfig, TrainingState, train_one_epoch
from helpers.transforms import default_augmentation

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SIZE, BATCH, CONFIG = 128, 16, TrainingConfig()


def multiply_adds(model: nn.Module) -> float:
    """For one image: torch counts two operations for each."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, SIZE, SIZE))
    return counter.get_total_flops() / 2


def activation_bytes(model: nn.Module) -> int:
    """What autograd keeps of one forward pass in training, per image, without the weights."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = model.train()(torch.randn(BATCH, 3, SIZE, SIZE))
        loss = LOSSES[CONFIG.loss](logits, torch.zeros(BATCH, SIZE, SIZE, dtype=torch.int64))
    del loss
    return sum(kept.values()) // BATCH


class Trainer:
    """A network in training, as `fit` would have it, in one precision."""

    def __init__(self, width: int = 16, mixed: bool = False, compiled: bool = False) -> None:
        self.device = pick_device()
        self.precision = mixed_precision(self.device) if mixed else None
        model = UNet(base_channels=width).to(self.device)
        model.to(memory_format=memory_format(self.device))
        if compiled:
            model = torch.compile(model)
        self.state = TrainingState.start(model, CONFIG, 10**6, self.precision)

    def seconds_for(self, batches: Batches) -> float:
        """Of one epoch."""
        start = time.perf_counter()
        train_one_epoch(self.state, batches, CONFIG, self.precision)
        return time.perf_counter() - start

    def images_per_second(self, seconds: float) -> float:
        """Of steps with a batch that is there already."""
        batches = [random_batch()] * 4
        self.seconds_for(batches)  # warm up, compile
        passed, images = 0.0, 0
        while passed < seconds:
            passed += self.seconds_for(batches)
            images += len(batches) * BATCH
        return round(images / passed, 1)


def mixed_precision(device: torch.device) -> torch.dtype | None:
    """16 bits, also where "auto" does without them."""
    return pick_precision(device, "auto" if device.type == "cuda" else "bfloat16")


def random_batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(BATCH, 3, SIZE, SIZE), torch.randint(3, (BATCH, SIZE, SIZE))


def waiting_fraction(mixed: bool, workers: int) -> float:
    """The fraction of an epoch lost to loading and augmenting, beside the same steps without."""
    train = load_splits(find_dataset(), SIZE, default_augmentation()).train
    loader = make_loader(train, BATCH, shuffle=True, num_workers=workers)
    trainer, there = Trainer(mixed=mixed), [random_batch()] * len(loader)
    trainer.seconds_for(there)  # warm up
    without, loading = trainer.seconds_for(there), trainer.seconds_for(loader)
    return round(max(0.0, 1 - without / loading), 3)


def costs_of(width: int, seconds: float) -> dict:
    return {
        "parameters": sum(p.numel() for p in UNet(base_channels=width).parameters()),
        "multiply_adds": multiply_adds(UNet(base_channels=width)),
        "activation_bytes": activation_bytes(UNet(base_channels=width)),
        "images_per_second": {
            name: Trainer(width, mixed).images_per_second(seconds)
            for name, mixed in (("float32", False), ("mixed", True))
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--out", type=Path, default=RECORDS)
    options = parser.parse_args(arguments)

    device = pick_device()
    about = provenance(device, mixed_precision(device))
    record = {
        "name": about["device"],
        "seed": 0,
        **about,
        "size": SIZE,
        "batch_size": BATCH,
        "widths": {str(width): costs_of(width, options.seconds) for width in options.widths},
        "settings": {
            name: Trainer(**setting).images_per_second(options.seconds)
            for name, setting in SETTINGS.items()
        },
        "waiting_fraction": {
            f"{name}, {workers} workers": waiting_fraction(mixed, workers)
            for name, mixed in (("float32", False), ("mixed", True))
            for workers in (0, 2)
        },
    }
    print(save_record(record, "cost", options.out))


SETTINGS = {
    "float32": {"mixed": False},
    "mixed": {"mixed": True},
    "mixed, compiled": {"mixed": True, "compiled": True},
}


if __name__ == "__main__":
    main()
