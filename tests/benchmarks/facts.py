"""Facts of a dataset, and what needs no network scores on it: two studies of run records.

    PETS_DATA=... python tests/benchmarks/facts.py [--out FOLDER] [--note TEXT]

Counts all pairs of both official lists, at their own size, for FOLDER/dataset. Then chooses
predictions that need no network on trainval, and scores them on the test list, for
FOLDER/baselines. FOLDER is runs/records/<dataset> unless named; helpers/studies/records is ours.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from helpers.constants import CLASS_NAMES
from helpers.data import Pairs, Splits, load_splits
from helpers.datasets.duplicates import find_same, make_thumbnail
from helpers.datasets.pets import SPLITS, PairReader, PetFolder, find_dataset
from helpers.files import home
from helpers.metrics import iou
from helpers.studies.records import provenance, save_record, split_hash
from helpers.studies.report import full_report

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from torch import Tensor
from tqdm import tqdm

SIZE = 128  # pixels, of the baselines' input
GRID = 32  # cells of a mean mask along each side
PATCH = 20  # pixels of border inside a pet that are more than a speck
LINE = 10  # pixels of border along an edge of the image that are more than chance
QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
SHARES, ASPECTS = np.linspace(0, 1, 41), np.linspace(0.4, 2.6, 45)  # edges of histograms' bins
EVERYWHERE = np.ones((3, 3), dtype=bool)  # a pixel touches all eight around it


def facts(source: PetFolder) -> dict:
    """What can be counted in a dataset: all pairs of both lists, at their own size.

    Fractions are of the pairs, or of an image's pixels; a quantile or a histogram is over pairs.
    """
    readers = {split: PairReader(source, split) for split in SPLITS}
    files: Counter = Counter()
    breeds: dict[str, Counter] = {}
    rows = []

    for split, reader in readers.items():
        for name, (image, mask) in zip(tqdm(reader.names, desc=split), reader, strict=True):
            with Image.open(source.image_path(name)) as file:  # by content: some .jpg are PNGs
                files[f"{file.format} {file.mode}"] += 1
            breeds.setdefault(name.rsplit("_", 1)[0], Counter())[split] += 1
            rows.append({"name": name} | facts_of_image(image) | facts_of_mask(mask))
            rows[-1] |= {"list": split, "thumbnail": make_thumbnail(np.asarray(image))}

    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0]}
    return {
        "pairs": {split: len(reader) for split, reader in readers.items()},
        "breeds": {breed: dict(breeds[breed]) for breed in sorted(breeds, key=str.lower)},
        "cats": count_species(breeds, cats=True),
        "dogs": count_species(breeds, cats=False),
        "files": dict(files),
        "repeated": repeated(columns),
        **summary_of_images(columns),
        **summary_of_masks(columns),
    }


def repeated(columns: dict[str, Any]) -> dict:
    """How many photographs stand there more than once, under other names, by their thumbnails.

    The found ones of the first five groups that stand in both lists are named.
    """
    shown = [k for k, thumbnail in enumerate(columns["thumbnail"]) if thumbnail is not None]
    found = find_same([columns["thumbnail"][k] for k in shown])
    groups = [[shown[k] for k in group] for group in found]
    in_both = [group for group in groups if len({columns["list"][k] for k in group}) > 1]
    return {
        "groups": len(groups),
        "images": sum(map(len, groups)),
        "groups_in_both_lists": len(in_both),
        "such_as": [[columns["name"][k] for k in group] for group in in_both[:5]],
    }


def facts_of_image(image: Image.Image) -> dict:
    """Size, sums of the channels (R, G, B in 0..1) and of their squares, and whether it is gray."""
    pixels = np.asarray(image)
    scaled = pixels.reshape(-1, 3) / 255
    return {
        "size": image.size,  # width, height
        "sums": scaled.sum(axis=0),
        "squares": (scaled**2).sum(axis=0),
        "gray": np.ptp(pixels, axis=-1).mean() < 1,  # of 255, between an RGB pixel's channels
    }


def facts_of_mask(mask: np.ndarray) -> dict:
    """Pixels of each class (3,), where they are, and what is odd in a mask (H, W)."""
    classes = torch.from_numpy(mask == np.arange(3)[:, None, None]).double()  # (3, H, W)
    sides = {"top": mask[:2], "bottom": mask[:-3:-1], "left": mask.T[:2], "right": mask.T[:-3:-1]}
    return {
        "counts": classes.sum(dim=(1, 2)).numpy(),
        "grid": F.adaptive_avg_pool2d(classes, GRID).numpy(),
        "pet_at": {side: (line == 0).any() for side, (line, _) in sides.items()},
        # A line of border, one pixel wide, where there is only background behind it.
        "stray_line": {
            side: ((line == 2) & (behind == 1)).sum() >= LINE
            for side, (line, behind) in sides.items()
        },
        "border_inside": has_border_inside(mask),
    }


def has_border_inside(mask: np.ndarray) -> bool:
    """Whether a patch of border touches neither background nor the image's edge, as a collar."""
    patches, _ = ndimage.label(mask == 2, EVERYWHERE)
    sizes = np.bincount(patches.ravel())

    near = ndimage.binary_dilation(mask == 1, EVERYWHERE)
    near[[0, -1]] = near[:, [0, -1]] = True
    sizes[patches[near]] = 0
    sizes[0] = 0  # all that is no border
    return bool((sizes >= PATCH).any())


