"""What training minimizes: functions of logits (N, C, H, W) and masks (N, H, W) that give one number. Notebook 04."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from helpers.data import IGNORE_INDEX


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of the pixels that count. logits (N, C, H, W), target (N, H, W)."""
    return F.cross_entropy(logits.float(), target, ignore_index=IGNORE_INDEX)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - the mean soft Dice coefficient of the classes, over the batch. logits (N, C, H, W), target (N, H, W).

    Source: Milletari et al. 2016, with |p| + |t| in the denominator.
    """
    counts = (target != IGNORE_INDEX)[:, None]
    probabilities = logits.float().softmax(dim=1) * counts
    truth = F.one_hot(target.where(counts[:, 0], 0), logits.shape[1]).movedim(-1, 1) * counts
    overlap = (probabilities * truth).sum(dim=(0, 2, 3))
    total = (probabilities + truth).sum(dim=(0, 2, 3))
    return 1 - ((2 * overlap + 1) / (total + 1)).mean()  # + 1: no 0 / 0 for an absent class


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": cross_entropy,
    "dice": dice_loss,
    "ce+dice": lambda logits, target: cross_entropy(logits, target) + dice_loss(logits, target),
}
