"""Labeling tools' formats, in and out.

tool_files.zip is one drawn dataset as the tools' own libraries write it: datumaro (for CVAT, VOC
and COCO), label-studio-converter and the encoder of Label Studio's page. make_tool_files.py makes
it; they are no dependencies of ours. Where they are installed, they read what we export, too.
"""

import json
import re
import shutil
import zipfile
from pathlib import Path

from helpers.datasets.folder import open_folder
from helpers.datasets.formats import coco, label_studio, voc
from helpers.datasets.formats.common import open_ours
from helpers.datasets.importers import KINDS, export_folder, import_folder

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.mask import encode
from scipy.ndimage import distance_transform_edt
from skimage.measure import find_contours
from skimage.segmentation import find_boundaries
from torchvision.datasets import VOCSegmentation

STREET = (
    "road sidewalk building wall fence pole light sign vegetation terrain sky person rider car"
).split()


def write_ours(folder, masks, names, splits=(), colors=(), suffix=".png") -> Path:
    """A folder of our own: masks by name, class numbers and 255."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for name, mask in masks.items():
        image = np.arange(mask.size, dtype=np.uint8).reshape(mask.shape)
        Image.fromarray(image).save(folder / "images" / f"{name}{suffix}")
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    rows = [f"{k},{name},{(*colors, *[''] * 99)[k]}" for k, name in enumerate(names)]
    text = "\n".join(["value,name,color", *rows, "255,ignore,"])
    (folder / "classes.csv").write_text(text, encoding="utf-8")
    if splits:
        lines = [f"{name},{split}" for name, split in zip(masks, splits, strict=True)]
        (folder / "images.csv").write_text("\n".join(["name,split", *lines]), encoding="utf-8")
    return folder


def random_mask(rng, count) -> np.ndarray:
    """Regions of all sizes down to a pixel, with holes, in an image of any size."""
    height, width = rng.integers(1, 41, 2)
    coarse = rng.integers(0, count, (height // 7 + 1, width // 7 + 1))
    mask = coarse.repeat(7, axis=0).repeat(7, axis=1)[:height, :width]
    specks = rng.random(mask.shape) < 0.1
    mask[specks] = rng.integers(0, count, specks.sum())
    mask[rng.random(mask.shape) < 0.05] = 255
    return mask.astype(np.uint8)


def pixels(folder) -> dict[str, np.ndarray]:
    ours = open_ours(folder)
    return {row.name: ours.mask(row) for row in ours.rows}


def class_names(folder) -> list[str]:
    return [label.name for label in open_ours(folder).classes]


def same_pixels(one, other) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def snapshot(folder) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.fixture(scope="module")
def tool_files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    with zipfile.ZipFile(Path(__file__).with_name("tool_files.zip")) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def two(tmp_path) -> Path:
    """Two images of background, cell and ignored pixels."""
    mask = np.zeros((6, 9), np.uint8)
    mask[1:4, 2:5], mask[5, 8] = 1, 255
    return write_ours(tmp_path / "mine", {"a": mask, "b": mask}, ["background", "cell"])


class TestWhatTheToolsWrite:
    @pytest.mark.parametrize(
        ("kind", "folder"),
        [
            ("cvat", "cvat"),
            ("voc", "cvat_numbers"),
            ("coco", "coco"),
            ("label-studio", "label_studio/json"),
            ("label-studio", "label_studio/json/export.json"),
            ("label-studio", "label_studio/png"),
        ],
    )
    def test_is_read_to_the_pixel(self, kind, folder, tool_files, tmp_path, capsys):
        out = import_folder(kind, tool_files / folder, tmp_path / "mine")
        made = pixels(out)
        assert made.keys() == {"one", "größe 2", "empty", "two"}
        for name, mask in made.items():
            truth = np.array(Image.open(tool_files / "truth" / f"{name}.png"))
            assert (mask == truth).all()
        assert class_names(out) == ["background", "cell", "nucleus"]
        assert "4 images, 1 of them without a label" in capsys.readouterr().out

    def test_polygons_are_read_as_they_were_written(self, tool_files, tmp_path):
        """datumaro's leave out holes, and corners up to a pixel from the line between others."""
        out = import_folder("coco", tool_files / "coco_polygons", tmp_path / "mine")
        for name, mask in pixels(out).items():
            truth = np.array(Image.open(tool_files / "truth" / f"{name}.png"))
            from_edge = distance_transform_edt(~find_boundaries(truth, mode="thick"))
            wrong = (mask != truth) & ~((truth == 0) & (mask == 1))
            assert not wrong.any() or from_edge[wrong].max() <= 1

    def test_splits_and_colors_are_kept(self, tool_files, tmp_path):
        out = import_folder("cvat", tool_files / "cvat", tmp_path / "mine")
        rows = {row.name: row.split for row in open_ours(out).rows}
        assert rows == {"one": "train", "größe 2": "train", "empty": "train", "two": "val"}
        assert [label.color for label in open_ours(out).labels] == [
            *("#000000", "#fa3253", "#33ddff"),
            "#800000",
        ]

    def test_images_are_copied_byte_for_byte(self, tool_files, tmp_path):
        out = import_folder("coco", tool_files / "coco", tmp_path / "mine")
        original = tool_files / "coco" / "images" / "val" / "sub" / "two.png"
        assert (out / "images" / "two.png").read_bytes() == original.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
