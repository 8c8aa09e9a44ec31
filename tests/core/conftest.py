from helpers.data import Pairs
from helpers.model import UNet

import pytest
import torch


@pytest.fixture
def pairs() -> Pairs:
    """Twelve images in memory: a bright disc (class 0) on a dark ground (1), half with a rim."""
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    centers = torch.randint(10, 22, (12, 2, 1, 1))
    distance = ((y - centers[:, 0]) ** 2 + (x - centers[:, 1]) ** 2).sqrt()
    masks = (distance > 7).byte()
    masks[::2][(distance[::2] > 6) & (distance[::2] < 8)] = 2
    noise = torch.randint(0, 60, (12, 3, 32, 32), dtype=torch.uint8)
    images = (masks != 1)[:, None].byte() * 180 + noise
    return Pairs("discs", tuple(f"disc_{i}" for i in range(12)), images, masks)


@pytest.fixture
def small():
    """A function that makes a small U-Net: the same weights at each call with the same seed."""

    def make(seed: int = 1, **options: int) -> UNet:
        torch.manual_seed(seed)
        return UNet(**({"base_channels": 4, "depth": 2} | options))

    return make
