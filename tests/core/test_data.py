import pickle
import random
import shutil
from collections import Counter
from dataclasses import replace

from helpers.constants import CLASS_NAMES
from helpers.data import (
    Pairs,
    SegmentationDataset,
    decode,
    describe,
    load_splits,
    make_loader,
    mix,
    random_state,
    seed_epoch,
    set_random_state,
    split_indices,
)
from helpers.datasets.pets import PairReader
from helpers.transforms import default_augmentation, normalize, resize_pair

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit
from torch.utils.data import DataLoader, Dataset


def same(a, b) -> bool:
    """Two lists of batches hold the same bits."""
    return len(a) == len(b) and all(
        torch.equal(x, y) for pair in zip(a, b, strict=True) for x, y in zip(*pair, strict=True)
    )


def seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def draw_all() -> list[float]:
    return [torch.rand(()).item(), np.random.rand(), random.random(), np.random.randn()]


class TestDecode:
    def test_holds_the_resized_pairs_in_the_order_of_the_list(self, drawn, tmp_path):
        pairs = decode(drawn, "test", 64, tmp_path)
        reader = PairReader(drawn, "test")
        assert len(pairs) == len(reader) == 37 and pairs.names == reader.names
        assert pairs.images.shape == (37, 3, 64, 64) and pairs.images.dtype == torch.uint8
        assert pairs.masks.shape == (37, 64, 64) and pairs.masks.dtype == torch.uint8
        assert pairs.breeds.tolist() == list(reader.breeds)
        for i in (0, 20, 36):
            image, mask = resize_pair(*reader[i], 64)
            assert torch.equal(pairs.images[i], image) and torch.equal(pairs.masks[i], mask)

    def test_knows_where_it_comes_from(self, drawn, tmp_path):
        pairs = decode(drawn, "test", 32, tmp_path)
        assert (pairs.dataset, pairs.split, pairs.source) == ("synthetic", "test", drawn)
        assert pairs.class_names == CLASS_NAMES and pairs.arrays.parent == tmp_path

    def test_is_kept_in_the_home_folder(self, drawn_copy, tmp_path, monkeypatch):
        monkeypatch.setenv("UNET_HOME", str(tmp_path / "home"))
        assert decode(drawn_copy, "test", 32).arrays.parent == tmp_path / "home" / "data" / "cache"

    def test_is_a_copy_that_readers_may_change(self, drawn_copy, tmp_path):
        decode(drawn_copy, "test", 32, tmp_path / "cache").images.zero_()
        assert decode(drawn_copy, "test", 32, tmp_path / "cache").images.any()


