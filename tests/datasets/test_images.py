"""Every kind of image file that a labeling tool or a microscope leaves."""

import struct
import zlib

from helpers.datasets.images import (
    MAX_PIXELS,
    count_pages,
    has_16_bits,
    is_turned,
    read_image,
    read_mask,
    read_palette,
    read_values,
    size_of,
)

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLORS = np.stack([GRAY, GRAY + 1, GRAY + 2], axis=-1)
DEEP = GRAY.astype(np.uint16) * 257


def pixels(path, **options):
    return np.asarray(read_image(path, **options))


def write_png(path, values):
    """A PNG with 16 bits, of any channels: Pillow writes none with colors."""
    height, width, count = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[count]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = {b"IHDR": head, b"IDAT": zlib.compress(rows), b"IEND": b""}
    made = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(made))


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_gray_and_colors(tmp_path, suffix):
    for name, values in (("gray", GRAY), ("colors", COLORS)):
        path = tmp_path / f"{name}.{suffix}"
        Image.fromarray(values).save(path)
        assert np.array_equal(pixels(path), np.broadcast_to(values.reshape(3, 4, -1), (3, 4, 3)))
        assert size_of(path) == (3, 4) and not has_16_bits(path)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_alpha_is_dropped(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.dstack([COLORS, np.full((3, 4), 7, np.uint8)])).save(path)
    assert np.array_equal(pixels(path), COLORS)
    Image.fromarray(np.dstack([GRAY, np.full((3, 4), 7, np.uint8)])).save(tmp_path / "la.png")
    assert np.array_equal(pixels(tmp_path / "la.png")[..., 0], GRAY)


