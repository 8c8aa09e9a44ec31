"""What shows in a folder of your own only when its files are seen beside each other."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from helpers.datasets import masks
from helpers.datasets.duplicates import find_same
from helpers.datasets.folder import IGNORE, ImageRow, OwnFolder
from helpers.datasets.images import is_turned, of_pages, orientation_of
from helpers.datasets.masks import MaskFacts

import numpy as np

LEAST_SIDE, MOST_SIDE = 16, 10_000  # pixels
ALLOW = "if it is meant so, allow this kind (--allow)"


@dataclass(frozen=True)
class Finding:
    """One fault of a folder.

    Args:
        kind: what faults of one sort are called.
        files: those that it is about; `what` is said of the first.
        what: what is wrong there.
        mend: what to do.
        is_error: whether it must be mended; else it is worth a look.
        repair: "relabel" (the values of a mask), "leave out" (a pair) or "join" (images, into one
            group): what `repair_folder` does, where there is one right mend.
        relabel: the value in classes.csv for every value in the mask.
    """

    kind: str
    files: tuple[Path, ...]
    what: str
    mend: str
    is_error: bool = True
    repair: str = ""
    relabel: Mapping[int, int] = field(default_factory=dict)


@dataclass
class ImageFacts:
    """What is known of an image file after it was read; no thumbnail: it is blank."""

    path: Path
    size: tuple[int, int]
    channels: int
    pages: int
    is_deep: bool
    thumbnail: np.ndarray | None


Images = Mapping[str, ImageFacts]
Masks = Mapping[str, MaskFacts]


def of_sizes(images: Images, labels: Masks) -> Iterator[Finding]:
    """Pairs of two sizes, and images that are tiny or huge."""
    for name, image in images.items():
        if name in labels and labels[name].size != image.size:
            mask = labels[name]
            what = f"{_pixels(mask.size)}, but its image is {_pixels(image.size)}"
            mend = "a pair has one size: export the mask at its image's"
            if mask.size == image.size[::-1]:
                what += ": width and height are exchanged"
                if is_turned(image.path):
                    what += ", as the image is turned by the note of its camera (EXIF)"
                    mend = "turn the mask, too, or write the image anew without that note"
            yield Finding("sizes differ", (mask.path, image.path), what, mend)
        elif name in labels:
            yield from _of_turns(image, labels[name].path)

        if min(image.size) < LEAST_SIDE or max(image.size) > MOST_SIDE:
            mend = f"{LEAST_SIDE} to {MOST_SIDE:,} a side are usual: cut or enlarge"
            yield Finding("tiny or huge", (image.path,), _pixels(image.size), mend, False)


def _of_turns(image: ImageFacts, mask: Path) -> Iterator[Finding]:
    """An image that its note turns, where no size tells whether its mask is turned, too."""
    is_square, orientation = image.size[0] == image.size[1], orientation_of(image.path)
    if orientation != 1 == orientation_of(mask) and (is_square or orientation < 5):
        what = "is turned by the note of its camera (EXIF), and its mask has no such note"
        mend = "see that the mask was drawn on the turned image"
        yield Finding("turned images", (image.path, mask), what, mend, False)


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]} pixels"


def of_channels(
    images: Images, rows: Sequence[ImageRow], chosen: Sequence[int] | None
) -> Iterator[Finding]:
    """What the network cannot take, and what differs from most other images."""
    mend = "choose three: open_folder(..., channels=(0, 1, 2)), or save all as gray or RGB"
    read = {}
    for name, image in images.items():
        least = -1 if chosen is None else max(chosen)
        if image.channels > least and (chosen is not None or image.channels in (1, 3)):
            read[name] = image
            if chosen is None and image.pages > 1:
                what, _, pages_mend = of_pages(image.pages).partition(": ")
                yield Finding("pages", (image.path,), what, pages_mend)
        else:
            what = f"{image.channels} channels"
            yield Finding("channels", (image.path,), what, mend)

    if chosen is None:
        mend = "it is read as RGB: see that no other file was meant"
        for image, channels in _few({n: i.channels for n, i in read.items()}, read):
            what = "gray, most are in color" if channels == 1 else "in color, most are gray"
            yield Finding("gray and color", (image.path,), what, mend, False)

    # 16 bits become 8 by two levels, which come from the images for training.
    mend = "save all images with 8 bits, or all with 16"
    has_levels = any(row.split in ("train", "") and images[row.name].is_deep for row in rows)
    for image, is_deep in _few({n: i.is_deep for n, i in images.items()}, images):
        what = f"{16 if is_deep else 8} bits, most have {8 if is_deep else 16}"
        yield Finding("bits differ", (image.path,), what, mend, False)
    for image in images.values():
        if image.is_deep and not has_levels:
            what = "16 bits, but no image for training has: no levels are known"
            yield Finding("bits without levels", (image.path,), what, mend)


def _few(values: Mapping[str, int], images: Images) -> Iterator[tuple[ImageFacts, int]]:
    """The images with another value than most."""
    counts = Counter(values.values())
    for name, value in values.items():
        if value != counts.most_common(1)[0][0]:
            yield images[name], value


def of_values(labels: Masks, folder: OwnFolder) -> Iterator[Finding]:
    """Masks with values in no row of classes.csv, and those that say nothing."""
    ones = int(folder.number_of[1])
    has_ones = any(
        not m.kind and ones < len(m.counts) - 1 and m.counts[ones] for m in labels.values()
    )
    for mask in labels.values():
        is_sure = bool(mask.relabel) and not (mask.is_scaled and has_ones)
        if mask.kind:
            yield _of_kind(mask, folder, is_sure)
        if is_sure or not mask.kind:  # else nobody knows what it says
            yield from _of_counts(mask, folder)
        if mask.is_reversed:
            what = "its palette shows 0 in white and 1 in black, and the numbers count"
            mend = "look at it: if white was meant to be class 1, save the mask in 0 and 1"
            yield Finding("black and white reversed", (mask.path,), what, mend, False)


def _of_kind(mask: MaskFacts, folder: OwnFolder, is_sure: bool) -> Finding:
    mend = masks.MENDS[mask.kind]
    if len(folder.classes) > 2 and mask.kind in masks.BETWEEN:
        mend += " (no repair by rule: between two classes may lie a third)"
    elif mask.relabel and not is_sure:
        mend += " (no repair by rule: other masks hold 1, so what 255 means is yours to say)"
    if not is_sure:
        return Finding(mask.kind, (mask.path,), mask.what, mend)
    files, repair = (mask.path,), "relabel"
    return Finding(mask.kind, files, mask.what, mend, repair=repair, relabel=mask.relabel)


def _of_counts(mask: MaskFacts, folder: OwnFolder) -> Iterator[Finding]:
    counts = mask.counts[:-1]
    if not counts.any():
        what, mend = "every pixel is ignored", "label something in it, or delete the pair"
        yield Finding("masks all ignored", (mask.path,), what, mend)
    elif np.count_nonzero(counts) == 1:
        number = int(counts.argmax())
        what = f"class {number}, {folder.class_names[number]!r}, is alone in it"
        mend = "see that nothing was forgotten"
        if number == 0:
            yield Finding("empty masks", (mask.path,), what, f"{mend}; {ALLOW}")
        else:
            yield Finding("masks of one class", (mask.path,), what, mend, False)


def of_classes(labels: Masks, rows: Sequence[ImageRow], folder: OwnFolder) -> Iterator[Finding]:
    """Classes that occur nowhere, or in one split alone.

    One that training does not see cannot be learned, and one that only training sees is not
    measured.
    """
    pixels: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(folder.class_names) + 1, int))
    for row in rows:
        if row.name in labels:
            pixels[row.split] += labels[row.name].counts
    splits = {row.split for row in rows}
    path = folder.root / "classes.csv"

    for number, name in enumerate(folder.class_names):
        seen = [split for split in pixels if pixels[split][number]]
        called = f"class {number}, {name!r}, occurs in "
        if not seen:
            what, mend = called + "no mask", "delete its row, or label it"
            if any(row.value == 255 and row.name == IGNORE for row in folder.classes):
                mend += "; 255 is listed as ignored: is it this class?"
            yield Finding("classes that never occur", (path,), what, f"{mend}; {ALLOW}")
        elif "train" not in seen and "train" in splits:
            what = called + f"{' and '.join(seen)}, not in train"
            mend = "give some of its images the split train, or one group, in images.csv"
            yield Finding("classes in one split alone", (path,), what, mend)
        elif seen == ["train"] and len(splits) > 1:
            mend = "it is not measured: give some of its images another split in images.csv"
            what = called + "train alone"
            yield Finding("classes in one split alone", (path,), what, f"{mend}; {ALLOW}")


def of_duplicates(images: Images, rows: Sequence[ImageRow], are_drawn: bool) -> Iterator[Finding]:
    """The same image in two splits, or twice in one; and images that are blank.

    Images that are one group in images.csv may be alike: they never stand in two splits.
    """
    for image in images.values():
        if image.thumbnail is None:
            what, mend = "one value all over", "see that it is not a file gone wrong"
            yield Finding("blank images", (image.path,), what, mend, False)

    shown = [(row, t) for row in rows if (t := images[row.name].thumbnail) is not None]
    for positions in find_same([thumbnail for _, thumbnail in shown]):
        same = [shown[k][0] for k in positions]
        if len({row.group for row in same}) == 1:
            continue
        files = tuple(row.image for row in same)
        what = "shows the same as " + ", ".join(row.image.name for row in same[1:4])
        what += f" and {len(same) - 4} others" if len(same) > 4 else ""
        mend = "keep one of them, or give them one group in images.csv"
        splits = sorted({row.split for row in same})
        if len(splits) > 1:
            what += f" ({' and '.join(splits)})"
            mend += "" if are_drawn else ", and one split (which, is yours to say)"

        # Where splits are drawn, one group is right, even for those in one split: by chance.
        kind = "the same image in two splits" if len(splits) > 1 else "the same image twice"
        repair = "join" if are_drawn else ""
        yield Finding(kind, files, what, mend, len(splits) > 1, repair)