class TestPickle:
    """Workers that are spawned (Windows, macOS, Python 3.14) get a pickled dataset."""

    def test_decoded_pairs_are_sent_as_the_name_of_their_files(self, splits):
        sent = pickle.dumps(splits.train)
        assert len(sent) < 20_000 < splits.train.pairs.images.numel()
        arrived = pickle.loads(sent)
        assert torch.equal(arrived.pairs.images, splits.train.pairs.images)
        assert torch.equal(arrived.pairs.masks, splits.train.pairs.masks)
        assert arrived.names == splits.train.names

    def test_own_pairs_are_sent_whole(self, pairs):
        arrived = pickle.loads(pickle.dumps(pairs))
        assert torch.equal(arrived.images, pairs.images) and arrived.names == pairs.names

    def test_pairs_with_changed_pixels_are_sent_whole(self, splits):
        """Not as the name of the files that they were read from."""
        dark = replace(splits.val.pairs, images=splits.val.pairs.images // 2)
        arrived = pickle.loads(pickle.dumps(dark))
        assert torch.equal(arrived.images, dark.images) and arrived.source == dark.source

    @pytest.mark.slow
    def test_spawned_workers_give_the_same_batches(self, splits):
        splits.train.set_epoch(3, seed=1)
        expected = list(make_loader(splits.train, 8))
        loader = make_loader(splits.train, 8, num_workers=1)
        loader.multiprocessing_context = "spawn"
        assert same(list(loader), expected)


class TestSplit:
    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.integers(0, 6), max_size=120),
        st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0]),
        st.integers(0, 5),
    )
    def test_is_disjoint_complete_and_balanced(self, strata, fraction, seed):
        train, val = split_indices(torch.tensor(strata, dtype=torch.int64), fraction, seed)
        assert sorted(train.tolist() + val.tolist()) == list(range(len(strata)))
        assert train.tolist() == sorted(train.tolist()) and val.tolist() == sorted(val.tolist())
        assert abs(len(val) - len(strata) * fraction) < 1
        held_out = Counter(strata[i] for i in val)
        for stratum, count in Counter(strata).items():
            assert abs(held_out[stratum] - count * fraction) < 1

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.integers(2, 9), min_size=2, max_size=5), st.integers(0, 5))
    def test_is_as_balanced_as_scikit_learn(self, groups, seed):
        strata = torch.repeat_interleave(torch.arange(len(groups)), 4 * torch.tensor(groups))
        strata = strata[torch.randperm(len(strata))]
        oracle = StratifiedShuffleSplit(1, test_size=0.25, random_state=seed)
        _, theirs = next(oracle.split(strata, strata))
        _, ours = split_indices(strata, 0.25, seed)
        assert strata[ours].bincount().tolist() == strata[theirs].bincount().tolist() == groups

    def test_the_seed_alone_decides(self):
        strata = torch.arange(40) % 4
        _, val = split_indices(strata)
        np.random.seed(7)
        assert torch.equal(split_indices(strata)[1], val)
        assert not torch.equal(split_indices(strata, seed=1)[1], val)
        assert (val.diff() != val.diff()[0]).any()  # drawn, not every fourth

    def test_a_quarter_by_default(self):
        assert len(split_indices(torch.zeros(40))[1]) == 10

    def test_no_pair_is_in_two_splits(self, splits):
        train, val, test = (set(part.names) for part in splits)
        assert not (train & val or train & test or val & test)
        assert (len(train), len(val), len(test)) == (28, 9, 37)
        assert splits.train.pairs is splits.val.pairs and splits.train.pairs.split == "trainval"

    def test_all_tiles_of_an_image_are_in_one_split(self, drawn, splits, tmp_path):
        """The same images are held out as of whole ones."""
        tiled = load_splits(drawn, 64, cache=tmp_path, scale=0.5)
        images = [{name.split()[0] for name in part.names} for part in tiled]
        assert images == [set(part.names) for part in splits]
        assert len(tiled.val) > len(splits.val)
        assert sum(map(len, tiled)) == len(tiled.train.pairs) + len(tiled.test.pairs)

    def test_only_training_is_augmented(self, splits):
        assert splits.train.augment and splits.val.augment is None and splits.test.augment is None

    def test_of_the_photographs(self, real, tmp_path):
        train, val, test = load_splits(real, 32, cache=tmp_path)
        assert len(train) + len(val) + len(test) == real.count
        assert abs(len(val) / (len(train) + len(val)) - 0.25) < 0.01
        breeds = train.pairs.breeds
        held_out = breeds[val.indices].bincount(minlength=37)
        assert ((held_out - breeds.bincount(minlength=37) / 4).abs() < 1).all()
        del train, val, test
        shutil.rmtree(tmp_path, ignore_errors=True)


