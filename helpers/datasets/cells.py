"""Drawn cells under a microscope, in a folder of one's own: what notebook 10 works on.

Fluorescent nuclei as they come: some touch, the light is uneven, focus and brightness differ from
dish to dish, and some specks are no cells. A few are dividing: a rare class.
"""

import csv
from pathlib import Path
from typing import NamedTuple

from helpers.files import atomic, make_folder

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

CLASSES = (("0", "background", "#999999"), ("1", "cell", "#0072B2"), ("2", "dividing", "#D55E00"))
SIDE = 256  # pixels of a field, if nothing else is asked for
RADIUS = 11.0  # of a typical cell, in pixels


class Field(NamedTuple):
    """What one position of the microscope shows.

    Shapes: image uint8 (S, S), gray; mask uint8 (S, S), 0 background, 1 cell, 2 dividing; cells
    int32 (S, S), 0 or the number of the cell, from 1 on.
    """

    image: np.ndarray
    mask: np.ndarray
    cells: np.ndarray


class Dish(NamedTuple):
    """What the fields of one dish share."""

    crowding: float  # cells in a field of SIDE, on average
    touching: float  # share of cells that grew beside another one
    contrast: float
    blur: float  # pixels
    light: np.ndarray  # float (2,): how much brighter along the rows, and along the columns


def draw_dish(rng: np.random.Generator) -> Dish:
    return Dish(
        rng.uniform(20, 45),
        rng.uniform(0.3, 0.6),
        rng.uniform(0.35, 0.8),
        rng.uniform(1.0, 2.2),
        rng.uniform(-0.7, 0.7, 2),
    )


def draw_field(dish: Dish, rng: np.random.Generator, side: int = SIDE) -> Field:
    """One field of a dish; the same generator in the same state draws the same one."""
    cells, mask = (np.zeros((side, side), kind) for kind in (np.int32, np.uint8))
    glow = np.zeros((side, side))

    for number, center in enumerate(_centers(dish, rng, side), start=1):
        dividing = rng.random() < 0.06
        window, distance = _cell(center, dividing, rng, side)
        brightness = rng.uniform(0.6, 1.0) * (1.7 if dividing else 1)

        free = (distance < 1) & (cells[window] == 0)  # a cell does not grow into another one
        cells[window][free], mask[window][free] = number, 2 if dividing else 1
        glow[window][free] = brightness * (1 - 0.6 * distance[free] ** 2)  # less toward the rim

    _, cells = np.unique(cells, return_inverse=True)  # one may be hidden by another: no gap
    image = _expose(glow, dish, rng)
    return Field(image, mask, cells.reshape(mask.shape).astype(np.int32))


def _centers(dish: Dish, rng: np.random.Generator, side: int) -> list[np.ndarray]:
    """Where cells lie, (row, column): anywhere apart from each other, or beside another one."""
    centers: list[np.ndarray] = []
    for _ in range(rng.poisson(dish.crowding * (side / SIDE) ** 2)):
        for _ in range(30):  # tries
            if centers and rng.random() < dish.touching:
                angle = rng.uniform(0, 2 * np.pi)
                step = rng.uniform(1.7, 2.0) * RADIUS
                center = centers[rng.integers(len(centers))] + step * _direction(angle)
            else:
                center = rng.uniform(0, side, 2)
            near = min((np.hypot(*(center - other)) for other in centers), default=np.inf)
            if near > 1.6 * RADIUS and (center >= 0).all() and (center < side).all():
                centers.append(center)
                break
    return centers


def _cell(
    center: np.ndarray, dividing: bool, rng: np.random.Generator, side: int
) -> tuple[tuple[slice, slice], np.ndarray]:
    """A window around it, and the distance there from its center: 1 on its outline."""
    reach = int(1.5 * RADIUS)
    corners = [(max(int(c) - reach, 0), min(int(c) + reach, side)) for c in center]
    window = slice(*corners[0]), slice(*corners[1])
    rows, columns = np.mgrid[window] - center[:, None, None]
    axes = RADIUS * (np.array([0.4, 1.0]) if dividing else rng.uniform(0.8, 1.15, 2))
    along = _direction(rng.uniform(0, np.pi))
    u = (rows * along[0] + columns * along[1]) / axes[0]
    v = (columns * along[0] - rows * along[1]) / axes[1]

    # An ellipse with a wavy outline.
    angle, phases = np.arctan2(v, u), rng.uniform(0, 2 * np.pi, 2)
    outline = 1 + 0.07 * np.sin(2 * angle + phases[0]) + 0.05 * np.sin(3 * angle + phases[1])
    return window, np.hypot(u, v) / outline


