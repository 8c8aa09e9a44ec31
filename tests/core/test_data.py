import errno
import multiprocessing
import os
import shutil
import signal
import time

from helpers import data
from helpers.constants import IGNORE_INDEX
from helpers.data import SegmentationDataset, decode, load_splits, make_loader, split_indices
from helpers.datasets.pets import PairReader
from helpers.transforms import default_augmentation, denormalize, normalize, open_photo

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2


class TestCache:
    def test_holds_what_torchvision_makes_of_the_files(self, drawn, tmp_path):
        pairs = decode(drawn, "test", 64, tmp_path)
        reader = PairReader(drawn, "test")
        assert pairs.images.shape == (len(reader), 3, 64, 64) and pairs.images.dtype == torch.uint8
        assert pairs.masks.shape == (len(reader), 64, 64) and pairs.masks.dtype == torch.uint8
        for i in (0, len(reader) - 1):
            photo, mask = reader[i]
            assert torch.equal(pairs.images[i], v2.Resize((64, 64))(v2.functional.pil_to_tensor(photo)))
            rows, columns = (np.floor((np.arange(64) + 0.5) * n / 64).astype(int) for n in mask.shape)
            assert np.array_equal(pairs.masks[i], mask[np.ix_(rows, columns)])  # the middle of each cell

    def test_is_used_again_and_not_read_again(self, drawn_copy, tmp_path, monkeypatch):
        first = decode(drawn_copy, "test", 32, tmp_path / "cache")
        monkeypatch.setattr(data, "PairReader", None)
        assert torch.equal(decode(drawn_copy, "test", 32, tmp_path / "cache").images, first.images)

    def test_is_made_anew_for_another_size_and_for_changed_files(self, drawn_copy, tmp_path):
        cache = tmp_path / "cache"
        before = decode(drawn_copy, "test", 32, cache)
        decode(drawn_copy, "test", 48, cache)
        path = drawn_copy.image_path(before.names[0])
        os.utime(path, ns=(1, 1))
        decode(drawn_copy, "test", 32, cache)
        assert len(list(cache.iterdir())) == 3

    def test_cannot_be_changed_by_its_readers(self, drawn_copy, tmp_path):
        pairs = decode(drawn_copy, "test", 32, tmp_path / "cache")
        pairs.images.zero_()
        assert decode(drawn_copy, "test", 32, tmp_path / "cache").images.any()

    def test_bad_pair_leaves_nothing(self, drawn_copy, tmp_path):
        path = drawn_copy.image_path(PairReader(drawn_copy, "test").names[3])
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(ValueError, match=path.name):
            decode(drawn_copy, "test", 32, tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []

    def test_full_disk_leaves_nothing_and_says_how_much_is_needed(self, drawn_copy, tmp_path, monkeypatch):
        def full(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(data.os, "fsync", full)
        with pytest.raises(OSError, match=r"the disk is full: .*cache needs 0 MB more; make room") as error:
            decode(drawn_copy, "test", 32, tmp_path / "cache")
        assert error.value.errno == errno.ENOSPC
        assert list((tmp_path / "cache").iterdir()) == []

    def test_two_at_once_are_as_good_as_one(self, drawn_copy, tmp_path, monkeypatch):
        write = data._write_arrays

        def overtaken(*args):
            monkeypatch.setattr(data, "_write_arrays", write)
            decode(drawn_copy, "test", 32, tmp_path / "cache")
            write(*args)

        monkeypatch.setattr(data, "_write_arrays", overtaken)
        assert len(decode(drawn_copy, "test", 32, tmp_path / "cache")) == 4
        assert len(list((tmp_path / "cache").iterdir())) == 1

    def test_unwritable_folder(self, drawn_copy, tmp_path):
        (tmp_path / "cache").write_text("a file where the folder should be")
        with pytest.raises(OSError, match=r"cannot write to .*cache.*make the folder writable"):
            decode(drawn_copy, "test", 32, tmp_path / "cache")

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
    def test_killed_half_way_is_made_anew(self, drawn, tmp_path):
        cache = tmp_path / "cache"
        process = multiprocessing.get_context("spawn").Process(target=_decode_slowly, args=(drawn, cache))
        process.start()
        deadline = time.time() + 60
        while not list(cache.glob("partial-*/images.npy")) and time.time() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert list(cache.glob("partial-*")) and not list(cache.glob("test-*"))
        pairs = decode(drawn, "test", 32, cache)
        assert len(pairs.images) == len(pairs.names) and pairs.images.flatten(1).any(dim=1).all()


def _decode_slowly(source, cache):
    read = PairReader.__getitem__

    def slow(self, index):
        time.sleep(0.2)
        return read(self, index)

    PairReader.__getitem__ = slow
    decode(source, "test", 32, cache)


class TestSplit:
    def test_is_disjoint_complete_stratified_and_seeded(self):
        breeds = torch.tensor([0] * 40 + [1] * 20 + [2] * 4 + [3])[torch.randperm(65)]
        train, val = split_indices(breeds)
        assert sorted([*train.tolist(), *val.tolist()]) == list(range(65)) and len(val) == 16
        for breed, n in ((0, 40), (1, 20), (2, 4), (3, 1)):
            assert abs((breeds[val] == breed).sum().item() - n / 4) <= 1
        assert torch.equal(split_indices(breeds)[1], val)
        assert not torch.equal(split_indices(breeds, seed=1)[1], val)

    def test_no_pair_is_in_two_splits(self, splits):
        train, val, test = (set(part.names) for part in splits)
        assert not (train & val or train & test or val & test)
        assert len(train | val | test) == splits.test.pairs.source.pairs

    def test_only_training_is_augmented(self, splits):
        assert splits.train.augment and splits.val.augment is None and splits.test.augment is None
        assert torch.equal(splits.val[0][0], splits.val[0][0])
        assert not torch.equal(splits.train[0][0], splits.train[0][0])


class TestTransforms:
    def test_image_and_mask_move_together(self):
        """The mask is the image's red channel; after any move it still is, wherever it counts."""
        mask = torch.zeros(64, 64, dtype=torch.uint8)
        mask[20:44, 10:40] = 1
        image = (mask * 255).expand(3, 64, 64)
        geometric = v2.Compose(default_augmentation().transforms[:2])
        moved = 0
        for _ in range(20):
            new_image, new_mask = geometric(tv_tensors.Image(image), tv_tensors.Mask(mask))
            counted = (new_mask != IGNORE_INDEX) & ((new_image[0] < 30) | (new_image[0] > 225))
            agree = (new_image[0] > 127)[counted] == (new_mask == 1)[counted]
            assert agree.float().mean() > 0.97
            assert set(new_mask.unique().tolist()) <= {0, 1, IGNORE_INDEX}
            moved += not torch.equal(new_mask, mask)
        assert moved >= 19

    def test_augmentation_does_not_change_the_cache(self, splits):
        before = splits.train.pairs.images.clone()
        for _ in make_loader(splits.train):
            pass
        assert torch.equal(splits.train.pairs.images, before)

    def test_normalize_and_back(self):
        image = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
        reference = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(data.MEAN, data.STD)])
        assert torch.equal(normalize(image), reference(image))
        assert torch.allclose(denormalize(normalize(image)) * 255, image.float(), atol=1e-3)

    @pytest.mark.parametrize("image", [torch.rand(3, 4, 4), torch.zeros(4, 4, 4).byte(), torch.zeros(4, 4).byte()])
    def test_normalize_refuses_what_is_no_rgb_image_of_bytes(self, image):
        with pytest.raises(ValueError, match=r"uint8 \(\.\.\., 3, H, W\), not torch"):
            normalize(image)

    def test_photos_are_opened_upright_and_as_rgb(self, tmp_path):
        image = Image.new("RGBA", (40, 20))
        exif = image.getexif()
        exif[0x0112] = 6  # the camera was turned by 90 degrees
        image.save(tmp_path / "turned.png", exif=exif)
        photo = open_photo(tmp_path / "turned.png")
        assert (photo.mode, photo.size) == ("RGB", (20, 40))
        (tmp_path / "text.jpg").write_text("no image")
        with pytest.raises(ValueError, match=r"text\.jpg cannot be decoded"):
            open_photo(tmp_path / "text.jpg")
        with pytest.raises(FileNotFoundError, match="none"):
            open_photo(tmp_path / "none.jpg")


