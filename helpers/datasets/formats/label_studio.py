"""Label Studio: brush and polygons in its JSON, or its "Brush labels to PNG" beside that JSON.

    *.json                  the tasks (JSON or JSON-MIN), or the file itself
    task-1-annotation-2-by-3-tag-cell-0.png     if there are any, they take the place of runs (RLE)
    images/                 anywhere in the folder, or --images; found by the last part of the link
    *label_config.xml       optional: the labeling interface, for the labels' order and colors; else
                            they are ordered by the alphabet

Of several annotations of a task, the ground truth counts, or the last that was not skipped; tasks
without one, and predictions, are left out. Boxes, points and choices are no masks: left out, too.

Source: labelstud.io/tags/brushlabels, github.com/thi-ng/umbrella (rle-pack).
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree

from helpers.datasets.formats.common import (
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
from helpers.datasets.images import SUFFIXES, read_mask

import numpy as np
from PIL import ImageColor

PNG = re.compile(r"task-(\d+)-annotation-(\d+)-by-[^-]*-(.+)-(\d+)\.png")
UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before an uploaded file's name
CONFIG = "label_config.xml"
RUN_SIZES = (3, 4, 8, 16)  # bits for the length of a run


class Region(NamedTuple):
    """A result that is a mask: its label, its value ("rle" or "points"), its image's size."""

    label: str
    value: dict[str, Any]
    height: int
    width: int


class Task(NamedTuple):
    """A labeled image: the link to it, and its annotation's results."""

    number: int
    link: str
    annotation: int
    results: list[dict[str, Any]]


def read(source: Path, images: Path | None) -> Labeled:
    """Raises FileNotFoundError or ValueError that names the file and the mend."""
    folder = source.parent if source.is_file() else source
    paths = [source] if source.is_file() else sorted(source.glob("[!.]*.json"))
    if len(paths) != 1:
        raise FileNotFoundError(
            f"{source} holds {len(paths)} .json files: keep the one of the export, or name it"
        )
    tasks = _read_tasks(paths[0])
    drawn = _drawn_masks(folder, tasks)
    regions = {task.number: list(_regions(paths[0], task)) for task in tasks}
    if not drawn and not any(regions.values()):
        raise ValueError(f"{paths[0]} holds no brush and no polygon: boxes and points are no masks")

    used = {label for masks in drawn.values() for label, _ in masks}
    used |= {region.label for held in regions.values() for region in held}
    labels = _read_labels(folder, used)
    names = [label.name for label in labels]
    found = Images(images or folder)
    drawings = []
    for task in tasks:
        draw = partial(_draw_regions, paths[0], task, regions[task.number], names)
        if drawn:
            masks = sorted(drawn.get(task.number, []), key=lambda mask: names.index(mask[0]))
            draw = partial(_draw_masks, masks, names)
        drawings.append(Drawing(_find_image(found, task, paths[0]), draw))
    return Labeled(labels, drawings)


def _read_tasks(path: Path) -> list[Task]:
    """The tasks that have an annotation."""
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ValueError(f"{path} is no list of tasks: export it from Label Studio as JSON")
    tasks: dict[int, Task] = {}
    for item in content:
        data = item.get("data", item)
        links = [text for text in data.values() if isinstance(text, str) and _file_of(text)]
        if not links:
            raise ValueError(
                f"{path}: task {item.get('id')} names no image ({', '.join(SUFFIXES)})"
            )
        number = item.get("id", len(tasks))
        if number in tasks:
            raise ValueError(f"{path} holds two tasks {number}: import each project's export alone")

        if "data" not in item:  # JSON-MIN: each tag's values by its name
            results = [
                {"from_name": tag, "value": value, **value}
                for tag, values in item.items()
                if isinstance(values, list)
                for value in values
                if isinstance(value, dict)
            ]
            tasks[number] = Task(number, links[0], item.get("annotation_id", 0), results)
            continue
        held = [one for one in item.get("annotations", []) if not one.get("was_cancelled")]
        held = [one for one in held if one.get("ground_truth")] or held
        if held:
            tasks[number] = Task(number, links[0], held[-1].get("id", 0), held[-1]["result"])
    if not tasks:
        raise ValueError(f"{path} holds no annotation: label an image, and export it again")
    return list(tasks.values())


