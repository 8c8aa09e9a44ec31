"""From the formats of labeling tools to a folder of your own, and back. Notebook 10.

One rule for all of them:

- A tool's labels are the classes, in its order, with its colors if it has some.
- Where labels overlap, the later one in the file wins; of masks in files of their own, that of the
  later class.
- A pixel that no label covers is `background`: the tool's label of that name; if it has none, and
  there are such pixels, that class is added as number 0. An image without any label is all
  background (how many there are is said); in Label Studio, only one that was annotated so.
- What is labeled `ignore`, `ignored` or `void`, and VOC's 255, does not count.
- Images are copied byte for byte. Their names are their stems; where two in different folders
  have one, the folders stand before it: left_001, right_001.
- Lists called train, val and test become the column "split" of images.csv.
- All or nothing: after an error there is no new folder.
"""

import csv
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from helpers import files
from helpers.constants import IGNORE_INDEX
from helpers.datasets.folder import IGNORE, MOST_CLASSES, default_colors
from helpers.datasets.formats import binary, coco, label_studio, voc
from helpers.datasets.formats.common import (
    BACKGROUND,
    UNLABELED,
    Label,
    Labeled,
    find_background,
    is_ignored,
    name_images,
    open_ours,
)
from helpers.datasets.images import read_values

import numpy as np
from PIL import Image
from tqdm import tqdm

KINDS = {"cvat": voc, "voc": voc, "coco": coco, "label-studio": label_studio, "binary": binary}