def test_palettes_are_colors_of_an_image_and_numbers_of_a_mask(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    for path in (tmp_path / "p.png", tmp_path / "p.tif"):
        image.save(path)
        assert pixels(path)[0].tolist() == [[255, 0, 0], [0, 255, 0]]
        assert read_mask(path).tolist() == [[0, 1], [2, 1]]


def test_an_image_is_turned_as_its_camera_noted(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(np.repeat(COLORS, 8, axis=0)).save(tmp_path / "a.png", exif=exif)
    assert size_of(tmp_path / "a.png") == (4, 24) == pixels(tmp_path / "a.png").shape[:2]
    assert np.array_equal(pixels(tmp_path / "a.png"), np.rot90(np.repeat(COLORS, 8, axis=0), -1))


class Test16Bits:
    def test_levels_become_black_and_white(self, tmp_path):
        for path in (tmp_path / "a.tif", tmp_path / "a.png"):
            write = tifffile.imwrite if path.suffix == ".tif" else save_gray
            write(path, DEEP)
            assert has_16_bits(path) and read_values(path).dtype == np.uint16
            assert np.array_equal(pixels(path, levels=(0, 65535))[..., 1], GRAY)
            cut = pixels(path, levels=(5140, 10280))[..., 0].ravel()  # the second, the third
            assert cut.tolist() == [0, 0, 255] + [255] * 9

    def test_without_levels_they_are_refused(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", DEEP)
        with pytest.raises(ValueError, match=r"a\.tif has 16 bits, and no levels are known"):
            read_image(tmp_path / "a.tif")

    def test_colors_from_a_tiff(self, tmp_path):
        deep = COLORS.astype(np.uint16) * 257
        for kind, values in (("contig", deep), ("separate", np.moveaxis(deep, -1, 0))):
            path = tmp_path / f"{kind}.tif"
            tifffile.imwrite(path, values, photometric="rgb", planarconfig=kind)
            assert np.array_equal(pixels(path, levels=(0, 65535)), COLORS)

    @pytest.mark.parametrize("count", [2, 3, 4])
    def test_a_png_that_pillow_would_cut_is_refused(self, tmp_path, count):
        write_png(tmp_path / "a.png", DEEP[..., None].repeat(count, axis=-1))
        for read in (read_image, read_mask, size_of):
            with pytest.raises(ValueError, match=r"a\.png has colors of 16 bits.*save it as TIFF"):
                read(tmp_path / "a.png")


def save_gray(path, values):
    Image.fromarray(values).save(path)


class TestChannels:
    def test_three_are_chosen(self, tmp_path):
        many = np.stack([GRAY + k for k in range(5)])
        tifffile.imwrite(tmp_path / "a.tif", many, photometric="minisblack")
        found = pixels(tmp_path / "a.tif", channels=(4, 0, 0))
        assert np.array_equal(found, np.stack([GRAY + 4, GRAY, GRAY], axis=-1))

        with pytest.raises(
            ValueError,
            match=r"has 5 channels.*for the training, --channels 0 1 2, or open_folder\(\.\.\., ch",
        ):
            read_image(tmp_path / "a.tif")
        for wrong in ((0, 1, 5), (0, 1), (-1, 0, 1)):
            with pytest.raises(ValueError, match="has the channels 0 to 4: three of them"):
                read_image(tmp_path / "a.tif", channels=wrong)

    def test_four_without_alpha_are_not_rgba(self, tmp_path):
        four = np.stack([GRAY + k for k in range(4)])
        tifffile.imwrite(tmp_path / "a.tif", four, photometric="minisblack")
        with pytest.raises(ValueError, match="has 4 channels"):
            read_image(tmp_path / "a.tif")

    def test_two_need_a_choice_too(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.stack([GRAY, GRAY]), photometric="minisblack")
        with pytest.raises(ValueError, match="has 2 channels"):
            read_image(tmp_path / "a.tif")

    @pytest.mark.parametrize("axes", ["ZYX", "TYX", "QYX", "CYX"])
    def test_pages_are_channels_if_they_are_called_so_or_chosen(self, tmp_path, axes):
        three = np.stack([GRAY, GRAY + 1, GRAY + 2])
        as_rgb, path = np.moveaxis(three, 0, -1), tmp_path / "a.tif"
        named = {} if axes == "QYX" else {"imagej": True, "metadata": {"axes": axes}}
        tifffile.imwrite(path, three, photometric="minisblack", **named)
        assert np.array_equal(pixels(path, channels=(0, 1, 2)), as_rgb)
        assert count_pages(path) == (1 if axes == "CYX" else 3)
        if axes == "CYX":
            assert np.array_equal(pixels(path), as_rgb)
        else:
            with pytest.raises(ValueError, match=r"a\.tif has 3 pages, .*--channels 0 1 2"):
                read_image(path)

    @pytest.mark.parametrize("second, is_other", [(GRAY, True), (GRAY[:1, :1], False)])
    def test_several_images_in_a_file_are_refused(self, tmp_path, second, is_other):
        """But for a thumbnail: the others would be lost in silence."""
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            file.write(GRAY), file.write(second)
        for read in (read_image, read_mask):
            if is_other:
                with pytest.raises(ValueError, match=r"a\.tif holds 2 images: save one a file"):
                    read(tmp_path / "a.tif")
            else:
                assert np.asarray(read(tmp_path / "a.tif")).shape[:2] == GRAY.shape

    def test_a_stack_of_stacks_is_refused(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 9, 4, 5), np.uint8))
        with pytest.raises(ValueError, match=r"a\.tif has the axes .*: save one image"):
            read_image(tmp_path / "a.tif")


def test_white_is_zero_in_some_tiffs(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GRAY, photometric="miniswhite")
    assert np.array_equal(pixels(tmp_path / "a.tif")[..., 0], 255 - GRAY)
    assert np.array_equal(read_mask(tmp_path / "a.tif"), GRAY)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "jpeg", "packbits"])
def test_compressed_tiffs(tmp_path, compression):
    big = np.full((32, 48, 3), (10, 200, 90), np.uint8)
    Image.fromarray(big).save(tmp_path / "a.tif", compression=compression)
    assert np.abs(pixels(tmp_path / "a.tif").astype(int) - big).max() <= 3  # JPEG loses some