def _regions(path: Path, task: Task) -> Iterator[Region]:
    """The results of a task that are masks."""
    for result in task.results:
        value = result.get("value", {})
        if "rle" not in value and not {"points", "polygonlabels"} <= value.keys():
            continue
        labels = next((value[key] for key in value if key.endswith("labels")), None)
        if not labels:
            raise ValueError(f"{path}: a region of task {task.number} has no label: choose one")
        if result.get("image_rotation"):
            raise ValueError(f"{path}: task {task.number} is rotated: turn it back, and draw again")
        yield Region(labels[-1], value, result["original_height"], result["original_width"])


def _drawn_masks(folder: Path, tasks: Sequence[Task]) -> dict[int, list[tuple[str, Path]]]:
    """By the number of a task, label and file of each exported PNG."""
    chosen = {(task.number, task.annotation or None): task for task in tasks}
    drawn: dict[int, list[tuple[str, Path]]] = {}
    for path in sorted(folder.rglob("task-*.png")):
        match = PNG.fullmatch(path.name)
        if not match or (int(match[1]), int(match[2])) not in chosen:
            continue  # another annotation of the task
        key = int(match[1]), int(match[2])
        tags = {result.get("from_name", "") for result in chosen[key].results}
        tag = next((t for t in tags if match[3].startswith(f"{t}-")), match[3].split("-")[0])
        drawn.setdefault(key[0], []).append((match[3].removeprefix(f"{tag}-"), path))

    for task in tasks if drawn else ():
        brushed = sum("rle" in result.get("value", {}) for result in task.results)
        if brushed > len(drawn.get(task.number, [])):
            raise FileNotFoundError(
                f"{folder}: a task-{task.number}-annotation-{task.annotation}-by-*.png is missing:"
                " unpack all of the export"
            )
    return drawn


def _read_labels(folder: Path, used: set[str]) -> list[Label]:
    """All labels of the labeling interface, or, without that file, those that are used."""
    paths = sorted(folder.glob(f"*{CONFIG}"))
    if not paths:
        return [Label(name) for name in sorted(used)]
    try:
        tags = [tag for tag in ElementTree.parse(paths[0]).iter() if tag.tag == "Label"]
    except ElementTree.ParseError as error:
        raise ValueError(f"{paths[0]} is no XML ({error}): copy it again") from error
    labels = [Label(tag.get("value", ""), _color(tag.get("background"))) for tag in tags]
    if missing := sorted(used - {label.name for label in labels}):
        raise ValueError(f"{paths[0]} has no label {missing[0]!r}, which is used: add it")
    return labels


def _color(text: str | None) -> str:
    try:
        return "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(text or "")[:3])
    except ValueError:
        return ""


def _file_of(link: str) -> str:
    """The path in a link to an image, or nothing."""
    try:
        parts = urlsplit(link.strip())
    except ValueError:  # brackets that are none of an address
        return ""
    path = parse_qs(parts.query).get("d", [""])[0] or unquote(parts.path)
    path = path.replace("\\", "/")  # from a server on Windows
    return path if PurePosixPath(path).suffix.lower() in SUFFIXES else ""


def _find_image(found: Images, task: Task, said_by: Path) -> Path:
    """The image of a task: by its path, its name, or its name before the upload."""
    path = _file_of(task.link)
    name = PurePosixPath(path).name
    for spelled in (path, name, UPLOAD.sub("", name)):
        try:
            return found.find(spelled, said_by)
        except FileNotFoundError:
            continue
    return found.find(name, said_by)


def _draw_regions(
    path: Path, task: Task, regions: Sequence[Region], names: list[str], height: int, width: int
) -> np.ndarray:
    mask = np.full((height, width), UNLABELED, np.uint8)
    for region in regions:
        check_shape(Path(f"{path}: task {task.number}"), region[2:], height, width)
        try:
            if "rle" in region.value:
                area = decode(region.value["rle"], height * width * 4)
                area = area.reshape(height, width, 4)[..., 3] > 0  # the alpha channel
            else:
                corners = np.array(region.value["points"], np.float64) * (width, height) / 100
                area = fill_polygons([corners.ravel().tolist()], height, width)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path}: a region of task {task.number} is no mask ({error}): export it again"
            ) from error
        mask[area] = names.index(region.label)
    return mask