class TestThereAndBack:
    @pytest.mark.parametrize("seed", range(4))
    def test_every_pixel_is_the_same(self, kind, seed, tmp_path):
        rng = np.random.default_rng(seed)
        count = [2, 3, 14, 30][seed]
        names = [f"größe {k}" for k in range(count)]
        if seed % 2:
            names[count // 2] = "background"  # not the first
        masks = {f"bild ü {k}": random_mask(rng, count) for k in range(6)}
        masks["corner"] = np.zeros((5, 3), np.uint8)
        source = write_ours(tmp_path / "mine", masks, names)
        export_folder(source, kind, tmp_path / "out")
        back = import_folder(kind, tmp_path / "out", tmp_path / "back")
        assert same_pixels(pixels(back), masks)
        assert class_names(back) == names
        assert snapshot(tmp_path / "mine" / "images") and {
            path.name: path.read_bytes() for path in (back / "images").iterdir()
        } == {path.name: path.read_bytes() for path in (source / "images").iterdir()}

    def test_street_scenes_without_a_background(self, kind, tmp_path):
        rng = np.random.default_rng(0)
        masks = {f"s{k}": rng.integers(0, 14, (64, 128)).astype(np.uint8) for k in range(3)}
        source = write_ours(tmp_path / "mine", masks, STREET)
        export_folder(source, kind, tmp_path / "out")
        back = import_folder(kind, tmp_path / "out", tmp_path / "back")
        assert same_pixels(pixels(back), masks)
        assert class_names(back) == STREET

    def test_microscopy_in_gray(self, kind, tmp_path):
        y, x = np.mgrid[:512, :512]
        cells = ((y % 64 - 32) ** 2 + (x % 64 - 32) ** 2 < 500).astype(np.uint8)
        source = write_ours(tmp_path / "mine", {"dish": cells}, ["background", "cell"])
        export_folder(source, kind, tmp_path / "out")
        back = import_folder(kind, tmp_path / "out", tmp_path / "back")
        assert (pixels(back)["dish"] == cells).all()

    def test_what_was_written_can_be_opened(self, kind, two, tmp_path):
        export_folder(two, kind, tmp_path / "out")
        assert len(open_folder(import_folder(kind, tmp_path / "out", tmp_path / "back")).rows) == 2

    def test_groups_that_stay_behind_are_named(self, kind, two, tmp_path, capsys):
        export_folder(two, kind, tmp_path / "out")
        assert "images.csv" not in capsys.readouterr().out
        rows = [(path.stem, "dish") for path in sorted((two / "images").iterdir())]
        lines = ["name,group", *map(",".join, rows)]
        (two / "images.csv").write_text("\n".join(lines), encoding="utf-8")
        export_folder(two, kind, tmp_path / "again")
        assert f"copy {two / 'images.csv'} into" in capsys.readouterr().out

        # What the line asks for keeps them.
        back = import_folder(kind, tmp_path / "again", tmp_path / "back")
        shutil.copy(two / "images.csv", back)
        assert {row.group for row in open_folder(back).rows} == {"dish"}

    def test_an_image_of_nothing_but_background(self, kind, tmp_path):
        masks = {"none": np.zeros((4, 4), np.uint8), "some": np.eye(4, dtype=np.uint8)}
        source = write_ours(tmp_path / "mine", masks, ["background", "cell"])
        export_folder(source, kind, tmp_path / "out")
        assert same_pixels(pixels(import_folder(kind, tmp_path / "out", tmp_path / "b")), masks)

    def test_an_old_folder_is_not_touched(self, kind, two, tmp_path):
        (tmp_path / "old").mkdir()
        before = snapshot(tmp_path)
        with pytest.raises(ValueError, match="old exists already"):
            export_folder(two, kind, tmp_path / "old")
        with pytest.raises(ValueError, match="old exists already"):
            import_folder(kind, two, tmp_path / "old")
        assert snapshot(tmp_path) == before

    def test_a_bad_mask_leaves_nothing_half_written(self, kind, two, tmp_path):
        Image.fromarray(np.full((6, 9), 7, np.uint8)).save(two / "masks" / "b.png")
        before = snapshot(tmp_path)
        with pytest.raises(ValueError, match=r"b\.png holds 7"):
            export_folder(two, kind, tmp_path / "out")
        Image.fromarray(np.zeros((6, 8), np.uint8)).save(two / "masks" / "b.png")
        with pytest.raises(ValueError, match=r"b\.png is 8 x 6 pixels, but its image is 9 x 6"):
            export_folder(two, kind, tmp_path / "out")
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize("kind", ["cvat", "voc", "coco"])
def test_splits_go_there_and_back(kind, tmp_path):
    masks = {name: np.eye(3, dtype=np.uint8) for name in "abc"}
    source = write_ours(tmp_path / "mine", masks, ["x", "y"], ["test", "train", "val"])
    back = import_folder(kind, export_folder(source, kind, tmp_path / "o"), tmp_path / "b")
    assert [row.split for row in open_ours(back).rows] == ["test", "train", "val"]


@pytest.mark.parametrize("kind", ["cvat", "label-studio"])
def test_colors_go_there_and_back(kind, tmp_path):
    colors = ["#112233", "#445566"]
    mask = {"a": np.eye(3, dtype=np.uint8)}
    source = write_ours(tmp_path / "mine", mask, ["x", "y"], colors=colors)
    back = import_folder(kind, export_folder(source, kind, tmp_path / "o"), tmp_path / "b")
    assert [label.color for label in open_ours(back).classes] == colors


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_tools_would_ignore_is_refused(kind, two, tmp_path):
    """Its pixels would come back as 255, in silence."""
    path = two / "classes.csv"
    path.write_text(path.read_text().replace("cell", "void"))
    with pytest.raises(ValueError, match=r"classes\.csv: tools take 'void' for what does not co"):
        export_folder(two, kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_classes_of_one_color_are_told_apart(tmp_path):
    mask = {"a": np.eye(3, dtype=np.uint8)}
    source = write_ours(tmp_path / "mine", mask, ["x", "y"], colors=["#112233"] * 2)
    back = import_folder("cvat", export_folder(source, "cvat", tmp_path / "o"), tmp_path / "b")
    assert same_pixels(pixels(back), mask)


class TestTheToolsReaders:
    """What we export is read by readers that others wrote."""

    def test_coco(self, two, tmp_path):
        export_folder(two, "coco", tmp_path / "out")
        reader = COCO(tmp_path / "out" / "annotations" / "instances_default.json")
        number = reader.getCatIds(["cell"])
        found = reader.loadAnns(reader.getAnnIds(imgIds=[1], catIds=number))
        assert (reader.annToMask(found[0]) == (pixels(two)["a"] == 1)).all()
        assert found[0]["bbox"] == [2, 1, 3, 3] and found[0]["area"] == 9

    def test_voc(self, tmp_path):
        mask = random_mask(np.random.default_rng(0), 5)
        source = write_ours(tmp_path / "mine", {"a": mask}, STREET, ["train"], suffix=".jpg")
        export_folder(source, "voc", tmp_path / "VOCdevkit" / "VOC2012")
        image, target = VOCSegmentation(tmp_path, "2012", "train")[0]
        assert (np.array(target) == mask).all() and image.size == mask.shape[::-1]

    @pytest.mark.parametrize(
        ("kind", "theirs"),
        [("cvat", "voc_segmentation"), ("voc", "voc_segmentation"), ("coco", "coco")],
    )
    def test_datumaro(self, kind, theirs, two, tmp_path):
        datumaro = pytest.importorskip("datumaro")
        out = export_folder(two, kind, tmp_path / "out")
        read = datumaro.Dataset.import_from(str(out), theirs)
        names = [label.name for label in read.categories()[datumaro.AnnotationType.label]]
        items = list(read)
        assert len(items) == 2 and items[0].media.data.shape[:2] == (6, 9)
        for item in items:
            mask = np.zeros((6, 9), np.uint8)
            for one in item.annotations:
                if one.type == datumaro.AnnotationType.mask:
                    name = names[one.label]
                    mask[one.image.astype(bool)] = 255 if name.startswith("ign") else name == "cell"
            assert (mask == pixels(two)[item.id]).all()

    def test_label_studio(self, two, tmp_path):
        brush = pytest.importorskip("label_studio_converter.brush")
        out = export_folder(two, "label-studio", tmp_path / "out")
        for result in json.loads((out / "tasks.json").read_text())[0]["annotations"][0]["result"]:
            area = brush.decode_rle(result["value"]["rle"]).reshape(6, 9, 4)[..., 3] > 0
            place = {"background": 0, "cell": 1, "ignore": 255}[result["value"]["brushlabels"][0]]
            assert (area == (pixels(two)["a"] == place)).all()


def write_coco(folder, annotations, categories=None, images=None) -> Path:
    """One image, 10 x 8, and what is in its JSON."""
    folder.mkdir()
    Image.new("L", (10, 8)).save(folder / "a.png")
    categories = categories or [{"id": 90, "name": "late"}, {"id": 7, "name": "cell"}]
    content = {
        "images": images or [{"id": 3, "file_name": "a.png", "width": 10, "height": 8}],
        "annotations": [{"id": k, "image_id": 3} | one for k, one in enumerate(annotations)],
        "categories": categories,
    }
    (folder / "labels.json").write_text(json.dumps(content))
    return folder


def square(left, top, right, bottom) -> list[int]:
    return [left, top, right, top, right, bottom, left, bottom]


class TestCoco:
    def test_later_annotations_lie_over_earlier_ones(self, tmp_path):
        parts = [square(0, 0, 4, 4), square(6, 6, 8, 8)]
        source = write_coco(
            tmp_path / "in",
            [
                {"category_id": 7, "segmentation": parts},
                {"category_id": 90, "segmentation": [square(2, 2, 6, 6)]},
            ],
        )
        back = import_folder("coco", source, tmp_path / "mine")
        expected = np.zeros((8, 10), np.uint8)
        expected[:4, :4] = expected[6:8, 6:8] = 2
        expected[2:6, 2:6] = 1
        assert (pixels(back)["a"] == expected).all()
        assert class_names(back) == ["background", "late", "cell"]

    def test_crowds_and_holes(self, tmp_path):
        ring = np.ones((8, 10), np.uint8)
        ring[3:5, 3:6] = 0
        column_first = np.r_[[0, 0], np.flatnonzero(np.diff(ring.ravel("F"))) + 1, ring.size]
        counts = np.diff(column_first).tolist()
        whole = {"size": [8, 10], "counts": counts}
        source = write_coco(
            tmp_path / "in", [{"category_id": 7, "segmentation": whole, "iscrowd": 1}]
        )
        mask = pixels(import_folder("coco", source, tmp_path / "mine"))["a"]
        assert (mask == 2 * ring).all()

    def test_an_outline_comes_back_to_a_pixel_of_the_edge(self, tmp_path):
        y, x = np.mgrid[:8, :10]
        truth = (y - 4) ** 2 + (x - 5) ** 2 < 8
        corners = find_contours(truth, 0.5)[0][:, ::-1] + 0.5
        segmentation = [corners.ravel().tolist()]
        source = write_coco(tmp_path / "in", [{"category_id": 7, "segmentation": segmentation}])
        wrong = (pixels(import_folder("coco", source, tmp_path / "mine"))["a"] > 0) != truth
        assert not (wrong & ~find_boundaries(truth, mode="thick")).any()

    @pytest.mark.parametrize(
        ("segmentation", "message"),
        [
            ([], "has no segmentation"),
            ([[1, 1, 5, 5]], "three corners"),
            ([[1, 1, 5, 5, 2]], "three corners"),
            ([[1, 1, 5, 5, 2, float("nan")]], "no number"),
            ([["a"] * 6], "no mask"),
            ({"size": [8, 10], "counts": [7]}, "add up to 7, not to 80"),
            ({"size": [10, 8], "counts": [80]}, r"its image's \[8, 10\]"),
            ({"size": [8, 10], "counts": "zzzzzzzz"}, "no mask"),
            ({"counts": [80]}, "no mask"),
            (5, "no mask"),
        ],
    )
    def test_refuses_what_is_no_mask(self, segmentation, message, tmp_path):
        source = write_coco(tmp_path / "in", [{"category_id": 7, "segmentation": segmentation}])
        before = snapshot(tmp_path)
        with pytest.raises(ValueError, match=message) as caught:
            import_folder("coco", source, tmp_path / "mine")
        assert "labels.json: annotation 0 of a.png" in str(caught.value)
        assert snapshot(tmp_path) == before

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"annotations": [{"category_id": 8}]}, "annotation 0 has category 8"),
            ({"annotations": [{"image_id": 9, "category_id": 7}]}, "is of image 9"),
            ({"annotations": [{}]}, "is not as coco writes it.*category_id"),
            ({"categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]}, "are called 'x'"),
            ({"categories": [{"id": 1, "name": "  "}]}, "called ''"),
            ({"categories": [{"id": 1}]}, "is not as coco writes it"),
            ({"images": [{"id": 3, "file_name": "b.png"}]}, "names the image 'b.png'"),
            ({"images": [{"id": 3, "file_name": "a.png", "width": 9}]}, "a.png is 9 x 8 pixels"),
            ({"images": [{"id": 3, "file_name": "a.png"}] * 2}, "gives one id to two images"),
            ({"images": [{"id": k, "file_name": "a.png"} for k in (3, 4)]}, "is labeled twice"),
            ({"images": ["a.png"]}, "is not as coco writes it"),
        ],
    )
    def test_refuses_what_does_not_fit(self, given, message, tmp_path):
        source = write_coco(tmp_path / "in", **({"annotations": []} | given))
        before = snapshot(tmp_path)
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            import_folder("coco", source, tmp_path / "mine")
        assert snapshot(tmp_path) == before

    @pytest.mark.parametrize("text", ["", '{"images": [', "[]", "[" * 100_000, "\x00"])
    def test_refuses_a_cut_json(self, text, tmp_path):
        source = write_coco(tmp_path / "in", [])
        (source / "labels.json").write_text(text)
        with pytest.raises(ValueError, match=r"labels\.json"):
            import_folder("coco", source, tmp_path / "mine")

    def test_images_of_one_name_in_two_folders(self, two, tmp_path):
        out = export_folder(two, "coco", tmp_path / "out")
        for side in ("left", "right"):
            (out / "images" / side).mkdir()
            shutil.copy(out / "images" / "default" / "a.png", out / "images" / side)
        path = out / "annotations" / "instances_default.json"
        content = json.loads(path.read_text())
        for entry, side in zip(content["images"], ("left", "right"), strict=True):
            entry["file_name"] = f"{side}/a.png"
        path.write_text(json.dumps(content))
        assert pixels(import_folder("coco", out, tmp_path / "b")).keys() == {"left_a", "right_a"}

        # Which one is meant is not said.
        content["images"][0]["file_name"] = "a.png"
        path.write_text(json.dumps(content))
        (out / "images" / "default" / "a.png").unlink()
        with pytest.raises(ValueError, match=r"'a\.png', which may be .*left.* or"):
            import_folder("coco", out, tmp_path / "other")

    @pytest.mark.parametrize("val", ["val", "valid", "validation"])
    def test_splits_by_the_folders_of_three_exports(self, val, two, tmp_path):
        source = tmp_path / "in"
        for split in ("train", val, "test"):
            export_folder(two, "coco", tmp_path / split)
            shutil.copytree(tmp_path / split / "images" / "default", source / split)
            for path in (source / split).iterdir():
                path.rename(path.with_name(f"{split}_{path.name}"))
            text = (tmp_path / split / "annotations" / "instances_default.json").read_text()
            content = json.loads(text)
            for entry in content["images"]:
                entry["file_name"] = f"{split}_{Path(entry['file_name']).name}"
            (source / split / "_annotations.coco.json").write_text(json.dumps(content))
        rows = open_ours(import_folder("coco", source, tmp_path / "b")).rows
        splits = {row.name.partition("_")[0]: row.split for row in rows}
        assert splits == {"train": "train", val: "val", "test": "test"}

        (source / val).rename(source / "more")
        with pytest.raises(ValueError, match="in no file of train, val or test, but others are"):
            import_folder("coco", source, tmp_path / "c")


