"""From decoded pairs to batches: split, augment, load. Notebook 02."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from helpers.datasets.pairs import Pairs, Source, decode
from helpers.distributed import Share, part_of
from helpers.transforms import normalize

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import tv_tensors


def split_indices(strata: Tensor, fraction: float = 0.25, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices (train, validation), disjoint and complete, balanced over the strata.

    Args:
        strata: a class of each sample, such as its breed, int64 (N,). Of each, `fraction` is held
            out for validation, to within one sample.
        seed: of the choice within a stratum.
    """
    # Line up the samples by stratum, in random order within each.
    noise = np.random.default_rng(seed).random(len(strata))
    line = np.lexsort((noise, strata))

    # Going along the line, hold one out each time that another whole sample is due: so rounding
    # errors do not add up over small strata.
    due = np.floor(np.arange(len(line) + 1) * fraction)
    held_out = due[1:] > due[:-1]
    return torch.from_numpy(np.sort(line[~held_out])), torch.from_numpy(np.sort(line[held_out]))


class SegmentationDataset(Dataset):
    """Some of the decoded pairs as normalized tensors, augmented if asked. Built in notebook 02.

    An item is an image, float32 (3, size, size), and its mask, int64 (size, size). Asked for
    several positions at once, as `make_loader` does, it gives a batch.

    The random numbers of an augmentation depend on the seed, the epoch (`set_epoch`) and the
    position in this dataset alone: neither workers, nor the order of batches, nor a training that
    is resumed changes them. `fit` sets the epoch; a loop of your own must, or each pass is alike.

    Args:
        pairs: from `decode`, or your own.
        indices: the positions in `pairs` to use, all if None.
        augment: changes an image and its mask, uint8 both, and keeps their type and shape, such as
            `default_augmentation()`.
    """

    def __init__(
        self, pairs: Pairs, indices: Tensor | None = None, augment: Callable | None = None
    ) -> None:
        self.pairs = pairs
        self.indices = torch.arange(len(pairs))[slice(None) if indices is None else indices]
        self.augment = augment
        self._key = torch.zeros(2, dtype=torch.int64)  # seed and epoch
        self._key.share_memory_()  # so that workers that live on see the next epoch

    @property
    def names(self) -> list[str]:
        return [self.pairs.names[i] for i in self.indices]

    def set_epoch(self, epoch: int, seed: int = 0) -> None:
        """Choose the random numbers of the next pass. `fit` does so before each epoch."""
        self._key[:] = torch.tensor([seed, epoch])

    def batch(self, positions: Tensor | list[int] | None = None) -> tuple[Tensor, Tensor]:
        """Images (N, 3, size, size) and masks (N, size, size) of these positions (None: all)."""
        places = torch.arange(len(self))[slice(None) if positions is None else positions]
        chosen = self.indices[places]
        images, masks = self.pairs.images[chosen], self.pairs.masks[chosen]

        if self.augment is not None and len(places):
            pairs = []
            with _augmenting():
                for place, image, mask in zip(places.tolist(), images, masks, strict=True):
                    seed_random_numbers(mix(*self._key.tolist(), place))
                    pairs.append(self.augment(tv_tensors.Image(image), tv_tensors.Mask(mask)))
            images, masks = (torch.stack(part) for part in zip(*pairs, strict=True))

        return normalize(images), masks.long()

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: list[int]) -> list[tuple[Tensor, Tensor]]:
        """Many items at once: a DataLoader asks for this, where it is there."""
        return list(zip(*self.batch(positions), strict=True))


class Splits(NamedTuple):
    """train (augmented), val and test (never augmented)."""

    train: SegmentationDataset
    val: SegmentationDataset
    test: SegmentationDataset


