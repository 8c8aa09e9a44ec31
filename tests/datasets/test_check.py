"""Bad folders: each fault is found under its name, and mended in a copy where one mend is right."""

import csv
import errno
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

from helpers.datasets.__main__ import main
from helpers.datasets.check import check_folder, report
from helpers.datasets.duplicates import find_same, make_thumbnail
from helpers.datasets.folder import open_folder, read_images, with_splits
from helpers.datasets.repair import repair_folder

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFilter

NAMES = [f"dish_{k}" for k in range(8)]
SIZE = (28, 36)  # height and width
LISTED = "value,name,color\n0,background,#999999\n1,cell,#D55E00\n"


def paths(root, name):
    return root / "images" / f"{name}.png", root / "masks" / f"{name}.png"


def texture(rng, size=SIZE, count=3):
    """An image like no other: smooth spots."""
    spots = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
    return np.asarray(spots.resize(size[::-1], Image.Resampling.BILINEAR))[..., :count]


def rectangle(rng):
    mask = np.zeros(SIZE, np.uint8)
    top, left = rng.integers(2, 10, 2)
    mask[top : top + 12, left : left + 18] = 1
    return mask


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Eight pairs of two classes, without fault; tests damage copies."""
    root = tmp_path_factory.mktemp("clean") / "mine"
    rng = np.random.default_rng(5)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for name in NAMES:
        image, mask = paths(root, name)
        Image.fromarray(texture(rng)).save(image)
        Image.fromarray(rectangle(rng)).save(mask)
    (root / "classes.csv").write_text(LISTED)
    return root


@pytest.fixture
def mine(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "mine")


def check(root, **options):
    return check_folder(root, progress=False, **options)


def digest(root):
    """Of all names and contents."""
    found = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        found.update(path.relative_to(root).as_posix().encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def split_of(root):
    return {row.name: row.split for row in with_splits(read_images(root))}


def in_split(root, split):
    return next(name for name, found in split_of(root).items() if found == split)


def change_mask(root, name, change):
    _, path = paths(root, name)
    Image.fromarray(change(np.array(Image.open(path)))).save(path)
    return path.name


# Faults of one pair: (root, name, random numbers) -> the name of the file that is to be found.


def no_mask(root, name, rng):
    paths(root, name)[1].unlink()
    return f"{name}.png"


def no_image(root, name, rng):
    paths(root, name)[0].unlink()
    return f"{name}.png"


def two_images(root, name, rng):
    suffix = rng.choice([".jpg", ".tif", ".BMP", ".jpeg"])
    Image.open(paths(root, name)[0]).save(root / "images" / f"{name}{suffix}")
    return f"{name}{suffix}"


def two_masks(root, name, rng):
    suffix = rng.choice(["_mask", "-label", "_GT", "_seg"])
    shutil.copy(paths(root, name)[1], root / "masks" / f"{name}{suffix}.png")
    return f"{name}{suffix}.png"


def truncated(root, name, rng):
    path = paths(root, name)[rng.integers(2)]
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * rng.uniform(0, 0.7))])
    return path.name


def garbage(root, name, rng):
    path = paths(root, name)[rng.integers(2)]
    path.write_bytes(rng.bytes(rng.integers(0, 2000)))
    return path.name


def broken_tiff(root, name, rng):
    image, _ = paths(root, name)
    path = image.with_suffix(".tif")
    tifffile.imwrite(path, texture(rng), photometric="rgb", compression="zlib")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * rng.uniform(0, 0.9))])
    image.unlink()
    return path.name


def a_folder(root, name, rng):
    path = paths(root, name)[rng.integers(2)]
    path.unlink()
    path.mkdir()
    return path.name


def dangling_link(root, name, rng):
    path = paths(root, name)[rng.integers(2)]
    path.unlink()
    path.symlink_to(root / "nowhere.png")
    return path.name


def floats(root, name, rng):
    path = paths(root, name)[rng.integers(2)]
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), rng.random(SIZE, np.float32))
    return f"{name}.tif"


def five_channels(root, name, rng):
    image, _ = paths(root, name)
    image.unlink()
    many = rng.integers(0, 255, (5, *SIZE), np.uint8)
    tifffile.imwrite(image.with_suffix(".tif"), many, photometric="minisblack")
    return f"{name}.tif"


def other_size(root, name, rng):
    height, width = np.array(SIZE) + rng.integers(1, 9, 2)
    return change_mask(root, name, lambda m: np.resize(m, (height, width)))


def exchanged(root, name, rng):
    return change_mask(root, name, lambda m: m.T.copy())


def turned(root, name, rng):
    image, mask = paths(root, name)
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(5, 9))
    Image.open(image).save(image, exif=exif)
    return mask.name


def white(root, name, rng):
    return change_mask(root, name, lambda m: m * 255)


def jpeg(root, name, rng):
    _, path = paths(root, name)
    mask = Image.fromarray(np.array(Image.open(path)) * 255)
    path.unlink()
    mask.save(path.with_suffix(".jpg"), quality=int(rng.integers(40, 95)))
    return f"{name}.jpg"


def jpeg_grays(root, name, rng):
    def change(mask):
        file = io.BytesIO()
        Image.fromarray(mask * 255).save(file, "JPEG", quality=int(rng.integers(60, 90)))
        return np.array(Image.open(file))

    return change_mask(root, name, change)


def outlines(root, name, rng):
    def change(mask):
        image = Image.fromarray(mask * 255)
        if rng.random() < 0.5:
            return np.array(image.filter(ImageFilter.GaussianBlur(0.7)))
        small = image.resize((SIZE[1] // 2, SIZE[0] // 2), Image.Resampling.NEAREST)
        return np.array(small.resize(SIZE[::-1], Image.Resampling.BILINEAR))

    return change_mask(root, name, change)


def palette(root, name, rng):
    colors = np.array([[0x99, 0x99, 0x99], [0xD5, 0x5E, 0x00]], np.uint8)
    return change_mask(root, name, lambda m: colors[m])


def other_colors(root, name, rng):
    return change_mask(root, name, lambda m: np.array([[0, 0, 0], [128, 0, 0]], np.uint8)[m])


def beyond(root, name, rng):
    def change(mask):
        rows, columns = (rng.integers(side) for side in SIZE)
        mask[rows, columns] = rng.integers(2, 120)
        return mask

    return change_mask(root, name, change)


def empty(root, name, rng):
    return change_mask(root, name, lambda m: m * 0)


def full(root, name, rng):
    return change_mask(root, name, lambda m: m * 0 + 1)


def tiny(root, name, rng):
    for path in paths(root, name):
        Image.open(path).resize((15, 40), Image.Resampling.NEAREST).save(path)
    return f"{name}.png"


def gray(root, name, rng):
    image, _ = paths(root, name)
    Image.open(image).convert("L").save(image)
    return image.name


def blank(root, name, rng):
    image, _ = paths(root, name)
    Image.new("RGB", SIZE[::-1], (7, 7, 7)).save(image)
    return image.name


LOCAL = {
    no_mask: "missing partners",
    no_image: "missing partners",
    two_images: "two files of one name",
    two_masks: "two files of one name",
    truncated: "unreadable files",
    garbage: "unreadable files",
    broken_tiff: "unreadable files",
    a_folder: "unreadable files",
    dangling_link: "unreadable files",
    floats: "unreadable files",
    five_channels: "channels",
    other_size: "sizes differ",
    exchanged: "sizes differ",
    turned: "sizes differ",
    white: "masks of 0 and 255",
    jpeg: "masks saved as JPEG",
    jpeg_grays: "JPEG grays",
    outlines: "anti-aliased outlines",
    palette: "palette read as RGB",
    other_colors: "colors, but classes.csv lists numbers",
    beyond: "class numbers beyond the list",
    empty: "empty masks",
    full: "masks of one class",
    tiny: "tiny or huge",
    gray: "gray and color",
    blank: "blank images",
}


# Faults of the whole folder: (root, random numbers) -> the file.


def no_folder(root, rng):
    kind = rng.choice(["images", "masks"])
    shutil.rmtree(root / kind)
    return kind


def no_classes(root, rng):
    (root / "classes.csv").unlink()
    return "classes.csv"


def bad_classes(root, rng):
    text = rng.choice(["", "0,a\n1,b\n", "value,name\n0,a\n0,b\n", "value,name\n0,a\nred,b\n"])
    (root / "classes.csv").write_bytes(text.encode() + rng.choice([b"", b"\n\n", b"\xff"]))
    return "classes.csv"


def bad_images(root, rng):
    texts = [
        "group\na\n",
        "name,split\nnobody,train\n",
        "name,split\ndish_0,dev\n",
        "name,split\ndish_0,train\n",
        "name,group\ndish_0,a\ndish_0.png,b\n",
    ]
    (root / "images.csv").write_text(texts[rng.integers(len(texts))])
    return "images.csv"


def group_in_two(root, rng):
    splits = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    torn = f"{NAMES[rng.integers(4)]},{NAMES[rng.integers(4, 8)]}".split(",")
    rows = [f"{n},{'torn' if n in torn else n},{s}" for n, s in zip(NAMES, splits, strict=True)]
    (root / "images.csv").write_text("name,group,split\n" + "\n".join(rows))
    return "images.csv"


def same_image(root, rng):
    """Copied, encoded anew, or a little resized, in another split."""
    first, second = (
        in_split(root, split) for split in rng.permutation(["train", "val", "test"])[:2]
    )
    image, mask = (Image.open(path) for path in paths(root, first))
    target, target_mask = paths(root, second)
    how = rng.integers(3)
    if how == 0:
        shutil.copy(paths(root, first)[0], target)
    if how == 1:
        target.unlink()
        image.convert("RGB").save(target.with_suffix(".jpg"), quality=int(rng.integers(60, 95)))
    if how == 2:
        size = tuple(int(side * rng.uniform(0.8, 1.3)) for side in image.size)
        image.resize(size, Image.Resampling.BICUBIC).save(target)
        mask = mask.resize(size, Image.Resampling.NEAREST)
    mask.save(target_mask)
    return min(first, second)


def third_class(root, rng):
    """Only seen where it is not learned."""
    (root / "classes.csv").write_text(LISTED + "2,nucleus,#0072B2\n")
    change_mask(root, in_split(root, rng.choice(["val", "test"])), lambda m: m * 2)
    return "classes.csv"


def deep_image(root, rng):
    image, _ = paths(root, in_split(root, rng.choice(["val", "test"])))
    image.unlink()
    tifffile.imwrite(image.with_suffix(".tif"), texture(rng, count=1)[..., 0].astype(np.uint16))
    return image.stem


def unlisted(root, rng):
    (root / "classes.csv").write_text("value,name\n0,background\n9,cell\n")
    return NAMES[0]


def all_ignored(root, rng):
    (root / "classes.csv").write_text(LISTED + "255,ignore,\n")
    return change_mask(root, rng.choice(NAMES), lambda m: m * 0 + 255)


def never(root, rng):
    (root / "classes.csv").write_text(LISTED + "2,nucleus,\n")
    return "classes.csv"


GLOBAL = {
    no_folder: "missing folders",
    no_classes: "classes.csv",
    bad_classes: "classes.csv",
    bad_images: "images.csv",
    group_in_two: "groups in two splits",
    same_image: "the same image in two splits",
    third_class: "classes in one split alone",
    deep_image: "bits without levels",
    unlisted: "values in no row of classes.csv",
    all_ignored: "masks all ignored",
    never: "classes that never occur",
}
WARNINGS = {"masks of one class", "tiny or huge", "gray and color", "blank images"}
WARNINGS |= {"the same image twice", "bits differ"}


def assert_found(findings, kind, file):
    named = [
        f for f in findings if f.kind == kind and any(p.name.startswith(file) for p in f.files)
    ]
    assert named, (kind, file, findings)
    assert all(finding.is_error == (kind not in WARNINGS) for finding in named)
    assert all(finding.what and finding.mend for finding in named)


def assert_sound(root, findings, before):
    """What has no error opens; a copy has none of what it was to mend; the original stays."""
    if not any(finding.is_error for finding in findings):
        source = open_folder(root)
        assert sum(len(list(source.reader(s))) for s in ("train", "val", "test")) == len(
            source.rows
        )
    if any(finding.repair for finding in findings):
        copy = root.parent / "copy"
        repair_folder(root, findings, copy)
        left = check(copy)
        assert not [f for f in left if f.repair], left
        if all(f.repair for f in findings if f.is_error):
            assert not [f for f in left if f.is_error], left
            assert {f.kind for f in left} <= {f.kind for f in findings if not f.repair}
        shutil.rmtree(copy)
    assert digest(root) == before
    assert report(findings, root)


def test_a_clean_folder_has_no_finding(mine):
    assert check(mine) == []
    assert report([], mine) == f"{mine.name}: 0 errors, 0 warnings."


@pytest.mark.parametrize("spoil", LOCAL, ids=lambda f: f.__name__)
def test_one_bad_pair(clean, tmp_path, spoil):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        root = shutil.copytree(clean, tmp_path / str(seed))
        file = spoil(root, rng.choice(NAMES), rng)
        before, findings = digest(root), check(root)
        assert_found(findings, LOCAL[spoil], file)
        assert {f.kind for f in findings} == {LOCAL[spoil]}, findings
        assert_sound(root, findings, before)


@pytest.mark.parametrize("spoil", GLOBAL, ids=lambda f: f.__name__)
def test_one_bad_folder(clean, tmp_path, spoil):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        root = shutil.copytree(clean, tmp_path / str(seed))
        file = spoil(root, rng)
        before, findings = digest(root), check(root)
        assert_found(findings, GLOBAL[spoil], file)
        assert_sound(root, findings, before)


@pytest.mark.parametrize("seed", range(100))
def test_two_bad_pairs(mine, seed):
    """One hides no other."""
    rng = np.random.default_rng(seed)
    spoils = [list(LOCAL)[k] for k in rng.choice(len(LOCAL), 2, replace=False)]
    files = [f(mine, name, rng) for f, name in zip(spoils, rng.permutation(NAMES), strict=False)]
    before, findings = digest(mine), check(mine)
    for spoil, file in zip(spoils, files, strict=True):
        assert_found(findings, LOCAL[spoil], file)
    assert {f.kind for f in findings} == {LOCAL[spoil] for spoil in spoils}, findings
    assert_sound(mine, findings, before)


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes(mine, seed):
    """Whether or not a decoder sees them: what the reader refuses is found, and nothing else."""
    rng = np.random.default_rng(seed)
    path = paths(mine, rng.choice(NAMES))[rng.integers(2)]
    content = bytearray(path.read_bytes())
    for at in rng.integers(0, len(content), 3):
        content[at] ^= int(rng.integers(1, 256))
    path.write_bytes(content)
    before, findings = digest(mine), check(mine)
    assert {f.files[0] for f in findings if f.is_error} <= {path}
    assert_sound(mine, findings, before)


def spoil_all(root, spoil):
    rng = np.random.default_rng(0)
    for name in NAMES:
        spoil(root, name, rng)


@pytest.mark.parametrize("spoil", [white, jpeg, jpeg_grays, outlines, palette])
def test_all_masks_of_two_classes_are_mended(clean, mine, tmp_path, spoil):
    """And become what they were, but for pixels at the outlines."""
    spoil_all(mine, spoil)
    findings = check(mine)
    assert len(findings) == 8 and {f.repair for f in findings} == {"relabel"}
    assert repair_folder(mine, findings, tmp_path / "copy") == {LOCAL[spoil]: 8}
    assert check(tmp_path / "copy") == []
    for name in NAMES:
        mended, original = (
            np.array(Image.open(paths(r, name)[1])) for r in (tmp_path / "copy", clean)
        )
        exact = spoil in (white, palette)
        assert (mended != original).mean() <= (0 if exact else 0.05)


class TestNoRightMend:
    """Where two readings are possible, nothing is repaired, and it is said why."""

    def test_some_masks_of_0_and_1(self, mine):
        white(mine, NAMES[0], None)
        (finding,) = check(mine)
        assert not finding.repair and "other masks hold 1" in finding.mend

    @pytest.mark.parametrize("spoil", [white, jpeg, jpeg_grays, outlines])
    def test_three_classes(self, mine, spoil):
        (mine / "classes.csv").write_text(LISTED + "2,nucleus,\n")
        spoil_all(mine, spoil)
        findings = [f for f in check(mine) if f.kind == LOCAL[spoil]]
        assert len(findings) == 8 and not any(f.repair for f in findings)
        if spoil is not white:
            assert "between two classes may lie a third" in findings[0].mend

    def test_values_0_and_1_after_jpeg(self, mine):
        """They lie too near to each other to be told apart."""
        for name in NAMES:
            _, path = paths(mine, name)
            Image.open(path).save(path.with_suffix(".jpg"))
            path.unlink()
        findings = [f for f in check(mine) if f.is_error]
        assert {f.kind for f in findings} == {"masks saved as JPEG"}
        assert not any(f.repair for f in findings)

    @pytest.mark.parametrize("suffix", [".jpg", ".png"])
    def test_a_patch_of_a_third_gray(self, mine, suffix):
        """Somebody forgot a class: nothing of it may become one of the two."""
        (mine / "classes.csv").write_text("value,name\n0,background\n255,cell\n")
        for name in NAMES:
            _, path = paths(mine, name)
            mask = np.asarray(Image.open(path)) * 255
            mask[:, 24:] = 128
            Image.fromarray(mask).save(path.with_suffix(".jpg"), quality=90)
            if suffix == ".png":
                Image.open(path.with_suffix(".jpg")).save(path)
                path = path.with_suffix(".jpg")
            path.unlink()
        findings = [f for f in check(mine) if f.is_error]
        assert len(findings) == len(NAMES) and not any(f.repair for f in findings)
        patch = re.compile(r"a patch of about 1[23]\d is none of the classes")
        between = [f.what for f in findings if f.kind in ("masks saved as JPEG", "JPEG grays")]
        assert len(between) >= 6 and all(map(patch.fullmatch, between))

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    def test_numbers_of_objects_are_no_jpeg(self, mine, kind):
        """They lie near the number of the background, as JPEG's grays do."""
        (mine / "classes.csv").write_text("value,name\n0,background\n255,cell\n")
        for name in NAMES:
            _, path = paths(mine, name)
            mask = np.zeros(np.asarray(Image.open(path)).shape, kind)
            for number in range(1, 6):  # small ones and larger ones
                mask[4 * number : 5 * number, 3 : 4 + number] = number
            Image.fromarray(mask).save(path)
        findings = [f for f in check(mine) if f.is_error and f.kind != "classes that never occur"]
        assert {f.kind for f in findings} == {"values in no row of classes.csv"}
        assert len(findings) == len(NAMES) and not any(f.repair for f in findings)
        assert "where objects are numbered" in findings[0].mend

    def test_splits_that_are_written_down(self, mine):
        shutil.copy(paths(mine, NAMES[0])[0], paths(mine, NAMES[7])[0])
        splits = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
        rows = "\n".join(f"{n},{s}" for n, s in zip(NAMES, splits, strict=True))
        (mine / "images.csv").write_text("name,split\n" + rows)
        (finding,) = check(mine)
        assert finding.kind == "the same image in two splits" and not finding.repair
        assert "which, is yours to say" in finding.mend

    def test_255_may_be_ignored_or_a_class(self, mine):
        (mine / "classes.csv").write_text(LISTED + "255,ignore,\n")
        spoil_all(mine, white)
        (finding,) = [f for f in check(mine) if f.kind == "classes that never occur"]
        assert "255 is listed as ignored: is it this class?" in finding.mend


