"""A folder of your own: images/, masks/, classes.csv, and maybe images.csv. Notebook 10.

`python -m helpers.datasets check FOLDER` finds all that is wrong with one.
"""

import colorsys
import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from helpers import files
from helpers.constants import IGNORE_INDEX
from helpers.datasets.images import (
    SUFFIXES,
    choose_channels,
    has_16_bits,
    read_image,
    read_mask,
    read_palette,
    read_values,
)

import numpy as np
from PIL import Image

IGNORE = "ignore"  # the name of what does not count
MOST_CLASSES = 150
UNKNOWN = 254  # in no row of classes.csv
SPLITS = ("train", "val", "test")
MASK_SUFFIX = re.compile(r"[_-](masks?|labels?|seg|segmentation|gt|(?-i:L))$", re.IGNORECASE)

# Okabe and Ito 2008, which color-blind people can tell apart; the first is for a background.
PALETTE = ("#999999", "#D55E00", "#0072B2", "#F0E442", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


class ClassRow(NamedTuple):
    """A row of classes.csv: value is a number, or a color "#rrggbb", in the mask files."""

    value: int | str
    name: str
    color: str


class ImageRow(NamedTuple):
    """A pair, and what images.csv says of it: the group that it belongs to, and its split."""

    name: str
    image: Path
    mask: Path
    group: str
    split: str


@dataclass(frozen=True)
class OwnFolder:
    """Labeled images in a folder; `name` labels results. Made by `open_folder`.

    Args:
        classes: the rows of classes.csv in their order, those called "ignore" too.
        rows: of all pairs, in the order of their names.
        channels: the three of a multi-channel image that are read as RGB, or None.
        levels: of images of 16 bits, the two values that become 0 and 255, or None.
    """

    root: Path
    name: str
    classes: tuple[ClassRow, ...]
    rows: tuple[ImageRow, ...]
    channels: tuple[int, ...] | None = None
    levels: tuple[int, int] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.classes if row.name != IGNORE)

    @property
    def class_colors(self) -> tuple[str, ...]:
        return tuple(row.color for row in self.classes if row.name != IGNORE)

    @property
    def reading(self) -> dict:
        """What a checkpoint must know to read other images alike."""
        return {"levels": self.levels, "channels": self.channels}

    @property
    def runs(self) -> Path:
        """Where training on this dataset keeps its checkpoints."""
        return files.home() / "runs" / self.name

    @property
    def lists(self) -> tuple[str, ...]:
        """All splits. Raises ValueError where there is nothing to train on, or to validate on."""
        if missing := {"train", "val"} - {row.split for row in self.rows}:
            raise ValueError(
                f"{self.name} has no pair for {' and '.join(sorted(missing))}: two groups are the"
                " least (see images.csv)"
            )
        return SPLITS

    def reader(self, split: str) -> "OwnReader":
        """The pairs of "train", "val" or "test"."""
        return OwnReader(self, split)

    def number_classes(self, values: np.ndarray, path: Path) -> np.ndarray:
        """A mask's values as class numbers, uint8 (H, W); ignored pixels are 255.

        Raises ValueError that names the file, and values that are in no row of classes.csv.
        """
        if values.ndim == 3 and not self.has_color_values and not is_gray(values):
            raise ValueError(
                f"{path} has colors, but the values in classes.csv are numbers: write colors there,"
                " #rrggbb"
            )

        listed = self.as_listed(values, path)
        numbers = self.number_of[listed]
        if (numbers == UNKNOWN).any():
            unknown = np.unique(listed[numbers == UNKNOWN])[:8]
            raise ValueError(
                f"{path} holds {', '.join(map(self.shown, unknown))}: in no row of classes.csv. Add"
                f' a row for each (named "{IGNORE}" if it should not count), or mend the mask'
            )
        return numbers

    @property
    def has_color_values(self) -> bool:
        return isinstance(self.classes[0].value, str)

    def as_listed(self, values: np.ndarray, path: Path) -> np.ndarray:
        """A mask's values as classes.csv lists them (H, W): numbers, or colors as one number each.

        Raises ValueError for a mask of 16 bits where colors are listed.
        """
        if not self.has_color_values:
            return values if values.ndim == 2 else values[..., 0]  # gray, saved as RGB
        return packed(values if values.ndim == 3 else _through_palette(path, values))

    @cached_property
    def number_of(self) -> np.ndarray:
        """The class number of every value that a mask can hold, `UNKNOWN` if none."""
        numbers = np.full(2**24 if self.has_color_values else 2**16, UNKNOWN, np.uint8)
        for row in self.classes:
            known = row.name != IGNORE
            number = self.class_names.index(row.name) if known else IGNORE_INDEX
            numbers[as_number(row.value)] = number
        return numbers

    def shown(self, value: int) -> str:
        """A value as classes.csv writes it."""
        return f"#{value:06x}" if self.has_color_values else str(value)

    def __str__(self) -> str:
        counts = ", ".join(
            f"{sum(row.split == split for row in self.rows)} {split}" for split in SPLITS
        )
        groups = len({row.group for row in self.rows})
        apart = f" in {groups} groups" if groups < len(self.rows) else ", each its own group"
        return (
            f"Dataset: {self.name}, {len(self.rows)} pairs{apart} ({counts}), classes:"
            f" {', '.join(self.class_names)}."
        )