def count_species(breeds: dict[str, Counter], cats: bool) -> dict[str, int]:
    """Breeds and pairs of the cats (whose names are capitalized), or of the dogs."""
    found = [counts for breed, counts in breeds.items() if breed[0].isupper() == cats]
    return {"breeds": len(found), "pairs": sum(counts.total() for counts in found)}


def summary_of_images(columns: dict[str, Any]) -> dict:
    sizes = np.array(columns["size"])
    pixels = sizes.prod(axis=1).sum()
    mean = sum(columns["sums"]) / pixels
    std = (sum(columns["squares"]) / pixels - mean**2) ** 0.5
    return {
        "sizes": {
            "different": len(np.unique(sizes, axis=0)),
            "shorter_side": quantiles(sizes.min(axis=1)),
            "longer_side": quantiles(sizes.max(axis=1)),
        },
        "aspect": distribution(sizes[:, 0] / sizes[:, 1], ASPECTS),  # width / height
        "channels": {"mean": rounded(mean), "std": rounded(std)},  # of all pixels, in 0..1
        "gray": sum(map(int, columns["gray"])),
    }


def summary_of_masks(columns: dict[str, Any]) -> dict:
    counts = np.array(columns["counts"])  # (N, 3)
    of_all_pixels = counts.sum(axis=0) / counts.sum()
    shares = counts / counts.sum(axis=1, keepdims=True)
    sides = {key: [list(row.values()) for row in columns[key]] for key in ("pet_at", "stray_line")}
    names = columns["pet_at"][0]

    return {
        "shares": {
            name: {"of_all_pixels": rounded(of_all_pixels[c])} | distribution(shares[:, c], SHARES)
            for c, name in enumerate(CLASS_NAMES)
        },
        "without_a_pet": sorted(
            name for name, share in zip(columns["name"], shares[:, 0], strict=True) if share == 0
        ),
        "pet_at_the_edge": rounded(np.any(sides["pet_at"], axis=1).mean()),
        "border_inside_the_pet": rounded(np.mean(columns["border_inside"])),
        **{
            key: dict(zip(names, rounded(np.mean(values, axis=0)), strict=True))
            for key, values in sides.items()
        },
        "mean_masks": dict(
            zip(CLASS_NAMES, rounded(np.mean(columns["grid"], axis=0), 3), strict=True)
        ),
    }


def distribution(values: np.ndarray, edges: np.ndarray) -> dict:
    """Mean, quantiles and histogram, whose end bins hold what lies beyond them, too."""
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
    return {
        "mean": rounded(values.mean()),
        "quantiles": quantiles(values),
        "histogram": {"from": edges[0], "to": edges[-1], "counts": counts.tolist()},
    }