def test_a_palette_that_shows_the_reverse(mine):
    for name in NAMES[:2]:
        _, path = paths(mine, name)
        mask = Image.open(path)
        mask.putpalette([255] * 3 + [0] * 3)
        mask.save(path)
    findings = check(mine)
    assert [f.kind for f in findings] == ["black and white reversed"] * 2
    assert not any(f.is_error for f in findings) and "0 in white" in findings[0].what


def test_what_is_not_read_is_said(mine):
    (mine / "images" / "more").mkdir()
    for name in ("a.gif", ".hidden", "Thumbs.db"):
        (mine / "masks" / name).write_bytes(b"")
    found = {(f.files[0].name, f.kind, f.is_error) for f in check(mine)}
    assert found == {("more", "not read", False), ("a.gif", "not read", False)}


def test_folders_that_training_would_refuse(mine, tmp_path):
    (mine / "images.csv").write_text("name,split\n" + "".join(f"{n},train\n" for n in NAMES))
    (finding,) = check(mine, allowed=("classes in one split alone",))
    assert finding.is_error and "has no pair for val" in finding.what

    for kind in ("images", "masks"):
        (tmp_path / "none" / kind).mkdir(parents=True)
    shutil.copy(mine / "classes.csv", tmp_path / "none")
    kinds = [f.kind for f in check(tmp_path / "none") if f.is_error]
    assert kinds.count("missing files") == 2


