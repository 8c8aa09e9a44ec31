"""Checks for notebook 02: moving image and mask together, splits."""

from collections.abc import Callable

from helpers.constants import IGNORE_INDEX
from helpers.teaching.checks.verdict import Hint, ask, exercise, number, tensor

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2


@exercise("02.1")
def padding_share(guess: float) -> str:
    """The share of a letterboxed square that is padding."""
    guess = number(guess)
    row = 1 / 128  # whole rows of pixels: 51 of 128, or 52, are as right as 0.4
    if abs(guess - 0.4) < row:
        return "An image whose sides differ by a factor s fills 1/s of the square."
    if abs(guess - 0.6) < row:
        raise Hint("That is the fraction which is image.")
    raise Hint(
        "After scaling, the longer side is 128 px. How long is the shorter one, and what is left"
        " of the square?"
    )


@exercise("02.2")
def random_flip(function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> str:
    """A mirror for photo and mask together, in half of the calls."""
    image = torch.arange(3 * 4 * 5).reshape(3, 4, 5)
    mask = torch.arange(4 * 5).reshape(4, 5)
    versions = {"as it is": (image, mask), "mirrored": (image.flip(-1), mask.flip(-1))}
    versions |= {"upside down": (image.flip(-2), mask.flip(-2))}
    seen = []
    state = torch.get_rng_state()
    torch.manual_seed(0)
    for _ in range(200):
        parts = ask(function, image.clone(), mask.clone())
        if not isinstance(parts, tuple) or len(parts) != 2:
            raise Hint("Return both, image and mask.")
        names = []
        for k, part in enumerate(parts):
            match = [
                name
                for name, version in versions.items()
                if torch.equal(torch.as_tensor(part), version[k])
            ]
            names.append(match[0] if match else "changed otherwise")
        seen.append(tuple(names))
    torch.set_rng_state(state)
    both = set(seen)
    if any("upside down" in pair for pair in both):
        raise Hint("Upside down is not left to right: which dimension is the width?")
    if any("changed otherwise" in pair for pair in both):
        raise Hint("Image or mask came out neither as it was nor mirrored.")
    if ("mirrored", "as it is") in both and ("as it is", "mirrored") in both:
        raise Hint(
            "Sometimes one moves and the other does not: how often do you draw a random number?"
        )
    if ("mirrored", "as it is") in both or ("as it is", "mirrored") in both:
        raise Hint("One of the two never moves along.")
    share = seen.count(("mirrored", "mirrored")) / len(seen)
    if not 0.35 < share < 0.65:
        raise Hint(f"{share:.0%} of 200 pairs were mirrored; it should be about half.")
    return f"{share:.0%} of 200 pairs were mirrored, each time both parts."


@exercise("02.3")
def there_and_back(function: Callable[[Tensor, int], Tensor]) -> str:
    """A mask made small and large again."""
    mask = torch.zeros(50, 70, dtype=torch.uint8)
    mask[10:40, 15:60], mask[15:35, 20:55] = 2, 1
    mask[0, 0] = IGNORE_INDEX

    def resized(mode: InterpolationMode) -> Tensor:
        low = v2.functional.resize(mask[None], [16, 16], mode, antialias=False)
        return v2.functional.resize(low, [50, 70], mode, antialias=False)[0]

    answer = tensor(ask(function, mask.clone(), 16), (50, 70))
    if not set(answer.unique().tolist()) <= set(mask.unique().tolist()):
        raise Hint("There are values that the mask did not have. Were class numbers averaged?")
    if torch.equal(answer.byte(), resized(InterpolationMode.NEAREST_EXACT)):
        return "Score it against the original, and you have the ceiling of an input size."
    if torch.equal(answer.byte(), resized(InterpolationMode.NEAREST)):
        raise Hint(
            "The value is taken from the corner of each cell, so the mask is shifted. Which mode"
            " is exact?"
        )
    if torch.equal(answer, mask):
        raise Hint("The mask came back unchanged: does it go through the small size?")
    raise Hint(
        "The result is not that of two resizes to the nearest value, down to size x size and back."
    )


@exercise("02.4")
def letterbox(function: Callable[[Image.Image, np.ndarray, int], tuple[Tensor, Tensor]]) -> str:
    """A photo and its mask in a square, without distortion."""
    for width, height in ((60, 40), (30, 64)):
        values = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[:, width // 2 :] = 2
        parts = ask(function, Image.fromarray(values).convert("RGB"), mask.copy(), 64)
        if not isinstance(parts, tuple) or len(parts) != 2:
            raise Hint("Return both, image and mask.")
        image, boxed = tensor(parts[0], (3, 64, 64)), tensor(parts[1], (64, 64))
        scale = 64 / max(width, height)
        inner = round(width * scale), round(height * scale)
        padded = 64 * 64 - inner[0] * inner[1]
        found = set(boxed.unique().tolist())
        if 1 in found:
            raise Hint(
                "A mask of pet and border came back with background in it: from padding, or from"
                " averaging?"
            )
        if padded and IGNORE_INDEX not in found:
            raise Hint(
                f"No pixel of the mask is {IGNORE_INDEX}. Is the photo stretched to the square?"
            )
        if not found <= {0, 2, IGNORE_INDEX}:
            raise Hint(f"The mask came back with the values {sorted(found)}.")
        if abs(int((boxed == IGNORE_INDEX).sum()) - padded) > 64:
            raise Hint(
                f"{int((boxed == IGNORE_INDEX).sum())} pixels are padding; with the aspect kept,"
                f" {padded} are."
            )
        inside = boxed != IGNORE_INDEX
        if image[:, inside].float().std() < 30:
            raise Hint("The photo does not lie where the mask lies.")
        rows, columns = inside.nonzero().T
        if (
            abs(int(rows.min() + rows.max()) - 63) > 1
            or abs(int(columns.min() + columns.max()) - 63) > 1
        ):
            raise Hint("The photo should lie in the middle, with equal padding on both sides.")
    return "Shapes stay true, and the padding is ignored."


@exercise("02.5")
def split_by_breed(function: Callable[[Tensor, int], tuple[Tensor, Tensor]]) -> str:
    """A stratified split: training and validation rows."""
    breeds = torch.arange(10).repeat_interleave(8)[
        torch.randperm(80, generator=torch.Generator().manual_seed(0))
    ]
    for seed in (0, 1):
        parts = ask(function, breeds.clone(), seed)
        if not isinstance(parts, tuple) or len(parts) != 2:
            raise Hint("Return two tensors of row numbers: training, validation.")
        train, val = (torch.as_tensor(part).long() for part in parts)
        if shared := set(train.tolist()) & set(val.tolist()):
            raise Hint(f"{len(shared)} of 80 rows are in both parts: a leak.")
        if missing := set(range(80)) - set(train.tolist()) - set(val.tolist()):
            raise Hint(f"{len(missing)} of 80 rows are in neither part.")
        held = torch.bincount(breeds[val], minlength=10)
        if (held != 2).any():
            raise Hint(
                f"Of a breed with 8 pairs, {int(held.min())} to {int(held.max())} are held out;"
                " it should be 2."
            )
        again = ask(function, breeds.clone(), seed)[1]
        if sorted(torch.as_tensor(again).tolist()) != sorted(val.tolist()):
            raise Hint(
                "The same seed gave two different splits: experiments could not be compared."
            )
    if sorted(torch.as_tensor(ask(function, breeds, 0)[1]).tolist()) == sorted(val.tolist()):
        raise Hint("Another seed gives the same split.")
    return "Disjoint, complete, balanced, and the same again with the same seed."
