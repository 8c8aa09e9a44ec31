"""Write tool_files.zip: one small drawn dataset as the tools' own libraries write it.

    python tests/datasets/make_tool_files.py

needs datumaro 1.13 (whose VOC writer is what CVAT's export calls), label-studio-converter 0.0.59,
and, in the current folder, Node with PACKAGE 3.2 (the encoder in Label Studio's page). They do not
go with Pillow 13, so they are no dependencies: use an environment of their own.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import datumaro as dm
import numpy as np
from label_studio_converter import Converter
from label_studio_converter.converter import Format
from PIL import Image

OUT = Path(__file__).with_name("tool_files.zip")
NAMES = ("background", "cell", "nucleus", "void")
COLORS = ("#000000", "#fa3253", "#33ddff", "#800000")
SHAPE = (33, 41)
SPLITS = {"one": "train", "größe 2": "train", "empty": "train", "sub/two": "val"}
CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="my-tag" toName="image">'
    + "".join(f'<Label value="{n}" background="{c}"/>' for n, c in zip(NAMES, COLORS, strict=True))
    + "</BrushLabels></View>"
)
PACKAGE = "@thi.ng/rle-pack"  # codespell:ignore
ENCODE = """
import {encode} from "PACKAGE"; import fs from "fs";
const rows = JSON.parse(fs.readFileSync(0));
console.log(JSON.stringify(rows.map(row => Array.from(encode(row, row.length)))));
"""


def draw(name: str) -> np.ndarray:
    """A cell with a hole, a nucleus, a bit that does not count: the places in NAMES."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mask = np.zeros(SHAPE, np.uint8)
    if name != "empty":
        from_center = (y - 10) ** 2 + (x - 12 - 4 * len(name)) ** 2
        mask[from_center < 60] = 1
        mask[from_center < 12] = 0
        mask[20:28, 5:30] = 2
        mask[27:30, 6:9] = 3
    return mask


def picture(mask: np.ndarray) -> np.ndarray:
    return np.stack([60 * mask + 20] * 3, axis=-1)


def write_datumaro(out: Path) -> None:
    """VOC in colors and in numbers, COCO's runs (crowds) and polygons."""
    label = dm.AnnotationType.label
    colors = {k: tuple(bytes.fromhex(color[1:])) for k, color in enumerate(COLORS)}
    categories = {
        label: dm.LabelCategories.from_iterable(NAMES),
        dm.AnnotationType.mask: dm.MaskCategories(colors),
    }
    items = []
    for name, split in SPLITS.items():
        mask = draw(name)
        annotations = [
            dm.Mask(image=mask == k, label=k, id=k, group=k) for k in (1, 2, 3) if (mask == k).any()
        ]
        media = dm.Image.from_numpy(data=picture(mask)[..., ::-1], ext=".png")
        items.append(dm.DatasetItem(name, subset=split, media=media, annotations=annotations))

    made = dm.Dataset.from_iterable(items, categories=categories)
    for name, colored in (("cvat", True), ("cvat_numbers", False)):
        options = {"label_map": "source", "apply_colormap": colored}
        made.export(str(out / name), "voc_segmentation", save_media=True, **options)
        shutil.rmtree(out / name / "SegmentationObject")
    made.export(str(out / "coco"), "coco_instances", save_media=True)
    made.transform("masks_to_polygons")
    made.export(str(out / "coco_polygons"), "coco_instances", save_media=True)


def write_label_studio(out: Path) -> None:
    """Its JSON, runs encoded by its page's own library, and "Brush labels to PNG" of that."""
    (out / "json" / "images").mkdir(parents=True)
    tasks = []
    for number, name in enumerate(SPLITS, start=1):
        mask, file = draw(name), Path(name).name + ".png"
        Image.fromarray(picture(mask)).save(out / "json" / "images" / file)
        places = [k for k in (1, 2, 3) if (mask == k).any()]
        runs = encode([np.repeat(255 * (mask == k).astype(np.uint8).ravel(), 4) for k in places])
        results = [
            {
                "id": f"r{k}",
                "type": "brushlabels",
                "from_name": "my-tag",
                "to_name": "image",
                "origin": "manual",
                "original_width": SHAPE[1],
                "original_height": SHAPE[0],
                "image_rotation": 0,
                "value": {"format": "rle", "rle": rle, "brushlabels": [NAMES[k]]},
            }
            for k, rle in zip(places, runs, strict=True)
        ]
        annotation = {"id": 10 + number, "completed_by": 3, "was_cancelled": False}
        annotation |= {"ground_truth": False, "created_at": "2026-11-01", "result": results}
        link = f"/data/upload/7/{number:08x}-{file}"
        tasks.append({"id": number, "data": {"image": link}, "annotations": [annotation]})

    text = json.dumps(tasks)
    (out / "json" / "export.json").write_text(text)
    for kind in ("json", "png"):
        (out / kind).mkdir(exist_ok=True)
        (out / kind / "label_config.xml").write_text(CONFIG)
    shutil.copytree(out / "json" / "images", out / "png" / "images")
    source, target = str(out / "json" / "export.json"), str(out / "png")
    Converter(CONFIG, project_dir=None).convert(source, target, Format.BRUSH_TO_PNG, is_dir=False)
    (out / "png" / "export.json").write_text(text)


def encode(rows: list[np.ndarray]) -> list[list[int]]:
    given = json.dumps([row.tolist() for row in rows])
    command = ["node", "--input-type=module", "-e", ENCODE.replace("PACKAGE", PACKAGE)]
    return json.loads(subprocess.run(command, input=given, stdout=-1, check=True, text=True).stdout)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "files"
        write_datumaro(root)
        write_label_studio(root / "label_studio")
        for name in SPLITS:
            path = root / "truth" / f"{Path(name).name}.png"
            path.parent.mkdir(exist_ok=True)
            mask = draw(name)
            Image.fromarray(np.where(mask == 3, 255, mask).astype(np.uint8)).save(path)
        shutil.make_archive(str(OUT.with_suffix("")), "zip", root)
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    sys.exit(main())
