import math
import os

from helpers.model import UNet
from helpers.teaching.unet_plan import UNetPlan
from helpers.tiling.tiles import LARGEST_TILE, largest_tile, place_tiles, predict_tiles

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

CPU = torch.device("cpu")


class Network:
    """A small U-Net whose batch statistics fit noise; remembers the sizes that it saw."""

    stride, channels = 4, 4

    def __init__(self):
        torch.manual_seed(0)
        self.model = UNet(base_channels=self.channels, depth=2).train()
        self.seen = []
        with torch.no_grad():
            for _ in range(30):
                self.model(torch.randn(2, 3, 64, 64))
        self.model.eval()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8 and len(images) == 1
        self.seen.append(tuple(images.shape[2:]))
        return self.model(images / 64 - 2)

    def whole(self, image: np.ndarray) -> Tensor:
        return self(torch.from_numpy(image).permute(2, 0, 1)[None])[0]


@pytest.fixture(scope="module")
def network():
    return Network()


@pytest.fixture(autouse=True)
def forget(network):
    network.seen.clear()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def of(image: np.ndarray):
    return lambda top, bottom: image[top:bottom]


def receptive_field() -> int:
    """Of the network, at the pixel that sees furthest to one side, twice that side."""
    plan = UNetPlan(size=128, base_channels=Network.channels, depth=2)
    reaches = [abs(end - at) for at in range(60, 68) for end in plan.receptive_interval(at)]
    return 2 * max(reaches)


class TestTiles:
    def test_are_equal_to_the_whole_where_the_overlap_is_wide_enough(self, network):
        image = noise(200, 232)
        expected = network.whole(image)
        overlap = math.ceil(receptive_field() * 4 / 3)
        assert 40 < overlap < 80
        strips = list(predict_tiles(network, of(image), (200, 232), 128, 4, overlap))
        assert set(network.seen[1:]) == {(128, 128)} and len(strips) > 1
        assert torch.allclose(torch.cat(strips, dim=1), expected, atol=1e-4)

    def test_are_not_where_it_is_narrow_but_away_from_their_edges(self, network):
        """So the test above can fail."""
        image = noise(128, 224)
        expected = network.whole(image)
        (strip,) = predict_tiles(network, of(image), (128, 224), 128, 4, overlap=8)
        error = (strip - expected).abs().amax(dim=(0, 1))
        half = receptive_field() // 2
        assert error.max() > 0.01  # tiles begin at 0 and 96
        assert error[: 96 - 0].max() < 1e-4 or error[:96].argmax() > 128 - half
        inner = torch.ones(224, dtype=torch.bool)
        inner[96 : 96 + half] = inner[128 - half : 128] = False
        assert error[inner].max() < 1e-4

    def test_need_no_size_that_is_divisible(self, network):
        image = noise(70, 51)
        padded = np.pad(image, ((0, 2), (0, 1), (0, 0)), mode="reflect")
        (strip,) = predict_tiles(network, of(image), (70, 51), 128, 4)
        assert network.seen == [(72, 52)] and strip.shape == (3, 70, 51)
        assert torch.allclose(strip, network.whole(padded)[:, :70, :51], atol=1e-4)

    @pytest.mark.parametrize("shape", [(1, 1), (3, 50), (33, 7)])
    def test_of_a_small_image_are_reflected_up_to_the_size_of_training(self, network, shape):
        image = noise(*shape)
        (strip,) = predict_tiles(network, of(image), shape, 64, 4, least=32)
        edges = [(0, max(32, -(-side // 4) * 4) - side) for side in shape]
        padded = np.pad(image, (*edges, (0, 0)), mode="reflect")
        assert network.seen == [padded.shape[:2]]
        expected = network.whole(padded)[:, : shape[0], : shape[1]]
        assert torch.allclose(strip, expected, atol=1e-4)

    @pytest.mark.parametrize("height", [300, 600])
    def test_ask_for_rows_as_high_as_a_tile_and_go_down(self, network, height):
        """So memory does not grow with the image's height."""
        image, asked = noise(height, 72), []

        def rows(top, bottom):
            asked.append((top, bottom))
            return image[top:bottom]

        strips = list(predict_tiles(network, rows, (height, 72), 64, 4))
        assert max(bottom - top for top, bottom in asked) == 64 and asked == sorted(asked)
        assert max(strip.shape[1] for strip in strips) <= 64
        assert sum(strip.shape[1] for strip in strips) == height

    @given(st.data())
    def test_lie_on_the_stride_and_weights_sum_to_one(self, data):
        stride = data.draw(st.sampled_from([1, 2, 16]))
        tile = stride * data.draw(st.integers(1, 20))
        length = tile + stride * data.draw(st.integers(0, 60))
        overlap = data.draw(st.integers(0, tile // 2))
        starts, weights = place_tiles(length, tile, overlap, stride)
        assert starts[0] == 0 and starts[-1] == length - tile
        assert all(start % stride == 0 for start in starts) and weights.min() >= 0

        total = torch.zeros(length)
        for start, weight in zip(starts, weights, strict=True):
            total[start : start + tile] += weight
        assert torch.allclose(total, torch.ones(length), atol=1e-5)
        if tile - overlap >= stride:  # else the stride leaves no such overlap
            outer = math.floor(overlap * 3 / 8)
            assert not weights[1:, :outer].any() and not weights[:-1, tile - outer :].any()

    def test_fade_into_each_other(self):
        _, weights = place_tiles(length=416, tile=256, overlap=96, stride=16)
        steps = weights.diff(dim=1).abs().max()
        assert 0 < steps < math.pi / 2 / 24 * 1.01  # the middle quarter of 96 pixels


class TestLargestTile:
    def test_is_what_a_quarter_of_the_memory_is_enough_for(self, monkeypatch):
        pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**30 // 4096}
        monkeypatch.setattr(os, "sysconf", pages.get, raising=False)
        side = largest_tile(16, 3, 1000, CPU)
        assert side**2 * 16 * 64 <= 2**30 // 4 < (side + 1) ** 2 * 16 * 64
        assert largest_tile(64, 3, 1000, CPU) == side // 2 == largest_tile(2, 64, 1000, CPU)
        pages["SC_PHYS_PAGES"] *= 1000
        assert largest_tile(16, 3, 1000, CPU) == LARGEST_TILE

    def test_is_less_for_a_wide_image(self, monkeypatch):
        monkeypatch.delattr(os, "sysconf", raising=False)  # 4 GB
        assert largest_tile(16, 3, 20_000, CPU) > 1000 and largest_tile(16, 3, 40_000, CPU) < 600

    def test_where_the_system_does_not_tell(self, monkeypatch):
        monkeypatch.delattr(os, "sysconf", raising=False)
        assert largest_tile(16, 3, 100, CPU) == LARGEST_TILE
        assert 0 < largest_tile(1000, 3, 100, CPU) < 200

    def test_of_a_gpu_is_of_what_is_free(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**40))
        assert largest_tile(16, 3, 100, torch.device("cuda")) == 512