class TestVoc:
    @pytest.fixture
    def classic(self, tmp_path) -> Path:
        """As VOC ships it: indexed masks, a border of 255, lists, no labelmap."""
        folder = tmp_path / "VOC2012"
        for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (folder / part).mkdir(parents=True)
        for name, split in (("2007_1", "train"), ("2007_2", "val")):
            Image.new("RGB", (7, 5)).save(folder / "JPEGImages" / f"{name}.jpg")
            mask = np.zeros((5, 7), np.uint8)
            mask[1:3, 1:3], mask[3] = 15, 255
            path = folder / "SegmentationClass" / f"{name}.png"
            voc.save_indexed(mask, [*voc.colormap(255), voc.VOID], path)
            (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(f"{name}\n")
        text = "2007_1\n2007_2\n"
        (folder / "ImageSets" / "Segmentation" / "trainval.txt").write_text(text)
        return folder

    def test_reads_the_classic_layout(self, classic, tmp_path):
        back = import_folder("voc", classic, tmp_path / "mine")
        mask = pixels(back)["2007_1"]
        assert (mask[1, 1], mask[3, 0], mask[0, 0]) == (15, 255, 0)
        assert len(class_names(back)) == 21 and class_names(back)[15] == "person"
        assert [row.split for row in open_ours(back).rows] == ["train", "val"]

    def test_lists_may_name_files(self, classic, tmp_path):
        """With the image's suffix, as some tools write it."""
        whole = pixels(import_folder("voc", classic, tmp_path / "stems"))
        for path in (classic / "ImageSets" / "Segmentation").iterdir():
            path.write_text(path.read_text().replace("\n", ".jpg\n"))
        assert same_pixels(pixels(import_folder("voc", classic, tmp_path / "files")), whole)

        # What follows another dot is a part of the name.
        (classic / "ImageSets" / "Segmentation" / "trainval.txt").unlink()
        (classic / "ImageSets" / "Segmentation" / "train.txt").write_text("2007_1.again")
        with pytest.raises(FileNotFoundError, match=r"lists '2007_1\.again', but"):
            import_folder("voc", classic, tmp_path / "dot")

    def test_masks_that_are_no_png(self, classic, tmp_path):
        path = classic / "SegmentationClass" / "2007_1.png"
        path.rename(path.with_suffix(".jpg"))
        with pytest.raises(ValueError, match=r"2007_1\.jpg is no PNG, as masks are here"):
            import_folder("voc", classic, tmp_path / "mine")

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
    def test_reads_masks_of_any_mode(self, classic, mode, tmp_path):
        truth = pixels(import_folder("voc", classic, tmp_path / "indexed"))
        for path in (classic / "SegmentationClass").iterdir():
            with Image.open(path) as image:
                numbers = np.array(image)
                colors = image.convert("RGB")
            other = Image.fromarray(numbers) if mode == "L" else colors.convert(mode)
            if mode != "L":
                lines = [
                    f"{label.name}:{','.join(map(str, bytes.fromhex(label.color[1:])))}::"
                    for label in voc._voc_labels()
                ]
                (classic / "labelmap.txt").write_text("\n".join(lines))
            other.save(path)
        assert same_pixels(pixels(import_folder("voc", classic, tmp_path / "other")), truth)

    def test_the_colors_are_vocs(self):
        assert voc.colormap()[:4] == ["#000000", "#800000", "#008000", "#808000"]
        assert voc.colormap()[20] == "#004080" and voc.colormap()[255] == voc.VOID

    def break_mask(self, folder, value=99):
        path = folder / "SegmentationClass" / "2007_1.png"
        voc.save_indexed(np.full((5, 7), value, np.uint8), voc.colormap(), path)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda f: TestVoc().break_mask(f), r"2007_1\.png holds 99, which is no label's"),
            (
                lambda f: (f / "SegmentationClass" / "2007_1.png").unlink(),
                r"lists '2007_1', but .*2007_1\.png does not exist",
            ),
            (lambda f: (f / "JPEGImages" / "2007_2.jpg").unlink(), "names the image '2007_2'"),
            (lambda f: shutil.rmtree(f / "SegmentationClass"), "SegmentationClass does not exist"),
            (
                lambda f: (f / "ImageSets/Segmentation/test.txt").write_text("2007_1"),
                r"train\.txt lists '2007_1', and so does test\.txt",
            ),
            (
                lambda f: (f / "ImageSets/Segmentation/val.txt").unlink(),
                "lists '2007_2', but not in train.txt",
            ),
            (lambda f: (f / "labelmap.txt").write_text("a:1,2::"), "'a:1,2::' must read"),
            (lambda f: (f / "labelmap.txt").write_text("a:1,2,256::"), "must read"),
            (lambda f: (f / "labelmap.txt").write_text("a:1,2,3::\nb:1,2,3::"), "have one color"),
            (lambda f: (f / "labelmap.txt").write_text("a:1,2,3::"), "holds #c08080, .*no label's"),
            (lambda f: (f / "labelmap.txt").write_bytes(b"\xff\xfe"), "no text in UTF-8"),
            (lambda f: (f / "labelmap.txt").write_text(""), "has 0 labels"),
            (
                lambda f: (f / "SegmentationClass/2007_1.png").write_bytes(
                    (f / "SegmentationClass/2007_1.png").read_bytes()[:830]
                ),
                r"2007_1\.png cannot be decoded",
            ),
            (
                lambda f: (f / "JPEGImages/2007_1.jpg").write_bytes(
                    (f / "JPEGImages/2007_1.jpg").read_bytes()[:400]
                ),
                r"2007_1\.jpg cannot be decoded",
            ),
            (
                lambda f: Image.new("RGB", (7, 6)).save(f / "JPEGImages/2007_2.jpg"),
                r"2007_2\.png is 7 x 5 pixels, but its image is 7 x 6",
            ),
        ],
    )
    def test_refuses_what_does_not_fit(self, classic, damage, message, tmp_path):
        damage(classic)
        before = snapshot(tmp_path)
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            import_folder("voc", classic, tmp_path / "mine")
        assert snapshot(tmp_path) == before

    def test_images_may_lie_elsewhere(self, classic, tmp_path):
        (classic / "JPEGImages").rename(tmp_path / "photos")
        back = import_folder("voc", classic, tmp_path / "mine", images=tmp_path / "photos")
        assert len(pixels(back)) == 2

    def test_names_that_a_labelmap_cannot_hold(self, tmp_path):
        for k, name in enumerate(("a:b", "#a")):
            mask = {"m": np.eye(2, dtype=np.uint8)}
            source = write_ours(tmp_path / f"mine{k}", mask, [name, "other"])
            with pytest.raises(ValueError, match=re.escape(repr(name))):
                export_folder(source, "cvat", tmp_path / "out")


