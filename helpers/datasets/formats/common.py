"""What the formats of labeling tools have in common: labels, drawings, images by their names."""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from helpers.constants import IGNORE_INDEX
from helpers.datasets.folder import IGNORE, ImageRow, OwnFolder, plain, read_classes, read_images
from helpers.datasets.images import SUFFIXES, read_mask, size_of

import numpy as np
import pycocotools.mask

UNLABELED = 254  # in a drawing: no label covers the pixel
BACKGROUND = "background"
IGNORED = (IGNORE, "ignored", "void")  # what tools call pixels that do not count


class Label(NamedTuple):
    """A tool's label; color is "#rrggbb", or empty where the tool has none."""

    name: str
    color: str = ""


class Drawing(NamedTuple):
    """An image that was labeled.

    `draw(height, width)` gives uint8 (H, W): for each pixel the place of its label in the tool's
    list, UNLABELED, or IGNORE_INDEX. It raises ValueError that names the file and the mend.
    """

    image: Path
    draw: Callable[[int, int], np.ndarray]
    split: str = ""


class Labeled(NamedTuple):
    """What a tool has written: its labels in their order, and its images."""

    labels: list[Label]
    drawings: list[Drawing]


class Images:
    """The image files below a folder, found by the names that a tool has for them."""

    def __init__(self, folder: Path, left_out: Sequence[str] = ()) -> None:
        """`left_out`: folders that hold no images, by their names."""
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} does not exist: name the images' folder by --images")
        self.folder = folder
        self._by_path: dict[str, list[Path]] = defaultdict(list)
        self._by_tail: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if path.suffix.lower() not in SUFFIXES or not path.is_file():
                continue
            if path.name.startswith(".") or set(relative.parts[:-1]) & set(left_out):
                continue
            # With its suffix and without: VOC's lists have none.
            for spelled in (relative, relative.with_suffix("")):
                parts = [plain(part) for part in spelled.parts]
                self._by_path["/".join(parts)].append(path)
                for k in range(len(parts)):
                    self._by_tail["/".join(parts[k:])].append(path)

    def __iter__(self) -> Iterator[Path]:
        return iter(sorted({path for paths in self._by_path.values() for path in paths}))

    def find(self, name: str, said_by: Path, near: str = "") -> Path:
        """The file of that name, whose last folders may be left out on either side.

        `near` is a folder that tells two files of one name apart. Raises FileNotFoundError, or
        ValueError for several files.
        """
        parts = PurePosixPath(plain(name).replace("\\", "/")).parts
        found = self._by_path.get("/".join(parts)) or self._by_tail.get("/".join(parts))
        for k in range(1, len(parts)):
            found = found or self._by_path.get("/".join(parts[k:]))
        if not found:
            raise FileNotFoundError(
                f"{said_by} names the image {name!r}, which is not in {self.folder}: copy it there,"
                f" or name its folder by --images ({', '.join(SUFFIXES)} are read)"
            )

        if len(found) > 1 and near:
            found = [path for path in found if near in path.parts] or found
        if len(found) > 1:
            raise ValueError(
                f"{said_by} names the image {name!r}, which may be {found[0]} or {found[1]}:"
                " rename one, there, too"
            )
        return found[0]


def name_images(paths: Sequence[Path]) -> list[str]:
    """A name for each image: its stem, or its folders too where two images have one stem.

    Raises ValueError for an image that stands there twice, or a name that is not the only one.
    """
    stems = Counter(path.stem for path in paths)
    parents = [path.parent.parts for path in paths]
    shared = 0
    while parents and all(len(p) > shared and p[shared] == parents[0][shared] for p in parents):
        shared += 1
    names = [
        path.stem if stems[path.stem] == 1 else "_".join((*path.parent.parts[shared:], path.stem))
        for path in paths
    ]

    seen: dict[str, Path] = {}
    for name, path in zip(names, paths, strict=True):
        if name in seen:
            what = "is labeled twice" if seen[name] == path else f"and {seen[name]} have one name"
            raise ValueError(f"{path} {what}: delete one, or give it another name")
        seen[name] = path
    return names