def test_names_with_two_suffixes(mine, tmp_path):
    """images.csv may call them by their stem, by their file's name, or in a repaired copy."""
    names = [f"{name}.tif" for name in NAMES]
    for name in NAMES:
        for path in paths(mine, name):
            path.rename(path.with_name(f"{name}.tif.png"))
    table = "name,group\n" + "".join(f"{name},{k // 2}\n" for k, name in enumerate(names))
    for text in (table, table.replace(".tif,", ".tif.png,")):
        (mine / "images.csv").write_text(text)
        assert check(mine) == []
        assert [row.group for row in open_folder(mine).rows] == [str(k // 2) for k in range(8)]

    shutil.copy(mine / "images" / f"{names[0]}.png", mine / "images" / f"{names[7]}.png")
    findings = check(mine)
    repair_folder(mine, findings, tmp_path / "copy")
    assert [f.kind for f in findings] == ["the same image in two splits"]
    assert not [f for f in check(tmp_path / "copy") if f.is_error]


def test_names_in_another_form_of_unicode(mine):
    """macOS takes letters with dots apart; lists that were written elsewhere do not."""
    apart, whole = (unicodedata.normalize(form, "z\u00e4hler") for form in ("NFD", "NFC"))
    for path, name in zip(paths(mine, NAMES[0]), (apart, whole), strict=True):
        path.rename(path.with_name(f"{name}.png"))
    rows = [f"{name},{k // 2}\n" for k, name in enumerate([apart, *NAMES[1:]])]
    (mine / "images.csv").write_text("name,group\n" + "".join(rows), encoding="utf-8")
    assert check(mine) == []
    assert {row.name: row.group for row in open_folder(mine).rows}[whole] == "0"


def test_images_without_a_group_where_others_have_one(mine):
    rows = [f"{name},{k // 2}\n" for k, name in enumerate(NAMES[:-1])]
    (mine / "images.csv").write_text("name,group\n" + "".join(rows))
    (finding,) = check(mine)
    assert not finding.is_error
    assert finding.what == f"1 images have no group, {NAMES[-1]!r} first, but others have"
    splits = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    rows = [f"{n},{s},{n[:5] * (n != NAMES[0])}\n" for n, s in zip(NAMES, splits, strict=True)]
    (mine / "images.csv").write_text("name,split,group\n" + "".join(rows))
    assert "images without a group" not in {f.kind for f in check(mine)}


@pytest.mark.parametrize("side, orientation", [(28, 6), (36, 3)])
@pytest.mark.parametrize("is_noted", [False, True])
def test_turned_images_whose_size_does_not_tell(mine, side, orientation, is_noted):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for k, path in enumerate(paths(mine, NAMES[0])):
        cut = Image.open(path).crop((0, 0, side, 28))
        cut.save(path, exif=exif if k == 0 or is_noted else None)
    findings = check(mine)
    if is_noted:
        assert findings == []
    else:
        assert [(f.kind, f.is_error) for f in findings] == [("turned images", False)]


def test_a_thin_class_of_one_value_is_no_outline(mine):
    """A border one pixel wide, of 128 between 0 and 255, wants a row in classes.csv."""
    (mine / "classes.csv").write_text("value,name\n0,background\n255,cell\n")
    for name in NAMES:

        def with_border(mask):
            image = Image.fromarray(mask * 255)
            inner = np.array(image.filter(ImageFilter.MinFilter(3)))
            return np.where(inner == np.array(image), inner, 128).astype(np.uint8)

        change_mask(mine, name, with_border)
    assert {f.kind for f in check(mine)} == {"values in no row of classes.csv"}


def test_the_place_and_value_of_the_first_wrong_pixel(mine):
    def change(mask):
        mask[20, 30], mask[11, 3] = 4, 9
        return mask

    change_mask(mine, "dish_3", change)
    (finding,) = check(mine)
    assert finding.what == "9 at row 11, column 3, among 4, 9"


def test_colors_are_values_too(mine):
    """Smoothed colors of two classes; a number is no color."""
    (mine / "classes.csv").write_text("value,name\n#000000,road\n#00ff00,sky\n")
    for name in NAMES:
        change_mask(mine, name, lambda m: np.stack([m * 0, m * 255, m * 0], axis=-1))
    assert check(mine) == []
    image = Image.open(paths(mine, "dish_1")[1])
    small = image.resize((18, 14), Image.Resampling.NEAREST)
    small.resize(image.size, Image.Resampling.BILINEAR).save(paths(mine, "dish_1")[1])
    (finding,) = check(mine)
    assert finding.kind == "anti-aliased outlines" and finding.repair == "relabel"
    repair_folder(mine, [finding], mine.parent / "copy")
    assert check(mine.parent / "copy") == []

    change_mask(mine, "dish_1", lambda m: m[..., 1] // 255)
    (finding,) = check(mine)
    assert finding.kind == "values in no row of classes.csv" and "#010101 at row" in finding.what


def test_a_name_that_is_no_text_is_refused(mine):
    """From an old archive, on Linux: tables and checkpoints could not name it."""
    for kind in ("images", "masks"):
        os.rename(mine / kind / "dish_3.png", os.fsencode(mine / kind) + b"/z\xfcrich.png")
    assert [(f.kind, f.mend) for f in check(mine)] == [("names", "rename the file")] * 2
    text = report(check(mine), mine)
    assert "z\\udcfcrich.png" in text and text.encode()
    with pytest.raises(ValueError, match=r"z\\udcfcrich\.png' is no name in UTF-8: rename"):
        open_folder(mine)


def test_a_mended_mask_overwrites_no_other(mine, tmp_path):
    """A second file of its name, which only its owner can choose between."""
    for name in NAMES:
        change_mask(mine, name, lambda mask: mask * 255)
    first = paths(mine, "dish_3")[1]
    with Image.open(first) as mask:
        mask.save(first.with_suffix(".bmp"))
    with pytest.raises(ValueError, match=r"dish_3\.bmp and dish_3\.png have one name: rename or"):
        repair_folder(mine, check(mine), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("ignores_case", [True, False])
def test_a_mask_whose_suffix_is_in_capitals(mine, tmp_path, monkeypatch, ignores_case):
    """x.PNG becomes x.png, which on macOS and Windows is the same file, and elsewhere another."""
    for name in NAMES:
        change_mask(mine, name, lambda mask: mask * 255)
    first = paths(mine, "dish_3")[1]
    first.rename(first.with_suffix(".PNG"))
    findings, is_file = check(mine), Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: path == first or is_file(path))
    monkeypatch.setattr(Path, "samefile", lambda path, other: path == other or ignores_case)
    if not ignores_case:
        with pytest.raises(ValueError, match=r"dish_3\.PNG and dish_3\.png have one name"):
            repair_folder(mine, findings, tmp_path / "out")
        return
    repair_folder(mine, findings, tmp_path / "out")
    assert is_file(tmp_path / "out" / "masks" / first.name)


def test_a_repaired_list_keeps_all_its_columns(mine, tmp_path):
    rows = "".join(f"{name},p{k},{20 + k},{k % 2}\n" for k, name in enumerate(NAMES))
    (mine / "images.csv").write_text("name,Patient,age,group\n" + rows)
    paths(mine, "dish_0")[0].write_bytes(b"broken")
    shutil.copy(paths(mine, "dish_1")[0], paths(mine, "dish_2")[0])
    repair_folder(mine, check(mine), tmp_path / "copy")
    table = (tmp_path / "copy" / "images.csv").read_text().split()
    assert table == ["name,group,patient,age", *(f"dish_{k},1,p{k},{20 + k}" for k in range(1, 8))]


def test_a_repaired_list_keeps_the_lines_within_a_cell(mine, tmp_path):
    note = "first\nsecond, and\u2028third"
    with open(mine / "images.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("name", "note"), *((name, note) for name in NAMES)])
    paths(mine, "dish_0")[0].write_bytes(b"broken")
    shutil.copy(paths(mine, "dish_1")[0], paths(mine, "dish_2")[0])
    repair_folder(mine, check(mine), tmp_path / "copy")
    with open(tmp_path / "copy" / "images.csv", newline="", encoding="utf-8") as file:
        assert [row["note"] for row in csv.DictReader(file)] == [note] * 7


class TestSameImages:
    def test_a_thousand_others_are_told_apart(self):
        rng = np.random.default_rng(0)
        thumbnails = [make_thumbnail(texture(rng)) for _ in range(1200)]  # more than a block
        assert find_same(thumbnails) == []
        thumbnails[1100] = thumbnails[1000] = thumbnails[3]
        assert find_same(thumbnails) == [[3, 1000, 1100]]
        assert find_same(thumbnails[:1]) == find_same([]) == []

    @pytest.mark.parametrize("count", [19, 25, 60])
    def test_the_frames_of_a_film_are_one_group(self, count):
        """However many: all that an image is compared with closely may be of its own shot."""
        rng = np.random.default_rng(2)
        scene = rng.standard_normal((64, 64))
        shots = [scene + 0.06 * rng.standard_normal((64, 64)) for _ in range(3)]
        frames = [
            shot + 0.01 * rng.standard_normal((64, 64)) for shot in shots for _ in range(count)
        ]
        other = rng.standard_normal((64, 64))
        thumbnails = [
            ((frame - frame.mean()) / frame.std()).astype(np.float16) for frame in [other, *frames]
        ]
        assert find_same(thumbnails) == [list(range(1, 3 * count + 1))]

    def test_brightness_does_not_count_but_what_is_shown_does(self):
        image = texture(np.random.default_rng(1)).astype(float)
        same = [image, image * 0.5 + 30]
        others = [image[:, ::-1], np.roll(image, 9, axis=1)]
        assert find_same([make_thumbnail(v) for v in same + others]) == [[0, 1]]
        assert make_thumbnail(np.full((9, 9, 3), 4, np.uint8)) is None

    def test_one_group_may_be_alike(self, mine):
        shutil.copy(paths(mine, NAMES[0])[0], paths(mine, NAMES[7])[0])
        assert len(check(mine)) == 1
        (mine / "images.csv").write_text("name,group\ndish_0,a\ndish_7,a\n")
        assert check(mine) == []

    def test_joined_images_bring_their_groups_together(self, mine, tmp_path):
        shutil.copy(paths(mine, "dish_0")[0], paths(mine, "dish_7")[0])
        rows = "name;group\ndish_1.png;a\ndish_0;a\ndish_6;b\ndish_7;b\n"
        (mine / "images.csv").write_text(rows)
        repair_folder(mine, check(mine), tmp_path / "copy")
        assert (tmp_path / "copy" / "images.csv").read_text().split() == [
            "name,group",
            *(f"dish_{k},a" for k in (1, 0, 6, 7)),
        ]


class TestCommand:
    def run(self, *arguments):
        return main(["check", *map(str, arguments)])

    def test_exit_status_and_words(self, mine, capsys):
        assert self.run(mine) == 0
        empty(mine, NAMES[0], None)
        assert self.run(mine) == 1 and "ERROR: empty masks: 1" in capsys.readouterr().out
        assert self.run(mine, "--allow", "empty masks") == 0
        assert "warning: empty masks: 1" in capsys.readouterr().out.lower()
        assert self.run(mine, "--allow", "empty mask") == 1
        assert "--allow 'empty mask': nothing of this kind was found" in capsys.readouterr().out
        for name in NAMES[:5]:
            no_mask(mine, name, None)
        assert self.run(mine, "--show", 2) == 1
        told = capsys.readouterr().out
        assert "ERROR: missing partners: 5\n    images/dish_0.png: has no mask in masks/" in told
        assert "images/dish_2.png" not in told.split("ERROR")[-1] and "    and 3 more\n" in told
        assert told.endswith(f"\n{mine.name}: 5 errors, 0 warnings.\n")

    def test_repair(self, mine, tmp_path, capsys):
        spoil_all(mine, white)
        floats(mine, NAMES[0], np.random.default_rng(0))  # the mask
        (mine / "LICENSE.txt").write_text("free")
        assert self.run(mine, "--repair", tmp_path / "new" / "copy") == 1
        told = capsys.readouterr().out.split("Repaired in ")[1]
        assert "copy: masks of 0 and 255 (7). What remains there:" in told
        assert "1 errors, 0 warnings" in told and "dish_0.tif: holds" in told
        assert (tmp_path / "new" / "copy" / "LICENSE.txt").read_text() == "free"

        (mine / "masks" / "dish_0.tif").unlink()
        (mine / "images" / "dish_0.png").unlink()
        assert self.run(mine, "--repair", tmp_path / "second") == 0

    def test_places_that_are_refused_before_any_work(self, mine, tmp_path, capsys):
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        before = digest(tmp_path)
        for name in ("file", "folder", "link", "mine"):
            assert self.run(mine, "--repair", tmp_path / name) == 1
            assert "is there already: name a new folder" in capsys.readouterr().err
        assert self.run(mine, "--repair", mine / "copy") == 1
        assert capsys.readouterr().err.startswith("error: ") and digest(tmp_path) == before

    def test_nothing_to_repair(self, mine, tmp_path, capsys):
        no_mask(mine, NAMES[0], None)
        assert self.run(mine, "--repair", tmp_path / "copy") == 1
        assert "no copy was written" in capsys.readouterr().out
        assert not (tmp_path / "copy").exists()

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
    def test_a_disk_error_leaves_nothing(self, mine, tmp_path, capsys, monkeypatch, number):
        spoil_all(mine, white)
        before, copied = digest(mine), []

        def copy2(source, target):
            copied.append(source)
            if len(copied) == 5:
                raise OSError(number, "the disk failed")
            shutil.copyfile(source, target)

        monkeypatch.setattr("helpers.datasets.repair.shutil.copy2", copy2)
        assert self.run(mine, "--repair", tmp_path / "copy") == 1
        assert "error: " in capsys.readouterr().err and len(copied) == 5
        assert [path.name for path in tmp_path.iterdir()] == ["mine"] and digest(mine) == before

    @pytest.mark.parametrize("place", ["nowhere", "mine/classes.csv", "~nobody/x"])
    def test_places_that_are_no_folder(self, mine, monkeypatch, capsys, place):
        monkeypatch.chdir(mine.parent)
        assert self.run(place) == 1 and self.run(place, "--repair", "copy") == 1
        told = capsys.readouterr()
        assert "rror: " in (told.out + told.err).lower() and not os.path.lexists("copy")

    def test_odd_names_and_broken_files(self, mine):
        """As a process: nothing on stderr, whatever the encoding of the terminal."""
        shutil.copy(paths(mine, NAMES[0])[0], mine / "images" / "z\udcff\n\u00e4.png")
        for seed in range(5):
            broken_tiff(mine, NAMES[seed], np.random.default_rng(seed))
        command = [sys.executable, "-m", "helpers.datasets", "check", mine]
        done = subprocess.run(
            command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}
        )
        assert (done.returncode, done.stderr) == (1, b"") and b"6 errors" in done.stdout


class TestChannels:
    def test_chosen_ones(self, mine):
        spoil_all(mine, five_channels)
        assert {f.kind for f in check(mine)} == {"channels"} and len(check(mine)) == 8
        assert check(mine, channels=(4, 0, 1)) == []
        assert len(check(mine, channels=(4, 0, 5))) == 8

    def test_three_pages_are_no_colors_by_themselves(self, mine):
        image, _ = paths(mine, NAMES[0])
        pages = np.moveaxis(np.asarray(Image.open(image)), -1, 0)
        image.unlink()
        tifffile.imwrite(image.with_suffix(".tif"), pages, photometric="minisblack")
        (finding,) = check(mine)
        assert finding.kind == "pages" and finding.is_error and "has 3 pages" in finding.what
        assert check(mine, channels=(0, 1, 2)) == []

    def test_bits_that_differ_but_can_be_read(self, mine):
        for name in [in_split(mine, "train"), in_split(mine, "val")]:
            image, _ = paths(mine, name)
            values = np.array(Image.open(image)).astype(np.uint16) * 257
            image.unlink()
            tifffile.imwrite(image.with_suffix(".tif"), values, photometric="rgb")
        findings = check(mine)
        assert [(f.kind, f.is_error) for f in findings] == [("bits differ", False)] * 2
        assert len(list(open_folder(mine).reader("val"))) > 0


def test_a_broken_table_hides_no_broken_file(mine):
    bad_classes(mine, np.random.default_rng(0))
    bad_images(mine, np.random.default_rng(0))
    other_size(mine, NAMES[0], np.random.default_rng(0))
    paths(mine, NAMES[1])[1].write_bytes(b"")
    assert [f.kind for f in check(mine)] == [
        "classes.csv",
        "images.csv",
        "sizes differ",
        "unreadable files",
    ]
