"""What is around a pet: rooms, gardens and things in the way, often in the colors of a coat."""

from drawing.breeds import BREEDS
from drawing.brush import Canvas, box, curve, loop, noise_tile, oval, pick, ramp

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_HUES = (
    "7f9c8a b9c9c2 5f7f97 c9a0a0 d9b56a 8a5a5a 5f7358 a8b8cc e8dccb cfd8cf 4f6070 b5836a".split()
)
_LEAVES = "55723f 6f8a4e 8a6a3a 4a6646 b5793a 93a06a".split()
_COATS = [color for breed in BREEDS for color in breed.looks[7:10]]


def _color(rng):
    """A color for a thing in the scene: most are some coat's, so that color gives no pet away."""
    return np.clip(
        pick(rng, _COATS if rng.random() < 0.6 else _HUES) + rng.normal(0, 0.03), 0.03, 0.97
    )


def _cloth(rng):
    """Two colors in blots or stripes, as a function of x and y: a cushion may look like a coat."""
    first, second, fx, fy = _color(rng), _color(rng), *rng.uniform(50, 500, 2)
    strength, shift, wave = rng.random() ** 2, rng.uniform(0, 512), rng.uniform(0, 3)

    def color(x, y):
        blots = noise_tile(0, y * fy + shift, x * fx + shift)
        amount = ramp(np.sin(wave * (x + y) * 30) + blots, 0, 0.4) * strength
        return first + (second - first) * amount[..., None]

    return color


def _ink(color, factor=1.0):
    return tuple(int(c) for c in np.clip(np.asarray(color) * factor, 0, 1) * 255)


def _blob(x, y, rx, ry, rng):
    t, wobble = np.arange(9) * 2 * np.pi / 9, rng.uniform(0.8, 1.12, 9)
    return loop([*zip(x + rx * np.cos(t) * wobble, y + ry * np.sin(t) * wobble, strict=True)])


def _backdrop(width, height, horizon, outdoors, rng):
    """Sky and grass, or wall and floor, drawn with a pen at twice the size."""
    w, h, z, u = 2 * width, 2 * height, 2 * horizon, 2 * min(width, height)
    image = Image.new("RGB", (w, h))
    pen = ImageDraw.Draw(image)
    if outdoors:
        sky = pick(rng, ["b7d3e8", "dfe6ea", "f0dcc0", "9fbfd8", "c9d6cc"])
        ground = pick(rng, ["7d9a52", "5f7f45", "9a8a5a", "b09a78", "88a066", "c4b89a"])
        for y in range(0, z, 8):
            pen.rectangle((0, y, w, y + 8), _ink(sky, 0.9 + 0.2 * y / z))
        pen.rectangle((0, z, w, h), _ink(ground))
        shades = [_ink(ground, factor) for factor in np.linspace(0.72, 1.25, 8)]
        for i, y in enumerate(np.sort(rng.uniform(z - 0.01 * h, h + 0.05 * h, 600))):
            x, size = rng.uniform(0, w), u * (0.015 + 0.06 * (y - z) / (h - z))
            pen.line(
                (x, y, x + rng.normal(0, 0.35) * size, y - size), shades[i % 8], 2 + int(size / 20)
            )
        for _ in range(rng.integers(0, 40)):  # flowers and fallen leaves
            x, y = rng.uniform(0, w), rng.uniform(z, h)
            r = u * (0.004 + 0.014 * (y - z) / (h - z))
            pen.ellipse((x - r, y - r, x + r, y + r), _ink(_color(rng), 1.15))
        return image
    wall, floor, step, pattern = (
        _color(rng),
        _color(rng),
        rng.uniform(0.07, 0.16) * u,
        rng.integers(4),
    )
    pen.rectangle((0, 0, w, z), _ink(wall))
    ink = _ink(0.8 * wall + 0.2 * _color(rng))
    for x in np.arange(0, w, step):  # wallpaper: plain, stripes, dots or bricks
        if pattern == 1:
            pen.rectangle((x, 0, x + step / 2, z), ink)
        for j, y in enumerate(np.arange(0, z, step) if pattern > 1 else ()):
            middle, r = x + j % 2 * step / 2, step * 0.17
            if pattern == 2:
                pen.ellipse((middle - r, y - r, middle + r, y + r), ink)
            else:
                pen.line((x - step, y, middle, y, middle, y + step), ink, 3)
    pen.rectangle((0, z, w, h), _ink(floor))
    board, seam = rng.uniform(0.16, 0.4) * u, _ink(floor, 0.78)
    for x in np.arange(-2 * w, 3 * w, board) if rng.random() < 0.7 else ():
        far = [(w / 2 + 0.5 * (edge - w / 2), z) for edge in (x, x + board)]
        pen.polygon([*far, (x + board, h), (x, h)], _ink(floor, rng.uniform(0.86, 1.06)), seam)
    pen.rectangle((0, z - 0.05 * u, w, z), _ink(wall * 0.5 + 0.48), _ink(wall, 0.7))
    return image


