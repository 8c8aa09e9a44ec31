"""Count and measure the objects in a mask, and say with what error.

An object is a connected component: pixels of one class that touch, also at a corner.
"""

from collections.abc import Sequence
from typing import NamedTuple

from helpers.constants import IGNORE_INDEX

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment
from skimage.measure import label, regionprops_table
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

# The columns of a table of objects, and what scikit-image calls them. left and top are the first
# pixel's, right and bottom those after the last.
COLUMNS = {
    "object": "label",
    "area_px": "area",
    "centroid_x": "centroid-1",
    "centroid_y": "centroid-0",
    "left": "bbox-1",
    "top": "bbox-0",
    "right": "bbox-3",
    "bottom": "bbox-2",
    "equivalent_diameter_px": "equivalent_diameter_area",
}


class Matches(NamedTuple):
    """How the objects of one class in a prediction fit those in the truth, one to one.

    iou_sum: of the true positives. Matches add up: the scores of many images are those of `total`.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    iou_sum: float

    @property
    def precision(self) -> float:
        """The share of the predicted objects that are right; NaN without any."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """The share of the true objects that were found; NaN without any."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Their harmonic mean, which panoptic segmentation calls recognition quality."""
        wrong = self.false_positives + self.false_negatives
        return _ratio(2 * self.true_positives, 2 * self.true_positives + wrong)

    @property
    def panoptic_quality(self) -> float:
        """F1 times the mean IoU of the true positives. Source: Kirillov et al. 2019."""
        wrong = self.false_positives + self.false_negatives
        return _ratio(2 * self.iou_sum, 2 * self.true_positives + wrong)

    @property
    def count_error(self) -> int:
        """Predicted objects minus true ones: those too many and those missed cancel out."""
        return self.false_positives - self.false_negatives

    @classmethod
    def total(cls, matches: Sequence["Matches"]) -> "Matches":
        """All images' matches as one."""
        return cls(*(sum(part) for part in zip((0, 0, 0, 0.0), *matches, strict=True)))


class CountErrors(NamedTuple):
    """Over images, of the predicted number of objects minus the true one.

    bias: the mean; mean_absolute and root_mean_square, as is usual in counting (Lempitsky and
    Zisserman 2010).
    """

    bias: float
    mean_absolute: float
    root_mean_square: float


def label_objects(
    mask: np.ndarray, number: int, min_area: int = 1, split: float | None = None
) -> np.ndarray:
    """Number the objects of a class from 1 on, int32 (H, W); 0 is no object.

    Args:
        mask: class indices (H, W).
        number: of the class.
        min_area: in pixels; what is smaller is no object.
        split: cut objects that touch where the neck is narrower than the smaller of them by so many
            pixels, of the radius: at 1 nearly every dent cuts. None cuts nothing. By the watershed
            of the distance to the edge, from its extended maxima (Soille 2003, chapters 6 and 9).

    Raises ValueError for anything but a mask, and for a split that is not above 0.
    """
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(f"a mask is integer (H, W), not {mask.dtype} {mask.shape}: use argmax")
    inside = mask == number
    labels = label(inside, connectivity=2)
    if split is not None:
        if not split > 0:
            raise ValueError(f"split must be above 0 pixels, not {split}: leave it out for none")
        labels = labels if inside.all() else _split(inside, labels, split)

    # What is too small goes, and the others are numbered anew in the same order.
    areas = np.bincount(labels.ravel())
    kept = areas >= min_area
    kept[0] = False
    return (kept.cumsum() * kept)[labels].astype(np.int32)


def count_objects(labels: np.ndarray) -> list[dict[str, float]]:
    """A row for each object of `label_objects`: the keys of COLUMNS, and touches_border, 0 or 1.

    Of what touches the image's border a part may lie outside: its area is a lower bound.
    """
    wanted = ("label", "area", "centroid", "bbox", "equivalent_diameter_area")
    found = regionprops_table(labels, properties=wanted)
    height, width = labels.shape
    rows = []
    for values in zip(*(found[name].tolist() for name in COLUMNS.values()), strict=True):
        row = dict(zip(COLUMNS, values, strict=True))
        at_start, at_end = min(row["left"], row["top"]) == 0, row["right"] == width
        row["touches_border"] = int(at_start or at_end or row["bottom"] == height)
        rows.append(row)
    return rows


def match_objects(predicted: np.ndarray, truth: np.ndarray, min_iou: float = 0.5) -> Matches:
    """Match the objects of two label images one to one, as many as possible, by their IoU.

    A pair needs an IoU of at least min_iou. Source: Kirillov et al. 2019, where above 0.5 no object
    fits two; for other values an assignment chooses.

    predicted, truth: from `label_objects`, (H, W) both. Take pixels that do not count out of the
    masks of both before (`without_ignored`). Raises ValueError for shapes that differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"labels must be of one size, not {predicted.shape} and {truth.shape}")
    p, t = int(predicted.max(initial=0)), int(truth.max(initial=0))

    # Row: predicted object, column: true one, 0: none of them.
    cells = predicted.ravel().astype(np.int64) * (t + 1) + truth.ravel()
    overlap = np.bincount(cells, minlength=(p + 1) * (t + 1)).reshape(p + 1, t + 1)
    union = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0) - overlap
    iou = (overlap / np.maximum(union, 1))[1:, 1:]

    # One more pair is worth more than any sum of IoUs.
    value = (iou >= min_iou) * (iou + min(p, t) + 1)
    pairs = linear_sum_assignment(value, maximize=True)
    good = iou[pairs][iou[pairs] >= min_iou]
    return Matches(len(good), p - len(good), t - len(good), float(good.sum()))


def without_ignored(mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The mask, and the ignore index where the truth has it."""
    return np.where(truth == IGNORE_INDEX, IGNORE_INDEX, mask)


def count_errors(predicted: Sequence[int], truth: Sequence[int]) -> CountErrors:
    """The errors of the numbers of objects in some images. Raises ValueError for other lengths."""
    if len(predicted) != len(truth) or not len(truth):
        raise ValueError(
            f"{len(predicted)} predicted and {len(truth)} true counts: one each for some images"
        )
    errors = np.subtract(predicted, truth, dtype=np.float64)
    spread = np.sqrt((errors**2).mean())
    return CountErrors(float(errors.mean()), float(np.abs(errors).mean()), float(spread))


def group_errors(found: Sequence[int], truth: Sequence[int], groups: Sequence[str]) -> np.ndarray:
    """The mean relative error of the counts in each group, float (groups,), by their names.

    Images of one patient or dish err alike: a new one is to be expected within the deviation of
    these. found, truth, groups: of each image; truth above 0.
    """
    errors, members = np.divide(found, truth) - 1, np.asarray(groups)
    return np.array([errors[members == name].mean() for name in sorted(set(groups))])


def _split(inside: np.ndarray, labels: np.ndarray, depth: float) -> np.ndarray:
    """The connected components cut at necks; see `label_objects`."""
    distance = distance_transform_edt(inside)

    # Regional maxima of the h-maxima transform; skimage's h_maxima gives peaks of one height apart,
    # however shallow the neck between them is.
    leveled = reconstruction(distance - depth, distance)
    peaks = label(local_maxima(leveled) * inside, connectivity=2)

    # What is thinner than the depth has no peak, and is one object as it is.
    has_peak = np.zeros(labels.max() + 1, bool)
    has_peak[labels[peaks > 0]] = True
    markers = np.where(inside & ~has_peak[labels], labels + peaks.max(), peaks)
    return watershed(-distance, markers, connectivity=2, mask=inside)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
