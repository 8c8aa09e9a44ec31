"""Measures of segmentation quality, all from one confusion matrix. Derived in notebook 05.

To add one, write it as a function of the matrix, below. To follow it over the epochs, let
`TrainingState.record` (training.py) note it, and `plot_history` (visualization.py) draw it. To
report it, add it to `_scores` (studies/report.py) and to `ROWS` (studies/tables.py).
"""

from helpers.constants import IGNORE_INDEX

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class ConfusionMatrix:
    """Counts of (true class, predicted class) over pixels, kept image by image.

    `update` takes class indices; `matrix` is the sum over all images seen, rows = truth, columns =
    prediction; `per_image` keeps one matrix for each image, so that per-image scores and bootstrap
    intervals follow from the same counts. A class that occurs neither in the truth nor in the
    prediction has IoU and Dice NaN, and is left out of means.

    Args:
        num_classes: the number of classes C.
        ignore_index: target value of pixels that do not count.
    """

    def __init__(self, num_classes: int = 3, ignore_index: int = IGNORE_INDEX) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self._batches = [torch.zeros(0, num_classes, num_classes, dtype=torch.int64)]

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch. prediction, target: integer class indices (N, H, W).

        Raises ValueError for shapes that differ, for logits in place of classes, and for indices
        outside 0..C-1 (the target may also hold `ignore_index`).
        """
        floating = prediction.is_floating_point() or target.is_floating_point()
        if floating or prediction.shape != target.shape or prediction.ndim != 3:
            what = (f"{part.dtype} {tuple(part.shape)}" for part in (prediction, target))
            must = "prediction and target must both be integer class indices (N, H, W)"
            raise ValueError(f"{must}, not {' and '.join(what)}: use logits.argmax(dim=1)")

        # On the CPU from here on: one transfer each, instead of a wait for every look at the
        # values.
        prediction, target = prediction.cpu().long().flatten(1), target.cpu().long().flatten(1)
        valid = target != self.ignore_index
        c = self.num_classes
        for name, values in (("prediction", prediction[valid]), ("target", target[valid])):
            if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < c:
                raise ValueError(
                    f"{name} holds class {int(values.min())}..{int(values.max())}, not 0..{c - 1}:"
                    " were trimap values 1..3 not shifted to 0..2, or does num_classes not fit?"
                )

        # Number the cells of all images' matrices one after the other, and count each cell's
        # pixels.
        n = len(target)
        cell = (torch.arange(n)[:, None] * c + target) * c + prediction
        counts = torch.bincount(cell[valid], minlength=n * c * c)
        self.add(counts.reshape(n, c, c))

    def add(self, *per_image: Tensor) -> None:
        """Add images whose matrices are counted already, int64 (N, C, C) each."""
        self._batches.extend(per_image)

    @classmethod
    def of(cls, prediction: Tensor, target: Tensor, **options: int) -> "ConfusionMatrix":
        """The counts of one batch of class indices (N, H, W). options: those of the class."""
        confusion = cls(**options)
        confusion.update(prediction, target)
        return confusion

    @property
    def per_image(self) -> Tensor:
        """One matrix for each image, int64 (N, C, C), in the order of the updates."""
        return torch.cat(self._batches)

    @property
    def matrix(self) -> Tensor:
        """The matrix over all images, int64 (C, C)."""
        return self.per_image.sum(dim=0)

    def iou(self) -> Tensor:
        """IoU of each class over all pixels, float64 (C,)."""
        return iou(self.matrix)

    def mean_iou(self) -> float:
        """mIoU: the mean over classes of the IoU over all pixels (NaN classes left out)."""
        return float(self.iou().nanmean())

    def per_image_iou(self) -> float:
        """The mean over images of each image's own mIoU; not `mean_iou`: see notebook 05."""
        return float(iou(self.per_image).nanmean(dim=-1).nanmean())

    def dice(self) -> Tensor:
        """Dice coefficient (F1) of each class over all pixels, float64 (C,)."""
        return dice(self.matrix)

    def pixel_accuracy(self) -> float:
        """Correct pixels over counted pixels."""
        return float(pixel_accuracy(self.matrix))

    def bootstrap_miou(
        self, resamples: int = 1000, seed: int = 0, level: float = 0.95
    ) -> tuple[float, float]:
        """Percentile interval of the mIoU when the images are drawn again with replacement.

        Source: Efron 1979. It covers the choice of test images, not the spread between training
        runs: for that, use seeds.
        """
        matrices = self.per_image.double()
        n = len(matrices)
        if n == 0:
            return float("nan"), float("nan")

        # How often each resample r holds each image n, and the sum of its images' matrices.
        rng = np.random.default_rng(seed)
        draws = torch.from_numpy(rng.multinomial(n, np.full(n, 1 / n), size=resamples)).double()
        sums = torch.einsum("rn,nij->rij", draws, matrices)

        scores = iou(sums).nanmean(dim=-1)
        low, high = np.nanquantile(scores.numpy(), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def iou(matrix: Tensor) -> Tensor:
    """Intersection over union of each class, from matrices (..., C, C) to float64 (..., C)."""
    matrix = matrix.double()
    intersection = matrix.diagonal(dim1=-2, dim2=-1)
    union = matrix.sum(dim=-1) + matrix.sum(dim=-2) - intersection
    return intersection / union  # 0 / 0 is NaN: the class is absent from both


def dice(matrix: Tensor) -> Tensor:
    """Dice coefficient of each class, from confusion matrices (..., C, C) to float64 (..., C)."""
    matrix = matrix.double()
    return 2 * matrix.diagonal(dim1=-2, dim2=-1) / (matrix.sum(dim=-1) + matrix.sum(dim=-2))


def pixel_accuracy(matrix: Tensor) -> Tensor:
    """Correct over counted pixels, from confusion matrices (..., C, C) to float64 (...)."""
    matrix = matrix.double()
    return matrix.diagonal(dim1=-2, dim2=-1).sum(dim=-1) / matrix.sum(dim=(-2, -1))


def boundary_band(target: Tensor, radius: int, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """The band around class boundaries of the truth: at most `radius` pixels away, bool (N, H, W).

    Distances are those of a square window. Source: the "trimap" measure of Kohli et al. 2009. Score
    only these pixels by setting the others to the ignore index:
    `target.where(boundary_band(target, 3), 255)`.

    Args:
        target: class indices (N, H, W).
        radius: in pixels, at least 1.
        ignore_index: target value of pixels that do not count; next to them there is no boundary.
    """
    if radius < 1:
        raise ValueError(f"radius must be at least 1 pixel, not {radius}")
    values, valid = target[:, None].float(), target[:, None] != ignore_index

    # Within the window around a pixel, the largest and the smallest class differ: a boundary is
    # near.
    width = 2 * radius + 1
    largest = F.max_pool2d(values.where(valid, -torch.inf), width, 1, radius)
    smallest = -F.max_pool2d(-values.where(valid, torch.inf), width, 1, radius)
    return (largest > smallest)[:, 0]