class TestBinary:
    @pytest.fixture
    def classes(self, tmp_path) -> Path:
        folder = tmp_path / "in"
        for part in ("images", "cell", "nucleus"):
            (folder / part).mkdir(parents=True)
        for name in ("a", "b"):
            Image.new("L", (4, 3)).save(folder / "images" / f"{name}.tif")
        Image.fromarray(np.eye(3, 4, dtype=np.uint8)).save(folder / "cell" / "a_mask.png")
        nucleus = np.zeros((3, 4), np.uint8)
        nucleus[0] = 255
        Image.fromarray(nucleus).convert("RGB").save(folder / "nucleus" / "a.png")
        Image.fromarray(nucleus > 0).save(folder / "nucleus" / "b.png")
        return folder

    def test_the_later_class_lies_over_the_earlier_one(self, classes, tmp_path):
        back = import_folder("binary", classes, tmp_path / "mine")
        expected = np.array([[2] * 4, [0, 1, 0, 0], [0, 0, 1, 0]])
        assert (pixels(back)["a"] == expected).all()
        assert class_names(back) == ["background", "cell", "nucleus"]

        (classes / "classes.txt").write_text("nucleus\ncell\n")
        back = import_folder("binary", classes, tmp_path / "other")
        assert pixels(back)["a"][0].tolist() == [2, 1, 1, 1]
        assert class_names(back) == ["background", "nucleus", "cell"]

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (
                lambda f: Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(
                    f / "cell" / "a_mask.png"
                ),
                r"a_mask\.png holds the values \[0, 1, 2",
            ),
            (lambda f: (f / "images" / "b.tif").unlink(), r"b\.png has no image"),
            (lambda f: shutil.rmtree(f / "images"), "images does not exist"),
            (lambda f: (f / "classes.txt").write_text("cell"), "does not list 'nucleus'"),
            (lambda f: Image.new("L", (3, 3)).save(f / "cell" / "b.png"), "3 x 3 .* is 4 x 3"),
            (lambda f: (f / "cell" / "b.png").write_bytes(b"no"), r"b\.png cannot be decoded"),
            (lambda f: [shutil.rmtree(f / c) for c in ("cell", "nucleus")], "has 0 labels"),
            (
                lambda f: Image.new("L", (4, 3)).save(f / "cell" / "b.jpg"),
                r"b\.jpg is no mask .*PNG",
            ),
        ],
    )
    def test_refuses_what_does_not_fit(self, classes, damage, message, tmp_path):
        damage(classes)
        before = snapshot(tmp_path)
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            import_folder("binary", classes, tmp_path / "mine")
        assert snapshot(tmp_path) == before

    def test_black_is_outside_whatever_its_number(self, classes, tmp_path):
        expected = pixels(import_folder("binary", classes, tmp_path / "as they are"))
        for path in (classes / "nucleus").iterdir():
            mask = np.asarray(Image.open(path).convert("L"))
            image = Image.fromarray((mask == 0).astype(np.uint8))  # 0 is white, 1 black
            image.putpalette([255] * 3 + [0] * 3)
            image.save(path)
        (classes / "cell" / "._b.jpg").write_bytes(b"")  # as macOS leaves them
        assert same_pixels(pixels(import_folder("binary", classes, tmp_path / "mine")), expected)

        # Without black, the numbers count.
        for path in (classes / "nucleus").iterdir():
            image = Image.fromarray(1 - np.asarray(Image.open(path)))
            image.putpalette([9, 9, 9, 200, 0, 0])
            image.save(path)
        back = import_folder("binary", classes, tmp_path / "colored")
        assert same_pixels(pixels(back), expected)

    def test_a_single_class_everywhere_is_no_segmentation(self, classes, tmp_path):
        shutil.rmtree(classes / "nucleus")
        for name in ("a_mask", "b"):
            Image.new("L", (4, 3), 255).save(classes / "cell" / f"{name}.png")
        with pytest.raises(ValueError, match="all others are 'cell' everywhere"):
            import_folder("binary", classes, tmp_path / "mine")

    @pytest.mark.parametrize("name", ["a/b", "images"])
    def test_names_that_a_folder_cannot_have(self, name, tmp_path):
        mask = {"m": np.eye(2, dtype=np.uint8)}
        source = write_ours(tmp_path / "mine", mask, [name, "other"])
        with pytest.raises(ValueError, match=name):
            export_folder(source, "binary", tmp_path / "out")