class OwnReader:
    """The pairs of one split at their own resolution, each checked as it is read.

    reader[i] is an image (PIL, RGB) and its mask, uint8 (H, W): class numbers from 0 on, 255 where
    it does not count. A bad pair raises FileNotFoundError or ValueError that names the file and the
    mend.
    """

    strata: Sequence[int] | None = None  # nothing that a split is to balance

    def __init__(self, source: OwnFolder, split: str) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
        self.source, self.split = source, split
        self.rows = [row for row in source.rows if row.split == split]
        self.names = tuple(row.name for row in self.rows)
        self.key = repr((str(source.root), source.classes, source.reading))  # two may look alike

    def __len__(self) -> int:
        return len(self.rows)

    def paths(self, index: int) -> tuple[Path, Path]:
        return self.rows[index].image, self.rows[index].mask

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        image_path, mask_path = self.paths(index)  # an IndexError here ends an iteration
        image = read_image(image_path, self.source.levels, self.source.channels)
        values = read_mask(mask_path)
        if values.shape[:2] != image.size[::-1]:
            raise ValueError(
                f"{mask_path} is {values.shape[1]} x {values.shape[0]} pixels, but its image is"
                f" {image.width} x {image.height}: they must be a pair of one size"
            )
        return image, self.source.number_classes(values, mask_path)


def open_folder(
    root: str | Path, name: str = "", channels: Sequence[int] | None = None
) -> OwnFolder:
    """Open a folder of labeled images, and say in one line what is in it.

    Without a column "split" in images.csv, a fifth of the groups is for validation and a fifth for
    the test, from a fixed seed.

    Args:
        root: the folder that holds images/, masks/ and classes.csv.
        name: labels results; the folder's own if empty.
        channels: the three of multi-channel images that are read as RGB.

    Raises FileNotFoundError or ValueError that names the file and the mend.
    """
    root = Path(root).expanduser().resolve()
    classes = read_classes(root)
    rows = tuple(with_splits(read_images(root)))
    chosen = None if channels is None else tuple(channels)
    levels = _find_levels([row for row in rows if row.split == "train"], chosen)
    source = OwnFolder(root, name or root.name, classes, rows, chosen, levels)
    print(source)
    return source


def read_classes(root: Path) -> tuple[ClassRow, ...]:
    """The rows of classes.csv. Raises FileNotFoundError or ValueError that says what to write."""
    path = root / "classes.csv"
    table = read_table(path, ("value", "name"), ("color",))
    rows = []
    for row in table:
        value, line = row["value"].lower(), row["line"]
        is_number = re.fullmatch(r"\d{1,5}", value) and int(value) < 2**16
        if not is_number and not re.fullmatch(r"#[0-9a-f]{6}", value):
            raise ValueError(
                f"{path}, line {line}: the value {value!r} is no number, and no #rrggbb"
            )
        if not re.fullmatch(r"(#[0-9a-fA-F]{6})?", row["color"]):
            raise ValueError(f"{path}, line {line}: the color {row['color']!r} is no #rrggbb")
        name = IGNORE if row["name"].lower() == IGNORE else row["name"]
        rows.append((int(value) if is_number else value, name, row["color"]))

    _check_classes(path, rows)
    return tuple(
        ClassRow(value, name, color or (value if isinstance(value, str) else default))
        for (value, name, color), default in zip(rows, default_colors(len(rows)), strict=True)
    )


