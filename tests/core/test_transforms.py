import math
from fractions import Fraction

from helpers.constants import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD
from helpers.transforms import (
    default_augmentation,
    denormalize,
    normalize,
    open_photo,
    resize_image,
    resize_pair,
)

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

sides = st.integers(1, 60)


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


class TestResize:
    @settings(max_examples=40, deadline=None)
    @given(sides, sides, sides, st.integers(0, 99))
    def test_images_as_pillow_does(self, height, width, size, seed):
        image = Image.fromarray(noise(height, width, seed))
        expected = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
        got = resize_image(image, size)
        assert got.shape == (3, size, size) and got.dtype == torch.uint8

        # Both round after rows and after columns, with weights of 16 and of 22 bits.
        assert np.abs(got.numpy().transpose(1, 2, 0).astype(int) - expected).max() <= 2

    @settings(max_examples=40, deadline=None)
    @given(sides, sides, sides, st.integers(0, 99))
    def test_masks_take_the_middle_of_each_cell(self, height, width, size, seed):
        """By plain loops. A middle on the line between two pixels may take either."""
        mask = noise(height, width, seed)[..., 0]
        _, got = resize_pair(Image.new("RGB", (width, height)), mask, size)

        def near(i: int, side: int) -> set[int]:
            middle = Fraction((2 * i + 1) * side, 2 * size)
            return {math.floor(middle), math.ceil(middle) - 1}

        for row in range(size):
            for column in range(size):
                allowed = {mask[y, x] for y in near(row, height) for x in near(column, width)}
                assert got[row, column].item() in allowed

    def test_a_disc_keeps_its_place(self):
        """Plain NEAREST moves the mask by up to half a pixel: its center of mass shows it."""
        y, x = np.mgrid[:320, :320] + 0.5
        mask = (np.hypot(y - 150, x - 170) < 90).astype(np.uint8)
        image, small = resize_pair(Image.fromarray(mask * 255).convert("RGB"), mask, 64)
        rows, columns = torch.nonzero(small == 1, as_tuple=True)
        assert (rows.float().mean().item() + 0.5) * 5 == pytest.approx(150, abs=0.3)
        assert (columns.float().mean().item() + 0.5) * 5 == pytest.approx(170, abs=0.3)
        assert torch.equal((image[0] > 127)[small == 1], torch.ones_like(small[small == 1]).bool())


class TestAugmentation:
    def moved(self, image: torch.Tensor, mask: torch.Tensor, part: slice):
        change = v2.Compose(default_augmentation().transforms[part])
        return change(tv_tensors.Image(image), tv_tensors.Mask(mask))

    def test_image_and_mask_move_together(self):
        """The mask is the image's red channel; after any move it still is, wherever it counts."""
        mask = torch.zeros(64, 64, dtype=torch.uint8)
        mask[20:44, 10:40] = 1
        image = (mask * 255).expand(3, 64, 64)
        filled, blended = 0, 0
        for _ in range(20):
            new_image, new_mask = self.moved(image, mask, slice(2))
            assert not torch.equal(new_mask, mask)
            assert set(new_mask.unique().tolist()) <= {0, 1, IGNORE_INDEX}

            # Pixels in between are blends at the edge: images are interpolated, masks are not.
            inside, between = new_mask != IGNORE_INDEX, (new_image[0] > 30) & (new_image[0] < 225)
            clear = inside & ~between
            blended += (inside & between).any().item()
            agree = (new_image[0] > 127)[clear] == (new_mask == 1)[clear]
            assert agree.float().mean() > 0.97
            filled += (new_mask == IGNORE_INDEX).any().item()
        assert filled > 10 and blended == 20

    def test_what_comes_into_view_is_gray_and_ignored(self):
        image, mask = torch.zeros(3, 64, 64).byte(), torch.zeros(64, 64).byte()
        for _ in range(10):
            new_image, new_mask = self.moved(image, mask, slice(2))
            inside = new_image[0] == 0
            outside = new_image[0] == 124
            assert (inside | outside).float().mean() > 0.9
            assert (new_mask[outside] == IGNORE_INDEX).float().mean() > 0.95 or not outside.any()

    def test_half_are_mirrored_and_colors_change_the_image_alone(self):
        image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
        mask = torch.arange(8, dtype=torch.uint8).expand(8, 8)
        flips = [self.moved(image, mask, slice(1))[1][0, 0].item() == 7 for _ in range(100)]
        assert 30 < sum(flips) < 70
        new_image, new_mask = self.moved(image, mask, slice(2, 3))
        assert torch.equal(new_mask, mask) and not torch.equal(new_image, image)

    def test_colors_change_in_every_way(self):
        """Each measure depends on one change: other ones leave it as it is."""
        gray = torch.full((3, 8, 8), 100, dtype=torch.uint8)
        checks = gray.clone()
        checks[:, ::2] = 60
        red = torch.tensor([160, 60, 60], dtype=torch.uint8)[:, None, None].expand(3, 8, 8)
        half = red // 2  # dark red rows and bright gray ones
        half[:, ::2] = 150
        brightness, contrast, saturation, hue = [], [], [], []
        for _ in range(20):
            moved = [self.moved(image, gray[0], slice(2, 3))[0].float() for image in (gray, checks)]
            brightness.append(moved[0].mean().item() / 100)
            contrast.append((moved[1].std() / moved[1].mean()).item())
            of_red = self.moved(red, gray[0], slice(2, 3))[0][:, 0, 0].tolist()
            hue.append(of_red[1] - of_red[2])  # green and blue are equal in a pure red
            new = self.moved(half, gray[0], slice(2, 3))[0].float()
            of_red, of_gray = new[:, 1, 0], new[:, 0, 0]
            apart = (of_gray - of_red) @ torch.tensor([0.299, 0.587, 0.114])  # in luminance
            saturation.append(((of_red.max() - of_red.min()) / apart).item())
        assert 0.69 < min(brightness) < 0.85 and 1.15 < max(brightness) < 1.31
        assert max(contrast) > 1.3 * min(contrast)
        assert max(saturation) > 1.4 * min(saturation)
        assert min(hue) < -3 and max(hue) > 3

    def test_stays_within_its_stated_limits(self):
        """A point, seen through many draws: moved, turned, enlarged, but not beyond."""
        mask = torch.zeros(101, 101, dtype=torch.uint8)
        mask[45:56, 45:56] = 1  # 11 x 11 in the middle
        areas, shifts = [], []
        for _ in range(60):
            rows, columns = torch.nonzero(
                self.moved(mask.expand(3, -1, -1), mask, slice(2))[1] == 1
            ).T
            areas.append(len(rows) / 121)
            shifts.append(max(abs(rows.float().mean() - 50), abs(columns.float().mean() - 50)))
        assert 0.4 < min(areas) < 0.75 and 1.6 < max(areas) < 2.7  # 0.75 and 1.5 squared
        assert 8 < max(shifts) < 12  # a tenth of 101


