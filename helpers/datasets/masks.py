"""What the values in a mask file say, and what is wrong where they are in no row of classes.csv."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from helpers.constants import IGNORE_INDEX
from helpers.datasets.folder import IGNORE, UNKNOWN, OwnFolder, as_number, is_gray, packed
from helpers.datasets.images import read_mask, read_palette

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

WHITE = "masks of 0 and 255"
JPEG = "masks saved as JPEG"
GRAYS = "JPEG grays"
OUTLINES = "anti-aliased outlines"
PALETTE = "palette read as RGB"
COLORS = "colors, but classes.csv lists numbers"
BEYOND = "class numbers beyond the list"
UNLISTED = "values in no row of classes.csv"

MENDS = {
    WHITE: "list 255 in classes.csv, or write it as a class number",
    JPEG: "save masks as PNG: JPEG changes the values of pixels",
    GRAYS: "the mask was a JPEG once: export it again, as PNG",
    OUTLINES: "draw or resize masks without smoothing (nearest neighbor)",
    PALETTE: "save the mask with its palette or as class numbers, not converted to RGB",
    COLORS: "write the masks' colors into classes.csv, #rrggbb",
    BEYOND: 'add the class to classes.csv ("ignore" if it should not count), or mend the mask',
    UNLISTED: 'add a row for each ("ignore" if it should not count), or mend the mask (where'
    " objects are numbered, write their class in place of the numbers)",
}
BETWEEN = (JPEG, GRAYS, OUTLINES)
SHOWN = 4  # values in one line
BLACK_AND_WHITE = np.array([0, 255])
PATCH = 5  # pixels a side: as small a region may be a class
TOLD_APART = 32  # so far from each other, two values are still told apart after JPEG


@dataclass
class MaskFacts:
    """What is known of a mask file after it was read.

    Args:
        counts: pixels of each class, and behind them of what is ignored.
        kind, what: of a fault in its values, if any.
        relabel: the value in classes.csv for every value in the file: the one right mend, if any.
        is_scaled: whether the mend takes 255 for the second class, 1.
        is_reversed: whether its palette shows 0 white and 1 black.
    """

    path: Path
    size: tuple[int, int]
    counts: np.ndarray = field(default_factory=lambda: np.zeros(1, int))
    kind: str = ""
    what: str = ""
    relabel: dict[int, int] = field(default_factory=dict)
    is_scaled: bool = False
    is_reversed: bool = False

    def count(self, pixels: np.ndarray, folder: OwnFolder) -> None:
        """Count the classes as they are after the mend, from the pixels of each value."""
        values = np.array(list(self.relabel.values()))
        self.counts = count_classes(folder.number_of[values], folder, pixels)


def read_facts(path: Path, folder: OwnFolder | None) -> MaskFacts:
    """Read a mask file once. Without classes (None) no value is judged.

    Raises FileNotFoundError, PermissionError, or ValueError that names the file and the mend.
    """
    values = read_mask(path)
    facts = MaskFacts(path, values.shape[:2])
    if folder is None:
        return facts
    facts.counts = np.zeros(len(folder.class_names) + 1, int)

    # Where numbers are listed, grays may be those or colors; colors can only be a palette's.
    if values.ndim == 3 and not folder.has_color_values:
        gray = is_gray(values)
        if not gray or (folder.number_of[values[..., 0]] == UNKNOWN).any():
            _judge_colors(facts, packed(values), folder)
            if facts.relabel:
                return facts
        if not gray:
            return facts

    if values.ndim == 2 and not folder.has_color_values and values.max() == 1:
        palette = read_palette(path)
        facts.is_reversed = palette is not None and palette[0].min() > 250 and palette[1].max() < 5

    listed = folder.as_listed(values, path)
    numbers = folder.number_of[listed]
    facts.counts = count_classes(numbers, folder)
    if is_jpeg(path) or (numbers == UNKNOWN).any():
        _judge(facts, listed, numbers, folder)
    return facts


def relabeled(path: Path, folder: OwnFolder, relabel: Mapping[int, int]) -> np.ndarray:
    """A mask with other values: numbers uint8 or uint16 (H, W), or colors uint8 (H, W, 3)."""
    values = read_mask(path)
    are_colors = values.ndim == 3 and (not is_gray(values) or max(relabel) > 65535)
    listed = packed(values) if are_colors else folder.as_listed(values, path)

    found, where = np.unique(listed, return_inverse=True)
    mended = np.array([relabel[value] for value in found.tolist()])[where].reshape(listed.shape)
    if folder.has_color_values:
        return np.stack([mended >> 16, mended >> 8 & 255, mended & 255], axis=-1).astype(np.uint8)
    return mended.astype(np.uint8 if mended.max() < 256 else np.uint16)


def count_classes(
    numbers: np.ndarray, folder: OwnFolder, pixels: np.ndarray | None = None
) -> np.ndarray:
    """The pixels of each class, and behind them of what is ignored; each number counts once, or as
    many pixels."""
    counts = np.bincount(numbers.ravel(), pixels, minlength=256).astype(int)
    return np.append(counts[: len(folder.class_names)], counts[IGNORE_INDEX])


def is_jpeg(path: Path) -> bool:
    """Whether the content is JPEG, whatever the name says."""
    with open(path, "rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


def _judge_colors(facts: MaskFacts, colors: np.ndarray, folder: OwnFolder) -> None:
    """Colors where numbers are listed: those of classes, one of each, can be numbers again."""
    facts.kind, facts.what = COLORS, _place(colors, colors > 0, True)
    if is_jpeg(facts.path):
        facts.kind = JPEG
    values = {int(row.color[1:], 16): as_number(row.value) for row in folder.classes}
    found, counts = np.unique(colors, return_counts=True)
    if len(values) == len(folder.classes) and values.keys() >= set(found.tolist()):
        facts.kind, facts.what = PALETTE, _place(colors, colors >= 0, True)
        facts.relabel = {color: values[color] for color in found.tolist()}
        facts.count(counts, folder)


def _judge(facts: MaskFacts, listed: np.ndarray, numbers: np.ndarray, folder: OwnFolder) -> None:
    """Name what is wrong with the values, and where two classes are all, what they should be."""
    known = np.array([as_number(row.value) for row in folder.classes])
    wanted = known
    unknown = numbers == UNKNOWN
    facts.what = _place(listed, unknown, folder.has_color_values)

    # Numbers 0 and 1, and a mask that is made to be looked at: of black, white and what is between.
    if set(known.tolist()) >= {0, 1} and known.max() < 128 <= listed.max() <= 255:
        known, wanted = BLACK_AND_WHITE, np.array([0, 1])
    facts.kind = _kind(facts.path, listed, unknown, known, folder)
    if facts.kind not in (WHITE, JPEG, GRAYS, OUTLINES):
        return
    facts.is_scaled = known is BLACK_AND_WHITE

    # Between two classes the nearest is right; among more, one may lie between two others. And a
    # patch far from both is a class of its own, which nobody has listed.
    patch = None if facts.kind == WHITE else _patch_between(listed, known, folder)
    if patch is not None:
        facts.what = f"a patch of about {folder.shown(patch)} is none of the classes"
    elif len(folder.classes) == 2 and _apart(known, folder) >= TOLD_APART:
        found, pixels = np.unique(listed, return_counts=True)
        nearest = _tree(known, folder).query(_points(found, folder))[1]
        facts.relabel = dict(zip(found.tolist(), wanted[nearest].tolist(), strict=True))
        facts.count(pixels, folder)


def _kind(
    path: Path, listed: np.ndarray, unknown: np.ndarray, known: np.ndarray, folder: OwnFolder
) -> str:
    """The kind of fault. JPEG and smoothing leave several values, each with traits of its own:
    JPEG's lie near those of classes, and are uneven (numbers of objects are not), smoothing's on
    the slope from one to another."""
    if is_jpeg(path):
        return JPEG
    if known is BLACK_AND_WHITE and np.isin(listed, known).all():
        return WHITE
    between = unknown & ~np.isin(listed, known)
    found = np.unique(listed[between])
    if len(found) >= 3:
        away, apart = _tree(known, folder).query(_points(found, folder))[0], _apart(known, folder)
        near = np.isin(listed, found[away <= apart / 4])
        if np.median(away) <= apart / 10 and _evenness(near, listed) < 0.5:
            return GRAYS
        if _on_a_slope(between, listed) > 0.9:
            return OUTLINES

    values = [row.value for row in folder.classes if row.name != IGNORE]
    in_order = values == list(range(len(values)))
    return BEYOND if in_order and listed[unknown].min() >= len(values) else UNLISTED


def _patch_between(listed: np.ndarray, known: np.ndarray, folder: OwnFolder) -> int | None:
    """The value in the middle of an even patch that lies far from every known value, if any.

    Smoothing and JPEG leave such values along outlines, where they are not even.
    """
    points, apart = _points(listed, folder), _apart(known, folder)
    found, where = np.unique(listed, return_inverse=True)
    away = _tree(known, folder).query(_points(found, folder))[0][where].reshape(listed.shape)
    flat = np.ones(listed.shape, bool)
    for channel in np.moveaxis(points, -1, 0):
        spread = ndimage.maximum_filter(channel, PATCH) - ndimage.minimum_filter(channel, PATCH)
        flat &= spread < apart / 16
    inside = flat & (away > apart / 4)
    return int(listed[inside][0]) if inside.any() else None


def _tree(known: np.ndarray, folder: OwnFolder) -> cKDTree:
    return cKDTree(_points(known, folder))


def _apart(known: np.ndarray, folder: OwnFolder) -> float:
    """The distance of the two listed values that are nearest to each other."""
    return _tree(known, folder).query(_points(known, folder), k=2)[0][:, 1].min()


def _points(values: np.ndarray, folder: OwnFolder) -> np.ndarray:
    """Numbers as points on a line (N, 1), colors as points in space (N, 3)."""
    is_color = folder.has_color_values
    parts = [values >> 16, values >> 8 & 255, values & 255] if is_color else [values]
    return np.stack(parts, axis=-1).astype(float)


def _evenness(where: np.ndarray, listed: np.ndarray) -> float:
    """The share of pixels there that are like three or more of the four around them."""
    padded = np.pad(listed.astype(int), 1, constant_values=-1)
    around = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    return float((sum(other == listed for other in around) >= 3)[where].mean())


def _on_a_slope(where: np.ndarray, listed: np.ndarray) -> float:
    """The share of pixels there that have a lower and a higher neighbor."""
    low, high = ndimage.minimum_filter(listed, 3), ndimage.maximum_filter(listed, 3)
    return float(((low < listed) & (listed < high))[where].mean())


def _place(values: np.ndarray, where: np.ndarray, are_colors: bool) -> str:
    """Some of the values there, and the place of the first."""
    if not where.any():
        return "none but listed values, by chance"
    row, column = map(int, np.unravel_index(where.argmax(), where.shape))
    first, *several = (
        f"#{value:06x}" if are_colors else str(value)
        for value in [int(values[row, column]), *np.unique(values[where]).tolist()]
    )
    more = f" and {len(several) - SHOWN} other values" if len(several) > SHOWN else ""
    also = f", among {', '.join(several[:SHOWN])}{more}" if len(several) > 1 else ""
    return f"{first} at row {row}, column {column}{also}"