def _check_classes(path: Path, rows: Sequence[tuple[int | str, str, str]]) -> None:
    values, names = [row[0] for row in rows], [row[1] for row in rows if row[1] != IGNORE]
    mends = {
        "a class has no name: give it one": "" in names,
        "a name stands there twice: use each once": len(set(names)) < len(names),
        "a value stands there twice: each belongs to one class": len(set(values)) < len(values),
        "some values are numbers and some are colors: use one kind": len({*map(type, values)}) > 1,
        f"there are {len(names)} classes: 2 to {MOST_CLASSES} can be told apart": not (
            2 <= len(names) <= MOST_CLASSES
        ),
    }
    for mend, applies in mends.items():
        if applies:
            raise ValueError(f"{path}: {mend}")


def read_images(root: Path) -> list[ImageRow]:
    """All pairs by name, with what images.csv says; group and split are empty where it does not.

    Raises FileNotFoundError for a missing folder or partner, ValueError for a name that stands for
    two files, or a row of images.csv that stands for none.
    """
    pairs = pair_paths(root)
    path = root / "images.csv"
    table = read_table(path, ("name",), ("group", "split")) if path.is_file() else []
    known = {name for name, *_ in pairs}
    said = {stem_of(row["name"], known): row for row in table}
    if missing := sorted(said.keys() - known):
        raise ValueError(f"{path} names {missing[0]!r}, but there is no such image: delete the row")
    if len(said) < len(table):
        raise ValueError(f"{path} names an image twice: give it one row")

    rows = []
    for name, image, mask in pairs:
        row = said.get(name, {})
        split = row.get("split", "").lower()
        if split not in ("", *SPLITS):
            raise ValueError(
                f"{path}: the split of {name!r} is {split!r}: write train, val or test"
            )
        rows.append(ImageRow(name, image, mask, row.get("group", ""), split))
    return rows


def pair_paths(root: Path) -> list[tuple[str, Path, Path]]:
    """Name, image and mask of each pair, by name. Raises as `read_images`."""
    images, masks = _by_stem(root / "images"), _by_stem(root / "masks")
    masks = _without_suffixes(masks, images)
    for these, others, kind in ((images, masks, "mask"), (masks, images, "image")):
        if alone := sorted(these.keys() - others.keys()):
            more = f" (and {len(alone) - 1} others)" if len(alone) > 1 else ""
            raise FileNotFoundError(
                f"{these[alone[0]]}{more} has no {kind} in {root / f'{kind}s'}: the two files of a"
                " pair have one name"
            )
    if not images:
        raise FileNotFoundError(f"{root / 'images'} holds no image: {', '.join(SUFFIXES)} are read")
    return [(name, images[name], masks[name]) for name in sorted(images)]


def _by_stem(folder: Path) -> dict[str, Path]:
    """The image files of a folder by their stem."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist: a folder of your own holds images/, masks/ and classes.csv"
        )
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if (stem := plain(path.stem)) in found:
            raise ValueError(f"{path} and {found[stem].name} have one name: rename one")
        if not is_text(path.name):
            raise ValueError(
                f"{path.parent / repr(path.name)} is no name in UTF-8: rename the file"
            )
        found[stem] = path
    return found


def _without_suffixes(masks: dict[str, Path], images: dict[str, Path]) -> dict[str, Path]:
    """Masks by the name of their image: what a usual suffix, such as _mask, is cut from."""
    found: dict[str, Path] = {}
    for stem, path in masks.items():
        name = stem if stem in images else MASK_SUFFIX.sub("", stem)
        if name in found:
            raise ValueError(f"{path} and {found[name].name} are masks of one image: delete one")
        found[name] = path
    return found


def read_table(path: Path, needed: Iterable[str], others: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a CSV file (comma or semicolon, UTF-8), the columns that it may lack empty.

    Beside these columns, and all others that it has, "line" is a row's line in the file.

    Raises FileNotFoundError or ValueError that says what to write.
    """
    columns = [*needed, *others]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} does not exist: write one, its first line {','.join(columns)}, and a line for"
            " each"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8: save it again as CSV UTF-8") from error

    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in first else ",")
    try:
        heads = [(head or "").strip().lower() for head in reader.fieldnames or ()]
        if missing := [column for column in needed if column not in heads]:
            raise ValueError(f"{path} has no column {missing[0]!r}: its first line is {first!r}")
        reader.fieldnames = heads
        columns = [*columns, *(head for head in dict.fromkeys(heads) if head not in ("", *columns))]
        return [
            {column: (row.get(column) or "").strip() for column in columns}
            | {"line": str(reader.line_num)}
            for row in reader
            if any(row.values())
        ]
    except csv.Error as error:
        raise ValueError(f"{path} is no table ({error}): a quotation mark may be open") from error


