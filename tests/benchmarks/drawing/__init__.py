"""The synthetic pets: cats and dogs drawn from a seed, in the Oxford-IIIT Pet dataset's layout.

Every cue that could give a pet away (color, texture, focus, shade, shadow, details, size, place)
varies in strength from sample to sample, down to nothing.
"""

import io
from collections.abc import Iterator

from drawing.breeds import BREEDS, Breed
from drawing.brush import Canvas, noise_tile, oval
from drawing.pet import Pet
from drawing.scene import make_scene, occlude

import numpy as np
from PIL import Image, ImageFilter

POSES = {"front": 16, "bust": 22, "side": 18, "stand": 14, "walk": 12, "lie": 12, "sleep": 6}


def draw_pet(breed: Breed, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one pet of a breed in a scene.

    Returns the image (H, W, 3) and its trimap (H, W), both uint8; trimap 1 is pet, 2 background, 3
    border.
    """
    pose = str(rng.choice(list(POSES), p=np.array(list(POSES.values())) / 100))
    pet = Pet(breed, pose, rng)
    tubes = np.concatenate([tube for _, tube in pet.parts] + [[(*pet.head, 1.2 * pet.r)]])
    (width, height), scale, flip, (x, y) = _compose(pet, pose, tubes, rng)

    # The scene, drawn towards the color of the coat, sometimes as far as that color itself.
    horizon = int(np.clip(y - scale * rng.uniform(0.15, 0.8), 0.35 * height, 0.88 * height))
    canvas = Canvas(make_scene(width, height, horizon, rng), rng)
    mean, near = canvas.pixels.mean((0, 1)), 0.7 * rng.random() ** 4
    canvas.pixels += near * (pet.base - mean)

    # The pet and its shadow on the ground, and at times something in front.
    canvas.place(scale, (x, y), flip)
    feet, floor = tubes[tubes[:, 1] > -0.35, 0], canvas.pixels[int(min(y, height - 1))].mean(0)
    reach = np.ptp(feet) / 2 + rng.uniform(0, 0.2)
    shadow = oval(feet.mean() - 0.2 * flip * canvas.light[0], -0.03, reach, rng.uniform(0.03, 0.1))
    dark = floor * (1 - 0.65 * canvas.shadow)
    canvas.paint(shadow, dark, pet=None, fluff=0.4, depth=0, over=0, grain=0)
    pet.draw(canvas)
    canvas.place(min(width, height), (0, 0), 1)
    for _ in range(rng.choice(3, p=[0.78, 0.18, 0.04])):
        occlude(canvas, rng)

    mask = Image.fromarray(np.where(canvas.pet > 0.5, 255, 0).astype(np.uint8))
    sigma = 0.0155 * min(width, height) * rng.uniform(0.97, 1.03) * (1 + 0.08 * pet.fluff)
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(float(sigma))))
    trimap = np.where(soft > 228, 1, np.where(soft < 27, 2, 3)).astype(np.uint8)
    return _photograph(canvas, rng), trimap


def _compose(pet, pose, tubes, rng):
    """Size of the image, scale of the pet, whether it looks left, where its ground is."""
    low, high = (tubes[:, :2] - tubes[:, 2:]).min(0), (tubes[:, :2] + tubes[:, 2:]).max(0)
    tall = 1.5 if pet.ears in ("tall", "bat", "tuft") else 1.2
    low[1] = min(low[1], pet.head[1] - pet.r * tall)
    if pose == "bust":
        low, high = np.array([-0.5, low[1]]), np.array([0.5, rng.uniform(-0.75, -0.3)])
    span, short = high - low, rng.integers(160, 225)
    aspect = np.clip((span[0] / span[1]) ** 0.7 * rng.uniform(0.85, 1.2), 0.67, 1.5)
    size = np.array([round(short * max(aspect, 1)), round(short * max(1 / aspect, 1))])

    # From small and far away to cut off by the edges; the head is in the image, mostly.
    scale = (size / span).min() * np.clip(rng.lognormal(-0.07, 0.17), 0.5, 1.4)
    free, flip = size - scale * span, rng.choice([-1, 1])
    left = free[0] * rng.random() + rng.normal(0, 0.05) * size[0]
    top = free[1] * (rng.uniform(0.5, 1) if free[1] > 0 else rng.uniform(0, 0.4))
    if pose == "bust":
        top = max(top, free[1])
    return (
        size,
        scale,
        flip,
        (left - scale * min(flip * low[0], flip * high[0]), top - scale * low[1]),
    )


def _photograph(canvas, rng):
    """What a camera makes of it: focus, light, contrast, color temperature, noise."""
    pixels, (height, width) = canvas.pixels, canvas.pet.shape
    if rng.random() < 0.15:  # the pet is out of focus
        radius = float(rng.uniform(0.5, 2.5))
        image = Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
        alpha = Image.fromarray((canvas.pet * 255).astype(np.uint8))
        soft, part = (
            np.asarray(layer.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
            for layer in (image, alpha)
        )
        pixels = pixels + (soft - pixels) * part[..., None]

    # One side is darker, and shadows of leaves or blinds fall over all of it.
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    slope, zoom, patches = rng.normal(0, 0.1, 2), rng.uniform(0.3, 1.5), 0.12 * rng.random() ** 2
    leaves = noise_tile(0, np.arange(height) * zoom + 256 * rng.random(), np.arange(width) * zoom)
    pixels = pixels * (1 + slope[0] * rows + slope[1] * columns + patches * leaves)[..., None]

    warmth, contrast, gray = rng.normal(0, 0.07), rng.uniform(0.75, 1.1), rng.uniform(0.4, 0.55)
    pixels = (pixels - 0.5) * contrast + gray
    pixels *= np.array([1 + warmth, 1, 1 - warmth]) * rng.uniform(0.85, 1.1)
    pixels += rng.normal(0, 0.04 * rng.random() ** 2, pixels.shape)
    return (np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def draw_files(count: int = 407, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """The files of a dataset in the official layout, as (path, content), in the order of the paths.

    A pair depends on the seed, its breed and its number alone. Of each breed, 3 in 5 are in
    trainval.txt, the others in test.txt. Raises ValueError for fewer than two pairs of each breed.
    """
    if count < 74:
        raise ValueError(f"count is {count}, but 37 breeds in two splits need at least 74 pairs")
    pairs = [(BREEDS[i % 37], i // 37 + 1) for i in range(count)]
    pairs.sort(key=lambda pair: (pair[0].class_id, pair[1]))

    lists = {
        "list": "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n#SPECIES: 1:Cat 2:Dog\n"
    }
    for breed, number in pairs:
        line = f"{breed.name}_{number} {breed.class_id} {breed.species} {breed.breed_id}\n"
        split = "test" if number % 5 in (2, 4) else "trainval"
        for name in ("list", split):
            lists[name] = lists.get(name, "") + line
    for name, text in lists.items():
        yield f"annotations/{name}.txt", text.encode()

    for breed, number in pairs:
        rng = np.random.default_rng([seed, breed.class_id, number])
        image, trimap = draw_pet(breed, rng)
        name, quality = f"{breed.name}_{number}", int(rng.integers(45, 93))
        yield f"images/{name}.jpg", _encode(image, "JPEG", quality=quality)
        yield f"annotations/trimaps/{name}.png", _encode(trimap, "PNG", optimize=True)


def _encode(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()