def quantiles(values: np.ndarray) -> dict[str, float]:
    return dict(zip(map(str, QUANTILES), rounded(np.quantile(values, QUANTILES)), strict=True))


def rounded(values: Any, digits: int = 4) -> Any:
    """A number or nested lists of them, as JSON takes them."""
    return np.round(values, digits).tolist()


# Predictions that need no network.


def constant_masks(pairs: Pairs) -> dict[str, Tensor]:
    """One mask (size, size) for all images: background, the mode of the pairs, the best ellipse."""
    # How often each class is at a position, (size, size, C).
    counts = torch.stack([(pairs.masks == c).sum(dim=0) for c in range(3)], dim=-1)

    def miou(mask: Tensor) -> float:
        matrix = torch.stack([counts[mask == c].sum(dim=0) for c in range(3)], dim=1)
        return iou(matrix).nanmean().item()

    size, steps = len(counts), torch.arange(0.3, 1.31, 0.05).tolist()
    bands = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25)
    ellipses = [ellipse(size, h, w, band) for h in steps for w in steps for band in bands]
    return {
        "all background": torch.ones(size, size, dtype=torch.int64),
        "mean mask": counts.argmax(dim=-1),
        "best ellipse": max(ellipses, key=miou),
    }


def ellipse(size: int, height: float, width: float, band: float) -> Tensor:
    """A pet in the shape of a centered ellipse with a border around it, (size, size).

    height and width are its axes, as fractions of the image's.
    """
    across = torch.linspace(-1, 1, size)
    distance = ((across[:, None] / height) ** 2 + (across[None] / width) ** 2).sqrt()
    return torch.where(distance < 1 - band, 0, torch.where(distance < 1 + band, 2, 1))


def class_of_each_color(pairs: Pairs) -> Tensor:
    """The most frequent class of each of 16 x 16 x 16 colors, int64 (4096,), as in notebook 01.

    One pixel of each color is taken for granted, divided among the classes as all pixels are: so a
    color that never occurs has the most frequent class.
    """
    fractions = torch.bincount(pairs.masks.flatten(), minlength=3) / pairs.masks.numel()
    seen = fractions.double().repeat(16**3)
    for image, mask in zip(pairs.images, pairs.masks, strict=True):
        seen += torch.bincount((color_numbers(image) * 3 + mask).flatten(), minlength=len(seen))
    return seen.reshape(-1, 3).argmax(dim=1)


def color_numbers(image: Tensor) -> Tensor:
    """The number 0..4095 of each pixel's color, int64 (H, W), from an image uint8 (3, H, W)."""
    red, green, blue = image.long() // 16
    return (red * 16 + green) * 16 + blue


def score_baselines(splits: Splits, about: dict, folder: Path) -> None:
    """Choose the predictions on trainval, score them on the test list, and keep the records."""
    trainval, test = splits.train.pairs, splits.test
    masks: dict[str, Iterable[Tensor]] = {
        name: mask.expand(len(test), -1, -1) for name, mask in constant_masks(trainval).items()
    }
    colors = class_of_each_color(trainval)
    masks["color alone"] = torch.stack([colors[color_numbers(im)] for im in test.pairs.images])

    for name, prediction in masks.items():
        logits = F.one_hot(prediction, 3).movedim(-1, 1).float()
        record = {"name": name, "seed": 0} | about | {"size": logits.shape[-1]}
        record["test"] = full_report(logits, test)
        print(save_record(record, "baselines", folder), record["test"]["miou"])


def main(arguments: Sequence[str] | None = None, size: int = SIZE) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of the records")
    parser.add_argument("--note", default="", help="on this copy of the dataset, for the records")
    options = parser.parse_args(arguments)

    source = find_dataset()
    folder = options.out or home() / "runs" / "records" / source.runs.name
    splits = load_splits(source, size)
    about = {
        "dataset": source.name,
        "note": options.note,
        "split_hash": split_hash(splits),
        **provenance(torch.device("cpu"), None),
    }
    record = {"name": source.name, "seed": 0} | about | facts(source)
    print(save_record(record, "dataset", folder))
    score_baselines(splits, about, folder)


if __name__ == "__main__":
    main()