def default_colors(count: int) -> list[str]:
    """So many colors, the first eight of which color-blind people can tell apart."""
    more = [
        colorsys.hls_to_rgb(k * 0.381966 % 1, (0.35, 0.55, 0.75)[k % 3], 0.75) for k in range(count)
    ]
    made = ["#" + "".join(f"{round(255 * part):02X}" for part in color) for color in more]
    return [*PALETTE, *made][:count]


def with_splits(rows: Sequence[ImageRow]) -> list[ImageRow]:
    """The rows with their groups and splits filled in; a group stands in one split alone."""
    rows = [row._replace(group=row.group or row.name) for row in rows]
    if any(row.split for row in rows):
        if bare := [row.name for row in rows if not row.split]:
            raise ValueError(f"images.csv gives {bare[0]!r} no split, but others: give all or none")
        split_of: dict[str, str] = {}
        for row in rows:
            if split_of.setdefault(row.group, row.split) != row.split:
                raise ValueError(
                    f"images.csv puts the group {row.group!r} into {split_of[row.group]} and"
                    f" {row.split}: what belongs together stays in one split"
                )
        return rows

    # Of the groups in random order, a fifth each; one at least for validation, if there are two.
    groups = sorted({row.group for row in rows})
    order = np.random.default_rng(0).permutation(len(groups))
    held_out = max(1, round(len(groups) / 5))
    place = {groups[k]: i for i, k in enumerate(order)}
    ends = (held_out * (len(groups) > 1), held_out * (2 if len(groups) > 2 else len(groups) > 1))
    return [
        row._replace(split="val" if at < ends[0] else "test" if at < ends[1] else "train")
        for row in rows
        for at in (place[row.group],)
    ]


def _find_levels(
    rows: Sequence[ImageRow], channels: Sequence[int] | None, most: int = 100
) -> tuple[int, int] | None:
    """Of images of 16 bits, the values that one in a thousand pixels lies below, and above.

    From at most so many of them, evenly from the list. None if the images have 8 bits.
    """
    deep = [row.image for row in rows if has_16_bits(row.image)]
    if not deep:
        return None
    counts = np.zeros(2**16, np.int64)
    for k in np.unique(np.linspace(0, len(deep) - 1, most).astype(int)):
        values = read_values(deep[k])
        chosen = values if channels is None else choose_channels(deep[k], values, channels)
        counts += np.bincount(chosen.ravel(), minlength=2**16)
    share = counts.cumsum() / counts.sum()
    low, high = (int(np.searchsorted(share, level)) for level in (0.001, 0.999))
    return low, max(high, low + 1)


def is_text(name: str) -> bool:
    """Whether a file's name can be written into a table: on Linux it may be any bytes."""
    return name.encode(errors="replace").decode() == name


def plain(text: str) -> str:
    """Text in one form of Unicode: macOS names files in another."""
    return unicodedata.normalize("NFC", text)


def stem_of(name: str, known: Collection[str] = ()) -> str:
    """A name in a list without the suffix that it may have; one that is known stays ("a.tif" of
    a.tif.png)."""
    name = plain(name)
    is_file = name not in known and Path(name).suffix.lower() in SUFFIXES
    return Path(name).stem if is_file else name


def _through_palette(path: Path, values: np.ndarray) -> np.ndarray:
    """The colors of an indexed mask, uint8 (H, W, 3); of a gray one, its grays."""
    if values.max() > 255:
        raise ValueError(f"{path} has 16 bits, but the values in classes.csv are colors, of 8 bits")
    palette = read_palette(path)
    if palette is None:
        return values[..., None].astype(np.uint8).repeat(3, axis=-1)
    return palette[values]


def is_gray(values: np.ndarray) -> bool:
    """Whether the channels (H, W, C) are all alike."""
    return bool((values == values[..., :1]).all())


def packed(colors: np.ndarray) -> np.ndarray:
    """Colors (H, W, 3) as one number each."""
    red, green, blue = (colors[..., k].astype(np.int32) for k in range(3))
    return red << 16 | green << 8 | blue


def as_number(value: int | str) -> int:
    """A value of classes.csv as a mask's pixel: a color as one number."""
    return int(value[1:], 16) if isinstance(value, str) else value
