from helpers import checkpoint
from helpers.checkpoint import find_checkpoint, load_model, read_checkpoint, save_checkpoint
from helpers.datasets.pets import PetFolder
from helpers.model import UNet

import pytest
import torch


@pytest.fixture
def saved(tmp_path):
    model = UNet(base_channels=4, depth=2)
    path = tmp_path / "best.pt"
    save_checkpoint(path, {"model": model.state_dict(), "model_config": model.config, "trained_on": "sketch"})
    return path, model.eval()


def test_loads_what_was_saved(saved):
    path, model = saved
    loaded, about = load_model(path)
    image = torch.randn(1, 3, 16, 16)
    assert torch.equal(loaded(image), model(image))
    assert about["trained_on"] == "sketch" and not loaded.training


def test_is_read_without_running_code(saved, tmp_path, monkeypatch):
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    path = tmp_path / "evil.pt"
    torch.save({"model": Evil(), "model_config": {}}, path, pickle_module=pickle)
    with pytest.raises(ValueError, match=r"evil\.pt is not a readable checkpoint"):
        load_model(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", None])
def test_garbage_and_half_files_are_refused(saved, content):
    path, _ = saved
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ValueError, match=r"best\.pt is not a readable checkpoint: delete it and train again"):
        load_model(path)


def test_other_contents_are_refused(saved):
    path, model = saved
    save_checkpoint(path, model.state_dict())
    with pytest.raises(ValueError, match="lacks 'model' and 'model_config'"):
        read_checkpoint(path)


def test_another_architecture_is_refused(saved):
    path, model = saved
    save_checkpoint(path, {"model": model.state_dict(), "model_config": {**model.config, "depth": 3}})
    with pytest.raises(ValueError, match=r"best\.pt does not hold a U-Net"):
        load_model(path)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pt does not exist: train first"):
        load_model(tmp_path / "none.pt")


def test_a_full_disk_leaves_the_old_checkpoint_and_no_rest(saved, monkeypatch):
    path, _ = saved
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, {})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["best.pt"]


def test_own_weights_come_before_shipped_ones_and_the_best_first(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.source.HOME", tmp_path)
    sketch, real = Source(tmp_path, "sketch", 407), Source(tmp_path, "Oxford-IIIT Pet (561-pair part)", 561)
    assert find_checkpoint(sketch) == checkpoint.SHIPPED
    assert find_checkpoint(real) == checkpoint.SHIPPED_PHOTOS
    state = read_checkpoint(saved[0])
    for source in (sketch, real):
        for run, miou in (("a", 0.5), ("b", 0.7), ("c", 0.6)):
            (source.runs / run).mkdir(parents=True)
            about = {"val_miou": miou, "data": {"size": 96 if run == "b" else 64}}
            save_checkpoint(source.runs / run / "best.pt", state | about)
        assert find_checkpoint(source, 64) == source.runs / "c" / "best.pt"  # "b" saw another size
        assert find_checkpoint(source, 96) == source.runs / "b" / "best.pt"
        assert find_checkpoint(source).parent == checkpoint.WEIGHTS
        two = state["model_config"] | {"num_classes": 2}
        save_checkpoint(source.runs / "b" / "best.pt", state | about | {"val_miou": 0.9, "model_config": two})
        assert find_checkpoint(source, 64) == source.runs / "c" / "best.pt"  # and now answers another question


def test_shipped_weights_are_small_and_segment_drawn_pets(drawn, tmp_path):
    from helpers.data import load_splits
    from helpers.inference import evaluate

    model, about = load_model(checkpoint.SHIPPED)
    assert about["trained_on"] == "sketch"
    assert checkpoint.SHIPPED.stat().st_size < 8e6
    unseen = load_splits(drawn, 128, cache=tmp_path).test
    assert evaluate(model, unseen, device="cpu").confusion.mean_iou() > 0.75


def test_shipped_weights_are_verified(saved, monkeypatch):
    path, _ = saved
    monkeypatch.setattr(checkpoint, "WEIGHTS", path.parent)
    checkpoint.write_sums()
    assert read_checkpoint(path)["trained_on"] == "sketch"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.pt is not the file that was shipped.*git checkout"):
        read_checkpoint(path)


@pytest.mark.parametrize("path", [checkpoint.SHIPPED, checkpoint.SHIPPED_PHOTOS], ids=lambda path: path.name)
def test_shipped_weights_are_small_and_known(path):
    assert path.stat().st_size < 8e6
    model, about = load_model(path)
    assert not model.training and about["trained_on"]


def test_shipped_weights_segment_photos(real, tmp_path):
    from helpers.data import load_splits
    from helpers.inference import evaluate

    model, _ = load_model(checkpoint.SHIPPED_PHOTOS)
    unseen = load_splits(real, 128, cache=tmp_path).test
    assert evaluate(model, unseen, device="cpu").confusion.mean_iou() > 0.68
