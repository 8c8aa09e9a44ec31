from helpers.datasets.images import read_image
from helpers.tiling import strips
from helpers.tiling.strips import ROWS, enlarge, is_large, open_rows, resize_rows, write_mask

import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

RGB = np.random.default_rng(0).integers(0, 256, (100, 70, 3), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 4000, (100, 70, 3), dtype=np.uint16)
LAYOUTS = {
    "as it is": {},
    "strips": {"rowsperstrip": 7},
    "compressed strips": {"rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"tile": (32, 48)},
    "compressed tiles": {"tile": (16, 16), "compression": "zlib"},
    "big-endian": {"byteorder": ">"},
    "big-endian tiles": {"byteorder": ">", "tile": (32, 32)},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.tif"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("values", [RGB, RGB[..., 0], DEEP], ids=["rgb", "gray", "deep"])
def test_rows_are_those_of_the_whole(path, layout, values):
    kind = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite(path, values, photometric=kind, **LAYOUTS[layout])
    levels = [500, 3000] if values is DEEP else None
    expected = np.asarray(read_image(path, levels))
    with open_rows(path, levels) as (rows, shape):
        assert shape == (100, 70)
        for top, bottom in ((0, 100), (0, 1), (31, 33), (64, 100), (99, 100)):
            found = rows(top, bottom)
            assert found.dtype == np.uint8 and (found == expected[top:bottom]).all()


def test_three_channels_of_many(path):
    values = np.random.default_rng(2).integers(0, 256, (40, 30, 6), dtype=np.uint8)
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    with open_rows(path, channels=[4, 0, 2]) as (rows, _):
        assert (rows(3, 9) == values[3:9][..., [4, 0, 2]]).all()
    for channels, message in (
        (None, "has 6 channels, and a network here takes three"),
        ([0, 1, 6], "channels 0 to 5"),
    ):
        with pytest.raises(ValueError, match=message), open_rows(path, channels=channels):
            pass


@pytest.mark.parametrize("count", [2, 4])
def test_how_opaque_a_pixel_is_does_not_count(path, count):
    """As in images that are read whole."""
    values = np.random.default_rng(3).integers(0, 256, (40, 30, count), dtype=np.uint8)
    kind = "rgb" if count == 4 else "minisblack"
    tifffile.imwrite(path, values, photometric=kind, extrasamples=["unassalpha"])
    with open_rows(path) as (rows, _):
        assert (rows(3, 9) == np.asarray(read_image(path))[3:9]).all()
        assert (rows(3, 9) == values[3:9, :, : count - 1]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": DEEP, "photometric": "rgb"}, "has 16 bits, and no levels are known"),
        ({"data": RGB.astype(np.float32), "photometric": "rgb"}, "8 or 16 bits"),
        ({"data": RGB[..., 0], "photometric": "miniswhite"}, "gray or RGB"),
        ({"data": np.moveaxis(RGB, -1, 0), "photometric": "minisblack"}, "one image of one page"),
        (
            {"data": np.moveaxis(RGB, -1, 0), "photometric": "rgb", "planarconfig": "separate"},
            "the channels of a pixel together",
        ),
        (
            {"data": RGB, "photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]},
            "the image upright",
        ),
        (
            {"data": RGB, "photometric": "rgb", "rowsperstrip": 100, "compression": "zlib"},
            "such as tifffile.imwrite",
        ),
    ],
)
def test_what_cannot_be_read_by_rows_is_refused_with_the_mend(path, options, message, monkeypatch):
    monkeypatch.setattr(strips, "LARGE", 5000)
    tifffile.imwrite(path, **options)
    with pytest.raises(ValueError, match=message) as raised, open_rows(path):
        pass
    assert str(path) in str(raised.value)


def test_what_is_damaged_is_named(path):
    tifffile.imwrite(path, RGB, tile=(32, 32), compression="zlib")
    path.write_bytes(path.read_bytes()[:-3000])
    with open_rows(path) as (rows, _), pytest.raises(ValueError, match=r"a\.tif cannot be decoded"):
        rows(0, 100)
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a\.tif cannot be decoded"), open_rows(path):
        pass


@pytest.mark.parametrize("height", [300, 600])
def test_no_more_is_read_than_asked_for(path, height, monkeypatch):
    """So memory does not grow with the image: of 16 rows, two rows of tiles are decoded."""
    tifffile.imwrite(path, np.zeros((height, 64, 3), np.uint8), tile=(16, 16), compression="zlib")
    read, asked = tifffile.FileHandle.read_segments, []

    def counted(self, offsets, *rest, **options):
        asked.append(len(offsets))
        return read(self, offsets, *rest, **options)

    monkeypatch.setattr(tifffile.FileHandle, "read_segments", counted)
    with open_rows(path) as (rows, _):
        rows(40, 56)
    assert asked == [8]


def test_large_is_by_pixels_and_for_tiffs_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(strips, "LARGE", 6999)
    for name in ("a.tif", "b.TIFF", "small.tif", "c.png"):
        Image.fromarray(RGB[: 99 if name == "small.tif" else 100]).save(tmp_path / name)
    (tmp_path / "broken.tif").write_bytes(b"II*\0no image")
    found = {path.name for path in tmp_path.iterdir() if is_large(path)}
    assert found == {"a.tif", "b.TIFF"} and not is_large(tmp_path / "none.tif")


@pytest.mark.parametrize("height", [ROWS - 1, ROWS, 2 * ROWS + 1])
def test_a_mask_is_written_strip_by_strip(path, height):
    mask = np.random.default_rng(0).integers(0, 3, (height, 33), dtype=np.uint8)
    palette = bytes(range(9)).ljust(768, b"\0")
    parts = (mask[top : top + ROWS] for top in range(0, height, ROWS))
    write_mask(path, parts, mask.shape, palette)
    assert (tifffile.imread(path) == mask).all()
    with Image.open(path) as image:
        assert image.mode == "P"
        colors = np.asarray(image.convert("RGB"))
    assert (colors == np.arange(9, dtype=np.uint8).reshape(3, 3)[mask]).all()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


class TestResize:
    @pytest.mark.parametrize("to", [(100, 116), (57, 70), (300, 500), (200, 77), (1, 1)])
    def test_of_rows_is_that_of_the_whole(self, to):
        """Up to one of 255 levels: a box in single precision."""
        image = noise(200, 232)
        expected = Image.fromarray(image).resize(to[::-1], Image.Resampling.BILINEAR)
        rows = resize_rows(lambda a, b: image[a:b], (200, 232), to, most=5000)
        found = np.concatenate([rows(a, min(a + 13, to[0])) for a in range(0, to[0], 13)])
        assert np.abs(np.asarray(expected).astype(int) - found).max() <= 1

    def test_asks_for_a_part_at_a_time(self):
        image, asked = noise(4000, 10), []

        def rows(top, bottom):
            asked.append(bottom - top)
            return image[top:bottom]

        resize_rows(rows, (4000, 10), (40, 10), most=5000)(0, 40)
        assert max(asked) < 800  # 500, and what the filter reaches


class TestEnlarge:
    @given(st.data())
    def test_is_the_interpolation_of_the_whole(self, data):
        sides = st.integers(1, 40)
        h, w, height, width, step, strip = (data.draw(sides) for _ in range(6))
        logits = torch.randn(2, h, w, generator=torch.Generator().manual_seed(h))
        parts = list(enlarge(iter(logits.split(strip, 1)), (h, w), (height, width), step))
        assert all(part.shape[1] == step for part in parts[:-1])
        size = (height, width)
        expected = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
        assert torch.allclose(torch.cat(parts, dim=1), expected, atol=1e-5)
