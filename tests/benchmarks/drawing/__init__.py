"""The embedded dataset: cats and dogs drawn from a seed, in the layout of the Oxford-IIIT Pet dataset."""

import shutil
import tempfile
from pathlib import Path

from drawing.breeds import BREEDS, Breed
from drawing.brush import Canvas, oval
from drawing.pet import Pet
from drawing.scene import make_scene, occlude

import numpy as np
from PIL import Image, ImageFilter

MARKER = "DRAWN.txt"  # a file in oxford-iiit-pet/ that says that these are no photographs


def draw_pet(breed: Breed, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one pet of a breed in a scene.

    Returns the image (H, W, 3) and its trimap (H, W), both uint8; trimap 1 is pet, 2 background, 3 border.
    """
    poses = ["front", "bust", "side", "stand", "walk", "lie", "sleep"]
    pose = str(rng.choice(poses, p=[0.16, 0.22, 0.18, 0.14, 0.12, 0.12, 0.06]))
    pet = Pet(breed, pose, rng)
    tubes = np.concatenate([tube for _, tube in pet.parts] + [[(*pet.head, 1.2 * pet.r)]])
    low, high = (tubes[:, :2] - tubes[:, 2:]).min(0), (tubes[:, :2] + tubes[:, 2:]).max(0)
    low[1] = min(
        low[1], pet.head[1] - pet.r * (1.5 if pet.ears in ("tall", "bat", "tuft") else 1.2)
    )
    if pose == "bust":
        low, high = np.array([-0.5, low[1]]), np.array([0.5, rng.uniform(-0.75, -0.3)])
    span, short = high - low, rng.integers(160, 225)
    aspect = np.clip((span[0] / span[1]) ** 0.7 * rng.uniform(0.85, 1.2), 0.67, 1.5)
    width, height = round(short * max(aspect, 1)), round(short * max(1 / aspect, 1))
    scale, flip = (
        min(width / span[0], height / span[1]) * rng.uniform(0.78, 1.05),
        rng.choice([-1, 1]),
    )
    x = width * rng.uniform(0.44, 0.56) - flip * scale * (low[0] + high[0]) / 2
    y = height * (1 if pose == "bust" else rng.uniform(0.9, 1.0)) - scale * high[1]
    horizon = int(np.clip(y - scale * rng.uniform(0.15, 0.8), 0.35 * height, 0.88 * height))
    canvas = Canvas(make_scene(width, height, horizon, rng), rng)
    canvas.place(scale, (x, y), flip)
    feet, floor = tubes[tubes[:, 1] > -0.35, 0], canvas.pixels[int(min(y, height - 1))].mean(0)
    shadow = oval(feet.mean(), -0.03, np.ptp(feet) / 2 + 0.12, 0.07)
    canvas.paint(shadow, 0.35 * floor, pet=None, fluff=0.4, depth=0, over=0.6, grain=0)
    pet.draw(canvas)
    canvas.place(min(width, height), (0, 0), 1)
    if rng.random() < 0.15:
        occlude(canvas, rng)
    mask = Image.fromarray(np.where(canvas.pet > 0.5, 255, 0).astype(np.uint8))
    sigma = 0.0155 * short * rng.uniform(0.97, 1.03) * (1 + 0.08 * pet.fluff)
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(float(sigma))))
    trimap = np.where(soft > 228, 1, np.where(soft < 27, 2, 3)).astype(np.uint8)
    pixels = canvas.pixels * (rng.uniform(0.85, 1.1) + rng.normal(0, 0.02, 3).astype(np.float32))
    return (np.clip(pixels, 0, 1) * 255).astype(np.uint8), trimap


def _write_pair(folder, seed, breed, number):
    image, trimap = draw_pet(breed, np.random.default_rng([seed, breed.class_id, number]))
    name = f"{breed.name}_{number}"
    Image.fromarray(image).save(folder / "images" / f"{name}.jpg", quality=90)
    Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")


def write_sketch(root: Path, count: int = 407, seed: int = 0, progress=None) -> Path:
    """Draw `count` pairs into root/oxford-iiit-pet in the official layout, all or none, and return `root`.

    A pair depends on the seed, its breed and its number alone, so a larger count keeps the earlier pixels.
    About 3 in 5 of each breed are in trainval.txt, the others in test.txt. `progress` may wrap the iterable.
    Raises ValueError for fewer than 74 pairs (two of each breed), FileExistsError if the folder is there.
    """
    root = Path(root)
    target = root / "oxford-iiit-pet"
    if count < 74:
        raise ValueError(f"count is {count}, but 37 breeds in two splits need at least 74 pairs")
    if target.exists():
        raise FileExistsError(
            f"{target} exists: delete it to draw the pets anew, or choose another folder"
        )
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".drawing-", dir=root))
    try:
        folder.chmod(0o755)
        (folder / "images").mkdir()
        (folder / "annotations" / "trimaps").mkdir(parents=True)
        pairs = [(BREEDS[i % 37], i // 37 + 1) for i in range(count)]
        for breed, number in progress(pairs) if progress else pairs:
            _write_pair(folder, seed, breed, number)
        head = "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n#SPECIES: 1:Cat 2:Dog\n"
        lists = {"list": head, "trainval": "", "test": ""}
        for breed, number in sorted(pairs, key=lambda pair: (pair[0].class_id, pair[1])):
            line = f"{breed.name}_{number} {breed.class_id} {breed.species} {breed.breed_id}\n"
            lists["list"] += line
            lists["test" if number % 5 in (2, 4) else "trainval"] += line
        for name, text in lists.items():
            (folder / "annotations" / f"{name}.txt").write_text(text)
        (folder / MARKER).write_text(
            "Drawn by helpers.sketch: not photographs, not the official dataset.\n"
        )
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return root
