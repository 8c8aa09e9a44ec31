"""How long a folder of many pairs takes to be checked: python tests/benchmarks/checking.py

--pairs 10000 --size 64
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from helpers.datasets.check import check_folder, report

import numpy as np
from PIL import Image
from tqdm import trange


def write_pairs(root: Path, pairs: int, size: int) -> None:
    """JPEGs of smooth spots, each like no other, and masks of two classes."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    (root / "classes.csv").write_text("value,name\n0,background\n1,cell\n")

    for k in trange(pairs, desc="writing", leave=False):
        spots = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
        spots.resize((size, size)).save(root / "images" / f"{k:06}.jpg")
        mask = np.zeros((size, size), np.uint8)
        mask[size // 4 : size // 2, size // 4 : rng.integers(size // 2, size)] = 1
        Image.fromarray(mask).save(root / "masks" / f"{k:06}.png")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=64, help="of a side in pixels")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "many"
        write_pairs(root, options.pairs, options.size)
        start = time.perf_counter()
        findings = check_folder(root)
        seconds = time.perf_counter() - start
        print(report(findings, root))
    print(
        f"{options.pairs} pairs of {options.size} x {options.size} pixels: {seconds:.1f} s,"
        f" {options.pairs / seconds:.0f} pairs/s"
    )


if __name__ == "__main__":
    main()
