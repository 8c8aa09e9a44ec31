"""A long training of the default U-Net, scored on the test list: PETS_DATA=... python tests/benchmarks/long_run.py

    --epochs 150 --seeds 0 1 2 --mixed-precision --threads 2

Keeps each run in runs/<dataset>/long-<epochs>-seed-<seed>/ (best.pt, last.pt, result.json) and goes on from there
when stopped. Notebooks 05 and 06 use the best of all runs by validation mIoU.
"""

import argparse
import json
import platform
import time

import torch

from helpers.data import CLASS_NAMES, default_augmentation, load_splits
from helpers.model import UNet
from helpers.source import find_dataset
from helpers.training import TrainingConfig, evaluate, fit, pick_device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--mixed-precision", action="store_true", default=None, help="also on a CPU")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = find_dataset()
    splits = load_splits(source, options.size, default_augmentation())
    for seed in options.seeds:
        config = TrainingConfig(epochs=options.epochs, mixed_precision=options.mixed_precision, seed=seed)
        folder = source.runs / f"long-{options.epochs}-seed-{seed}"
        torch.manual_seed(seed)
        model = UNet()
        cpu = time.process_time()
        history = fit(model, splits.train, splits.val, config, folder=folder, resume=True)
        confusion = evaluate(model, splits.test).confusion
        result = {
            "dataset": source.name,
            "size": options.size,
            "seed": seed,
            "epochs": len(history["seconds"]),
            "device": f"{pick_device()}, {options.threads} threads, {platform.machine()}, torch {torch.__version__}",
            "wall_minutes": sum(history["seconds"]) / 60,
            "cpu_minutes": (time.process_time() - cpu) / 60,
            "val_miou": max(history["val_miou"]),
            "test_miou": confusion.mean_iou(),
            "test_miou_95": confusion.bootstrap_miou(),
            "test_iou": dict(zip(CLASS_NAMES, confusion.iou().tolist(), strict=True)),
            "test_per_image_miou": confusion.per_image_iou(),
            "test_accuracy": confusion.pixel_accuracy(),
        }
        (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