def is_ignored(label: Label) -> bool:
    return label.name.casefold() in IGNORED


def find_background(labels: Iterable[Label]) -> int | None:
    """The place of the label called "background"."""
    places = (k for k, label in enumerate(labels) if label.name.casefold() == BACKGROUND)
    return next(places, None)


def read_json(path: Path) -> Any:
    """A JSON file. Raises FileNotFoundError, or ValueError for what is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist: check the name") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no whole JSON ({error}): export it again") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty, without spaces at their ends."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: save it again") from error
    return [line.strip() for line in lines if line.strip()]


def fill_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Where at least one polygon (x0, y0, x1, y1, ...; pixels) is: bool (H, W), as COCO fills.

    Raises ValueError for what is no polygon.
    """
    for polygon in polygons:
        corners = np.asarray(polygon, dtype=np.float64)
        if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2:
            raise ValueError("a polygon has at least three corners, x and y in turn")
        if not np.isfinite(corners).all() or np.abs(corners).max() > 1e6:
            raise ValueError("a corner of a polygon is far away, or no number")
    runs = pycocotools.mask.frPyObjects([list(map(float, p)) for p in polygons], height, width)
    return pycocotools.mask.decode(pycocotools.mask.merge(runs)).astype(bool)


def check_shape(path: Path, shape: Sequence[int], height: int, width: int) -> None:
    """Raise ValueError for labels (height, width) that do not have their image's size."""
    if tuple(shape[:2]) != (height, width):
        raise ValueError(
            f"{path} is {shape[1]} x {shape[0]} pixels, but its image is {width} x {height}: they"
            " must be of one size"
        )


class Ours(NamedTuple):
    """A folder of our own, as exporters need it. `ignore` is a label if there is such a row."""

    source: OwnFolder
    classes: list[Label]
    ignore: list[Label]

    @property
    def labels(self) -> list[Label]:
        return self.classes + self.ignore

    @property
    def rows(self) -> tuple[ImageRow, ...]:
        return self.source.rows

    def mask(self, row: ImageRow) -> np.ndarray:
        """Class numbers, uint8 (H, W), 255 where it does not count. Raises as `OwnReader`."""
        values = read_mask(row.mask)
        check_shape(row.mask, values.shape, *size_of(row.image))
        return self.source.number_classes(values, row.mask)

    def areas(self, row: ImageRow) -> list[tuple[Label, np.ndarray]]:
        """Each label that is in a mask, with where it is: bool (H, W)."""
        mask = self.mask(row)
        mask[mask == IGNORE_INDEX] = len(self.classes)  # its place in `labels`
        return [(self.labels[k], mask == k) for k in np.unique(mask)]


def open_ours(folder: Path) -> Ours:
    """Raises FileNotFoundError or ValueError that names the file and the mend."""
    source = OwnFolder(folder, folder.name, read_classes(folder), tuple(read_images(folder)))
    labels = [Label(row.name, row.color) for row in source.classes]
    classes = [label for label in labels if label.name != IGNORE]
    return Ours(source, classes, [label for label in labels if label.name == IGNORE][:1])


def copy_image(row: ImageRow, folder: Path) -> str:
    """Copy an image byte for byte, and give the copy's name."""
    folder.mkdir(parents=True, exist_ok=True)
    name = row.name + row.image.suffix
    shutil.copyfile(row.image, folder / name)
    return name


def check_names(labels: Iterable[Label], forbidden: str, tool: str) -> None:
    """Raise ValueError for a label that a format cannot spell."""
    for label in labels:
        if bad := set(label.name) & set(forbidden):
            raise ValueError(
                f"classes.csv: {tool} cannot hold the name {label.name!r}: replace {bad.pop()!r}"
            )
