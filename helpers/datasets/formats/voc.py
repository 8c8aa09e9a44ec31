"""Pascal VOC and CVAT's "Segmentation mask 1.1", which is the same with a labelmap.txt.

    SegmentationClass/NAME.png      indexed, or colors, or gray numbers
    JPEGImages/NAME.*               the images (CVAT: "save images"); else images/, or --images
    labelmap.txt                    label:r,g,b:parts:actions; without one, VOC's 20 classes
    ImageSets/Segmentation/*.txt    which images; train, val and test become splits

With a labelmap.txt, a listed image without a mask is one in which nothing is labeled.

Source: Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010;
docs.cvat.ai, "Segmentation Mask".
"""

from collections import defaultdict
from collections.abc import Container
from functools import partial
from pathlib import Path, PurePosixPath

from helpers.constants import IGNORE_INDEX
from helpers.datasets.folder import plain
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
from helpers.datasets.images import SUFFIXES, read_mask

import numpy as np
from PIL import Image

NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse"
    " motorbike person pottedplant sheep sofa train tvmonitor"
).split()
VOID = "#e0e0c0"  # the border of VOC's objects, number 255
SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
MASKS, LISTS, LABELMAP = "SegmentationClass", Path("ImageSets", "Segmentation"), "labelmap.txt"


def read(source: Path, images: Path | None) -> Labeled:
    """Raises FileNotFoundError or ValueError that names the file and the mend."""
    folder = source / MASKS
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist: unpack the archive, and name the folder that holds {MASKS}"
        )
    masks = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
            continue
        if path.suffix.lower() != ".png":
            raise ValueError(f"{path} is no PNG, as masks are here: export them again")
        masks[plain(path.relative_to(folder).with_suffix("").as_posix())] = path
    listed = _read_lists(source / LISTS) or dict.fromkeys(masks, "")
    splits = {_name_of(name, masks): split for name, split in listed.items()}
    if not splits:
        raise FileNotFoundError(f"{folder} holds no .png: export the masks again")
    # CVAT and datumaro write no mask where nothing is labeled. VOC always does.
    has_labelmap = (source / LABELMAP).is_file()
    missing = sorted(splits.keys() - masks.keys())
    if missing and not has_labelmap:
        raise FileNotFoundError(
            f"{source / LISTS} lists {missing[0]!r}, but {folder / missing[0]}.png does not exist:"
            " restore it, or delete the line"
        )

    labels = read_labelmap(source / LABELMAP) if has_labelmap else _voc_labels()
    usual = (source / "JPEGImages", source / "images", source)
    found = Images(
        images or next(path for path in usual if path.is_dir()), (MASKS, "SegmentationObject")
    )
    drawings = []
    for name, split in splits.items():
        image = found.find(name, source / LISTS if name in missing else masks[name])
        draw = partial(_draw, masks.get(name), labels, has_labelmap)
        drawings.append(Drawing(image, draw, split))
    return Labeled(labels, drawings)


def _name_of(listed: str, masks: Container[str]) -> str:
    """A name in a list as the masks have it: some tools write the image's suffix, too."""
    path = PurePosixPath(listed)
    if listed in masks or path.suffix.lower() not in SUFFIXES:
        return listed
    stem = path.with_suffix("").as_posix()
    return stem if stem in masks else listed


def read_labelmap(path: Path) -> list[Label]:
    """The labels of a labelmap.txt. Raises ValueError that names a bad line."""
    labels: list[Label] = []
    for line in read_lines(path):
        if line.startswith("#"):
            continue
        name, *fields = line.split(":")
        parts = fields[0].replace(" ", "").split(",") if fields else []
        if parts == [""]:  # no color: VOC's
            parts = [str(part) for part in _rgb(colormap()[len(labels)])]
        if len(parts) != 3 or not all(part.isdecimal() and int(part) < 256 for part in parts):
            raise ValueError(f"{path}: {line!r} must read label:r,g,b:parts:actions, each 0 to 255")
        labels.append(Label(name.strip(), "#{:02x}{:02x}{:02x}".format(*map(int, parts))))

    colors = [label.color for label in labels]
    if twice := [label for label in labels if colors.count(label.color) > 1]:
        raise ValueError(
            f"{path}: {twice[0].name!r} and {twice[1].name!r} have one color: change one, in the"
            " masks, too"
        )
    return labels


def colormap(count: int = 256) -> list[str]:
    """VOC's colors: the bits of a number, from its lowest, go to red, green and blue in turn."""
    numbers = np.arange(count)
    colors = np.zeros((count, 3), int)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (numbers >> (3 * bit + channel) & 1) << (7 - bit)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colors]


def _voc_labels() -> list[Label]:
    return [Label(name, color) for name, color in zip(NAMES, colormap(), strict=False)]