def load_splits(
    source: Source,
    size: int = 128,
    augment: Callable | None = None,
    cache: Path | None = None,
    scale: float | None = None,
) -> Splits:
    """Of the pets, trainval split 75:25 by breed, and test; of a folder of your own, its splits.

    Args:
        source: from `find_dataset` or `open_folder`.
        size: height and width of the pairs in pixels.
        augment: applied to the training pairs only, such as `default_augmentation()`.
        cache: folder of the decoded arrays, data/cache/ if None.
        scale: None squashes whole images to `size`, a number cuts tiles, see `decode`.

    Raises ValueError for a folder of your own with nothing to train on, or to validate on.
    """
    first, *others = (decode(source, split, size, cache, scale) for split in source.lists)
    images = first.image_breeds  # split these, and not their tiles
    parts = [None] if images is None else map(first.pairs_of, split_indices(images))
    datasets = [SegmentationDataset(first, rows) for rows in parts]
    datasets[0].augment = augment
    return Splits(*datasets, *map(SegmentationDataset, others))


def make_loader(
    dataset: SegmentationDataset, batch_size: int = 16, shuffle: bool = False, num_workers: int = 0
) -> DataLoader:
    """Batches of images (N, 3, size, size) and masks (N, size, size); the last may be smaller.

    Before each pass, `seed_epoch` chooses its order and its augmentation; `fit` calls it.

    No workers are needed, and none is the safe choice in notebooks: the arrays are decoded already.
    On a fast GPU a few workers keep up with the augmentation. One of several processes (see
    distributed.py) gets its part of every batch: batch_size is of all together.
    """
    generator = torch.Generator().manual_seed(0)  # `fit` seeds it before each epoch
    order = RandomSampler(dataset, generator=generator) if shuffle else range(len(dataset))
    return DataLoader(
        dataset,
        batch_size=part_of(batch_size),
        sampler=Share(order, even=shuffle),
        num_workers=num_workers,
        generator=generator,
        pin_memory=torch.cuda.is_available(),
    )


def seed_epoch(loader: object, epoch: int, seed: int = 0) -> None:
    """Let the order of the batches, and the augmentation, depend on the seed and the epoch alone.

    It concerns loaders from `make_loader`; of others, it seeds the generator if they have one. (One
    that has none draws its order from torch's global generator, whose state a checkpoint holds.)
    It does not look into a Subset: choose samples by `SegmentationDataset(pairs, indices)`.
    """
    if isinstance(dataset := getattr(loader, "dataset", None), SegmentationDataset):
        dataset.set_epoch(epoch, seed)
    if (generator := getattr(loader, "generator", None)) is not None:
        generator.manual_seed(mix(seed, epoch))


def describe(train: SegmentationDataset, val: SegmentationDataset) -> dict:
    """What a checkpoint should know of the data that it was trained on: `fit(..., about=...)`.

    data_hash is of the names and of the masks: a label that was corrected is other data.
    """
    pairs, sums = train.pairs, [crc32(d.pairs.masks.numpy().tobytes()) for d in (train, val)]
    return {
        "dataset": pairs.dataset,
        "size": pairs.images.shape[-1],
        "scale": pairs.scale,
        **(pairs.source.reading if pairs.source else {}),
        "training_samples": len(train),
        "validation_samples": len(val),
        "data_hash": f"{crc32(repr((train.names, val.names, sums)).encode()):08x}",
        "class_names": list(pairs.class_names),
        "class_colors": list(pairs.class_colors),
    }


def mix(*key: int) -> int:
    """One seed, 0..2**32 - 1, from several numbers; near keys give unrelated seeds."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def random_state() -> dict:
    """The states of the CPU's random generators (torch, NumPy, Python), as plain values."""
    kind, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, np.int64)), *rest),
        "python": random.getstate(),
    }


def set_random_state(state: dict) -> None:
    """Put back what `random_state` gave."""
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])


def seed_random_numbers(seed: int) -> None:
    """Seed all these generators: an augmentation may draw from any."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would set those of GPUs, too
    np.random.seed(seed)
    random.seed(seed)


@contextmanager
def _augmenting() -> Iterator[None]:
    """Within the block: one thread. After it, random numbers go on as if there had been none.

    Small images gain nothing from several threads, and on a busy machine lose much in waiting.
    """
    before, threads = random_state(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        set_random_state(before)