class TestNormalize:
    def test_is_what_torchvision_does_and_back(self):
        image = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
        before = image.clone()
        steps = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
        assert torch.allclose(normalize(image), v2.Compose(steps)(image), atol=1e-6)
        assert torch.allclose(denormalize(normalize(image)) * 255, image.float(), atol=1e-3)
        assert torch.equal(normalize(image[1]), normalize(image)[1])
        assert torch.equal(image, before)

    def test_stays_on_its_device(self):
        image = torch.zeros(3, 4, 4, dtype=torch.uint8, device="meta")
        assert normalize(image).device.type == denormalize(normalize(image)).device.type == "meta"

    def test_back_stays_in_the_range_of_images(self):
        wild = denormalize(torch.tensor([-9.0, 9.0]).expand(3, 1, 2))
        assert (wild.min(), wild.max()) == (0, 1)

    @pytest.mark.parametrize(
        "image", [torch.rand(3, 4, 4), torch.zeros(4, 4, 4).byte(), torch.zeros(3, 4).byte()]
    )
    def test_refuses_what_is_no_rgb_image_of_bytes(self, image):
        with pytest.raises(ValueError, match=r"uint8 \(\.\.\., 3, H, W\), not torch"):
            normalize(image)


class TestOpenPhoto:
    def test_upright_and_rgb(self, tmp_path):
        image = Image.new("RGBA", (40, 20))
        exif = image.getexif()
        exif[0x0112] = 6  # the camera was turned by 90 degrees
        image.save(tmp_path / "turned.png", exif=exif)
        photo = open_photo(tmp_path / "turned.png")
        assert (photo.mode, photo.size) == ("RGB", (20, 40))

    def test_what_cannot_be_opened_is_named(self, tmp_path):
        (tmp_path / "text.jpg").write_text("no image")
        with pytest.raises(ValueError, match=r"text\.jpg cannot be decoded"):
            open_photo(tmp_path / "text.jpg")
        with pytest.raises(FileNotFoundError, match="none"):
            open_photo(tmp_path / "none.jpg")

    def test_with_a_damaged_note_of_the_camera_it_is_named(self, tmp_path):
        path, exif = tmp_path / "odd.jpg", Image.Exif()
        exif[0x0112], exif[0x011A] = 6, 1.5
        Image.new("RGB", (20, 24)).save(path, exif=exif)
        written = path.read_bytes()
        resolution, compression = b"\x01\x1a\x00\x05", b"\x01\x03\x00\x05"  # one bad byte
        assert written.count(resolution) == 1
        path.write_bytes(written.replace(resolution, compression))
        with pytest.raises(ValueError, match=r"odd\.jpg cannot be decoded"):
            open_photo(path)

    @pytest.mark.parametrize("numbers", [np.uint16, np.int32, np.float32])
    def test_more_than_8_bits_are_not_cut_in_silence(self, tmp_path, numbers):
        path = tmp_path / "deep.tif"
        Image.fromarray(np.linspace(0, 65535, 64).reshape(8, 8).astype(numbers)).save(path)
        with pytest.raises(
            ValueError, match=r"deep\.tif cannot be decoded \(it has 16 bits or more"
        ):
            open_photo(path)

    def test_nor_those_of_colors(self, tmp_path):
        path = tmp_path / "deep.tif"
        tifffile.imwrite(path, np.full((8, 8, 3), 900, np.uint16), photometric="rgb")
        with pytest.raises(ValueError, match=r"deep\.tif cannot be decoded \(it has 16 bits"):
            open_photo(path)

    def test_a_file_that_claims_to_be_huge_is_refused(self, tmp_path, monkeypatch):
        path = tmp_path / "huge.png"
        Image.new("L", (100, 100)).save(path)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(ValueError, match=r"huge\.png cannot be decoded \(Image size"):
            open_photo(path)

    def test_half_a_photo_is_refused(self, tmp_path):
        path = tmp_path / "half.jpg"
        Image.fromarray(noise(200, 200, 0)).save(path)
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(ValueError, match=r"half\.jpg cannot be decoded"):
            open_photo(path)
