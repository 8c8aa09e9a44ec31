"""A canvas on which shapes are painted with shade, fur and shadows, and which knows what is pet."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFilter


def rgb(colour):
    """A colour such as "b5713c" as RGB in 0..1."""
    return np.array(ImageColor.getrgb("#" + colour)) / 255


def ramp(x, low, high):
    """0 up to `low`, 1 from `high`, a straight line between."""
    return np.clip((x - low) / (high - low), 0, 1)


def pick(rng, colours):
    """One of some colours, as RGB in 0..1."""
    return rgb(str(rng.choice(colours)))


@lru_cache(maxsize=1)
def _noise():
    """Tileable noises (9, 512, 512) of unit variance: 0 is smooth, 1..8 are strokes every 22.5 degrees."""
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
    """An image and how much of each pixel is pet; shapes are measured in `scale` pixels from `origin`."""

    def __init__(self, image, rng):
        self.pixels = np.array(image, np.float32) / 255
        self.pet = np.zeros(self.pixels.shape[:2], np.float32)
        self.offset = rng.integers(0, 512, 2)
        self.place(min(self.pet.shape), (0, 0), 1)

    def place(self, scale, origin, flip):
        self.scale, self.origin, self.flip = float(scale), np.array(origin, float), int(flip)

    def paint(self, shape, colour, pet=True, depth=0.5, fluff=0.0, grain=0.05, over=0.3, angle=90):
        """Paint an outline (K, 2) or a tube (K, 3: x, y, radius) with shade, fur and a shadow below.

        `colour` is RGB or a function of x and y; `angle` is the fur's, in degrees. What is painted belongs to
        the pet if `pet` is true, not if it is false, and to whatever is below if it is None.
        """
        s, shape = self.scale, np.asarray(shape, float)
        points, radii = shape[:, :2] * (s * self.flip, s) + self.origin, shape[:, 2:].sum(1) * s
        reach = radii[:, None] + 3 + 0.08 * s * bool(depth or fluff)
        left, top = np.maximum((points - reach).min(0), 0).astype(int)
        right, bottom = np.minimum((points + reach).max(0), self.pet.shape[::-1]).astype(int)
        if min(right - left, bottom - top) < 2:
            return
        # The shape is filled at twice the size and reduced, so that its edges are smooth.
        layer = Image.new("L", (int(right - left) * 2, int(bottom - top) * 2))
        pen, points, radii = ImageDraw.Draw(layer), (points - (left, top)) * 2, radii * 2
        if radii.any():
            normal = np.gradient(points, axis=0)[:, ::-1] * (-1, 1)
            side = normal * (radii / np.maximum(np.hypot(*normal.T), 1e-6))[:, None]
            for (x, y), r in zip(points, radii, strict=True):
                pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
            for a, b in pairwise(np.concatenate([points + side, points - side], 1)):
                pen.polygon([*a, *b[2:], *b[:2]], fill=255)
        else:
            pen.polygon([*points.ravel()], fill=255)
        layer = layer.reduce(2)

        def blurred(radius, dx=0.0, dy=0.0):
            soft = np.asarray(layer.filter(ImageFilter.GaussianBlur(float(radius))))
            rows, columns = (
                np.arange(n) - round(d) for n, d in zip(soft.shape, (dy, dx), strict=True)
            )
            soft = soft[rows.clip(0, len(rows) - 1)][:, columns.clip(0, len(columns) - 1)]
            return soft.astype(np.float32) / 255

        rows, columns, fur = np.arange(top, bottom)[:, None], np.arange(left, right)[None], 0.0
        if grain or fluff:
            stroke, zoom = round(angle * self.flip / 22.5) % 8 + 1, max(90 / s, 0.75)
            fur = noise_tile(stroke, rows * zoom + self.offset[0], columns * zoom + self.offset[1])[
                ..., None
            ]
        cover = np.asarray(layer, np.float32) / 255
        if fluff:
            edge = blurred(0.012 * s * (1 + 2 * fluff)) - 0.5 + 0.13 * fur[..., 0]
            cover = np.clip(edge * (2.5 + 0.03 * s) + 0.5, 0, 1)
        if callable(colour):
            x, y = (columns - self.origin[0]) / (s * self.flip), (rows - self.origin[1]) / s
            colour = colour(x.astype(np.float32), y.astype(np.float32))
        colour = np.asarray(colour, np.float32) * (1 + grain * fur) if grain else colour
        if depth:
            radius = min(0.13 * min(layer.size), 0.12 * s)
            shade = 1 - ramp(blurred(radius, -0.3 * radius, -0.5 * radius), 0.05, 0.9)[..., None]
            colour = colour * (1.06 - shade * np.array([0.72, 0.82, 0.68], np.float32) * depth)
        below, known = self.pixels[top:bottom, left:right], self.pet[top:bottom, left:right]
        if over:
            shadow = over * blurred(0.03 * s, 0, 0.02 * s)
            below *= 1 - (shadow * known if pet else shadow)[..., None]
        below += (colour - below) * cover[..., None]
        if pet is not None:
            known += ((1 if pet else 0) - known) * cover

    def outline(self, colour, strength):
        """Draw the pet's contour, soft on both sides, in a colour."""
        mask = Image.fromarray((self.pet * 255).astype(np.uint8))
        soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(1.2)), np.float32)[..., None] / 255
        self.pixels += (colour - self.pixels) * ramp(4 * soft * (1 - soft), 0.1, 1) * strength