def _garden(canvas, w, h, z, rng):
    for _ in range(rng.integers(0, 4)):
        cloud = _blob(rng.uniform(0, w), rng.uniform(0, z * 0.5), 0.13, 0.05, rng)
        canvas.paint(
            cloud, (0.96, 0.95, 0.93), pet=False, fluff=0.5, over=0, depth=0.2, angle=0, grain=0.02
        )
    for _ in range(rng.integers(1, 6)):  # trees and bushes
        x, r = rng.uniform(0, w), rng.uniform(0.12, 0.3)
        leaves, trunk = (
            pick(rng, _LEAVES) if rng.random() < 0.75 else _color(rng),
            rng.uniform(0, 1.5) * r,
        )
        canvas.paint(
            curve([(x, z, 0.14 * r), (x + 0.02, z - trunk, 0.1 * r)]), (0.36, 0.27, 0.2), pet=False
        )
        for _ in range(5):
            crown = (
                x + rng.normal(0, 0.5) * r,
                z - trunk - rng.random() * r,
                *rng.uniform(0.4, 0.7, 2) * r,
            )
            shade, angle = leaves * rng.uniform(0.8, 1.2), rng.integers(0, 180)
            canvas.paint(_blob(*crown, rng), shade, pet=False, fluff=0.6, grain=0.09, angle=angle)
    if rng.random() < 0.5:
        wood, step, top = _color(rng), rng.uniform(0.08, 0.14), z - rng.uniform(0.15, 0.45)
        for y in (top + 0.05, z - 0.05):
            canvas.paint(box(-0.1, y, w + 0.1, y + 0.03, 0), wood * 0.8, pet=False)
        for x in np.arange(-step * rng.random(), w, step):
            middle, right, foot = x + step * 0.4, x + step * 0.8, z + 0.02
            slat = [(x, foot), (x, top), (middle, top - 0.04), (right, top), (right, foot)]
            canvas.paint(slat, wood * rng.uniform(0.88, 1.08), pet=False, depth=0.3)


def _room(canvas, w, h, z, rng):
    x, wide, kind = rng.uniform(0, w * 0.7), rng.uniform(0.2, 0.4), rng.integers(3)
    for i in range((1, rng.integers(1, 4), 0)[kind]):  # a window or pictures
        y, (a, b) = rng.uniform(0.03, 0.12), wide * np.array([(1.5, 1.1), (0.6, 0.75)][kind])
        left, frame, pane = (
            x + i * wide * 0.8,
            _color(rng) * 0.6 + 0.38 * (kind == 0),
            _color(rng),
        )
        canvas.paint(box(left, y, left + a, y + b, 0.01), frame, pet=False)
        pane = (0.74, 0.84, 0.9) if kind == 0 else pane
        inside = left + 0.025, y + 0.025, left + a - 0.025, y + b - 0.025
        canvas.paint(box(*inside, 0), pane, pet=False, grain=0.02)
        if kind == 0:
            canvas.paint(
                box(left + a / 2 - 0.01, y, left + a / 2 + 0.01, y + b, 0), frame, pet=False
            )
        else:
            blob = _blob(left + a / 2, y + b / 2, 0.25 * a, 0.3 * a, rng)
            canvas.paint(blob, _color(rng), pet=False, over=0)
    for y in (0.35 * z, 0.75 * z) if kind == 2 else ():  # books
        edge = x
        while edge < x + 0.6:
            thick, tall = rng.uniform(0.02, 0.05), rng.uniform(0.1, 0.16)
            book = box(edge, y - tall, edge + thick, y, 0.004)
            canvas.paint(book, _color(rng), pet=False, depth=0.4, over=0.15)
            edge += thick
        canvas.paint(box(x - 0.03, y, edge + 0.03, y + 0.025, 0.005), (0.45, 0.33, 0.24), pet=False)
    if rng.random() < 0.65:  # a sofa: back, seats, arms
        c, x = _cloth(rng), rng.uniform(-0.3, 0.6) * w
        wide, tall = rng.uniform(0.5, 0.8) * w, rng.uniform(0.25, 0.5)
        canvas.paint(box(x, z - tall, x + wide, z + 0.08, 0.08), c, pet=False)
        for left in (x, x + wide / 2):
            canvas.paint(box(left, z - tall * 0.4, left + wide / 2, z + 0.06, 0.05), c, pet=False)
        for left in (x - 0.06, x + wide - 0.06):
            canvas.paint(box(left, z - tall * 0.6, left + 0.14, z + 0.1, 0.06), c, pet=False)
    for k in (1, 0.85, 0.6) if rng.random() < 0.5 else ():  # a rug
        rug = oval(w / 2, z + 0.65 * (h - z), 0.55 * w * k, 0.33 * (h - z) * k)
        canvas.paint(rug, _color(rng), pet=False, depth=0.1, over=0.15, grain=0.1, angle=0)


