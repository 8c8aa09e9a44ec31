"""What training minimizes: of logits (N, C, H, W) and masks (N, H, W), int64. Notebook 04."""

from collections.abc import Callable

from helpers.constants import IGNORE_INDEX

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of the valid pixels. logits (N, C, H, W), int64 target (N, H, W)."""
    return F.cross_entropy(logits.float(), target, ignore_index=IGNORE_INDEX)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - the mean soft Dice coefficient of the classes, over the batch.

    Shapes: logits (N, C, H, W), int64 target (N, H, W). Pixels with the value `IGNORE_INDEX` do not
    count. Source: Milletari et al. 2016, with |p| + |t| in the denominator.
    """
    valid = target != IGNORE_INDEX  # (N, H, W)
    probabilities = logits.float().softmax(dim=1) * valid[:, None]

    # One-hot, the same layout as the logits; an ignored pixel belongs to no class.
    truth = F.one_hot(target.where(valid, 0), logits.shape[1]).movedim(-1, 1) * valid[:, None]

    overlap = (probabilities * truth).sum(dim=(0, 2, 3))  # (C,)
    total = (probabilities + truth).sum(dim=(0, 2, 3))
    return 1 - ((2 * overlap + 1) / (total + 1)).mean()  # + 1: no 0 / 0 for an absent class


def cross_entropy_and_dice(logits: Tensor, target: Tensor) -> Tensor:
    """The sum of both: pixel by pixel, and class by class."""
    return cross_entropy(logits, target) + dice_loss(logits, target)


# Add a function of your own under a name of its own, and give that name to `TrainingConfig`.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": cross_entropy,
    "dice": dice_loss,
    "ce+dice": cross_entropy_and_dice,
}