def test_floats_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GRAY.astype(np.float32))
    with pytest.raises(ValueError, match=r"a\.tif holds numbers of the type float32: save it"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif holds float32 numbers: a mask's are whole"):
        read_mask(tmp_path / "a.tif")


def test_masks_of_one_bit_and_of_sixteen(tmp_path):
    Image.fromarray(GRAY > 100).save(tmp_path / "one.png")
    assert read_mask(tmp_path / "one.png").tolist() == (GRAY > 100).astype(int).tolist()
    assert pixels(tmp_path / "one.png").max() == 255
    for path in (tmp_path / "deep.png", tmp_path / "deep.tif"):
        (save_gray if path.suffix == ".png" else tifffile.imwrite)(path, DEEP)
        assert np.array_equal(read_mask(path), DEEP)
    Image.fromarray(COLORS).save(tmp_path / "colors.png")
    assert np.array_equal(read_mask(tmp_path / "colors.png"), COLORS)


def test_palettes_are_whole(tmp_path):
    """Their colors beyond the last are black, in both formats; other files have none."""
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([9, 8, 7, 100, 0, 200])
    for path in (tmp_path / "p.png", tmp_path / "p.tif"):
        image.save(path)
        assert read_palette(path)[:3].tolist() == [[9, 8, 7], [100, 0, 200], [0, 0, 0]]
        assert read_palette(path).shape == (256, 3)
        Image.fromarray(GRAY).save(path)
        assert read_palette(path) is None


def test_masks_of_many_channels_or_deep_colors_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GRAY] * 5), photometric="minisblack")
    with pytest.raises(ValueError, match=r"a\.tif has 5 channels: a mask has one, or colors"):
        read_mask(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", COLORS.astype(np.uint16) * 257, photometric="rgb")
    with pytest.raises(ValueError, match=r"b\.tif holds uint16 .* or colors of 8 bits"):
        read_mask(tmp_path / "b.tif")


def test_pages_of_a_mask_are_refused(tmp_path):
    """One of them would be lost in silence."""
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GRAY] * 2), photometric="minisblack")
    with pytest.raises(ValueError, match=r"a\.tif has 2 channels.*each page is a channel"):
        read_mask(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiffs_are_upright_too(tmp_path, orientation):
    path = tmp_path / "a.tif"
    Image.fromarray(COLORS).save(path, tiffinfo={0x0112: orientation})
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(pixels(path), upright) and np.array_equal(read_mask(path), upright)
    assert size_of(path) == upright.shape[:2] and is_turned(path) == (orientation >= 5)


def test_black_is_0_where_0_is_white(tmp_path):
    """Scanners and fax machines write so; a mask's numbers of 8 bits stay as they are."""
    path, drawn = tmp_path / "a.tif", GRAY > 100
    Image.fromarray(drawn).save(path, tiffinfo={262: 0})
    with Image.open(path) as image:
        assert np.array_equal(read_mask(path), np.asarray(image))
        assert np.array_equal(pixels(path)[..., 0], np.asarray(image.convert("L")))
    tifffile.imwrite(path, GRAY, photometric="miniswhite")
    assert np.array_equal(read_mask(path), GRAY)
    assert np.array_equal(pixels(path)[..., 0], 255 - GRAY)


def test_a_tiff_under_another_name_keeps_its_16_bits(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", COLORS.astype(np.uint16) * 257, photometric="rgb")
    path = (tmp_path / "a.tif").rename(tmp_path / "a.png")
    assert has_16_bits(path) and np.array_equal(read_values(path), COLORS.astype(np.uint16) * 257)


def test_other_colors_than_rgb_are_refused(tmp_path):
    Image.fromarray(COLORS).convert("LAB").save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif is neither gray nor RGB.*CIELAB.*save it as RGB"):
        read_image(tmp_path / "a.tif")


class TestBroken:
    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
    @pytest.mark.parametrize("content", [b"", b"no image", "half"])
    def test_files_are_named(self, tmp_path, name, content):
        path = tmp_path / name
        if content == "half":
            noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
            Image.fromarray(noise).save(path)
            content = path.read_bytes()[:-3000]
        path.write_bytes(content)
        for read in (read_image, read_mask):
            with pytest.raises(ValueError, match=r"a\.\w+ cannot be decoded"):
                read(path)

    def test_missing(self, tmp_path):
        for name in ("a.png", "a.tif"):
            for read in (read_image, read_mask, size_of, has_16_bits):
                with pytest.raises(FileNotFoundError, match="does not exist: check the name"):
                    read(tmp_path / name)

    def test_bombs(self, tmp_path):
        side = 20_000
        assert side**2 > MAX_PIXELS
        head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        chunk = b"IHDR" + head
        (tmp_path / "a.png").write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + struct.pack(">I", 13)
            + chunk
            + struct.pack(">I", zlib.crc32(chunk))
            + struct.pack(">I", 0)
            + b"IDAT"
            + struct.pack(">I", zlib.crc32(b"IDAT"))
        )
        tifffile.imwrite(tmp_path / "a.tif", shape=(side, side), dtype=np.uint8)
        for name in ("a.png", "a.tif"):
            with pytest.raises(ValueError, match=r"claims more than 178,956,970 pixels.*cut it"):
                read_image(tmp_path / name)
