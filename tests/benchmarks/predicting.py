"""Images per second of `python -m helpers.predict` beside a plain loop: python .../predicting.py

Both open, squash, predict and save the same images with the same weights; the plain loop does one
image after the other. What both start with (weights, the look for images) is not counted.

    --data FOLDER --weights pets-pretrained --images 200 --batch-size 16 --device cpu --rounds 3
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from helpers.checkpoint import load_model
from helpers.datasets.pets import find_dataset, read_list
from helpers.inference import predict_photo
from helpers.predict import Run, parser
from helpers.transforms import open_photo

import numpy as np
import torch
from PIL import Image


def plain_loop(paths: Sequence[Path], weights: str, device: str, out: Path) -> float:
    """Seconds of: open, squash, predict, argmax, save."""
    model, about = load_model(weights)
    model.to(device)
    out.mkdir()
    start = time.perf_counter()
    for path in paths:
        mask = predict_photo(open_photo(path), model, about["size"])
        Image.fromarray(mask.numpy()).save(out / f"{path.stem}.png")
    return time.perf_counter() - start


def command(paths: Sequence[Path], weights: str, device: str, out: Path, batch_size: int) -> float:
    """Seconds of the command's inner loop."""
    words = [weights, *map(str, paths), "--out", str(out), "--device", device]
    words += ["--batch-size", str(batch_size), "--precision", "float32"]
    run = Run(parser().parse_args(words))
    start = time.perf_counter()
    run.predict()
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--data")
    flags.add_argument("--weights", default="pets-pretrained")
    flags.add_argument("--images", type=int, default=200)
    flags.add_argument("--batch-size", type=int, default=16)
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--rounds", type=int, default=3)
    flags.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = flags.parse_args(arguments)
    torch.set_num_threads(options.threads)

    source = find_dataset(options.data)
    names = read_list(source, "test")[0][: options.images]
    paths = [source.image_path(name) for name in names]
    seconds: dict[str, list[float]] = {"plain loop": [], "the command": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            plain, ours = Path(folder) / "plain", Path(folder) / "ours"
            told = (paths, options.weights, options.device)
            seconds["plain loop"].append(plain_loop(*told, plain))
            seconds["the command"].append(command(*told, ours, options.batch_size))

            # The same work: as good as every pixel is the same.
            for path in plain.iterdir():
                with Image.open(path) as one, Image.open(ours / path.name) as two:
                    assert (np.asarray(one) == np.asarray(two)).mean() > 0.999, path.name

    print(f"{len(paths)} images, {source.name}, {options.device}, {options.threads} threads")
    for name, times in seconds.items():
        print(f"{name:<12} {len(paths) / median(times):7.1f} images/s")


if __name__ == "__main__":
    main()
