import hashlib
import os
import pickle
from pathlib import Path

from helpers import files
from helpers.checkpoint import (
    FORMAT,
    WEIGHTS,
    RunFolder,
    load_model,
    read_checkpoint,
    save_checkpoint,
)
from helpers.data import load_splits, make_loader
from helpers.datasets import pets
from helpers.inference import evaluate
from helpers.model import UNet

import numpy as np
import pytest
import torch

SHIPPED = sorted(path.stem for path in WEIGHTS.glob("*.pt"))


@pytest.fixture
def saved(tmp_path, small):
    model, path = small(), tmp_path / "best.pt"
    state = {"model": model.state_dict(), "model_config": model.config, "dataset": "discs"}
    save_checkpoint(path, state)
    return path, model.eval()


class TestLoad:
    def test_gives_what_was_saved(self, saved):
        path, model = saved
        loaded, about = load_model(path)
        image = torch.randn(1, 3, 16, 16)
        assert torch.equal(loaded(image), model(image)) and not loaded.training
        assert about["dataset"] == "discs" and about["class_names"][0] == "pet"
        assert "model" not in about

    def test_class_names_and_colors_travel_with_it(self, saved):
        path, model = saved
        about = {"class_names": ["a", "b", "c"], "class_colors": ["#000000", "#111111", "#222222"]}
        state = {"model": model.state_dict(), "model_config": model.config}
        save_checkpoint(path, state | about)
        assert about.items() <= load_model(str(path))[1].items()

    def test_is_read_without_running_code(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "made"),)

        path = tmp_path / "evil.pt"
        torch.save({"model": Evil(), "model_config": {}}, path, pickle_module=pickle)
        with pytest.raises(ValueError, match=r"evil\.pt is not a readable checkpoint"):
            load_model(path)
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", None])
    def test_garbage_and_half_files_are_refused(self, saved, content):
        path, _ = saved
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content is None else content)
        with pytest.raises(ValueError, match=r"best\.pt is not a readable .*: delete it and train"):
            load_model(path)

    @pytest.mark.parametrize("error", [PermissionError, MemoryError])
    def test_a_good_file_that_cannot_be_read_is_not_called_bad(self, saved, monkeypatch, error):
        def load(*args, **kwargs):
            raise error

        monkeypatch.setattr(torch, "load", load)
        with pytest.raises(error):
            load_model(saved[0])

    def test_other_contents_are_refused(self, saved):
        path, model = saved
        for content in (model.state_dict(), [1, 2]):
            torch.save(content, path)
            with pytest.raises(ValueError, match="lacks 'model' and 'model_config'"):
                read_checkpoint(path)

    def test_another_architecture_is_refused(self, saved):
        path, model = saved
        for config in (model.config | {"depth": 3}, model.config | {"width": 3}):
            save_checkpoint(path, {"model": model.state_dict(), "model_config": config})
            with pytest.raises(ValueError, match=r"best\.pt does not hold a U-Net"):
                load_model(path)

    @pytest.mark.parametrize("known", [{}, {"format": FORMAT + 1}])
    def test_one_of_another_edition_says_what_to_do(self, saved, known):
        path, model = saved
        state = {"model": model.state_dict(), "model_config": model.config, "val_miou": 0.5}
        torch.save(state | known, path)  # edition 0.2 wrote no format
        with pytest.raises(ValueError, match=r"another edition .*: train again, or get that one"):
            load_model(path)
        state = torch.load(path)  # what the message recommends
        UNet(**state["model_config"]).load_state_dict(state["model"])

    def test_shipped_ones_by_name(self, saved, monkeypatch):
        """Whatever else is in the current folder; a file by its path, as text or not."""
        path, model = saved
        monkeypatch.chdir(path.parent)
        (path.parent / "synthetic").write_bytes(b"")
        (path.parent / "synthetic.pt").write_bytes(path.read_bytes())
        read, named = read_checkpoint("synthetic"), read_checkpoint(WEIGHTS / "synthetic.pt")
        assert read["dataset"] == "synthetic"
        assert torch.equal(read["model"]["head.weight"], named["model"]["head.weight"])
        for own in (path, str(path), "best.pt", "synthetic.pt"):
            found = read_checkpoint(own)["model"]["head.weight"]
            assert torch.equal(found, model.head.weight)
        with pytest.raises(FileNotFoundError, match=r"nothing does not exist.*synthetic"):
            read_checkpoint("nothing")

    def test_a_missing_one_names_what_there_is(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=rf"none\.pt does not .* are {', '.join(SHIPPED)}"
        ):
            load_model(tmp_path / "none.pt")

    def test_the_folder_of_a_run_is_none(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"is a folder: name the file in it, best\.pt"):
            load_model(tmp_path)

    def test_a_path_is_no_name(self, saved):
        """Not even if, with .pt behind it, there is a file."""
        path, model = saved
        (path.parent / "best.pt.pt").write_bytes(b"another")
        for own in (path, str(path)):
            assert torch.equal(read_checkpoint(own)["model"]["head.weight"], model.head.weight)
        (path.parent / "last.pt").write_bytes(path.read_bytes())
        with pytest.raises(FileNotFoundError, match=r"last does not exist"):
            read_checkpoint(path.parent / "last")


