"""All that is wrong with a folder of your own, before anything trains on it. Notebook 10.

    findings = check_folder("mine")
    print(report(findings, "mine"))

From the shell: python -m helpers.datasets check mine
"""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from helpers.datasets.duplicates import make_thumbnail
from helpers.datasets.findings import (
    Finding,
    ImageFacts,
    of_channels,
    of_classes,
    of_duplicates,
    of_sizes,
    of_values,
)
from helpers.datasets.folder import (
    MASK_SUFFIX,
    SPLITS,
    ImageRow,
    OwnFolder,
    is_text,
    plain,
    read_classes,
    read_images,
    read_table,
    stem_of,
    with_splits,
)
from helpers.datasets.images import SUFFIXES, count_pages, read_values
from helpers.datasets.masks import MaskFacts, read_facts

import numpy as np
from tqdm import tqdm

WRONG = (ValueError, OSError, MemoryError)  # what the readers raise
JUNK = ("Thumbs.db", "desktop.ini", "__MACOSX")  # of operating systems
REPAIRS = {
    "relabel": "with these masks mended",
    "leave out": "without these pairs",
    "join": "in which these are one group",
}


def check_folder(
    root: str | Path,
    channels: Sequence[int] | None = None,
    progress: bool = True,
    allowed: Collection[str] = (),
) -> list[Finding]:
    """All faults of a folder as `open_folder` reads it, errors first. Each file is decoded once.

    Args:
        channels: the three of multi-channel images that are to be read as RGB.
        progress: whether to show a bar.
        allowed: kinds of findings that are no errors here, such as "empty masks".
    """
    root = Path(root).expanduser().resolve()
    findings: list[Finding] = []
    folder = _classes(root, findings)
    images = _files(root / "images", findings)
    labels = _by_image(_files(root / "masks", findings), images, findings)
    rows, are_drawn = _rows(root, images, labels, findings)

    image_facts, mask_facts = _read_files(images, labels, folder, findings, progress)

    # What shows only when files are seen beside each other.
    rows = [row for row in rows if row.name in image_facts]
    findings += of_sizes(image_facts, mask_facts)
    findings += of_channels(image_facts, rows, channels)
    findings += of_duplicates(image_facts, rows, are_drawn)
    if folder is not None:
        findings += of_values(mask_facts, folder)
        findings += of_classes(mask_facts, rows, folder)
    findings = [replace(f, is_error=f.is_error and f.kind not in allowed) for f in findings]
    if not any(finding.is_error for finding in findings):
        findings += _as_opened(root)
    return sorted(findings, key=lambda f: (not f.is_error, f.kind, f.files))


def _read_files(
    images: dict[str, Path],
    labels: dict[str, Path],
    folder: OwnFolder | None,
    findings: list[Finding],
    progress: bool,
) -> tuple[dict[str, ImageFacts], dict[str, MaskFacts]]:
    """What is known of every file that can be read; one that cannot hides no other."""
    image_facts: dict[str, ImageFacts] = {}
    mask_facts: dict[str, MaskFacts] = {}
    names = sorted({*images, *labels})
    for name in tqdm(names, "checking", leave=False, file=sys.stdout, disable=not progress):
        pair = [files[name] for files in (images, labels) if name in files]
        try:
            if path := images.get(name):
                image_facts[name] = _read_image(path)
        except WRONG as error:
            findings.append(_unreadable(pair[0], pair, error))
        try:
            if path := labels.get(name):
                mask_facts[name] = read_facts(path, folder)
        except WRONG as error:
            findings.append(_unreadable(pair[-1], pair, error))
    return image_facts, mask_facts