def _draw_masks(
    masks: Sequence[tuple[str, Path]], names: list[str], height: int, width: int
) -> np.ndarray:
    mask = np.full((height, width), UNLABELED, np.uint8)
    for label, path in masks:
        values = read_mask(path)
        check_shape(path, values.shape, height, width)
        mask[(values.max(axis=-1) if values.ndim == 3 else values) > 0] = names.index(label)
    return mask


def decode(runs: Sequence[int], count: int) -> np.ndarray:
    """So many values of 8 bits from rle-pack's bits, which Label Studio keeps as a list of bytes.

    The head: how many values (32 bits), their width - 1 (5), four lengths - 1 (4 each). Then a bit
    for a repeated value, two that choose a length, the number of values - 1 in so many bits, and
    that value, or all of them. Raises ValueError for what is none, or of another count.
    """
    if not isinstance(runs, list):
        raise ValueError("its runs are no list of bytes")
    bits = np.unpackbits(np.frombuffer(bytes(runs), np.uint8))
    text = "".join(map(str, bits.tolist()))
    if len(text) < 53 or int(text[:32], 2) != count or int(text[32:37], 2) != 7:
        raise ValueError(f"its runs are not those of {count // 4} pixels")
    sizes = [int(text[at : at + 4], 2) + 1 for at in range(37, 53, 4)]

    values, at, done = np.zeros(count, np.uint8), 53, 0
    while done < count:
        size = sizes[int(text[at + 1 : at + 3] or "0", 2)]
        start = at + 3 + size
        length = int(text[at + 3 : start] or "0", 2) + 1
        end = start + 8 * (1 if text[at : at + 1] == "1" else length)
        if end > len(text) or done + length > count:
            raise ValueError("its runs are cut off")
        values[done : done + length] = np.packbits(bits[start:end])
        at, done = end, done + length
    return values


def encode(values: np.ndarray) -> list[int]:
    """Values of 8 bits as rle-pack's bits: each run of equal ones a repeated value."""
    bits = [f"{len(values):032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in RUN_SIZES)]
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    lengths = np.diff(np.r_[starts, len(values)])
    for value, left in zip(values[starts].tolist(), lengths.tolist(), strict=True):
        while left:
            length = min(left, 2**16)
            kind = next(k for k, size in enumerate(RUN_SIZES) if length <= 2**size)
            bits.append(f"1{kind:02b}{length - 1:0{RUN_SIZES[kind]}b}{value:08b}")
            left -= length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[k : k + 8], 2) for k in range(0, len(text), 8)]


def write(ours: Ours, out: Path) -> None:
    """tasks.json, with an annotation of brush labels for each image, and the labeling interface.

    Also of the background. Links are those of local storage: images/ must lie in the folder that
    LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT names.
    """
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image")
    tag = ElementTree.SubElement(view, "BrushLabels", name="tag", toName="image")
    for label in ours.labels:
        ElementTree.SubElement(tag, "Label", value=label.name, background=label.color)
    ElementTree.indent(view)
    ElementTree.ElementTree(view).write(out / CONFIG, encoding="utf-8")

    tasks = []
    for number, row in enumerate(ours.rows, start=1):
        link = f"/data/local-files/?d=images/{quote(copy_image(row, out / 'images'))}"
        results = [
            {
                "id": f"{number}-{k}",
                "type": "brushlabels",
                "from_name": "tag",
                "to_name": "image",
                "original_width": area.shape[1],
                "original_height": area.shape[0],
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": encode(area.astype(np.uint8).ravel().repeat(4) * 255),
                    "brushlabels": [label.name],
                },
            }
            for k, (label, area) in enumerate(ours.areas(row))
        ]
        annotation = {"id": number, "completed_by": 1, "result": results}
        tasks.append({"id": number, "data": {"image": link}, "annotations": [annotation]})
    text = json.dumps(tasks, ensure_ascii=False)
    (out / "tasks.json").write_text(text, encoding="utf-8")
