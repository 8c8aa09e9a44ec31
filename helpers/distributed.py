"""Training in several processes, each with its part of every batch; `helpers.train` begins it.

torch's DistributedDataParallel keeps their parameters alike. In one process alone, all of this does
nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from helpers.metrics import ConfusionMatrix

import numpy as np
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, RandomSampler


def place() -> tuple[int, int]:
    """The number of this process, from 0 on, and how many there are."""
    together = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if together else (0, 1)


class Shares(BatchSampler):
    """This process's part of every batch.

    Args:
        sampler: positions, in the same order in all processes.
        batch_size: samples of all processes together, a multiple of their number.
        even: all parts of a batch are of one size, so that the mean of their gradients is that of
            the batch: samples of the last one may be left out, fewer than there are processes.
    """

    def __init__(self, sampler: RandomSampler | Sequence[int], batch_size: int, even: bool) -> None:
        super().__init__(sampler, batch_size, drop_last=False)
        self.number, self.count = place()
        if batch_size % self.count:
            raise ValueError(
                f"batch_size {batch_size} is no multiple of {self.count}, the number of processes"
            )
        self.even, self.samples = even, len(sampler)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            end = len(batch) - (len(batch) % self.count if self.even else 0)
            if part := batch[self.number : end : self.count]:
                yield part

    def __len__(self) -> int:
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest >= (self.count if self.even else self.number + 1))


def parallel(model: nn.Module) -> nn.Module:
    """What to call instead of the model in training: its gradients are means over all processes."""
    return DistributedDataParallel(model) if place()[1] > 1 else model


def agree(model: nn.Module) -> None:
    """Give all processes the buffers of the first, such as BatchNorm's running statistics."""
    if place()[1] > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def everywhere(value: Any) -> list:
    """The values of all processes, in their order: [value] in one alone."""
    values = [value] * place()[1]
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def total(confusion: ConfusionMatrix, loss: float) -> tuple[ConfusionMatrix, float]:
    """The counts, and the mean loss of a pixel, over the samples of all processes."""
    counts, losses = zip(*everywhere((confusion, loss)), strict=True)
    if len(counts) == 1:
        return confusion, loss
    pixels = [int(part.matrix.sum()) for part in counts]
    return ConfusionMatrix.joined(counts), float(np.average(losses, weights=pixels))