def report(findings: Sequence[Finding], root: str | Path, show: int = 3) -> str:
    """The findings by kind, with counts and some examples of each, and what to do."""
    root = Path(root).expanduser().resolve()
    by_kind: dict[tuple[str, bool], list[Finding]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind, finding.is_error].append(finding)

    lines = []
    for (kind, is_error), found in by_kind.items():
        lines.append(f"{'ERROR' if is_error else 'warning'}: {kind}: {len(found)}")
        for finding in found[:show]:
            path = finding.files[0]
            place = path.relative_to(root) if path.is_relative_to(root) else path
            lines.append(f"    {place}: {finding.what}")
        if len(found) > show:
            lines.append(f"    and {len(found) - show} more")
        for mend in dict.fromkeys(finding.mend for finding in found[:show]):
            lines.append(f"  Mend: {mend}.")
        if repairable := [finding for finding in found if finding.repair]:
            which = "" if len(repairable) == len(found) else f" ({len(repairable)} of them)"
            lines.append(f"  --repair NEW writes a copy {REPAIRS[repairable[0].repair]}{which}.")

    errors = sum(finding.is_error for finding in findings)
    return "\n".join([*lines, f"{root.name}: {errors} errors, {len(findings) - errors} warnings."])


def _as_opened(root: Path) -> Iterator[Finding]:
    """The last word has what `open_folder` and training call."""
    try:
        rows = with_splits(read_images(root))
        _ = OwnFolder(root, root.name, read_classes(root), tuple(rows)).lists
    except WRONG as error:
        yield Finding("folder", (root,), str(error), "see there")


def _classes(root: Path, findings: list[Finding]) -> OwnFolder | None:
    path = root / "classes.csv"
    try:
        return OwnFolder(root, root.name, read_classes(root), ())
    except WRONG as error:
        mend = "mend it first: without it no mask's values can be checked"
        findings.append(Finding("classes.csv", (path,), _words(path, error), mend))
        return None


def _words(path: Path, error: BaseException) -> str:
    """What a reader says, without the path, which stands beside it."""
    return str(error).removeprefix(str(path)).strip(" :,") or type(error).__name__


def _unreadable(path: Path, pair: Sequence[Path], error: BaseException) -> Finding:
    """What is broken beyond repair may be left out, with its partner; other files may be saved as
    something that is read."""
    what, _, mend = _words(path, error).rpartition(": ")
    if isinstance(error, OSError) and error.strerror:
        what, mend = error.strerror, "make the file readable"
    files = (path, *(other for other in pair if other != path))
    repair = "leave out" if "cannot be decoded" in what else ""
    return Finding("unreadable files", files, what or mend, mend, repair=repair)


def _read_image(path: Path) -> ImageFacts:
    values = read_values(path)
    height, width, channels = values.shape
    thumbnail = make_thumbnail(values)
    is_deep = values.dtype == np.uint16
    return ImageFacts(path, (height, width), channels, count_pages(path), is_deep, thumbnail)


