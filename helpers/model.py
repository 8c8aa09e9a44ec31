"""The U-Net of Ronneberger, Fischer and Brox (2015), with padding and batch normalization.

Built step by step, and proved equal to this file, in notebook 03.
"""

import torch
from torch import Tensor, nn


class DoubleConv(nn.Sequential):
    """Twice: 3x3 convolution, batch normalization, ReLU.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H, W). Padding 1 keeps height and width,
    where the paper's unpadded convolutions lose 4 pixels of each. The convolutions have no bias:
    the normalization that follows subtracts the mean and adds its own.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class Down(nn.Sequential):
    """One step down the encoder: halve height and width by max-pooling, then DoubleConv.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H/2, W/2).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.MaxPool2d(2), DoubleConv(in_channels, out_channels))


class Up(nn.Module):
    """One step up the decoder: double height and width, join the skip connection, then DoubleConv.

    Shapes: x (N, in_channels, H, W) and skip (N, out_channels, 2H, 2W) -> (N, out_channels, 2H,
    2W).

    Args:
        skips: join `skip` by concatenation. Without, `skip` is not used and the first convolution
            has half as many input channels (for the ablation in notebook 03).
        bilinear: upsample bilinearly and halve the channels by a 1x1 convolution, instead of the
            paper's 2x2 transposed convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, skips: bool = True, bilinear: bool = False
    ) -> None:
        super().__init__()
        if bilinear:
            self.up: nn.Module = nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                nn.Conv2d(in_channels, out_channels, kernel_size=1),
            )
        else:
            self.up = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
        self.skips = skips
        self.conv = DoubleConv(2 * out_channels if skips else out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        if self.skips:
            x = torch.cat([skip, x], dim=1)
        return self.conv(x)


class UNet(nn.Module):
    """U-Net: an encoder, a decoder, and a skip connection at every resolution.

    Shapes: images (N, in_channels, H, W) -> logits (N, num_classes, H, W). H and W must be
    divisible by 2**depth; anything else raises ValueError with the nearest sizes that are.

    Args:
        in_channels: 3 for RGB.
        num_classes: number of logits for each pixel.
        base_channels: channels at full resolution; they double at each step down.
        depth: number of steps down (and up).
        skips: False cuts all skip connections (an encoder-decoder, for the ablation).
        bilinear: bilinear upsampling instead of transposed convolutions.

    Source: Ronneberger et al. 2015, Fig. 1. UNet(base_channels=64, depth=4) is that architecture
    with padded convolutions and batch normalization: 31.0 M parameters. Derived in notebook 03.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 3,
        base_channels: int = 16,
        depth: int = 4,
        skips: bool = True,
        bilinear: bool = False,
    ) -> None:
        super().__init__()
        if depth < 1 or base_channels < 1:
            raise ValueError(f"depth {depth}, base_channels {base_channels}: at least 1 is needed")
        sizes = {"in_channels": in_channels, "num_classes": num_classes, "depth": depth}
        self.config = sizes | {"base_channels": base_channels, "skips": skips, "bilinear": bilinear}
        channels = [base_channels * 2**level for level in range(depth + 1)]
        self.stem = DoubleConv(in_channels, channels[0])
        self.downs = nn.ModuleList(Down(channels[i], channels[i + 1]) for i in range(depth))
        self.ups = nn.ModuleList(
            Up(channels[i + 1], channels[i], skips, bilinear) for i in reversed(range(depth))
        )
        self.head = nn.Conv2d(channels[0], num_classes, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        check_size(images, len(self.downs))
        x = self.stem(images)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up in self.ups:  # x is the bottleneck when this loop begins
            x = up(x, skips.pop())
        return self.head(x)


def check_size(images: Tensor, depth: int) -> None:
    """Raise ValueError for images (..., H, W) that cannot be halved `depth` times."""
    step = 2**depth
    height, width = images.shape[-2:]
    if height % step or width % step:
        fits = f"{-(-height // step) * step} x {-(-width // step) * step}"
        raise ValueError(
            f"image size {height} x {width} is not divisible by 2**depth = {step}: resize or"
            f" pad it, to {fits} at least"
        )
