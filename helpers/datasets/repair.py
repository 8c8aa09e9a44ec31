"""A copy of a folder of your own in which all that has one right mend is mended. Notebook 10."""

import csv
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from helpers.datasets.findings import Finding
from helpers.datasets.folder import OwnFolder, plain, read_classes, read_table, stem_of
from helpers.datasets.masks import relabeled
from helpers.files import atomic, make_folder

from PIL import Image


def check_target(root: str | Path, out: str | Path) -> None:
    """Raises FileExistsError or ValueError for a place where no copy is to be written."""
    root, out = Path(root).expanduser().resolve(), Path(out).expanduser()
    if os.path.lexists(out):
        raise FileExistsError(f"{out} is there already: name a new folder for the repaired copy")
    if out.resolve().is_relative_to(root):
        raise ValueError(f"{out} is within {root}, which stays as it is: name a folder beside it")


def repair_folder(root: str | Path, findings: Sequence[Finding], out: str | Path) -> Counter[str]:
    """Write a copy, whole or not at all, in which what `check_folder` found is mended.

    Only findings with a `repair` are. Returns how many there were of each kind.

    Raises FileExistsError for a folder that is there already, ValueError for an images.csv, or two
    files of one name, that must be mended first, OSError for a disk that is full.
    """
    check_target(root, out)
    root, out = Path(root).expanduser().resolve(), Path(out).expanduser().absolute()
    left_out = {path for f in findings if f.repair == "leave out" for path in f.files}
    relabel = {f.files[0]: f.relabel for f in findings if f.repair == "relabel"}
    for path in relabel:
        other = path.with_suffix(".png")  # itself, if the file system ignores case: x.PNG
        if other.is_file() and not other.samefile(path):
            raise ValueError(f"{path} and {other.name} have one name: rename or delete one first")
    joined = [[plain(path.stem) for path in f.files] for f in findings if f.repair == "join"]
    folder = OwnFolder(root, root.name, read_classes(root), ()) if relabel else None

    make_folder(out.parent)
    with atomic(out) as partial:
        for path in _files(root):
            target = partial / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path in left_out:
                continue
            if folder is not None and path in relabel:
                values = relabeled(path, folder, relabel[path])
                Image.fromarray(values).save(target.with_suffix(".png"))
            else:
                shutil.copy2(path, target)

        dropped = {plain(path.stem) for path in left_out if path.parent == root / "images"}
        if joined or (dropped and (root / "images.csv").is_file()):
            _write_images(root, partial / "images.csv", dropped, joined)
    return Counter(finding.kind for finding in findings if finding.repair)


def _files(root: Path) -> Iterator[Path]:
    """The folder's own files (tables, a license), and those of images/ and masks/."""
    for folder in (root, root / "images", root / "masks"):
        if folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path.is_file())


def _write_images(
    root: Path, target: Path, dropped: set[str], joined: Sequence[Sequence[str]]
) -> None:
    """images.csv without the images that are left out, and with those that are one group.

    All other columns stay.
    """
    path = root / "images.csv"
    table = read_table(path, ("name",), ("group", "split")) if path.is_file() else []
    known = {plain(path.stem) for path in (root / "images").iterdir()}
    named = {stem_of(row["name"], known): row for row in table}
    columns = list(table[0]) if table else ["name", "group", "split"]
    has_splits = any(row["split"] for row in table)
    heads = [head for head in columns if head != "line" and (head != "split" or has_splits)]
    group = {name: row["group"] or name for name, row in named.items()}

    # Groups that share an image become one, with the name of the first.
    for names in joined:
        old = {group.get(name, name) for name in names}
        first = group.get(names[0], names[0])
        group |= {name: first for name in [*group, *names] if group.get(name, name) in old}

    with open(target, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, heads, restval="", extrasaction="ignore")
        writer.writeheader()
        for name in group:
            if name not in dropped:
                writer.writerow(named.get(name, {}) | {"name": name, "group": group[name]})