def test_a_full_disk_leaves_the_old_checkpoint_and_no_rest(saved, monkeypatch):
    path, _ = saved
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="the disk is full"):
        save_checkpoint(path, {})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["best.pt"]


class TestShipped:
    @pytest.mark.parametrize("name", SHIPPED)
    def test_are_small_and_known(self, name):
        path = WEIGHTS / f"{name}.pt"
        model, about = load_model(name)
        assert path.stat().st_size < 10e6 and not model.training
        assert about["dataset"] and about["size"] == (224 if name == "pets-pretrained" else 128)

    def test_are_the_files_that_were_published(self):
        sums = dict(reversed(line.split()) for line in (WEIGHTS / "SHA256SUMS").open())
        found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in WEIGHTS.glob("*.pt")}
        assert found == sums

    def test_follow_from_the_dataset_alone(self, saved, monkeypatch):
        """A run of the reader's, however good, and a broken one change nothing: defect 4 of 0.2."""
        monkeypatch.setenv("UNET_HOME", str(saved[0].parent))
        for name, expected in (("synthetic", "synthetic"), ("Oxford-IIIT Pet (full)", "pets")):
            source = pets.PetFolder(Path("anywhere"), name, 8)
            before, _ = load_model(source.weights)
            for run, content in (("good", saved[0].read_bytes()), ("broken", b"")):
                (source.runs / run).mkdir(parents=True)
                (source.runs / run / "best.pt").write_bytes(content)
            assert source.weights == expected
            after, _ = load_model(source.weights)
            image = torch.randn(1, 3, 16, 16)
            assert torch.equal(before(image), after(image))

    def test_segment_drawings(self, drawn, tmp_path):
        unseen = load_splits(drawn, 128, cache=tmp_path).test
        scored = evaluate(load_model("synthetic")[0], make_loader(unseen))
        assert scored.confusion.mean_iou() > 0.7

    def test_segment_photographs(self, real, tmp_path):
        if real.count != 7349:
            pytest.skip("the weights saw some of these photographs: set PETS_DATA to all of them")
        unseen = load_splits(real, 128, cache=tmp_path).test
        scored = evaluate(load_model("pets")[0], make_loader(unseen))
        assert scored.confusion.mean_iou() > 0.75


class TestRunFolder:
    def test_none_keeps_nothing(self):
        files = RunFolder(None, {})
        files.start()
        files.save({}, {}, True)
        assert files.read_last({}) is None

    def test_only_plain_values_are_kept(self, tmp_path):
        """NumPy's float64 is a float to Python, and no plain value to torch's safe reading."""
        about, state = {"model_config": {}, "names": ("a", "b")}, {"model": {}}
        folder = RunFolder(tmp_path, about | {"score": np.float64(0.5)})
        folder.save(state, {}, improved=False)
        saved = folder.read_last(state)
        assert type(saved["score"]) is float and saved["names"] == ["a", "b"]

        with pytest.raises(ValueError, match=r"made with score 0\.5, not None"):
            RunFolder(tmp_path, about).read_last(state)

    def test_a_new_run_renames_the_files_of_each_earlier_one(self, tmp_path):
        folder = RunFolder(tmp_path / "run", {})
        for content in ("first", "second", "third"):
            folder.start()
            for name in ("best.pt", "last.pt", "record.json"):
                (tmp_path / "run" / name).write_text(f"{content} {name}")
        kept = {path.name: path.read_text() for path in (tmp_path / "run").iterdir()}
        assert kept == {
            "best.1.pt": "first best.pt",
            "last.1.pt": "first last.pt",
            "record.1.json": "first record.json",
            "best.2.pt": "second best.pt",
            "last.2.pt": "second last.pt",
            "record.2.json": "second record.json",
            "best.pt": "third best.pt",
            "last.pt": "third last.pt",
            "record.json": "third record.json",
        }

    def test_the_best_is_written_when_it_is_the_best(self, tmp_path):
        folder = RunFolder(str(tmp_path), {"dataset": "discs"})
        model = {"model": {}, "model_config": {}}
        for epoch, improved in ((1, True), (2, False)):
            folder.save(model | {"epoch": epoch}, model | {"epoch": epoch}, improved)
        best, last = (read_checkpoint(tmp_path / name) for name in ("best.pt", "last.pt"))
        assert (best["epoch"], last["epoch"]) == (1, 2)
        assert best["dataset"] == last["dataset"] == "discs"
