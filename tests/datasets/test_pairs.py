import errno
import os
import shutil
import signal
import subprocess
import sys
import time

from helpers.datasets import pairs
from helpers.datasets.pairs import cache_arrays, open_arrays
from helpers.datasets.pets import PairReader, PetFolder

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "cache"


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_holds_every_pair_as_it_was_resized(drawn_copy, kept):
    reader = PairReader(drawn_copy, "test")
    images, masks = open_arrays(cache_arrays(reader, 32, kept))
    assert (len(images), len(masks)) == (4, 4)
    for i, pair in enumerate(reader):
        image, mask = pairs.resize_pair(*pair, 32)
        assert torch.equal(images[i], image) and torch.equal(masks[i], mask)


def test_is_mapped_and_not_in_memory(drawn_copy, kept):
    folder = cache_arrays(PairReader(drawn_copy, "test"), 32, kept)
    images, _ = open_arrays(folder)
    arrays = np.load(folder / "images.npy", mmap_mode="r+")
    arrays[0] = 77  # what another process writes is seen: the pages are those of the file
    arrays.flush()
    assert (images[0] == 77).all()
    images[1] = 78  # what a reader writes stays with it
    assert not (np.load(folder / "images.npy")[1] == 78).all()


def test_is_used_again_and_not_read_again(drawn_copy, kept, monkeypatch):
    reader = PairReader(drawn_copy, "test")
    first = cache_arrays(reader, 32, kept)
    monkeypatch.setattr(pairs, "_write_arrays", None)
    assert cache_arrays(PairReader(drawn_copy, "test"), 32, kept) == first


def test_moves_with_the_dataset_and_the_clone(drawn_copy, tmp_path, monkeypatch):
    """Its key is not the place: defect 8 of 0.2."""
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.move(drawn_copy.folder, clone)
    source = PetFolder(clone, "synthetic", 8)
    made = cache_arrays(PairReader(source, "test"), 32, clone / "cache")

    clone.rename(tmp_path / "moved")
    moved = PetFolder(tmp_path / "moved", "synthetic", 8)
    monkeypatch.setattr(pairs, "_write_arrays", None)
    found = cache_arrays(PairReader(moved, "test"), 32, tmp_path / "moved" / "cache")
    assert found.name == made.name and len(open_arrays(found)[0]) == 4


def test_is_made_anew_for_another_size_list_or_file(drawn_copy, kept):
    def keys(split="test", size=32):
        return cache_arrays(PairReader(drawn_copy, split), size, kept).name

    made = [keys(), keys(size=48), keys("trainval")]
    path = drawn_copy.trimap_path(PairReader(drawn_copy, "test").names[0])
    os.utime(path, ns=(1, 1))
    made.append(keys())
    path = drawn_copy.image_path(PairReader(drawn_copy, "test").names[0])
    with open(path, "ab") as file:
        file.write(b"\0")
    made.append(keys())
    (drawn_copy.folder / "annotations" / "test.txt").write_text("one_1 1 1 1\n")
    with pytest.raises(FileNotFoundError, match=r"one_1\.jpg is missing"):
        keys()
    assert len(set(made)) == 5 and names(kept) == sorted(made)


def test_a_bad_pair_leaves_nothing(drawn_copy, kept):
    path = drawn_copy.image_path(PairReader(drawn_copy, "test").names[3])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=path.name):
        cache_arrays(PairReader(drawn_copy, "test"), 32, kept)
    assert names(kept) == []


def test_a_full_disk_leaves_nothing_and_says_how_to_go_on(drawn_copy, kept, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pairs.os, "fsync", full)
    with pytest.raises(OSError, match=r"the disk is full, .* make room and run") as error:
        cache_arrays(PairReader(drawn_copy, "test"), 32, kept)
    assert error.value.errno == errno.ENOSPC and names(kept) == []


@pytest.mark.parametrize("left", [0, 50, 10_000, None])
def test_arrays_that_are_not_whole_are_named(drawn_copy, kept, left):
    folder = cache_arrays(PairReader(drawn_copy, "test"), 32, kept)
    path = folder / "images.npy"
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match=rf"{folder} is damaged .*: delete it, and run this again"):
        open_arrays(folder)


def test_tiles_of_an_image_that_is_stored_on_its_side(drawn_copy):
    """Its mask is drawn on the stored pixels, and no note on how to turn them is followed."""
    reader = PairReader(drawn_copy, "test")
    with Image.open(reader.paths(0)[0]) as image:
        size, exif = image.size, image.getexif()
        exif[0x0112] = 6
        image.crop((0, 0, size[0], size[1] // 2)).save(reader.paths(0)[0], exif=exif)
    with Image.open(reader.paths(0)[1]) as mask:
        mask.crop((0, 0, size[0], size[1] // 2)).save(reader.paths(0)[1])
    tiles = pairs.TileReader(PairReader(drawn_copy, "test"), size[1] // 2, 1.0)
    of_first = [i for i, name in enumerate(tiles.names) if name.startswith(f"{reader.names[0]} ")]
    assert len(of_first) == -(-size[0] // (size[1] // 2)) > 1
    assert all((tiles[i][1] != 255).all() for i in of_first)


def test_two_at_once_are_as_good_as_one(drawn_copy, kept, monkeypatch):
    write, reader = pairs._write_arrays, PairReader(drawn_copy, "test")

    def overtaken(*args):
        monkeypatch.setattr(pairs, "_write_arrays", write)
        cache_arrays(reader, 32, kept)
        write(*args)

    monkeypatch.setattr(pairs, "_write_arrays", overtaken)
    folder = cache_arrays(reader, 32, kept)
    assert len(open_arrays(folder)[0]) == 4 and names(kept) == [folder.name]


def test_an_unwritable_folder_is_named(drawn_copy, kept):
    kept.write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"cannot write to .*cache.*make the folder writable"):
        cache_arrays(PairReader(drawn_copy, "test"), 32, kept)


DECODE_SLOWLY = """
import sys, time
from pathlib import Path
from helpers.datasets.pairs import cache_arrays
from helpers.datasets.pets import PairReader, find_dataset

class Slow(PairReader):
    def __getitem__(self, index):
        time.sleep(0.2)
        return super().__getitem__(index)

cache_arrays(Slow(find_dataset(sys.argv[1]), "test"), 32, Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_what_a_killed_process_left_is_made_anew_and_swept_a_day_later(drawn, kept):
    process = subprocess.Popen([sys.executable, "-c", DECODE_SLOWLY, str(drawn.root), str(kept)])
    deadline = time.time() + 120
    while not list(kept.glob(".*.partial/images.npy")) and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (partial,) = kept.iterdir()
    assert partial.suffix == ".partial"

    # Another process may be at work on it: it is left alone for a day.
    folder = cache_arrays(PairReader(drawn, "test"), 32, kept)
    assert open_arrays(folder)[0].flatten(1).any(dim=1).all() and partial.exists()
    yesterday = time.time() - 25 * 3600
    os.utime(partial, (yesterday, yesterday))
    other = cache_arrays(PairReader(drawn, "test"), 16, kept)
    assert names(kept) == sorted([folder.name, other.name])