def _files(folder: Path, findings: list[Finding]) -> dict[str, Path]:
    """The files of a folder that are read, by stem."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        mend = "a folder of your own holds images/, masks/ and classes.csv"
        what = error.strerror or "cannot be listed"
        findings.append(Finding("missing folders", (folder,), what, mend))
        return {}

    found: dict[str, Path] = {}
    for path in paths:
        if path.name.startswith(".") or path.name in JUNK:
            continue
        if path.suffix.lower() in SUFFIXES:
            if (stem := plain(path.stem)) in found:
                findings.append(_one_name(path, found[stem]))
            if not is_text(path.name):
                shown, what = path.parent / repr(path.name), "its name is not in UTF-8"
                findings.append(Finding("names", (shown,), what, "rename the file"))
                continue
            found.setdefault(stem, path)
        else:
            what = "a folder in this folder" if path.is_dir() else f"only {', '.join(SUFFIXES)} are"
            mend = "if it belongs to the images or masks, move it up, or save it as PNG"
            findings.append(Finding("not read", (path,), what, mend, False))
    if not found:
        mend = "put files there: " + ", ".join(SUFFIXES)
        findings.append(Finding("missing files", (folder,), "holds no image", mend))
    return found


def _one_name(path: Path, other: Path) -> Finding:
    what = f"and {other.name} stand for one image"
    return Finding("two files of one name", (path, other), what, "rename or delete one of them")


def _by_image(
    labels: dict[str, Path], images: dict[str, Path], findings: list[Finding]
) -> dict[str, Path]:
    """Masks by the name of their image, and who has no partner."""
    found: dict[str, Path] = {}
    for stem, path in labels.items():
        name = stem if stem in images else MASK_SUFFIX.sub("", stem)
        if name in found:
            findings.append(_one_name(path, found[name]))
        found.setdefault(name, path)

    mend = "the two files of a pair have one name: rename, add or delete one"
    for these, others, kind in ((images, found, "mask"), (found, images, "image")):
        for name in sorted(these.keys() - others.keys()):
            what = f"has no {kind} in {kind}s/"
            findings.append(Finding("missing partners", (these[name],), what, mend))
    return found


def _rows(
    root: Path, images: dict[str, Path], labels: dict[str, Path], findings: list[Finding]
) -> tuple[list[ImageRow], bool]:
    """The pairs with what images.csv says of them, and whether the splits are drawn."""
    path = root / "images.csv"
    said: dict[str, dict[str, str]] = {}
    try:
        table = read_table(path, ("name",), ("group", "split")) if path.is_file() else []
    except WRONG as error:
        findings.append(Finding("images.csv", (path,), _words(path, error), "mend it first"))
        table = []
    for row in table:
        name = stem_of(row["name"], images)
        for what, mend in _of_row(row, name, name in images, name in said):
            findings.append(Finding("images.csv", (path,), f"line {row['line']}: {what}", mend))
        said[name] = row

    rows = []
    for name in sorted(images.keys() & labels.keys()):
        row = said.get(name, {})
        split = row.get("split", "").lower()
        rows.append(ImageRow(name, images[name], labels[name], row.get("group", ""), split))
    findings += _of_splits(path, rows)
    try:
        return with_splits(rows), not any(row.split for row in rows)
    except ValueError:  # said above
        return [row._replace(group=row.group or row.name) for row in rows], False


def _of_row(
    row: dict[str, str], name: str, is_known: bool, is_second: bool
) -> Iterator[tuple[str, str]]:
    if not is_known:
        yield f"no image is named {name!r}", "mend the name, or delete the row"
    if is_second:
        yield f"{name!r} stands there twice", "give each image one row"
    if row["split"].lower() not in ("", *SPLITS):
        yield f"the split of {name!r} is {row['split']!r}", f"write {', '.join(SPLITS)}"


def _of_splits(path: Path, rows: Sequence[ImageRow]) -> Iterator[Finding]:
    """Images without a split, or without a group, where others have one; groups in two splits."""
    bare = [row for row in rows if not row.split]
    if 0 < len(bare) < len(rows):
        what = f"{len(bare)} images have no split, {bare[0].name!r} first, but others have"
        yield Finding("images.csv", (path,), what, "give a split to all images, or to none")

    # Two images that are alike may well be the only ones with a group.
    alone = [row for row in rows if not row.group]
    if alone and 2 * len(alone) <= len(rows) == len(bare):
        what = f"{len(alone)} images have no group, {alone[0].name!r} first, but others have"
        mend = "give each its group: without one, it may stand in another split than its like"
        yield Finding("images without a group", (path,), what, mend, False)

    groups: dict[str, list[ImageRow]] = defaultdict(list)
    for row in rows:
        groups[row.group or row.name].append(row)
    for group, members in groups.items():
        splits = sorted({row.split for row in members if row.split})
        if len(splits) > 1:
            what = f"the group {group!r} stands in {' and '.join(splits)}"
            mend = "what belongs together stays in one split: change images.csv"
            files = (path, *(row.image for row in members))
            yield Finding("groups in two splits", files, what, mend)
