"""Use a network: on which device, in which precision, how good is it, what does it predict."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from helpers.checkpoint import load_model
from helpers.constants import IGNORE_INDEX
from helpers.metrics import ConfusionMatrix
from helpers.transforms import normalize, resize_image

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
Device = str | torch.device | None


class Evaluation(NamedTuple):
    """confusion over all images, and the mean cross-entropy of a valid pixel."""

    confusion: ConfusionMatrix
    loss: float


def pick_device(name: str | torch.device = "auto") -> torch.device:
    """The device to work on. "auto" takes CUDA, else Apple's MPS, else the CPU.

    Raises RuntimeError for a GPU that PyTorch cannot see, and for another name.
    """
    if str(name) == "auto":
        has_mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        torch.empty(0, device=name)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise RuntimeError(
            f"device {str(name)!r} was asked for, but PyTorch {torch.__version__} cannot use it:"
            " there are 'auto', 'cpu', 'cuda' and 'mps'; the last two need a GPU, with its driver"
            " and a PyTorch built for it (in Colab: Runtime > Change runtime type)"
        ) from error
    return torch.device(name)


def pick_precision(device: torch.device, precision: str = "auto") -> torch.dtype | None:
    """The type that convolutions compute in: torch.bfloat16, torch.float16, or None for float32.

    "auto" is bfloat16 on a CUDA GPU that has it, float16 on one that has not, float32 elsewhere: on
    a CPU, 16 bits pay only on some chips, with AMX or AVX512-BF16. Raises ValueError for another
    name.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, not {precision!r}")
    if precision == "auto" and device.type == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if has_bfloat16 else "float16"
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels last is faster on CPU and CUDA; on MPS it gave wrong gradients (PyTorch 175189)."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    device: Device = None,
    precision: torch.dtype | None = None,
) -> Evaluation:
    """Score a model in eval() mode on all batches of a loader.

    The model is afterwards in the mode, and on the device, that it had before.

    Args:
        model: logits (N, C, H, W) from images (N, 3, H, W).
        loader: batches of images and int64 masks (N, H, W): a DataLoader, or a list of them.
        device: where to compute; None means where the model is.
        precision: see `pick_precision`; None is float32.

    Raises ValueError for a loader without a batch.
    """
    confusion: ConfusionMatrix | None = None
    with in_eval_mode(model, device) as place:
        loss = torch.zeros((), device=place)
        pixels = torch.zeros((), device=place, dtype=torch.int64)

        for images, masks in loader:
            logits, masks = logits_of(model, images, place, precision), masks.to(place)

            confusion = ConfusionMatrix(logits.shape[1]) if confusion is None else confusion
            confusion.update(logits.argmax(dim=1), masks)

            # A sum over pixels, divided at the end: batches may differ in size and in valid pixels.
            loss += F.cross_entropy(logits, masks, ignore_index=IGNORE_INDEX, reduction="sum")
            pixels += (masks != IGNORE_INDEX).sum()

    if confusion is None:
        raise ValueError("there is nothing to evaluate on: the loader gives no batch")
    return Evaluation(confusion, float(loss / pixels))  # NaN if no pixel counts


@torch.no_grad()
def predict_logits(
    model: nn.Module,
    images: Tensor,
    device: Device = None,
    batch_size: int = 32,
    flip: bool = False,
    precision: torch.dtype | None = None,
) -> Tensor:
    """Logits, float32 (N, C, H, W) on the CPU, of normalized images (N, 3, H, W).

    The model is afterwards in the mode, and on the device, that it had before.

    Args:
        device: where to compute; None means where the model is.
        batch_size: images at a time.
        flip: test-time augmentation: average the probabilities for the image and for its mirror
            image, in twice the time. The logits are then the logarithms of that mean.
        precision: see `pick_precision`; None is float32.
    """
    parts = []
    with in_eval_mode(model, device) as place:
        for batch in images.split(batch_size):
            logits = logits_of(model, batch, place, precision)

            if flip:
                mirrored = logits_of(model, batch.flip(-1), place, precision).flip(-1)
                both = torch.logaddexp(logits.log_softmax(dim=1), mirrored.log_softmax(dim=1))
                logits = both - math.log(2)
            parts.append(logits.cpu())
    return torch.cat(parts)


def predict(model: nn.Module, images: Tensor, **options: Any) -> Tensor:
    """Class probabilities, float32 (N, C, H, W) on the CPU: softmax of `predict_logits`."""
    return predict_logits(model, images, **options).softmax(dim=1)


def predict_photo(
    photo: Image.Image, model: nn.Module | None = None, size: int = 128, device: Device = None
) -> Tensor:
    """The mask of one photo at its original resolution: class indices, uint8 (H, W) on the CPU.

    The photo is squashed, and the logits are enlarged bilinearly.

    Args:
        photo: from `helpers.transforms.open_photo`.
        model: logits (1, C, size, size) from a normalized image (1, 3, size, size). If None, the
            shipped one that is best on photographs, at its own input size.
        size: the input size that the model was trained at, in pixels.
        device: where to compute; None means where the model is.
    """
    if model is None:
        model, about = load_model()
        size = about["size"]
    squashed = normalize(resize_image(photo.convert("RGB"), size))
    logits = predict_logits(model, squashed[None], device)
    enlarged = F.interpolate(logits, size=photo.size[::-1], mode="bilinear", align_corners=False)
    return enlarged.argmax(dim=1)[0].byte()


def logits_of(
    model: nn.Module, images: Tensor, place: torch.device, precision: torch.dtype | None
) -> Tensor:
    """Of a batch, computed on a device in a precision: float32."""
    images = images.to(place, memory_format=memory_format(place))
    with torch.autocast(place.type, precision, enabled=precision is not None):
        return model(images).float()


@contextmanager
def in_eval_mode(model: nn.Module, device: Device) -> Iterator[torch.device]:
    """The model in eval() mode on a device, and afterwards as it was. Gives the device."""
    modes = {module: module.training for module in model.modules()}
    first = next(model.parameters(), None)
    home = torch.device("cpu") if first is None else first.device
    place = home if device is None else pick_device(device)
    try:
        model.to(place).eval()
        yield place
    finally:
        model.to(home)
        for module, training in modes.items():
            module.training = training
