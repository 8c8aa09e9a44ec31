"""A canvas on which shapes are painted with shade, fur and shadows, and which knows what is pet."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFilter


def rgb(color):
    """A color such as "b5713c" as RGB in 0..1."""
    return np.array(ImageColor.getrgb("#" + color)) / 255


def ramp(x, low, high):
    """0 up to `low`, 1 from `high`, a straight line between."""
    return np.clip((x - low) / (high - low), 0, 1)


def pick(rng, colors):
    """One of some colors, as RGB in 0..1."""
    return rgb(str(rng.choice(colors)))


@lru_cache(maxsize=1)
def _noise():
    """Tileable noises (9, 512, 512) of unit variance: 0 smooth, 1..8 strokes every 22.5 degrees."""
    fy, fx = np.meshgrid(np.fft.fftfreq(512), np.fft.rfftfreq(512), indexing="ij")
    white = np.fft.rfft2(np.random.default_rng(7).standard_normal((512, 512)))
    tiles = [white * np.exp(-(fx**2 + fy**2) / 0.016**2)]
    for angle in np.arange(8) * np.pi / 8:
        along, across = (
            fx * np.cos(angle) + fy * np.sin(angle),
            fy * np.cos(angle) - fx * np.sin(angle),
        )
        tiles.append(white * np.exp(-((along / 0.05) ** 2) - (across / 0.26) ** 2))
    tiles = np.stack([np.fft.irfft2(tile, (512, 512)) for tile in tiles])
    return (tiles / tiles.std((1, 2), keepdims=True)).astype(np.float32)


def noise_tile(index, rows, columns):
    """A crop of noise `index`, repeated without seams, at these rows and columns."""
    return _noise()[index][
        np.ix_(np.ravel(rows).astype(int) % 512, np.ravel(columns).astype(int) % 512)
    ]


def curve(points, n=8):
    """Catmull-Rom spline through the rows of `points` (K, D), n samples a span."""
    p = np.asarray(points, float)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, n, endpoint=False)[:, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    q = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return np.concatenate([q.reshape(-1, p.shape[1]), p[-2:-1]])


def loop(points):
    """Smooth closed outline through `points`."""
    return curve([*points[-2:], *points, *points[:2]])[16:-8]


def box(x0, y0, x1, y1, r):
    """Outline of a box with corners of radius r."""
    t = np.linspace(0.1, 2 * np.pi + 0.1, 24, endpoint=False)
    x, y = np.cos(t), np.sin(t)
    return np.stack(
        [np.where(x > 0, x1 - r, x0 + r) + r * x, np.where(y > 0, y1 - r, y0 + r) + r * y], 1
    )


def oval(x, y, rx, ry):
    """Outline of an ellipse."""
    t = np.linspace(0, 2 * np.pi, 32)
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], 1)


class Canvas:
    """An image, and how much of each pixel is pet; shapes are in `scale` pixels from `origin`.

    How strong each cue is (shade, shadows, texture, details) is drawn anew for each canvas, as is
    the direction that the light comes from.
    """

    def __init__(self, image, rng):
        self.pixels = np.array(image, np.float32) / 255
        self.pet = np.zeros(self.pixels.shape[:2], np.float32)
        self.offset = rng.integers(0, 512, 2)
        self.shade, self.shadow, self.detail = rng.uniform((0.3, 0, 0.5), (1.2, 1, 1.3))
        self.texture = rng.uniform(0.4, 1.6)
        self.light = rng.uniform((-0.9, -0.9), (0.9, -0.1))
        self.place(min(self.pet.shape), (0, 0), 1)

    def place(self, scale, origin, flip):
        self.scale, self.origin, self.flip = float(scale), np.array(origin, float), int(flip)

    def paint(self, shape, color, pet=True, depth=0.5, fluff=0.0, grain=0.05, over=0.3, angle=90):
        """Paint an outline (K, 2) or a tube (K, 3: x, y, radius) with shade, fur and a shadow.

        `color` is RGB or a function of x and y; `angle` is the fur's, in degrees. What is painted
        belongs to the pet if `pet` is true, not if it is false, and to what is below if it is None.
        """
        s, shape = self.scale, np.asarray(shape, float)
        points, radii = shape[:, :2] * (s * self.flip, s) + self.origin, shape[:, 2:].sum(1) * s
        reach = radii[:, None] + 3 + 0.08 * s * bool(depth or fluff)
        left, top = np.maximum((points - reach).min(0), 0).astype(int)
        right, bottom = np.minimum((points + reach).max(0), self.pet.shape[::-1]).astype(int)
        if min(right - left, bottom - top) < 2:
            return
        area = slice(top, bottom), slice(left, right)
        layer = _fill((points - (left, top)) * 2, radii * 2, (right - left, bottom - top))
        rows, columns, fur = np.arange(top, bottom)[:, None], np.arange(left, right)[None], 0.0

        # Strokes of fur, which roughen the edge of what is fluffy.
        if grain or fluff:
            stroke, zoom = round(angle * self.flip / 22.5) % 8 + 1, max(90 / s, 0.75)
            fur = noise_tile(stroke, rows * zoom + self.offset[0], columns * zoom + self.offset[1])
            fur = fur[..., None]
        cover = np.asarray(layer, np.float32) / 255
        if fluff:
            edge = _blurred(layer, 0.012 * s * (1 + 2 * fluff)) - 0.5 + 0.13 * fur[..., 0]
            cover = np.clip(edge * (2.5 + 0.03 * s) + 0.5, 0, 1)
        if pet is None:
            cover = cover * min(self.detail, 1)

        # Its color; the side towards the light is brighter, the other one darker.
        if callable(color):
            x, y = (columns - self.origin[0]) / (s * self.flip), (rows - self.origin[1]) / s
            color = color(x.astype(np.float32), y.astype(np.float32))
        color = np.asarray(color, np.float32) * (1 + self.texture * grain * fur)
        if depth:
            radius = min(0.13 * min(layer.size), 0.12 * s)
            away, towards = (_blurred(layer, radius, *(k * radius * self.light)) for k in (-1, 1))
            color = color * (1 + 1.4 * depth * self.shade * (away - towards))[..., None]

        # A shadow on what is below: a pet's parts shade the pet alone.
        below, known = self.pixels[area], self.pet[area]
        if over * self.shadow:
            fall = _blurred(layer, 0.03 * s, *(-0.02 * s * self.light)) * over * self.shadow
            below *= 1 - (fall * known if pet else fall)[..., None]
        below += (color - below) * cover[..., None]
        if pet is not None:
            known += (pet - known) * cover


def _fill(points, radii, size):
    """The shape in white on black, filled at twice the size and reduced: its edges are smooth."""
    layer = Image.new("L", tuple(2 * int(side) for side in size))
    pen = ImageDraw.Draw(layer)
    if not radii.any():
        pen.polygon([*points.ravel()], fill=255)
        return layer.reduce(2)
    normal = np.gradient(points, axis=0)[:, ::-1] * (-1, 1)
    side = normal * (radii / np.maximum(np.hypot(*normal.T), 1e-6))[:, None]
    for (x, y), r in zip(points, radii, strict=True):
        pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
    for a, b in pairwise(np.concatenate([points + side, points - side], 1)):
        pen.polygon([*a, *b[2:], *b[:2]], fill=255)
    return layer.reduce(2)


def _blurred(layer, radius, dx=0.0, dy=0.0):
    """A layer blurred and moved, 0..1."""
    soft = np.asarray(layer.filter(ImageFilter.GaussianBlur(float(radius))))
    rows, columns = (np.arange(n) - round(d) for n, d in zip(soft.shape, (dy, dx), strict=True))
    soft = soft[rows.clip(0, len(rows) - 1)][:, columns.clip(0, len(columns) - 1)]
    return soft.astype(np.float32) / 255
