"""COCO's instances: polygons and runs (RLE, plain or compressed), in JSON.

    annotations/instances_NAME.json     or any .json, or the file itself; train, val and test in
                                        its name, or its folder's, become splits
    images/                             anywhere in the folder, or --images

Crowds are labeled as their class. Boxes without a segmentation are no masks, and are refused.

Source: Lin et al., "Microsoft COCO", ECCV 2014; cocodataset.org/#format-data.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from helpers.datasets.formats.common import (
    BACKGROUND,
    UNLABELED,
    Drawing,
    Images,
    Label,
    Labeled,
    Ours,
    check_shape,
    copy_image,
    fill_polygons,
    read_json,
)

import numpy as np
import pycocotools.mask

SPLIT = re.compile(r"(?:^|[_-])(train|val|test)(?:id(?:ation)?)?(?:\d{4})?$")


def read(source: Path, images: Path | None) -> Labeled:
    """Raises FileNotFoundError or ValueError that names the file and the mend."""
    paths = [source] if source.is_file() else sorted(source.rglob("[!.]*.json"))
    paths = [path for path in paths if path.name.startswith("instances")] or paths
    if not paths:
        raise FileNotFoundError(f"{source} holds no .json: export the annotations again")

    found = Images(images or (source.parent if source.is_file() else source))
    names: dict[int, str] = {}  # of the categories, by their numbers
    drawings: list[Drawing] = []
    for path in paths:
        content = read_json(path)
        if not isinstance(content, dict) or {"images", "annotations", "categories"} - {*content}:
            raise ValueError(
                f"{path} is not COCO's: it must hold images, annotations and categories"
            )
        for category in content["categories"]:
            number, name = category["id"], category["name"]
            if names.setdefault(number, name) != name:
                raise ValueError(
                    f"{path}: category {number} is {name!r}, and {names[number]!r} before: number"
                    " them alike"
                )
        drawings += _read_images(path, content, found, list(names))

    bare = [drawing.image.name for drawing in drawings if not drawing.split]
    if 0 < len(bare) < len(drawings):  # one file of three has no such name
        raise ValueError(
            f"{source}: the annotations of {bare[0]} and {len(bare) - 1} others are in no file of"
            " train, val or test, but others are: name each file, or its folder, so, or none"
        )
    return Labeled([Label(name) for name in names.values()], drawings)


def _read_images(
    path: Path, content: dict[str, Any], found: Images, categories: list[int]
) -> list[Drawing]:
    """The images of one file, each with its annotations in their order."""
    entries = {entry["id"]: entry for entry in content["images"]}
    if len(entries) < len(content["images"]):
        raise ValueError(f"{path} gives one id to two images: number them anew")
    annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        number, to = annotation.get("id"), annotation["image_id"]
        if to not in entries:
            raise ValueError(f"{path}: annotation {number} is of image {to}, which is not listed")
        if annotation["category_id"] not in categories:
            raise ValueError(
                f"{path}: annotation {number} has category {annotation['category_id']}, which is"
                " not listed: add it to categories"
            )
        annotations[to].append(annotation)

    subset = re.sub(r"^instances_?", "", path.stem)
    match = SPLIT.search(subset.lower()) or SPLIT.search(path.parent.name.lower())
    return [
        Drawing(
            found.find(entry["file_name"], path, near=subset),
            partial(_draw, path, entry, annotations[number], categories),
            match[1] if match else "",
        )
        for number, entry in entries.items()
    ]


def _draw(
    path: Path,
    entry: dict[str, Any],
    annotations: Sequence[dict[str, Any]],
    categories: list[int],
    height: int,
    width: int,
) -> np.ndarray:
    """An image's annotations one over the other."""
    stated = entry.get("height", height), entry.get("width", width)
    check_shape(Path(f"{path}: {entry['file_name']}"), stated, height, width)
    mask = np.full((height, width), UNLABELED, np.uint8)
    for annotation in annotations:
        try:
            area = decode(annotation.get("segmentation"), height, width)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path}: annotation {annotation.get('id')} of {entry['file_name']} has no mask"
                f" ({error}): export it as polygon or RLE, or delete it"
            ) from error
        mask[area] = categories.index(annotation["category_id"])
    return mask


def decode(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Where a segmentation is: bool (H, W). Raises ValueError for what is none."""
    if not segmentation:
        raise ValueError("it has no segmentation")
    if isinstance(segmentation, list):
        return fill_polygons(segmentation, height, width)

    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"its size is {segmentation['size']}, its image's {[height, width]}")
    # pycocotools does not check compressed counts: it would fill up with what is in memory.
    counts = segmentation["counts"]
    counts = _expand(counts) if isinstance(counts, str) else counts
    if sum(counts) != height * width or min(counts) < 0:
        raise ValueError(f"its counts add up to {sum(counts)}, not to {height * width} pixels")
    runs = {"size": [height, width], "counts": counts}
    return pycocotools.mask.decode(pycocotools.mask.frPyObjects(runs, height, width)).astype(bool)


def _expand(text: str) -> list[int]:
    """Compressed counts as numbers: each, from the fourth on, the difference to the last but one.

    A character less 48 holds five bits, the lowest first, and a sixth if more follow; the highest
    bit of the last is the sign. Raises ValueError for other characters, or a number cut off.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"its counts hold {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits >> 4 & 1) << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its counts are cut off")
    return counts


def write(ours: Ours, out: Path) -> None:
    """One annotation (compressed RLE) for each class in an image, but for the background."""
    numbers = {label: k for k, label in enumerate(ours.labels, start=1)}
    categories = [{"id": k, "name": label.name} for label, k in numbers.items()]
    files: dict[str, dict[str, Any]] = {}
    for k, row in enumerate(ours.rows, start=1):
        subset = row.split or "default"
        file = files.setdefault(subset, {"images": [], "annotations": [], "categories": categories})
        name = copy_image(row, out / "images" / subset)
        height, width = ours.mask(row).shape
        file["images"].append({"id": k, "file_name": name, "height": height, "width": width})

        for label, area in ours.areas(row):
            if label.name.casefold() == BACKGROUND:
                continue
            runs = pycocotools.mask.encode(np.asfortranarray(area, np.uint8))
            annotation = {
                "id": sum(len(made["annotations"]) for made in files.values()) + 1,
                "image_id": k,
                "category_id": numbers[label],
                "segmentation": {"size": [height, width], "counts": runs["counts"].decode()},
                "area": int(area.sum()),
                "bbox": pycocotools.mask.toBbox(runs).tolist(),
                "iscrowd": 0,
            }
            file["annotations"].append(annotation)

    (out / "annotations").mkdir()
    for subset, file in files.items():
        path = out / "annotations" / f"instances_{subset}.json"
        path.write_text(json.dumps(file, ensure_ascii=False), encoding="utf-8")
