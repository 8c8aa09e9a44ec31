"""What the U-Net costs on this machine: PETS_DATA=... python tests/benchmarks/cost.py

Parameters, multiply-adds and activation memory of three widths; training speed in several settings, on the GPU if
there is one; the share of an epoch in which the device waits for data. Writes helpers/records/cost/DEVICE.json.
"""

import time
from datetime import date

from helpers.data import load_splits, make_loader
from helpers.datasets.pets import find_dataset
from helpers.inference import pick_device, pick_precision
from helpers.losses import LOSSES
from helpers.model import UNet
from helpers.studies.experiments import commit, device_name, save_record
from helpers.training import TrainingConfig
from helpers.transforms import default_augmentation

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SIZE, BATCH, WIDTHS = 128, 16, (8, 16, 32, 64)


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
        loss = LOSSES["ce+dice"](logits, torch.zeros(BATCH, SIZE, SIZE, dtype=torch.int64))
    del loss
    return sum(kept.values()) // BATCH


class Trainer:
    """Training steps as `fit` takes them, in a chosen precision and memory layout."""

    def __init__(self, model: nn.Module, mixed: bool, channels_last: bool = True, compiled: bool = False) -> None:
        self.device = pick_device()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.precision = pick_precision(self.device, mixed)
        model = model.to(self.device, memory_format=self.layout).train()
        self.optimizer = torch.optim.AdamW(model.parameters())
        self.model = torch.compile(model) if compiled else model

    def step(self, images: torch.Tensor, masks: torch.Tensor) -> None:
        images = images.to(self.device, memory_format=self.layout)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
            logits = self.model(images)
        loss = LOSSES["ce+dice"](logits, masks.to(self.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()  # waits for the device


def images_per_second(trainer: Trainer, seconds: float = 4) -> float:
    images, masks = torch.randn(BATCH, 3, SIZE, SIZE), torch.randint(3, (BATCH, SIZE, SIZE))
    for _ in range(3):
        trainer.step(images, masks)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        trainer.step(images, masks)
        steps += 1
    return round(steps * BATCH / (time.perf_counter() - start), 1)


def waiting_share(mixed: bool, workers: int) -> float:
    """The share of an epoch that passes between asking for a batch and having it, with augmentation."""
    train = load_splits(find_dataset(), SIZE, default_augmentation()).train
    trainer, waited = Trainer(UNet(), mixed), 0.0
    start = before = time.perf_counter()
    for images, masks in make_loader(train, TrainingConfig().batch_size, shuffle=True, num_workers=workers):
        waited += time.perf_counter() - before
        trainer.step(images, masks)
        before = time.perf_counter()
    return round(waited / (time.perf_counter() - start), 3)


def main() -> None:
    settings = {
        "float32": {"mixed": False},
        "float32, not channels-last": {"mixed": False, "channels_last": False},
        "mixed": {"mixed": True},
        "mixed, not channels-last": {"mixed": True, "channels_last": False},
        "mixed, compiled": {"mixed": True, "compiled": True},
    }
    record = {
        "name": device_name(),
        "seed": 0,
        "torch": torch.__version__,
        "commit": commit(),
        "date": date.today().isoformat(),
        "size": SIZE,
        "batch_size": BATCH,
        "widths": {
            str(width): {
                "parameters": sum(p.numel() for p in UNet(base_channels=width).parameters()),
                "multiply_adds": multiply_adds(UNet(base_channels=width)),
                "activation_bytes": activation_bytes(UNet(base_channels=width)),
                "images_per_second": {
                    name: images_per_second(Trainer(UNet(base_channels=width), **settings[name]))
                    for name in ("float32", "mixed")
                },
            }
            for width in WIDTHS
        },
        "settings": {name: images_per_second(Trainer(UNet(), **options)) for name, options in settings.items()},
        "waiting_share": {
            f"{name}, {workers} workers": waiting_share(mixed, workers)
            for name, mixed in (("float32", False), ("mixed", True))
            for workers in (0, 2)
        },
    }
    print(save_record(record, "cost"))


if __name__ == "__main__":
    main()
