"""A folder of one's own images: its files are understood, or refused with the mend."""

import math
import re
import shutil

from helpers.data import describe, load_splits
from helpers.datasets.folder import (
    SPLITS,
    ClassRow,
    OwnFolder,
    default_colors,
    open_folder,
    read_classes,
)
from helpers.datasets.pairs import cache_arrays, decode
from helpers.studies.experiments import Experiment, run_experiment
from helpers.teaching.explorers import explore_dataset

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

CLASSES = "value,name,color\n0,background,#999999\n1,cell,#D55E00\n7,ignore,\n"


def write_pair(root, name, size=(40, 48), value=1, image_suffix="png", mask_name=""):
    """A gray image with a bright square, and its mask with `value` there."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, name)))
    image = rng.integers(0, 80, size, np.uint8)
    mask = np.zeros(size, np.uint8)
    image[5:25, 8:30] += 150
    mask[5:25, 8:30] = value
    Image.fromarray(image).save(root / "images" / f"{name}.{image_suffix}")
    Image.fromarray(mask).save(root / "masks" / (mask_name or f"{name}.png"))


@pytest.fixture
def mine(tmp_path):
    """Ten pairs of two classes, in five groups."""
    root = tmp_path / "mine"
    for k in range(10):
        write_pair(root, f"dish{k // 2}_{k}")
    (root / "classes.csv").write_text(CLASSES)
    rows = "".join(f"dish{k // 2}_{k},dish{k // 2}\n" for k in range(10))
    (root / "images.csv").write_text("name,group\n" + rows)
    return root


def test_two_lines_give_splits(mine, tmp_path):
    source = open_folder(mine)
    splits = load_splits(source, 32, cache=tmp_path / "cache")

    assert [len(part) for part in splits] == [6, 2, 2]
    of = [{name.split("_")[0] for name in part.names} for part in splits]
    assert not (of[0] & of[1] or of[0] & of[2] or of[1] & of[2])
    images, masks = splits.train.batch()
    assert images.shape == (6, 3, 32, 32) and set(masks.unique().tolist()) == {0, 1}

    about = describe(splits.train, splits.val)
    assert about["class_names"] == ["background", "cell"] and about["dataset"] == "mine"
    assert (about["scale"], about["levels"], about["channels"]) == (None, None, None)


def test_what_is_found_is_said(mine, capsys):
    open_folder(mine, name="cells")
    line = (
        "Dataset: cells, 10 pairs in 5 groups (6 train, 2 val, 2 test), classes: background, cell."
    )
    assert capsys.readouterr().out == line + "\n"


def test_all_of_the_package_works_on_it(mine, tmp_path, monkeypatch):
    """Train from the weights for the pets, whose head is for three classes, and report."""
    monkeypatch.setenv("UNET_HOME", str(tmp_path))
    source, given = open_folder(mine), {"epochs": 2, "progress": False, "test": True}
    for experiment in (Experiment(size=32, weights="synthetic"), Experiment(size=32, scale=1.0)):
        model, record = run_experiment("own", source, experiment, **given)
        assert model.head.out_channels == 2 and record["dataset"] == "mine"
        assert record["test"]["iou"].keys() == {"background", "cell"}
        assert not {"breeds", "pet_iou", "example_definitions"} & record["test"].keys()
        assert ("own_size" in record["test"]) == (not experiment.scale)


def test_the_explorer_browses_it_by_group(mine, tmp_path):
    source = open_folder(mine)
    for scale in (None, 1.0):
        lists = [decode(source, part, 32, tmp_path / "cache", scale) for part in SPLITS]
        group, percent = (explore_dataset(*lists).controls[key] for key in ("Group", "Cell, %"))
        assert group.options == ("all", *(f"dish{k}" for k in range(5))) and percent.max > 10


def test_two_folders_that_look_alike_have_a_cache_each(mine, tmp_path):
    """An archive may give all its files one time, and masks of one size."""
    other = shutil.copytree(mine, tmp_path / "other" / mine.name)
    folders = [cache_arrays(open_folder(f).reader("train"), 32, tmp_path) for f in (mine, other)]
    assert folders[0] != folders[1]


class TestClasses:
    def numbers(self, root, values, classes=CLASSES):
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True)
        (root / "classes.csv").write_text(classes)
        shape = np.shape(values)[:2]
        for k in range(2):
            Image.new("L", shape[::-1]).save(root / "images" / f"{k}.png")
            Image.fromarray(np.array(values, np.uint8)).save(root / "masks" / f"{k}.png")
        return open_folder(root).reader("train")[0][1]

    def test_values_become_numbers_in_the_order_of_the_rows(self, tmp_path):
        classes = "value,name\n255,cell\n3,ignore\n0,background\n"
        found = self.numbers(tmp_path, [[0, 255], [3, 0]], classes)
        assert found.tolist() == [[1, 0], [255, 1]] and found.dtype == np.uint8

    def test_colors(self, tmp_path):
        classes = "value;name\n#ff0000;road\n#0000FF;sky\n"
        found = self.numbers(tmp_path, [[[255, 0, 0], [0, 0, 255]]], classes)
        assert found.tolist() == [[0, 1]]
        assert open_folder(tmp_path).class_colors == ("#ff0000", "#0000ff")

    def test_grays_as_colors_and_colors_of_a_palette(self, tmp_path):
        assert self.numbers(tmp_path / "a", [[[1, 1, 1], [0, 0, 0]]]).tolist() == [[1, 0]]
        self.numbers(
            tmp_path / "b", [[0, 1]], "value,name\n#0a0b0c,one\n#646464,two\n#000000,x\n#010101,y\n"
        )
        indexed = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
        indexed.putpalette([10, 11, 12, 100, 100, 100])
        for k in range(2):
            indexed.save(tmp_path / "b" / "masks" / f"{k}.png")
        assert open_folder(tmp_path / "b").reader("train")[0][1].tolist() == [[0, 1]]

    def test_a_value_in_no_row_is_named(self, tmp_path):
        with pytest.raises(ValueError, match=r"masks.*png holds 2, 9: in no row of classes\.csv"):
            self.numbers(tmp_path / "a", [[0, 2], [9, 1]])
        with pytest.raises(ValueError, match=r"holds #010203: in no row"):
            self.numbers(tmp_path / "b", [[[1, 2, 3]]], "value,name\n#ff0000,a\n#00ff00,b\n")
        with pytest.raises(ValueError, match=r"has colors, but the values in classes\.csv are num"):
            self.numbers(tmp_path / "c", [[[1, 2, 3]]])

    @pytest.mark.parametrize(
        "text, error",
        [
            ("value,color\n0,#ffffff\n", "has no column 'name'"),
            ("", "has no column 'value'"),
            ("value,name\n0,a\n", "there are 1 classes: 2 to 150"),
            ("value,name\n" + "".join(f"{k},c{k}\n" for k in range(151)), "there are 151 classes"),
            ("value,name\n0,a\n0,b\n", "a value stands there twice"),
            ("value,name\n0,a\n1,a\n", "a name stands there twice"),
            ("value,name\n0,a\n1,\n", "a class has no name"),
            ("value,name\n0,a\n#000000,b\n", "some values are numbers and some are colors"),
            ("value,name\n0,a\nred,b\n", "line 3: the value 'red' is no number"),
            ("value,name\n0,a\n-1,b\n", "line 3: the value '-1' is no number"),
            ("value,name\n0,a\n65536,b\n", "line 3: the value '65536' is no number"),
            ("value,name,color\n0,a,red\n1,b,\n", "line 2: the color 'red' is no #rrggbb"),
        ],
    )
    def test_what_is_wrong_with_the_file_is_said(self, tmp_path, text, error):
        (tmp_path / "classes.csv").write_text(text)
        with pytest.raises(ValueError, match=f"classes.csv.*{re.escape(error)}"):
            read_classes(tmp_path)

    def test_a_missing_file_says_what_to_write(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="write one, its first line value,name,color"):
            read_classes(tmp_path)

    def test_a_file_from_a_spreadsheet(self, tmp_path):
        text = "\ufeffValue; Name ;Color\r\n0; a ;#ffffff\r\n\r\n1;b;\r\n;;\r\n"
        (tmp_path / "classes.csv").write_bytes(text.encode("utf-8"))
        assert [(r.value, r.name, r.color) for r in read_classes(tmp_path)] == [
            (0, "a", "#ffffff"),
            (1, "b", default_colors(2)[1]),
        ]
        (tmp_path / "classes.csv").write_bytes("value,name\n0,Zelle\n1,Körper\n".encode("latin-1"))
        with pytest.raises(ValueError, match="is not in UTF-8"):
            read_classes(tmp_path)

    def test_lines_are_those_of_the_file_and_ignore_has_any_case(self, tmp_path):
        (tmp_path / "classes.csv").write_text("value,name\n0,a\n\n1,b\n\n2,Ignore\n")
        assert [row.name for row in read_classes(tmp_path)] == ["a", "b", "ignore"]
        (tmp_path / "classes.csv").write_text("value,name\n0,a\n\n\nred,b\n")
        with pytest.raises(ValueError, match="line 5: the value 'red'"):
            read_classes(tmp_path)

    def test_an_open_quotation_mark(self, tmp_path):
        (tmp_path / "classes.csv").write_text('value,name\n0,"a\n' + "1,b\n" * 60_000)
        with pytest.raises(ValueError, match=r"classes\.csv is no table .*quotation mark"):
            read_classes(tmp_path)

    def test_16_bits_are_no_colors(self, tmp_path):
        """256 would wrap to 0, the first class."""
        source = OwnFolder(
            tmp_path, "", (ClassRow("#000000", "a", ""), ClassRow("#ff0000", "b", "")), ()
        )
        with pytest.raises(ValueError, match=r"a\.png has 16 bits, but the values in classes"):
            source.number_classes(np.array([[0, 256]], np.uint16), tmp_path / "a.png")

    def test_150_classes_have_150_colors(self):
        assert len(set(default_colors(150))) == 150


class TestPairs:
    def test_usual_suffixes_of_masks(self, tmp_path):
        names = ["a_mask", "b-label", "c_SEG", "d_gt", "e_masks", "f", "g_seg", "h_L"]
        for name in names:
            image = name if name in ("f", "g_seg") else name[0]
            write_pair(tmp_path, image, mask_name=f"{name}.png")
        (tmp_path / "classes.csv").write_text(CLASSES)
        (tmp_path / "images" / ".hidden.png").touch()
        (tmp_path / "images" / "notes.txt").touch()
        assert [row.name for row in open_folder(tmp_path).rows] == [
            "a",
            "b",
            "c",
            "d",
            "e",
            "f",
            "g_seg",
            "h",
        ]

    def test_files_without_a_partner_or_with_two(self, mine):
        (mine / "masks" / "dish0_0_mask.png").touch()
        with pytest.raises(
            ValueError, match=r"dish0_0_mask\.png are masks of one image|masks of one"
        ):
            open_folder(mine)
        (mine / "masks" / "dish0_0_mask.png").unlink()
        (mine / "images" / "dish0_0.jpg").touch()
        with pytest.raises(ValueError, match=r"dish0_0\.png and dish0_0\.jpg have one name"):
            open_folder(mine)
        (mine / "images" / "dish0_0.jpg").rename(mine / "images" / "z.jpg")
        with pytest.raises(FileNotFoundError, match=r"z\.jpg has no mask in .*masks"):
            open_folder(mine)
        (mine / "images" / "z.jpg").unlink()
        for k in range(3):
            (mine / "images" / f"dish{k}_{2 * k}.png").unlink()
        with pytest.raises(
            FileNotFoundError, match=r"dish0_0\.png \(and 2 others\) has no image in"
        ):
            open_folder(mine)

    @pytest.mark.parametrize("missing", ["images", "masks"])
    def test_missing_folders(self, mine, missing):
        (mine / missing).rename(mine / "other")
        with pytest.raises(
            FileNotFoundError, match=f"{missing} does not exist: a folder of your own"
        ):
            open_folder(mine)

    def test_an_empty_folder(self, mine):
        for path in [*mine.glob("images/*"), *mine.glob("masks/*")]:
            path.unlink()
        with pytest.raises(FileNotFoundError, match=r"images holds no image: \.png"):
            open_folder(mine)

    def test_sizes_of_a_pair_differ(self, mine):
        path = mine / "masks" / "dish0_0.png"
        Image.open(path).resize((20, 20)).save(path)
        reader = next(
            r
            for s in ("train", "val", "test")
            if "dish0_0" in (r := open_folder(mine).reader(s)).names
        )
        with pytest.raises(
            ValueError, match=r"dish0_0\.png is 20 x 20 pixels, but its image is 48 x 40"
        ):
            reader[reader.names.index("dish0_0")]


class TestSplits:
    def test_as_the_file_says(self, mine):
        splits = ["train"] * 6 + ["Val"] * 2 + ["test"] * 2
        rows = "".join(f"dish{k // 2}_{k}.png,{splits[k]}\n" for k in range(10))
        (mine / "images.csv").write_text("name,split\n" + rows)
        source = open_folder(mine)
        assert source.reader("val").names == ("dish3_6", "dish3_7")
        assert len({row.group for row in source.rows}) == 10

    @pytest.mark.parametrize(
        "text, error",
        [
            (
                "name,group,split\ndish0_0,a,train\ndish0_1,a,val\n*",
                "puts the group 'a' into train",
            ),
            ("name,split\ndish0_0,train\n", "gives 'dish0_1' no split, but others"),
            ("name,split\ndish0_0,dev\n", "the split of 'dish0_0' is 'dev': write train, val or"),
            ("name,group\nnobody,a\n", "names 'nobody', but there is no such image"),
            ("name,group\ndish0_0,a\ndish0_0.png,b\n", "names an image twice"),
            ("group\na\n", "has no column 'name'"),
        ],
    )
    def test_contradictions(self, mine, text, error):
        rest = "".join(f"dish{k // 2}_{k},r{k},train\n" for k in range(2, 10))
        (mine / "images.csv").write_text(text.replace("*", rest))
        with pytest.raises(ValueError, match=re.escape(error)):
            open_folder(mine)

    @pytest.mark.parametrize(
        "groups, sizes", [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (20, (12, 4, 4))]
    )
    def test_by_groups(self, tmp_path, groups, sizes):
        for k in range(groups):
            write_pair(tmp_path / "few", f"{k}")
        (tmp_path / "few" / "classes.csv").write_text(CLASSES)
        source = open_folder(tmp_path / "few")
        assert tuple(len(source.reader(s)) for s in ("train", "val", "test")) == sizes
        assert open_folder(tmp_path / "few").rows == source.rows
        if groups == 1:
            with pytest.raises(
                ValueError, match="few has no pair for val: two groups are the least"
            ):
                load_splits(source, 32, cache=tmp_path)
        if groups == 2:
            assert len(load_splits(source, 32, cache=tmp_path).test) == 0

    def test_unknown_split(self, mine):
        with pytest.raises(
            ValueError, match="split must be one of train, val, test, not 'trainval'"
        ):
            open_folder(mine).reader("trainval")


class TestDeepImages:
    def test_levels_are_those_of_the_training_images(self, tmp_path):
        """Those for the test are a hundred times as bright, and change nothing."""
        for name, factor in (("a", 1), ("b", 1), ("c", 100)):
            write_pair(tmp_path, name)
            (tmp_path / "images" / f"{name}.png").unlink()
            ramp = np.arange(1920, dtype=np.uint16).reshape(40, 48) * factor % 60000
            tifffile.imwrite(tmp_path / "images" / f"{name}.tif", ramp)
        (tmp_path / "classes.csv").write_text(CLASSES)
        (tmp_path / "images.csv").write_text("name,split\na,train\nb,val\nc,test\n")
        source = open_folder(tmp_path)
        assert source.levels == (1, 1918)
        image = np.asarray(source.reader("train")[0][0])
        assert image.min() == 0 and image.max() == 255 and image[20, 24, 0] == 131

        splits = load_splits(source, 32, cache=tmp_path / "cache")
        assert describe(splits.train, splits.val)["levels"] == (1, 1918)

    def test_channels_are_chosen(self, mine):
        for path in list((mine / "images").glob("*.png")):
            gray = np.asarray(Image.open(path))
            path.unlink()
            many = np.stack([gray, gray // 2, gray // 4, gray // 8, gray])
            tifffile.imwrite(path.with_suffix(".tif"), many, photometric="minisblack")
        source = open_folder(mine, channels=(3, 0, 1))
        image = np.asarray(source.reader("train")[0][0]).astype(int)
        assert (image[..., 1] // 8 == image[..., 0]).all()
        assert source.channels == (3, 0, 1)


def test_other_classes_are_decoded_anew(mine, tmp_path):
    """What an earlier classes.csv gave is not taken from the cache."""
    before = decode(open_folder(mine), "train", 32, tmp_path / "cache")
    (mine / "classes.csv").write_text("value,name\n1,cell\n0,background\n")
    after = decode(open_folder(mine), "train", 32, tmp_path / "cache")
    assert torch.equal(after.masks, 1 - before.masks) and before.masks.any()
    assert decode(open_folder(mine), "train", 32, tmp_path / "cache").arrays == after.arrays


class TestTiles:
    def test_tiles_cover_the_image_as_it_is(self, mine, tmp_path):
        source = open_folder(mine)
        pairs = decode(source, "train", 32, tmp_path / "cache", scale=1.0)
        assert pairs.scale == 1.0 and len(pairs) == 6 * 4
        assert pairs.names[:4] == tuple(
            f"{source.reader('train').names[0]} {at}" for at in ("0,0", "0,16", "8,0", "8,16")
        )
        whole = torch.zeros(40, 48, dtype=torch.uint8)
        for name, tile in zip(pairs.names[:4], pairs.masks, strict=False):
            top, left = map(int, name.split(" ")[1].split(","))
            whole[top : top + 32, left : left + 32] = tile
        assert np.array_equal(whole, source.reader("train")[0][1])

    def test_a_smaller_image_is_filled_up(self, mine, tmp_path):
        pairs = decode(open_folder(mine), "train", 64, tmp_path / "cache", scale=1.0)
        assert len(pairs) == 6
        assert (pairs.masks[:, 40:] == 255).all() and (pairs.masks[:, :, 48:] == 255).all()
        assert (pairs.images[:, :, 40:] == 124).all() and (pairs.masks[:, :40, :48] < 2).all()

    def test_enlarged(self, mine, tmp_path):
        pairs = decode(open_folder(mine), "train", 64, tmp_path / "cache", scale=0.5)
        assert (pairs.masks[0] != 255).sum() == 20 * 24
        other = decode(open_folder(mine), "train", 64, tmp_path / "cache", scale=2)
        assert len(other) == 6 * 4
        for scale in (-1, 0, math.inf, math.nan):
            with pytest.raises(ValueError, match=f"scale must be above 0, not {scale}"):
                decode(open_folder(mine), "train", 64, tmp_path / "cache", scale=scale)
