"""Checks for notebook 02: moving image and mask together, the dataset class, splits."""

from collections.abc import Callable
from typing import Any

from helpers.constants import IGNORE_INDEX
from helpers.data import Pairs
from helpers.teaching.checks.verdict import (
    Hint,
    ask,
    ask_two,
    compare,
    exercise,
    number,
    refuse,
    tensor,
)
from helpers.transforms import normalize

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandomHorizontalFlip
from torchvision.transforms.v2.functional import resize

# What may have come of an image or a mask in exercise 2.
VERSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda part: part,
    "mirrored": lambda part: part.flip(-1),
    "upside down": lambda part: part.flip(-2),
}


@exercise("02.1")
def padding_share(function: Callable[[int, int, int], float]) -> str:
    """The fraction of a letterboxed square that is padding."""
    for turn in range(4):
        size = int(torch.randint(64, 257, ()))
        # More than half of the square is image, so that no slip is near what is right.
        short, long = (int(torch.randint(*ends, ())) for ends in ((205, 290), (310, 385)))
        width, height = (long, short) if turn % 2 else (short, long)
        share = number(ask(function, width, height, size))
        slips = {
            "That is the fraction which is image.": short / long,
            "The padding is a negative fraction: which side is the longer one?": 1 - long / short,
        }
        where = f"{width} x {height} px in a square of {size} px: {share:.3f}."
        otherwise = f"{where} The longer side becomes {size} px. How long is the shorter one?"
        compare(share, 1 - short / long, slips, otherwise, near=2 / size)  # in whole rows, or exact
    return "An image whose sides differ by a factor s fills 1/s of the square."