def import_folder(
    kind: str, source: str | Path, out: str | Path, images: str | Path | None = None
) -> Path:
    """Write what a labeling tool has exported as a folder of our own: `out`, which it returns.

    Args:
        kind: one of KINDS. What the format is, is said in helpers/datasets/formats/.
        source: the unpacked folder; for COCO and Label Studio, also the JSON file.
        images: the folder of the images, if it is not in `source`.

    Raises FileNotFoundError or ValueError that names the file and the mend, OSError for a folder
    that cannot be written. Nothing is left behind then.
    """
    source, out = _check_paths(kind, source, out)
    try:
        labeled = KINDS[kind].read(source, None if images is None else Path(images).expanduser())
        named = [label._replace(name=label.name.strip()) for label in labeled.labels]
        labeled = labeled._replace(labels=named)
        _check_labels(source, named)
        if not labeled.drawings:
            raise ValueError(f"{source} holds no labeled image: export it again")
        names = name_images([drawing.image for drawing in labeled.drawings])
        with files.atomic(out) as partial:
            classes, bare = _write(labeled, names, partial)
    except (TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(
            f"{source} is not as {kind} writes it ({error!r}): export it again"
        ) from error

    without = f", {bare} of them without a label: all background" if bare else ""
    print(f"{out}: {len(names)} images{without}; classes: {', '.join(classes)}.")
    return out


def export_folder(folder: str | Path, kind: str, out: str | Path) -> Path:
    """Write a folder of our own in a labeling tool's format: `out`, which it returns.

    Raises as `import_folder`.
    """
    folder, out = _check_paths(kind, folder, out)
    ours = open_ours(folder)
    if lost := [label.name for label in ours.labels if is_ignored(label) and label.name != IGNORE]:
        raise ValueError(
            f"{folder / 'classes.csv'}: tools take {lost[0]!r} for what does not count: give the"
            " class another name"
        )
    with files.atomic(out) as partial:
        partial.mkdir()
        KINDS[kind].write(ours, partial)
    print(f"{out}: {len(ours.rows)} images as {kind} reads them.")
    if (table := folder / "images.csv").is_file():
        print(f"Groups do not go along, nor splits always: copy {table} into what is made from it.")
    return out


def _check_paths(kind: str, source: str | Path, out: str | Path) -> tuple[Path, Path]:
    source, out = Path(source).expanduser().resolve(), Path(out).expanduser().resolve()
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no format: choose one of {', '.join(KINDS)}")
    if out.exists():
        raise ValueError(f"{out} exists already: name a new folder, or move that one away")
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist: check the name")
    files.make_folder(out.parent)
    return source, out


def _check_labels(source: Path, labels: Sequence[Label]) -> None:
    """Raise ValueError for names that classes.csv cannot hold, or too many of them."""
    names = [label.name for label in labels]
    counted = [label for label in labels if not is_ignored(label)]
    if bad := [name for name in names if len(name.splitlines()) != 1]:
        raise ValueError(f"{source}: a label is called {bad[0]!r}: give it a name of one line")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{source}: two labels are called {twice[0]!r}: rename one, or merge them")
    if not 1 <= len(counted) <= MOST_CLASSES:
        raise ValueError(
            f"{source} has {len(counted)} labels: 1 to {MOST_CLASSES} can be told apart"
        )


def _write(labeled: Labeled, names: Sequence[str], out: Path) -> tuple[list[str], int]:
    """Write images/, masks/, classes.csv and, if there are splits, images.csv.

    Returns the names of the classes, and the number of images without a label.
    """
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True)
    has_background = find_background(labeled.labels) is not None
    classes, numbers = _number(labeled.labels, add_background=not has_background)
    colors = [label.color for label in labeled.labels if is_ignored(label) and label.color]
    ignored = (*colors, voc.VOID)[0]

    held: set[int] = set()
    bare = 0
    for drawing, name in zip(tqdm(labeled.drawings, leave=False, disable=None), names, strict=True):
        mask = drawing.draw(*read_values(drawing.image).shape[:2])
        here = {*np.unique(mask).tolist()}
        held, bare = held | here, bare + (here == {UNLABELED})
        _save_mask(numbers[mask], classes, ignored, out / "masks" / f"{name}.png")
        shutil.copyfile(drawing.image, out / "images" / f"{name}{drawing.image.suffix}")

    if not has_background and UNLABELED not in held:
        classes = classes[1:]
        _drop_first(out / "masks", classes, ignored)
    if len(classes) < 2:
        raise ValueError(
            f"{labeled.drawings[0].image} and all others are {classes[0].name!r} everywhere: at"
            " least two classes are needed"
        )

    rows = [(k, *label) for k, label in enumerate(classes)]
    rows += [(IGNORE_INDEX, IGNORE, ignored)] if held & _ignored_places(labeled.labels) else []
    _write_table(out / "classes.csv", ("value", "name", "color"), rows)
    if any(drawing.split for drawing in labeled.drawings):
        splits = [(n, d.split) for n, d in zip(names, labeled.drawings, strict=True)]
        _write_table(out / "images.csv", ("name", "split"), splits)
    return [label.name for label in classes], bare


def _drop_first(folder: Path, classes: Sequence[Label], ignored: str) -> None:
    """Number the classes anew: every pixel of every image has a label, no background is needed."""
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            mask = np.array(image)
        mask[mask != IGNORE_INDEX] -= 1
        _save_mask(mask, classes, ignored, path)


def _number(labels: Sequence[Label], add_background: bool) -> tuple[list[Label], np.ndarray]:
    """The classes with their colors, and the class number of each place in a tool's labels."""
    counted = [k for k, label in enumerate(labels) if not is_ignored(label)]
    named = [labels[k] for k in counted]
    if add_background:
        named = [Label(BACKGROUND), *named]
    usual = default_colors(len(named))
    classes = [Label(label.name, label.color or usual[k]) for k, label in enumerate(named)]

    numbers = np.full(256, IGNORE_INDEX, np.uint8)
    numbers[counted] = np.arange(len(counted)) + add_background
    numbers[UNLABELED] = find_background(classes) or 0
    return classes, numbers


def _ignored_places(labels: Sequence[Label]) -> set[int]:
    return {IGNORE_INDEX} | {k for k, label in enumerate(labels) if is_ignored(label)}


def _save_mask(mask: np.ndarray, classes: Sequence[Label], ignored: str, path: Path) -> None:
    colors = [label.color for label in classes]
    voc.save_indexed(mask, [*colors, *["#000000"] * (IGNORE_INDEX - len(colors)), ignored], path)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])
