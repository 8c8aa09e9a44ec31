"""What was tried to make training better, one thing at a time, and is not part of `helpers`.

`runs.py` trains each by `python -m helpers.train --network variants:NAME` or `--augment
variants:NAME`, or with one of the losses that this module adds.
"""

from helpers.constants import IGNORE_INDEX
from helpers.losses import LOSSES, cross_entropy_and_dice, dice_loss
from helpers.model import DoubleConv, UNet
from helpers.networks.pretrained import PretrainedUNet

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2


def stronger() -> v2.Transform:
    """More of everything: turns, scales, colors, and some gray photos."""
    move = v2.RandomAffine(
        degrees=25,
        translate=(0.15, 0.15),
        scale=(0.6, 2.0),
        shear=10,
        interpolation=InterpolationMode.BILINEAR,
        fill={tv_tensors.Image: 124, tv_tensors.Mask: IGNORE_INDEX},
    )
    colors = [v2.ColorJitter(0.4, 0.4, 0.4, 0.06), v2.RandomGrayscale(0.1)]
    return v2.Compose([v2.RandomHorizontalFlip(), move, *colors])


class CropAndColor(v2.Transform):
    """A flip, a crop of 35 to 100 % of the image's area, at its own size again, and colors."""

    def __init__(self) -> None:
        super().__init__()
        self.colors = v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03)
        self.flip = v2.RandomHorizontalFlip()

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        size = inputs[0].shape[-2:]
        crop = v2.RandomResizedCrop(size, scale=(0.35, 1.0), ratio=(0.75, 1.33), antialias=True)
        return self.colors(*self.flip(*crop(*inputs)))


def border_twice(logits: Tensor, target: Tensor) -> Tensor:
    """The border counts double in the cross-entropy."""
    weight = torch.tensor([1.0, 1.0, 2.0], device=logits.device)
    weighted = F.cross_entropy(logits.float(), target, weight, ignore_index=IGNORE_INDEX)
    return weighted + dice_loss(logits, target)


def deep(logits: Tensor | list[Tensor], target: Tensor) -> Tensor:
    """Deep supervision: the decoder's coarser levels predict, too, and count 0.4 each."""
    total = cross_entropy_and_dice(logits[0], target)
    for coarse in logits[1:]:
        step = target.shape[-1] // coarse.shape[-1]
        every = slice(step // 2, None, step)
        total = total + 0.4 * cross_entropy_and_dice(coarse, target[:, every, every])
    return total


LOSSES.update({"border twice": border_twice, "deep": deep})


class DeepUNet(UNet):
    """A U-Net whose decoder levels at 1/2 and 1/4 have own heads, used in training only."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        base = self.config["base_channels"]
        self.heads = nn.ModuleList(nn.Conv2d(base * 2**level, 3, kernel_size=1) for level in (1, 2))

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        if not self.training:
            return super().forward(images)
        kept: list[Tensor] = []
        hooks = [
            up.register_forward_hook(lambda _m, _i, output: kept.append(output))
            for up in self.ups[-3:-1]
        ]
        logits = super().forward(images)
        for hook in hooks:
            hook.remove()
        return [logits, *(head(x) for head, x in zip(self.heads, reversed(kept), strict=True))]


class AveragedUNet(nn.Module):
    """A U-Net that is evaluated with the exponential moving average (EMA) of its weights."""

    def __init__(self, decay: float = 0.998, **options: int) -> None:
        super().__init__()
        self.model = UNet(**options)
        averaging = get_ema_multi_avg_fn(decay)
        self.average = AveragedModel(self.model, multi_avg_fn=averaging, use_buffers=True)
        self.average.requires_grad_(False)
        self.config = {"decay": decay, **self.model.config}

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return self.average(images)
        self.average.update_parameters(self.model)  # the weights after the step before
        return self.model(images)


class Residual(nn.Module):
    """DoubleConv with a connection around it (a 1x1 convolution where the channels change)."""

    def __init__(self, block: DoubleConv) -> None:
        super().__init__()
        first, last = block[0], block[3]
        self.block = block
        self.around = (
            nn.Identity()
            if first.in_channels == last.out_channels
            else nn.Conv2d(first.in_channels, last.out_channels, kernel_size=1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        around = self.around(x)
        for layer in list(self.block)[:-1]:
            x = layer(x)
        return F.relu(x + around)


class ResidualUNet(UNet):
    """A U-Net of residual blocks."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, DoubleConv) and not isinstance(module, Residual):
                    setattr(module, name, Residual(child))


def frozen_but_for_statistics() -> PretrainedUNet:
    """ImageNet weights without gradients, whose BatchNorm goes on to adapt its statistics.

    What one gets from requires_grad=False alone.
    """
    model = PretrainedUNet().load_imagenet()
    model.encoder.requires_grad_(False)
    return model