@exercise("02.3")
def random_flip(function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> str:
    """A mirror for photo and mask together, in half of the calls."""
    given = torch.arange(3 * 4 * 5).reshape(3, 4, 5), torch.arange(4 * 5).reshape(4, 5)

    def version(part: Tensor, original: Tensor) -> str:
        for name, change in VERSIONS.items():
            if torch.equal(torch.as_tensor(part), change(original)):
                return name
        raise Hint("Image or mask came out neither as it was nor mirrored.")

    seen = []
    for _ in range(1000):
        parts = ask_two(function, *(part.clone() for part in given), what="image, mask")
        seen.append(tuple(version(*pair) for pair in zip(parts, given, strict=True)))

    upside_down = any("upside down" in pair for pair in seen)
    refuse(upside_down, "Upside down is not left to right: which dimension is the width?")
    apart = {("mirrored", "as it is"), ("as it is", "mirrored")} & set(seen)
    both = len(apart) == 2
    refuse(both, "Sometimes only one of the two moves: how often do you draw a random number?")
    refuse(apart, "One of the two never moves along.")

    found = f"{seen.count(('mirrored', 'mirrored')) / len(seen):.0%} of 1000 pairs were mirrored"
    rare = not 420 < seen.count(("mirrored", "mirrored")) < 580
    refuse(rare, f"{found}; it should be about half.")
    return f"{found}, each time both parts."


@exercise("02.6")
def dataset(kind: Callable[..., Any]) -> str:
    """A dataset class: its length, and samples as they are and augmented."""
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    masks = torch.randint(0, 3, (6, 8, 8), dtype=torch.uint8)
    pairs, rows = Pairs("toy", tuple("abcdef"), images, masks), torch.tensor([4, 1, 2])

    plain = kind(pairs, rows)
    count = ask(plain.__len__)
    refuse(count != 3, f"It has {count} samples; of six pairs, three rows were given.")

    parts = ask_two(plain.__getitem__, 0, what="image, mask")
    image, mask = tensor(parts[0], (3, 8, 8)), tensor(parts[1], (8, 8))
    refuse(image.dtype == torch.uint8, "The image is still bytes: what does `normalize` take?")
    refuse(mask.dtype != torch.int64, f"The mask is {mask.dtype}; class indices are int64.")
    slips = {
        "That is pair number `position`. Which row belongs to it?": normalize(images[0]),
        "The image is scaled, not normalized.": images[4] / 255,
    }
    compare(image, normalize(images[4]), slips, "That is not the normalized image of its row.")
    compare(mask, masks[4].long(), {}, "The image is right, the mask is that of another pair.")

    # Mirrored each time: does the mask go along?
    image, mask = kind(pairs, rows, RandomHorizontalFlip(1))[0]
    refuse(torch.equal(image, normalize(images[4])), "With an augmentation, nothing changes.")
    left = torch.equal(mask, masks[4].long())
    refuse(left, "The image moves, the mask stays: did the augmentation get a tv_tensors.Mask?")
    right = torch.equal(image, normalize(images[4].flip(-1))) and torch.equal(
        mask, masks[4].flip(-1).long()
    )
    refuse(
        not right, "A mirrored pair is not what comes out: is it augmented before it is normalized?"
    )
    seeded(kind, pairs, rows)
    return "Two methods, and any loader can use it."


def seeded(kind: Callable[..., Any], pairs: Pairs, rows: Tensor) -> None:
    """Raise `Hint` unless epoch and position decide what an augmentation draws."""
    drawn: list[float] = []

    def augment(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        bytes_ = isinstance(image, tv_tensors.Image) and image.dtype == torch.uint8
        refuse(not bytes_, "The augmentation is to get the image's bytes, as a tv_tensors.Image.")
        drawn.append(float(torch.rand(())))
        return image, mask

    samples = kind(pairs, rows, augment)
    for epoch, position in ((0, 0), (0, 1), (0, 0), (1, 0)):
        samples.epoch = epoch
        samples[position]
    first, other, again, later = drawn
    kept = "Keep the line that seeds the augmentation"
    refuse(first != again, f"{kept}: made twice, a sample should look the same.")
    refuse(first == other, f"{kept}: each position should draw for itself.")
    refuse(first == later, f"{kept}: in another epoch, a sample should look different.")


@exercise("02.2")
def there_and_back(function: Callable[[Tensor, int], Tensor]) -> str:
    """A mask made small and large again."""
    # Odd sizes: no center of a cell falls between two pixels, where libraries differ.
    mask = torch.zeros(51, 71, dtype=torch.uint8)
    top, left = torch.randint(0, 12, (2,)).tolist()
    mask[top : top + 30, left : left + 45], mask[top + 5 : top + 25, left + 5 : left + 40] = 2, 1
    mask[0, 0] = IGNORE_INDEX

    def resized(mode: InterpolationMode) -> Tensor:
        low = resize(mask[None], [15, 15], mode, antialias=False)
        return resize(low, [51, 71], mode, antialias=False)[0]

    answer = tensor(ask(function, mask.clone(), 15), (51, 71))
    invented = set(answer.unique().tolist()) - set(mask.unique().tolist())
    refuse(invented, "There are values that the mask did not have. Were class numbers averaged?")
    slips = {
        "The mask came back unchanged: does it go through the small size?": mask,
        "The mask shifts: values are from the corner of each cell. Which mode is exact?": resized(
            InterpolationMode.NEAREST
        ),
    }
    otherwise = "That is not two resizes to the nearest value, down to size x size and back."
    compare(answer, resized(InterpolationMode.NEAREST_EXACT), slips, otherwise)
    return "Score it against the original, and you have the ceiling of an input size."


@exercise("02.4")
def letterbox(function: Callable[[Image.Image, np.ndarray, int], tuple[Tensor, Tensor]]) -> str:
    """A photo and its mask in a square, without distortion."""
    for long in (150, 170):
        # In the square, the shorter side is an odd number of pixels: the padding is uneven.
        short = round((2 * int(torch.randint(12, 20, ())) + 1) * long / 64)
        width, height = (170, short) if long == 170 else (short, 150)
        photo, mask = striped(width, height)
        parts = ask_two(function, photo, mask.copy(), 64, what="image, mask")
        image, boxed = tensor(parts[0], (3, 64, 64)), tensor(parts[1], (64, 64))

        # Which values came back, and how many pixels are padding.
        scaled = image.max() < 9
        refuse(scaled, "The image was scaled or normalized: asked are values from 0 to 255.")
        found, inside = set(boxed.unique().tolist()), boxed != IGNORE_INDEX
        refuse(1 in found, "The mask came back with background in it: by padding or averaging?")
        refuse(not found <= {0, 2, IGNORE_INDEX}, f"The mask came back with {sorted(found)}.")
        cause = "is the photo stretched, or is the mask padded with another value?"
        refuse(inside.all(), f"No pixel of the mask is {IGNORE_INDEX}: {cause}")
        high, wide = (round(side * 64 / max(width, height)) for side in (height, width))
        wanted, padded = 64 * 64 - high * wide, int((~inside).sum())
        unlike = abs(padded - wanted) > 64
        refuse(unlike, f"{padded} pixels are padding; with the aspect kept, {wanted} are.")

        # Where the photo lies, what surrounds it, and whether it was made small with care.
        rows, columns = inside.nonzero().T
        turned = (rows.max() - rows.min() > columns.max() - columns.min()) != (height > width)
        refuse(turned, f"Height and width are swapped: {high} x {wide} pixels belong to the photo.")
        refuse(image[0, inside].float().std() < 30, "The photo does not lie where the mask lies.")
        off = max(abs(int(line.min() + line.max()) - 63) for line in (rows, columns))
        refuse(off > 1, "The photo should lie in the middle, with equal padding on both sides.")
        part = boxed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        corner, middle = (
            resize(torch.from_numpy(mask)[None], list(part.shape), mode)[0]
            for mode in (InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT)
        )
        shifted = torch.equal(part, corner) and not torch.equal(part, middle)
        refuse(shifted, "The mask shifts: values are from the corner of each cell (exercise 2).")
        gray = (image[:, ~inside] == 124).all()
        refuse(not gray, "Beside the photo the image should be gray, 124: pad after resizing.")
        coarse = image[2, inside].float().std() > 55
        refuse(coarse, "Fine stripes of the photo became coarse ones: is there antialiasing?")

    small = Image.new("RGB", (40, 20)), np.zeros((20, 40), np.uint8)
    boxed = ask_two(function, *small, 64, what="image, mask")[1]
    stays = (boxed != IGNORE_INDEX).sum() != 64 * 32
    refuse(stays, "A photo smaller than the square should grow until it fits.")
    return "Shapes stay true, and the padding is ignored."


def striped(width: int, height: int) -> tuple[Image.Image, np.ndarray]:
    """A photo that grows brighter, with lines of one pixel in blue, and a mask of broad stripes."""
    columns = np.arange(width)
    bright = np.linspace(0, 255, width)
    colors = np.stack([bright, bright, 255 * (columns % 2)], axis=-1).astype(np.uint8)
    mask = (2 * (columns // 15 % 2)).astype(np.uint8)
    return Image.fromarray(np.tile(colors, (height, 1, 1))), np.tile(mask, (height, 1))


@exercise("02.5")
def split_by_animal(function: Callable[[Tensor, int], tuple[Tensor, Tensor]]) -> str:
    """A split that keeps the photographs of each animal together."""
    photographs_kept_together(function, torch.randint(1, 9, (30,)))
    photographs_kept_together(function, torch.full((40,), 3))  # a quarter can be reached exactly
    photographs_kept_together(function, torch.full((41,), 3))  # and here its whole part, too little
    return "No animal is known before validation asks about it."


def photographs_kept_together(
    function: Callable[[Tensor, int], tuple[Tensor, Tensor]], sizes: Tensor
) -> None:
    """Raise `Hint` for a wrong split of animals with so many photographs each."""
    animals = torch.arange(len(sizes)).repeat_interleave(sizes)
    animals = 7 * animals[torch.randperm(len(animals))] + 3  # numbers need not be 0, 1, 2
    count, seed = len(animals), int(torch.randint(1000, ()))

    def rows(seed: int) -> tuple[list[int], list[int]]:
        parts = ask_two(function, animals.clone(), seed, what="rows for training, for validation")
        flat = all(isinstance(p, Tensor | np.ndarray) and p.ndim == 1 for p in parts)
        refuse(not flat, "Two tensors (n,) are asked for: see torch.cat, and flatten().")
        as_mask = any(torch.as_tensor(part).dtype == torch.bool for part in parts)
        refuse(as_mask, "Return row numbers, not True and False for each row.")
        train, val = (sorted(torch.as_tensor(part).tolist()) for part in parts)
        return train, val

    for s in range(seed, seed + 8):  # a wrong share is right now and then
        train, val = rows(s)
        shared, missing = set(train) & set(val), set(range(count)) - set(train) - set(val)
        refuse(shared, f"{len(shared)} of {count} rows are in both parts: a leak.")
        refuse(missing, f"{len(missing)} of {count} rows are in neither part.")
        twice = len(train) + len(val) > count
        refuse(twice, "Some rows stand there twice: is each animal dealt out once?")
        split = set(animals[train].tolist()) & set(animals[val].tolist())
        refuse(split, f"Of {len(split)} animals there are photographs in both parts: a leak.")

        # Whole animals until the quarter is reached: more by at most one animal, less one photo.
        found = f"{len(val)} of {count} photographs are held out"
        most = count / 4 + int(sizes.max())
        few, many = len(val) < count / 4, len(val) >= most
        swapped = many and count / 4 <= len(train) < most
        refuse(swapped, f"{found}: training comes first, then validation.")
        mend = "Take whole animals until a quarter of the *photographs* is reached, and no more."
        refuse(few or many, f"{found}. {mend}")
        refuse(rows(s)[1] != val, "The same seed gave two splits: runs could not be compared.")
    refuse(rows(seed) == rows(seed + 1), "Another seed gives the same split.")