class TestDataset:
    def test_an_item_is_the_normalized_pair(self, pairs):
        image, mask = SegmentationDataset(pairs)[5]
        assert torch.equal(image, normalize(pairs.images[5]))
        assert torch.equal(mask, pairs.masks[5].long()) and mask.dtype == torch.int64

    def test_positions_may_count_from_the_end(self, pairs):
        data = SegmentationDataset(pairs, augment=default_augmentation())
        assert torch.equal(data[-1][0], data[len(data) - 1][0])
        with pytest.raises(IndexError):
            data[len(data)]

    def test_positions_may_be_a_list_or_a_tensor(self, pairs):
        for indices in ([3, 0], torch.tensor([3, 0])):
            some = SegmentationDataset(pairs, indices)
            assert len(some) == 2 and some.names == ["disc_3", "disc_0"]
            assert torch.equal(some[1][1], pairs.masks[0].long())
            assert torch.equal(some.batch([1, 0])[1], pairs.masks[[0, 3]].long())
            assert torch.equal(some.batch()[1], pairs.masks[[3, 0]].long())
            assert torch.equal(some.batch([1])[1], pairs.masks[[0]].long())

    def test_as_tensors_are_indexed(self, pairs):
        all_of_them = range(len(pairs))
        chosen = torch.tensor([position in (0, 3) for position in all_of_them])
        for rows in (chosen, chosen.tolist(), chosen.numpy(), [-len(pairs), 3]):
            some = SegmentationDataset(pairs, rows)
            assert len(some) == 2 and some.names == ["disc_0", "disc_3"]
            assert torch.equal(some.batch([-1])[1], pairs.masks[[3]].long())
        assert len(SegmentationDataset(pairs, [])) == 0 and len(some.batch([])[0]) == 0
        with pytest.raises(IndexError):
            SegmentationDataset(pairs, [len(pairs)])

    def test_augmentation_does_not_change_the_pairs(self, pairs):
        images, masks = pairs.images.clone(), pairs.masks.clone()
        batch = SegmentationDataset(pairs, augment=default_augmentation()).batch()
        assert not torch.equal(batch[0], normalize(images))
        assert torch.equal(pairs.images, images) and torch.equal(pairs.masks, masks)

    def test_what_travels_with_a_checkpoint(self, pairs):
        train, val = SegmentationDataset(pairs, [0, 1, 2]), SegmentationDataset(pairs, [3])
        about = describe(train, val)
        assert about["dataset"] == "discs" and about["size"] == 32
        assert (about["training_samples"], about["validation_samples"]) == (3, 1)
        assert about["class_names"] == list(pairs.class_names)
        assert about["class_colors"] == list(pairs.class_colors)
        again, swapped = describe(train, val), describe(val, train)
        assert again["data_hash"] == about["data_hash"] != swapped["data_hash"]

    def test_a_corrected_mask_is_other_data(self, pairs):
        data = SegmentationDataset(pairs, [0, 1, 2])
        before = describe(data, data)["data_hash"]
        masks = pairs.masks.clone()
        masks[2, 5, 5] = (masks[2, 5, 5] + 1) % 3
        mended = SegmentationDataset(replace(pairs, masks=masks), [0, 1, 2])
        assert describe(data, data)["data_hash"] == before
        assert describe(mended, data)["data_hash"] != before != describe(data, mended)["data_hash"]


