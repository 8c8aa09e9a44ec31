"""A folder of binary masks for each class.

CLASS/NAME.png      0 outside, one other value inside; the class is not in an image without one
images/NAME.*       the images, or --images
classes.txt         optional: the classes in their order, a name a line; else by the alphabet
"""

from collections import defaultdict
from functools import partial
from pathlib import Path

from helpers.datasets.folder import MASK_SUFFIX, plain
from helpers.datasets.formats.common import (
    UNLABELED,
    Drawing,
    Images,
    Label,
    Labeled,
    Ours,
    check_names,
    check_shape,
    copy_image,
    read_lines,
)
from helpers.datasets.images import read_mask, read_palette

import numpy as np
from PIL import Image

LIST = "classes.txt"
MASKS = (".png", ".tif", ".tiff", ".bmp")
OTHERS = (".jpg", ".jpeg", ".gif", ".webp")  # JPEG's grays are no two values


def read(source: Path, images: Path | None) -> Labeled:
    """Raises FileNotFoundError or ValueError that names the file and the mend."""
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is no folder: name the one that holds a folder a class")
    found = Images(images or source / "images")
    folders = {
        plain(path.name): path
        for path in sorted(source.iterdir())
        if path.is_dir() and path.resolve() != found.folder.resolve() and path.name[0] != "."
    }
    names = sorted(folders)
    if (source / LIST).is_file():
        names = [plain(line) for line in read_lines(source / LIST)]
        if unlisted := sorted(folders.keys() - {*names}):
            raise ValueError(f"{source / LIST} does not list {unlisted[0]!r}: add a line")

    image_of = {_key(path, found.folder): path for path in found}
    masks: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for place, name in enumerate(names):
        for path in sorted(folders[name].rglob("*")) if name in folders else ():
            if path.name.startswith(".") or path.suffix.lower() not in MASKS + OTHERS:
                continue
            if path.suffix.lower() in OTHERS:
                raise ValueError(f"{path} is no mask that can be read exactly: save it as PNG")
            key = _key(path, folders[name])
            key = key if key in image_of else MASK_SUFFIX.sub("", key)
            if key not in image_of:
                raise FileNotFoundError(f"{path} has no image in {found.folder}: copy it there")
            masks[key].append((place, path))

    return Labeled(
        [Label(name) for name in names],
        [Drawing(path, partial(_draw, masks.get(key, []))) for key, path in image_of.items()],
    )


def _key(path: Path, folder: Path) -> str:
    return plain(path.relative_to(folder).with_suffix("").as_posix())


def _draw(masks: list[tuple[int, Path]], height: int, width: int) -> np.ndarray:
    """The binary masks of an image one over the other, in the order of the classes."""
    mask = np.full((height, width), UNLABELED, np.uint8)
    for place, path in masks:
        values = _as_shown(path, read_mask(path))
        check_shape(path, values.shape, height, width)
        held = np.unique(values)
        if len(held[held > 0]) > 1:
            raise ValueError(
                f"{path} holds the values {held[:8].tolist()}: a binary mask holds 0 outside and"
                " one other value inside"
            )
        mask[values > 0] = place
    return mask


def _as_shown(path: Path, values: np.ndarray) -> np.ndarray:
    """A mask's values (H, W) with black as 0, also where a palette gives black another number."""
    palette = read_palette(path)
    if palette is None:
        return values.max(axis=-1) if values.ndim == 3 else values
    used = np.unique(values)
    shown = palette.max(axis=-1)
    # Colors of which none, or more than one, is black say nothing: then the numbers count.
    return shown[values] if (shown[used] == 0).sum() == 1 else values


def write(ours: Ours, out: Path) -> None:
    """Masks of 0 and 255, also of the background, and classes.txt."""
    check_names(ours.labels, '/\\:*?"<>|', "a folder's name")
    if taken := {label.name.casefold() for label in ours.labels} & {"images"}:
        raise ValueError(f"classes.csv: the folder {taken.pop()!r} is of the images: rename it")
    for label in ours.labels:
        (out / label.name).mkdir()
    text = "".join(f"{label.name}\n" for label in ours.labels)
    (out / LIST).write_text(text, encoding="utf-8")

    for row in ours.rows:
        copy_image(row, out / "images")
        for label, area in ours.areas(row):
            Image.fromarray(area).save(out / label.name / f"{row.name}.png")
