"""Training in several processes, each with its part of every batch; `helpers.train` begins it.

torch's DistributedDataParallel keeps their parameters alike. In one process alone, all of this does
nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from helpers.metrics import ConfusionMatrix

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Sampler


def place() -> tuple[int, int]:
    """The number of this process, from 0 on (rank), and how many there are (world size)."""
    together = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if together else (0, 1)


class Share(Sampler[int]):
    """This process's part of an order, every so many positions: so, of every batch, an even part.

    Args:
        order: positions, the same in all processes.
        even: all parts are of one length, so that each process takes as many steps, and the mean of
            their gradients is that of the batch: of the last one, samples may be left out, fewer
            than there are processes.
    """

    def __init__(self, order: Sampler[int] | Sequence[int], even: bool) -> None:
        number, count = place()
        length = len(order)  # type: ignore[arg-type]
        self.order, self.mine = order, slice(number, length - even * (length % count), count)

    def __iter__(self) -> Iterator[int]:
        return iter(list(self.order)[self.mine])

    def __len__(self) -> int:
        return len(range(self.mine.stop)[self.mine])


def part_of(batch_size: int) -> int:
    """How many samples of a batch are this process's. Raises ValueError for a rest."""
    count = place()[1]
    if batch_size % count:
        raise ValueError(f"batch_size {batch_size} is no multiple of {count}, the processes")
    return batch_size // count


def parallel(model: nn.Module) -> nn.Module:
    """What to call instead of the model in training: its gradients are means over all processes."""
    return DistributedDataParallel(model) if place()[1] > 1 else model


def agree(model: nn.Module) -> None:
    """Broadcast the first process's buffers, such as BatchNorm's running statistics, to all."""
    if place()[1] > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def everywhere(value: Any) -> list:
    """Gather the values of all processes, in their order: [value] in one alone."""
    values = [value] * place()[1]
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def total(confusion: ConfusionMatrix, loss: float) -> tuple[ConfusionMatrix, float]:
    """The counts, and the mean loss of a pixel, over the samples of all processes."""
    counts, losses = zip(*everywhere((confusion, loss)), strict=True)
    if len(counts) > 1:
        pixels = torch.stack([part.matrix.sum() for part in counts])
        sums = torch.tensor(losses, dtype=torch.float64) * pixels
        loss = float(sums[pixels > 0].sum() / pixels.sum())  # where no pixel counts, a mean is NaN
        confusion = ConfusionMatrix(confusion.num_classes, confusion.ignore_index)
        confusion.add(*(part.per_image for part in counts))
    return confusion, loss