def make_scene(width, height, horizon, rng):
    """A garden or a room as an image, from sharp to far out of focus: drawn at half the size."""
    outdoors, size = rng.random() < 0.5, (width, height)
    width, height, horizon = (round(side / 2) for side in (width, height, horizon))
    canvas = Canvas(_backdrop(width, height, horizon, outdoors, rng).reduce(2), rng)
    sky = 0.02 if outdoors else 0.09
    for part, most in ((canvas.pixels[:horizon], sky), (canvas.pixels[horizon:], 0.09)):
        grain, zoom = most * rng.random() ** 2, rng.uniform(0.3, 3)
        tile = noise_tile(rng.integers(9), *(zoom * np.arange(n) for n in part.shape[:2]))
        part *= 1 + grain * tile[..., None]
    w, h, z = (side / min(width, height) for side in (width, height, horizon))
    (_garden if outdoors else _room)(canvas, w, h, z, rng)
    for _ in range(
        rng.integers(1, 5)
    ):  # cushions, balls, stones, baskets: like pets in color and softness
        x, y, r, kind = (
            rng.uniform(0, w),
            rng.uniform(z + 0.02, h),
            rng.uniform(0.05, 0.13),
            rng.integers(3),
        )
        thing = [
            box(x - 1.3 * r, y - r, x + 1.3 * r, y + 0.5 * r, r / 2),
            oval(x, y, 0.7 * r, 0.7 * r),
            _blob(x, y, 1.1 * r, 0.7 * r, rng),
        ][kind]
        canvas.paint(thing, _cloth(rng), pet=False, fluff=rng.random() * (kind == 2))
    image = Image.fromarray((np.clip(canvas.pixels, 0, 1) * 255).astype(np.uint8))
    blur = ImageFilter.GaussianBlur(rng.uniform(0.2, 3.2))
    return image.resize(size, Image.Resampling.BICUBIC).filter(blur)


def occlude(canvas, rng):
    """Something in front of the pet, which is background: a plant, a post, a cushion."""
    h, w = np.array(canvas.pet.shape) / canvas.scale
    x, c, kind = rng.uniform(0.1, 0.9) * w, _cloth(rng), rng.integers(3)
    for _ in range(7 if kind == 0 else 0):
        dx, dy = rng.normal(0, 0.16), rng.uniform(0.15, 0.38)
        leaf = curve(
            [(x, h + 0.02, 0.01), (x + dx * 0.4, h - dy * 0.6, 0.035), (x + dx, h - dy, 0.004)]
        )
        canvas.paint(leaf, pick(rng, _LEAVES), pet=False)
    if kind == 1:
        canvas.paint(curve([(x, -0.1, 0.035), (x, h + 0.1, 0.035)]), c, pet=False)
    elif kind == 2:
        cushion = box(x - 0.28, h - rng.uniform(0.08, 0.16), x + 0.28, h + 0.2, 0.07)
        canvas.paint(cushion, c, pet=False, fluff=0.2)