class TestRandomNumbers:
    """An augmentation depends on the seed, the epoch and the sample alone."""

    def augmented(self, pairs: Pairs, indices=None) -> SegmentationDataset:
        return SegmentationDataset(pairs, indices, default_augmentation())

    def test_by_seed_and_epoch(self, pairs):
        dataset, seen = self.augmented(pairs), []
        for epoch, seed in ((1, 0), (2, 0), (1, 1), (1, 0)):
            dataset.set_epoch(epoch, seed)
            seen.append(dataset.batch()[0])
        assert torch.equal(seen[0], seen[3]) and torch.equal(dataset.batch()[0], seen[3])
        for other in seen[1:3]:
            assert (other != seen[0]).flatten(1).any(dim=1).all()

    def test_by_sample_and_not_by_order_or_neighbors(self, pairs):
        whole, images = self.augmented(pairs), pairs.images[:1].expand(12, -1, -1, -1)
        images_of = whole.batch()[0]
        backwards = whole.batch(list(range(11, -1, -1)))[0]
        assert torch.equal(backwards.flip(0), images_of)
        assert torch.equal(whole[7][0], images_of[7])
        twins = self.augmented(Pairs("twins", pairs.names, images, pairs.masks)).batch()[0]
        assert not torch.equal(twins[0], twins[1])

    def test_a_pair_that_is_shown_twice_an_epoch_is_augmented_in_two_ways(self, pairs):
        twice = self.augmented(pairs, [3, 3]).batch()[0]
        assert not torch.equal(twice[0], twice[1])

    def test_an_augmentation_that_changes_the_type_is_refused(self, pairs):
        def to_float(image, mask):
            return image.float() / 255, mask

        with pytest.raises(ValueError, match="uint8"):
            SegmentationDataset(pairs, augment=to_float).batch()

    def test_all_generators_are_seeded_and_restored(self, pairs):
        def draw(image, mask):
            image[:] = torch.tensor(draw_all()[:3]).mul(255).byte()[:, None, None]
            return image, mask

        dataset = SegmentationDataset(pairs, augment=draw)
        seed_all(1)
        first = dataset.batch()[0]
        assert len(first[:, :, 0, 0].unique()) > 24
        after = draw_all()

        seed_all(1)
        assert draw_all() == after
        assert torch.equal(dataset.batch()[0], first)

    def test_threads_are_as_before(self, pairs):
        before = torch.get_num_threads()
        seen = []

        def look(image, mask):
            seen.append(torch.get_num_threads())
            return image, mask

        try:
            torch.set_num_threads(3)
            SegmentationDataset(pairs, augment=look).batch([0])
            assert (seen, torch.get_num_threads()) == ([1], 3)
        finally:
            torch.set_num_threads(before)

    def test_workers_change_no_bit_and_see_the_epoch(self, splits):
        epochs = {}
        for workers in (0, 2):
            loader = make_loader(splits.train, 8, shuffle=True, num_workers=workers)
            for epoch in (1, 2):
                seed_epoch(loader, epoch)
                epochs[workers, epoch] = list(loader)
        assert same(epochs[0, 1], epochs[2, 1]) and same(epochs[0, 2], epochs[2, 2])
        assert not same(epochs[0, 1], epochs[0, 2])

    def test_workers_that_live_on_see_the_next_epoch(self, pairs):
        dataset = self.augmented(pairs)
        loader = DataLoader(dataset, 12, num_workers=1, persistent_workers=True)
        seen = []
        for epoch in (1, 2):
            dataset.set_epoch(epoch)
            seen.append((next(iter(loader))[0], dataset.batch()[0]))
        assert all(torch.equal(a, b) for a, b in seen)
        assert not torch.equal(seen[0][0], seen[1][0])

    def test_a_saved_state_restores_all_generators(self, tmp_path):
        seed_all(5)
        draw_all()  # NumPy keeps one of two normal numbers back for the next call
        torch.save(random_state(), tmp_path / "state.pt")
        expected = draw_all()

        seed_all(6)
        set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
        assert draw_all() == expected

    def test_near_keys_give_unrelated_seeds(self):
        seeds = [mix(a, b, c) for a in range(8) for b in range(8) for c in range(8)]
        assert len(set(seeds)) == 512 and 0 <= min(seeds) and max(seeds) < 2**32
        bits = np.array([[seed >> b & 1 for b in range(32)] for seed in seeds])
        assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.1


class Foreign(Dataset):
    """As torchvision's VOCSegmentation with transforms: tensors, and neither source nor breeds."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        torch.manual_seed(index)
        return torch.randn(3, 16, 16), torch.randint(4, (16, 16))


class TestLoader:
    def test_batches(self, pairs):
        dataset = SegmentationDataset(pairs)
        batches = list(make_loader(dataset, batch_size=5))
        assert [len(masks) for _, masks in batches] == [5, 5, 2]
        images, masks = batches[1]
        assert images.shape == (5, 3, 32, 32) and images.dtype == torch.float32
        assert torch.equal(images, dataset.batch()[0][5:10]) and masks.dtype == torch.int64
        assert len(next(iter(make_loader(SegmentationDataset(pairs, [0] * 20))))[0]) == 16

    def test_every_pair_once_in_an_order_by_seed_and_epoch(self, pairs):
        loader = make_loader(SegmentationDataset(pairs), 5, shuffle=True)

        def sums(epoch, seed=0):
            seed_epoch(loader, epoch, seed)
            return [image.sum().item() for images, _ in loader for image in images]

        first = sums(1)
        assert sums(1) == first and sums(2) != first and sums(1, seed=1) != first
        assert sorted(sums(2)) == sorted(first) == sorted(set(first))

    def test_other_loaders_are_seeded_if_they_can_be(self):
        seed_epoch([], 1)
        loader = DataLoader(Foreign(), shuffle=True, generator=torch.Generator())
        orders = []
        for epoch in (1, 2, 1):
            seed_epoch(loader, epoch)
            orders.append([images.sum().item() for images, _ in loader])
        assert orders[0] == orders[2] != orders[1]