def _read_lists(folder: Path) -> dict[str, str]:
    """The split of each listed image, empty if it has none."""
    splits: dict[str, str] = {}
    for path in sorted(folder.glob("[!.]*.txt")):
        to = SPLITS.get(path.stem.lower(), "")
        for line in read_lines(path):
            name = plain(line.strip('"'))
            if to and splits.get(name) not in (None, "", to):
                raise ValueError(
                    f"{path} lists {name!r}, and so does {splits[name]}.txt: delete one of the"
                    " lines"
                )
            splits[name] = to or splits.get(name, "")

    without = [name for name, to in splits.items() if not to]
    if without and len(without) < len(splits):
        raise ValueError(
            f"{folder} lists {without[0]!r}, but not in train.txt, val.txt or test.txt: add it to"
            " one of them"
        )
    return splits


def _draw(
    path: Path | None, labels: list[Label], has_labelmap: bool, height: int, width: int
) -> np.ndarray:
    """A mask's labels, found by their colors if there is a labelmap, else by their numbers."""
    if path is None:
        return np.full((height, width), UNLABELED, np.uint8)
    numbers = read_mask(path)
    check_shape(path, numbers.shape, height, width)
    with Image.open(path) as image:
        is_indexed = image.mode == "P"
        colors = np.asarray(image.convert("RGB")).astype(np.int32)
    packed = colors[..., 0] << 16 | colors[..., 1] << 8 | colors[..., 2]

    # Black and VOID have a meaning of their own, unless a label has that color.
    by_color = {0: UNLABELED, _packed(VOID): IGNORE_INDEX}
    by_color |= {_packed(label.color): place for place, label in enumerate(labels)}
    by_number = {IGNORE_INDEX: IGNORE_INDEX, **{place: place for place in range(len(labels))}}

    wants_colors = numbers.ndim == 3 or has_labelmap
    places = _look_up(packed, by_color) if wants_colors else _look_up(numbers, by_number)
    if (places < 0).any() and wants_colors and numbers.ndim == 2 and not is_indexed:
        wants_colors, places = False, _look_up(numbers, by_number)  # gray numbers
    if (places < 0).any():
        unknown = np.unique((packed if wants_colors else numbers)[places < 0])[:8].tolist()
        shown = ", ".join(f"#{value:06x}" if wants_colors else str(value) for value in unknown)
        mend = "add it to labelmap.txt" if has_labelmap else "VOC has 0 to 20 and 255; add a"
        mend += "" if has_labelmap else " labelmap.txt if the classes are your own"
        raise ValueError(f"{path} holds {shown}, which is no label's: {mend}, or mend the mask")
    return places.astype(np.uint8)


def _look_up(values: np.ndarray, known: dict[int, int]) -> np.ndarray:
    """What each value stands for, -1 for those that are not known."""
    keys = np.array(sorted(known))
    stands_for = np.array([known[key] for key in keys.tolist()], np.int16)
    at = np.searchsorted(keys, values).clip(max=len(keys) - 1)
    return np.where(keys[at] == values, stands_for[at], -1)


def _packed(color: str) -> int:
    return int(color[1:], 16)


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color[1:]))


def write(ours: Ours, out: Path) -> None:
    """Indexed masks of class numbers, 255 for "ignore"; colors are the folder's if they differ."""
    labels = ours.classes
    check_names(labels, ":\n\r", "labelmap.txt")
    if comments := [label.name for label in labels if label.name.startswith("#")]:
        raise ValueError(
            f"classes.csv: in labelmap.txt, {comments[0]!r} is a comment: rename the class"
        )
    own = [label.color.lower() for label in labels]
    colors = own if len({*own, VOID}) > len(own) else colormap(len(labels))

    # One more row for what does not count: datumaro and CVAT know no color by themselves.
    rows = [(label.name, color) for label, color in zip(labels, colors, strict=True)]
    rows += [("ignored", VOID)] if ours.ignore else []
    lines = ["# label:color_rgb:parts:actions"]
    lines += [f"{name}:{','.join(map(str, _rgb(color)))}::" for name, color in rows]
    (out / LABELMAP).write_text("\n".join(lines) + "\n", encoding="utf-8")

    (out / MASKS).mkdir()
    (out / LISTS).mkdir(parents=True)
    palette = [*colors, *["#000000"] * (IGNORE_INDEX - len(colors)), VOID]
    listed = defaultdict(list)
    for row in ours.rows:
        save_indexed(ours.mask(row), palette, out / MASKS / f"{row.name}.png")
        copy_image(row, out / "JPEGImages")
        listed[row.split or "default"].append(row.name)
    for split, names in listed.items():
        text = "".join(f"{name}\n" for name in names)
        (out / LISTS / f"{split}.txt").write_text(text, encoding="utf-8")


def save_indexed(mask: np.ndarray, palette: list[str], path: Path) -> None:
    """Write uint8 (H, W) as an indexed PNG in 256 colors."""
    image = Image.fromarray(mask)
    image.putpalette(bytes.fromhex("".join(color[1:] for color in palette)))
    image.save(path)
