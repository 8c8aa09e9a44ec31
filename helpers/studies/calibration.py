"""Whether a network that is 90 % sure is right in 9 of 10 cases, and how to mend it. Used in notebook 06."""

from typing import NamedTuple

from helpers.data import IGNORE_INDEX

import torch
import torch.nn.functional as F
from torch import Tensor


class Reliability(NamedTuple):
    """Pixels in bins of equal width by the probability of the predicted class; empty bins hold NaN.

    confidence: mean probability, float64 (bins,). accuracy: share that is right, float64 (bins,).
    count: pixels, int64 (bins,).
    """

    confidence: Tensor
    accuracy: Tensor
    count: Tensor

    def error(self) -> float:
        """Expected calibration error (ECE): the mean gap |accuracy - confidence|, bins weighted by their pixels."""
        gap = (self.accuracy - self.confidence).abs().nan_to_num()
        return float((gap * self.count).sum() / self.count.sum())


def reliability(probabilities: Tensor, target: Tensor, bins: int = 15) -> Reliability:
    """The data of a reliability diagram. probabilities (N, C, H, W), target (N, H, W); ignored pixels are left out.

    Source: Guo et al. 2017, "On calibration of modern neural networks".
    """
    valid = target != IGNORE_INDEX
    confidence, answer = probabilities.max(dim=1)
    confidence, right = confidence[valid].double(), (answer == target)[valid].double()
    which = (confidence * bins).ceil().long().clamp(
        1, bins
    ) - 1  # bins (0, 1/bins], (1/bins, 2/bins], ...
    count = torch.bincount(which, minlength=bins)
    sums = (
        torch.zeros(bins, dtype=torch.float64).index_add(0, which, values)
        for values in (confidence, right)
    )
    return Reliability(*(total / count for total in sums), count)


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """The number T > 0 for which softmax(logits / T) has the lowest cross-entropy. T > 1 means: it was too sure.

    Classes keep their order, so answers and IoU stay. Fit it on validation images, never on the test list.
    Source: Guo et al. 2017. logits (N, C, H, W) up to a constant for each pixel, target (N, H, W).
    """
    scale = torch.zeros(1, requires_grad=True)  # log T
    optimizer = torch.optim.LBFGS([scale], max_iter=30, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / scale.exp(), target, ignore_index=IGNORE_INDEX)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(scale.detach().exp())