def _expose(glow: np.ndarray, dish: Dish, rng: np.random.Generator) -> np.ndarray:
    """What the camera makes of it, uint8: specks, blur, uneven light, noise."""
    side = len(glow)
    glow = glow.copy()
    for row, column in rng.integers(2, side - 2, (rng.poisson(5 * (side / SIDE) ** 2), 2)):
        glow[row - 2 : row + 2, column - 2 : column + 2] = rng.uniform(0.8, 1.6)  # dust

    seen = gaussian_filter(glow, dish.blur)
    ramp = np.linspace(-1, 1, side)
    light = np.exp(dish.light[0] * ramp[:, None] + dish.light[1] * ramp)
    haze = gaussian_filter(rng.normal(size=glow.shape), side / 8) * side / 16
    exposed = light * (0.25 + 0.06 * haze + dish.contrast * seen)
    exposed += rng.normal(0, 0.03, glow.shape) * np.sqrt(exposed.clip(0.01) + 0.2)
    return (160 * exposed).round().clip(0, 255).astype(np.uint8)


def _direction(angle: float) -> np.ndarray:
    return np.array([np.sin(angle), np.cos(angle)])


def forget_cells(
    field: Field, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The mask of a labeler who overlooks a share of the cells, and where these are.

    Returns uint8 (S, S), and the middle of each cell without a label, (row, column). Cells that an
    edge of the field cuts to less than a third are never forgotten.
    """
    mask, places = field.mask.copy(), []
    for number in range(1, field.cells.max() + 1):
        rows, columns = np.nonzero(field.cells == number)
        if rng.random() < share and len(rows) > RADIUS**2:
            mask[rows, columns] = 0
            places.append((round(rows.mean()), round(columns.mean())))
    return mask, places


def write_cells(
    root: Path, dishes: int = 12, fields: int = 5, seed: int = 0, forgotten: float = 0
) -> Path:
    """Draw a folder as `open_folder` reads it, whole or not at all; one that is there stays.

    Beside the images, masks and classes: images.csv with the dish of each image as its group, and
    counts.csv with the number of cells in each, as if counted by hand.

    Args:
        dishes, fields: how many, and of each.
        forgotten: share of the cells that have no label in the masks; forgotten.csv says where.

    Raises OSError for a folder that cannot be written or a full disk.
    """
    if root.is_dir():
        return root
    make_folder(root.parent)
    with atomic(root) as partial:
        for kind in ("images", "masks"):
            (partial / kind).mkdir(parents=True)
        counts, lost = [], []
        for dish_number in range(dishes):
            rng = np.random.default_rng((seed, dish_number))
            dish = draw_dish(rng)
            for number in range(fields):
                name = f"dish{dish_number:02d}_{number}"
                field = draw_field(dish, rng)
                hurry = np.random.default_rng((seed, dish_number, number))
                mask, places = forget_cells(field, forgotten, hurry)
                Image.fromarray(field.image).save(partial / "images" / f"{name}.png")
                Image.fromarray(mask).save(partial / "masks" / f"{name}.png")
                counts.append((name, field.cells.max()))
                lost += [(name, *place) for place in places]

        _write_table(partial / "classes.csv", ("value", "name", "color"), CLASSES)
        groups = [(name, name.partition("_")[0]) for name, _ in counts]
        _write_table(partial / "images.csv", ("name", "group"), groups)
        _write_table(partial / "counts.csv", ("name", "cells"), counts)
        if forgotten:
            _write_table(partial / "forgotten.csv", ("name", "row", "column"), lost)
    return root


def _write_table(path: Path, heads: tuple[str, ...], rows: list | tuple) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([heads, *rows])
