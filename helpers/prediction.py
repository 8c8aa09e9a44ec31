"""What a trained network answers: class probabilities for a batch, a mask for a photo. Notebook 00."""

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from helpers.data import normalize, resize_image
from helpers.training import pick_device


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Tensor,
    device: str | torch.device = "auto",
    batch_size: int = 32,
    flip: bool = False,
) -> Tensor:
    """Class probabilities, float32 (N, C, H, W) on the CPU, of normalized images (N, 3, H, W).

    flip: take the mean of two answers, for the photo and for its mirror image: twice the time, a little better.
    """
    target = pick_device(device)
    model.to(target).eval()

    def answer(batch: Tensor) -> Tensor:
        return model(batch.to(target)).softmax(dim=1)

    batches = images.split(batch_size)
    if flip:
        return torch.cat([((answer(b) + answer(b.flip(-1)).flip(-1)) / 2).cpu() for b in batches])
    return torch.cat([answer(b).cpu() for b in batches])


@torch.no_grad()
def predict_photo(model: nn.Module, photo: Image.Image, size: int = 128, device: str | torch.device = "auto") -> Tensor:
    """The mask of one photo at its own size: class indices, uint8 (H, W) on the CPU.

    The photo is squashed, and the logits are enlarged bilinearly.

    Args:
        model: logits (1, C, size, size) from a normalized image (1, 3, size, size).
        photo: from `helpers.data.open_photo`.
        size: the input size that the model was trained at, in pixels.
    """
    target = pick_device(device)
    small = normalize(resize_image(photo.convert("RGB"), size))
    logits = model.to(target).eval()(small[None].to(target)).float().cpu()
    enlarged = F.interpolate(logits, size=photo.size[::-1], mode="bilinear", align_corners=False)
    return enlarged.argmax(dim=1)[0].byte()
