"""An epoch's data from the cache against decoding JPEGs: PETS_DATA=... python .../loading.py

Both sides give the same normalized 128 px tensors, batch by batch, in one process and one thread.
Target: 15 times faster without augmentation.

    --epochs 5 --target 15
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from helpers.constants import IMAGENET_MEAN, IMAGENET_STD
from helpers.data import SegmentationDataset, decode, make_loader
from helpers.datasets.pets import PetFolder, find_dataset
from helpers.transforms import default_augmentation

import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.datasets import OxfordIIITPet, wrap_dataset_for_transforms_v2
from torchvision.transforms import InterpolationMode, v2

SIZE, BATCH = 128, 16


def seconds_per_epoch(loader: DataLoader, epochs: int) -> float:
    """The fastest of some."""
    times = []
    for _ in range(epochs):
        start = time.perf_counter()
        pairs = sum(len(images) for images, _ in loader)
        times.append(time.perf_counter() - start)
    assert pairs == len(loader.dataset)
    return min(times)


def decoded_each_time(source: PetFolder, augment: Callable | None) -> DataLoader:
    """Plain torchvision: dataset, transforms v2, DataLoader."""
    dataset = OxfordIIITPet(source.root, "trainval", target_types="segmentation")
    steps = [v2.ToImage(), v2.Resize((SIZE, SIZE), InterpolationMode.BILINEAR, antialias=True)]
    steps += [augment] if augment else []
    types = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
    steps += [v2.ToDtype(types, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    dataset.transforms = v2.Compose(steps)
    return DataLoader(wrap_dataset_for_transforms_v2(dataset), BATCH, shuffle=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--target", type=float, default=15)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    source = find_dataset()

    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        pairs = decode(source, "trainval", SIZE, Path(cache))
        seconds = time.perf_counter() - start
        print(f"decoding {len(pairs)} pairs once, into the cache: {seconds:.2f} s")

        rates = {}
        augmentations = {"no augmentation": None, "augmented": default_augmentation()}
        for name, augment in augmentations.items():
            loader = make_loader(SegmentationDataset(pairs, augment=augment), BATCH, shuffle=True)
            cached = seconds_per_epoch(loader, options.epochs)
            plain = seconds_per_epoch(decoded_each_time(source, augment), options.epochs)
            rates[name] = plain / cached
            print(
                f"{name:<16} cache {1000 * cached / len(pairs):.3f} ms a pair, decoding each time"
                f" {1000 * plain / len(pairs):.3f} ms a pair: {rates[name]:.1f} times faster"
            )
    assert rates["no augmentation"] >= options.target, f"target: {options.target} times faster"


if __name__ == "__main__":
    main()