class TestLoader:
    def test_positions_may_be_a_list(self, splits):
        some = SegmentationDataset(splits.val.pairs, [3, 0])
        assert some[0][0].shape == (3, 64, 64) and torch.equal(some[1][1], splits.val.pairs.masks[0].long())

    def test_batches(self, splits):
        images, masks = next(iter(make_loader(splits.val, batch_size=4)))
        assert images.shape == (4, 3, 64, 64) and images.dtype == torch.float32
        assert masks.shape == (4, 64, 64) and masks.dtype == torch.int64
        image, mask = splits.val[1]
        assert torch.equal(images[1], image) and torch.equal(masks[1], mask)

    def test_every_pair_once_in_an_order_by_seed(self, drawn_copy, tmp_path):
        dataset = SegmentationDataset(decode(drawn_copy, "trainval", 32, tmp_path / "cache"))

        def sums(seed):
            loader = make_loader(dataset, 3, shuffle=True, seed=seed)
            return [image.sum().item() for images, _ in loader for image in images]

        assert sums(0) == sums(0) != sums(1)
        assert sorted(sums(0)) == sorted(sums(1)) and len(sums(0)) == 4

    def test_workers_give_the_same_batches(self, splits):
        plain, worked = (make_loader(splits.val, 8, num_workers=n) for n in (0, 1))
        for (a, _), (b, _) in zip(plain, worked, strict=True):
            assert torch.equal(a, b)


def test_the_real_part_makes_splits(real, tmp_path):
    train, val, test = load_splits(real, 32, cache=tmp_path)
    assert len(train) + len(val) + len(test) == real.pairs
    assert abs(len(val) / (len(train) + len(val)) - 0.25) < 0.01
    shutil.rmtree(tmp_path)