class TestLabelStudio:
    @pytest.fixture
    def tasks(self, two, tmp_path) -> tuple[Path, list]:
        out = export_folder(two, "label-studio", tmp_path / "out")
        (out / "label_config.xml").unlink()
        return out, json.loads((out / "tasks.json").read_text())

    def read(self, tasks, out, **options) -> Path:
        (tasks[0] / "tasks.json").write_text(json.dumps(tasks[1]))
        return import_folder("label-studio", tasks[0], out, **options)

    @pytest.mark.parametrize("seed", range(3))
    def test_runs_there_and_back(self, seed):
        rng = np.random.default_rng(seed)
        values = rng.integers(0, 3, 200).astype(np.uint8).repeat(rng.integers(1, 700, 200))
        assert (label_studio.decode(label_studio.encode(values), len(values)) == values).all()

    def test_runs_of_the_pages_own_encoder(self):
        """rle-pack 3.2.12 has encoded these; it keeps values that differ as they are."""
        runs = [0, 0, 0, 19, 57, 27, 252, 96, 1, 0, 129, 1, 218, 4, 128, 36]
        assert label_studio.decode(runs, 19).tolist() == [0] * 4 + [1, 2, 3] + [4] * 11 + [9]

    def test_polygons_in_percent(self, tasks, tmp_path):
        points = [[100 * x / 9, 100 * y / 6] for x, y in ((2, 1), (5, 1), (5, 4), (2, 4))]
        value = {"points": points, "polygonlabels": ["cell"], "closed": True}
        for task in tasks[1]:
            results = task["annotations"][0]["result"]
            results[1] |= {"type": "polygonlabels", "value": value}
        mask = pixels(self.read(tasks, tmp_path / "b"))["a"]
        assert (mask == pixels(tmp_path / "mine")["a"]).all()

    def test_which_annotation_counts(self, tasks, tmp_path):
        task = tasks[1][0]
        kept, empty = task["annotations"][0], {"id": 9, "result": []}
        truth = pixels(tmp_path / "mine")["a"]
        for k, annotations in enumerate(
            (
                [empty, kept],
                [kept, empty | {"was_cancelled": True}],
                [kept | {"ground_truth": True}, empty],
            )
        ):
            task["annotations"] = annotations
            assert (pixels(self.read(tasks, tmp_path / f"b{k}"))["a"] == truth).all()
        task["annotations"] = [kept, empty]
        assert (pixels(self.read(tasks, tmp_path / "last"))["a"] == 0).all()
        task["annotations"] = []
        assert pixels(self.read(tasks, tmp_path / "without")).keys() == {"b"}

    def test_json_min(self, tasks, tmp_path):
        for k, task in enumerate(tasks[1]):
            results = task["annotations"][0]["result"]
            sizes = {key: results[0][key] for key in ("original_width", "original_height")}
            values = [result["value"] | sizes for result in results]
            tasks[1][k] = {"id": k, "image": task["data"]["image"], "tag": values, "annotator": 1}
        assert same_pixels(pixels(self.read(tasks, tmp_path / "b")), pixels(tmp_path / "mine"))

    @pytest.mark.parametrize(
        "link",
        [
            "/data/upload/4/0a1b2c3d-a.png",
            "s3://bucket/photos/a.png",
            "https://host/x/a.png?token=1",
            "C:\\photos\\a.png".replace("\\", "/"),
            "/data/local-files/?d=photos%2Fa.png",
            "/data/local-files/?d=photos%5Ca.png",
        ],
    )
    def test_links_to_an_image(self, link, tasks, tmp_path):
        tasks[1][0]["data"] = {"title": "a tissue", "image": link}
        assert pixels(self.read(tasks, tmp_path / "b")).keys() == {"a", "b"}

    def test_a_lost_png_is_said(self, tool_files, tmp_path):
        source = shutil.copytree(tool_files / "label_studio" / "png", tmp_path / "in")
        next(source.glob("task-2*nucleus*")).unlink()
        with pytest.raises(FileNotFoundError, match="task-2-annotation-12-by"):
            import_folder("label-studio", source, tmp_path / "mine")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"value": {"rle": [0, 1, 2], "brushlabels": ["cell"]}}, "task 1 is no mask"),
            ({"value": {"rle": [0, 0, 0, 216, 57, 27, 252], "brushlabels": ["c"]}}, "cut off"),
            ({"value": {"rle": [0, 300], "brushlabels": ["cell"]}}, "task 1 is no mask"),
            ({"value": {"rle": 10**9, "brushlabels": ["cell"]}}, "no list of bytes"),
            ({"value": {"rle": "abc", "brushlabels": ["cell"]}}, "task 1 is no mask"),
            ({"value": {"points": [[1, 2]], "polygonlabels": ["c"]}}, "three corners"),
            ({"value": {"rle": [0], "brushlabels": []}}, "task 1 has no label"),
            ({"original_width": 8}, "task 1 is 8 x 6 pixels, but its image is 9 x 6"),
            ({"image_rotation": 90}, "task 1 is rotated"),
            ({"value": None}, "is not as label-studio writes it"),
        ],
    )
    def test_refuses_a_bad_region(self, change, message, tasks, tmp_path):
        tasks[1][0]["annotations"][0]["result"][1] |= change
        before = snapshot(tmp_path)
        with pytest.raises(ValueError, match=message):
            self.read(tasks, tmp_path / "b")
        assert snapshot(tmp_path) == before

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({}, "no list of tasks"),
            ([], "holds no annotation"),
            ([{"id": 1, "data": {"text": "x"}}], "task 1 names no image"),
            ([{"id": 1, "data": {"image": "a.png"}, "annotations": []}], "holds no annotation"),
            (
                [{"id": 1, "data": {"image": "z.png"}, "annotations": [{"result": []}]}],
                "no brush and no polygon",
            ),
            (
                [{"id": 1, "data": {"image": "z.png"}, "annotations": [{"result": []}]}] * 2,
                "two tasks 1: import each project's export alone",
            ),
        ],
    )
    def test_refuses_what_are_no_tasks(self, content, message, tasks, tmp_path):
        with pytest.raises(ValueError, match=message):
            self.read((tasks[0], content), tmp_path / "b")

    def test_a_missing_image_and_an_unknown_label(self, tasks, tmp_path):
        (tasks[0] / "label_config.xml").write_text('<View><Label value="cell"/></View>')
        with pytest.raises(ValueError, match=r"label_config\.xml has no label 'background'"):
            self.read(tasks, tmp_path / "b")
        (tasks[0] / "label_config.xml").write_text("<View>")
        with pytest.raises(ValueError, match=r"label_config\.xml is no XML"):
            self.read(tasks, tmp_path / "b")
        (tasks[0] / "label_config.xml").unlink()
        (tasks[0] / "images" / "b.png").unlink()
        with pytest.raises(FileNotFoundError, match=r"tasks\.json names the image 'b\.png'"):
            self.read(tasks, tmp_path / "b")


