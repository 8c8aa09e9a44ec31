"""Is a network that is 90 % sure right in 9 of 10 cases, and if not, what to do. Notebook 06."""

from dataclasses import dataclass

from helpers.constants import IGNORE_INDEX

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Reliability:
    """Pixels in bins of equal width by the probability of the predicted class.

    confidence: mean probability, float64 (bins,), NaN for an empty bin. accuracy: the fraction that
    is right, float64 (bins,), NaN for an empty bin. count: pixels, int64 (bins,).
    """

    confidence: Tensor
    accuracy: Tensor
    count: Tensor

    def error(self) -> float:
        """Expected calibration error (ECE): mean |accuracy - confidence|, weighted by pixels."""
        filled = self.count > 0
        gap, count = (self.accuracy - self.confidence).abs()[filled], self.count[filled]
        return float((gap * count).sum() / count.sum())


def reliability(probabilities: Tensor, target: Tensor, bins: int = 15) -> Reliability:
    """The data of a reliability diagram; ignored pixels are left out.

    Shapes: probabilities (N, C, H, W), target (N, H, W). Source: Guo et al. 2017, "On calibration
    of modern neural networks".
    """
    count, sure, right = torch.zeros(3, bins, dtype=torch.float64)

    # Some images at a time: a test split at 224 px has 184 million pixels.
    for part, truth in zip(probabilities.split(64), target.split(64), strict=True):
        confidence, prediction = part.max(dim=1)
        valid = truth != IGNORE_INDEX
        confidence, hits = confidence[valid].double(), (prediction == truth)[valid].double()

        # The bins are (0, 1/bins], (1/bins, 2/bins], ...
        which = (confidence * bins).ceil().long().clamp(1, bins) - 1
        count += torch.bincount(which, minlength=bins)
        sure += torch.bincount(which, weights=confidence, minlength=bins)
        right += torch.bincount(which, weights=hits, minlength=bins)

    return Reliability(sure / count, right / count, count.long())


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """The T > 0 for which softmax(logits / T) has the lowest cross-entropy. T > 1: it was too sure.

    The order of the classes does not change, and so neither do predictions and IoU. Fit it on
    validation images, never on the test split. Shapes: logits (N, C, H, W), int64 target
    (N, H, W). Source: Guo et al. 2017.
    """
    scale = torch.zeros(1, requires_grad=True)  # log T
    optimizer = torch.optim.LBFGS([scale], max_iter=30, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / scale.exp(), target, ignore_index=IGNORE_INDEX)
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    return float(scale.detach().exp())
