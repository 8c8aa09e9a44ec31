"""Other people's networks, to train beside ours: python -m helpers.train --network peers:NAME

Each takes images (N, 3, H, W), H and W divisible by 32, and gives logits (N, 3, H, W). All begin
with random weights. Those of single persons are reimplementations: written anew from what their
repositories show, in the parts of `helpers.model` where these are the same, and never trained by
their authors. Their recipes (batches, losses, rates) are not followed: every network here is
trained by our loop, with our augmentation.
"""

from collections.abc import Callable

from helpers.model import UNet

import torch
from torch import Tensor, nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large


def half(in_channels: int, out_channels: int, resize: nn.Module) -> nn.Sequential:
    """BatchNorm, ReLU, 3x3 convolution, and again, with the resizing before the last convolution.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W'), H' and W' as `resize` makes them.
    """
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        resize,
        nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
    )


class HoverslamUNet(nn.Module):
    """A reimplementation of the U-Net of https://github.com/hoverslam/image-segmentation.

    The project that this series began from, as of its commit e4036a6: 2.66 M parameters (it says
    2.7 M). Normalization and ReLU come before each convolution, four levels down, nearest-neighbor
    upsampling; the widths do not double at each level.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, kernel_size=3, padding=1)
        widths = [(64, 64), (64, 128), (128, 128), (128, 256)]
        self.downs = nn.ModuleList(half(a, b, nn.MaxPool2d(2)) for a, b in widths)
        widths = [(256, 128), (256, 128), (256, 64), (128, 64)]
        self.ups = nn.ModuleList(half(a, b, nn.Upsample(scale_factor=2)) for a, b in widths)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(128, 3, kernel_size=3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        x, skips = self.stem(images), []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up in self.ups:
            x = torch.cat([up(x), skips.pop()], dim=1)
        return self.head(x)


def milesial_unet() -> UNet:
    """A reimplementation of https://github.com/milesial/Pytorch-UNet: 31.0 M parameters.

    It is our U-Net of 64 channels, transposed convolutions included (its bilinear=False). What
    differs: it pads where an image cannot be halved four times, and ours refuses such sizes. Its
    convolutions had a bias before the normalization, which cancels it, until they lost it; with two
    classes it is then reported to have 31,037,698 parameters, as ours has.
    """
    return UNet(base_channels=64)


def h0rvex_unet() -> UNet:
    """A reimplementation of https://github.com/H0rvex/unet-pet-segmentation: 7.70 M parameters.

    As of its commit 8ae780b. It is our U-Net of 64 channels and three levels. What differs: its
    convolutions have a bias (2,816 numbers in all) before the normalization, which cancels it, and
    the decoder joins the skip connection after, not before, the upsampled features.
    """
    return UNet(base_channels=64, depth=3)


def smp_unet() -> nn.Module:
    """The Unet of segmentation_models_pytorch with a ResNet-18 and random weights: 14.3 M.

    https://github.com/qubvel-org/segmentation_models.pytorch
    """
    from segmentation_models_pytorch import Unet  # only this one needs it

    return Unet("resnet18", encoder_weights=None, classes=3)


class LRASPP(nn.Module):
    """torchvision's LR-ASPP with a large MobileNetV3 and random weights: 3.2 M parameters.

    Source: Howard et al. 2019.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)["out"]


# The names of these networks in records and tables, and what builds them.
PEERS: dict[str, Callable[[], nn.Module]] = {
    "hoverslam's U-Net, reimplemented": HoverslamUNet,
    "milesial's U-Net, reimplemented": milesial_unet,
    "H0rvex's U-Net, reimplemented": h0rvex_unet,
    "SMP's Unet, ResNet-18": smp_unet,
    "torchvision's LR-ASPP, MobileNetV3": LRASPP,
}


def network_of(name: str) -> str:
    """What `--network` calls one of the `PEERS`."""
    return f"peers:{PEERS[name].__name__}"