def test_what_a_tool_calls_void_does_not_count(tmp_path):
    for k, name in enumerate(("ignore", "Void", "IGNORED")):
        categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": name}]
        annotations = [
            {"category_id": number, "segmentation": [square(0, 0, 2 * number, 2)]}
            for number in (2, 1)
        ]
        source = write_coco(tmp_path / f"in{k}", annotations, categories)
        back = import_folder("coco", source, tmp_path / f"mine{k}")
        assert pixels(back)["a"][0, :5].tolist() == [1, 1, 255, 255, 0]
        assert class_names(back) == ["background", "cell"]


def test_a_background_keeps_its_place(tmp_path):
    categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "Background"}]
    annotation = {"category_id": 1, "segmentation": [square(0, 0, 2, 2)]}
    back = import_folder(
        "coco", write_coco(tmp_path / "in", [annotation], categories), tmp_path / "m"
    )
    assert class_names(back) == ["cell", "Background"]
    assert pixels(back)["a"][0, :3].tolist() == [0, 0, 1]


@pytest.mark.parametrize("kind", ["coco", "label-studio", "voc"])
def test_what_macos_leaves_beside_files_is_not_read(kind, two, tmp_path):
    """In archives, and on sticks: a hidden file for each."""
    out = export_folder(two, kind, tmp_path / "out")
    lists = [*out.rglob("*.json"), *out.rglob("*.txt")]
    for path in lists:
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\xff")
    again = import_folder(kind, out, tmp_path / "again")
    assert lists and same_pixels(pixels(again), pixels(two))


def test_an_unknown_format_and_a_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="'yolo' is no format: choose one of cvat, voc"):
        import_folder("yolo", tmp_path, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        import_folder("coco", tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"classes\.csv"):
        export_folder(tmp_path, "coco", tmp_path / "out")


def test_an_empty_folder_is_refused_in_every_format(tmp_path):
    (tmp_path / "empty").mkdir()
    for kind in KINDS:
        with pytest.raises((ValueError, FileNotFoundError), match="empty"):
            import_folder(kind, tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", range(20))
def test_compressed_runs_are_those_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    area = (rng.random(rng.integers(1, 60, 2)) < rng.random()).repeat(1 + seed, axis=0)
    counts = encode(np.asfortranarray(area, np.uint8))["counts"].decode()
    whole = {"size": list(area.shape), "counts": counts}
    assert (coco.decode(whole, *area.shape) == area).all()

    # pycocotools itself fills the rest with what is in memory.
    for wrong in (counts[:-1], counts + "1", counts[:-1] + "~", counts[:-1] + "P"):
        with pytest.raises(ValueError, match="its counts"):
            coco.decode(whole | {"counts": wrong}, *area.shape)
