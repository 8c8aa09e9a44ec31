"""The prediction command: what it finds, writes, refuses and goes on with."""

import csv
import json
import os
import time
from argparse import SUPPRESS
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from helpers import predict
from helpers.checkpoint import load_model, save_checkpoint
from helpers.inference import predict_photo
from helpers.model import UNet
from helpers.predict import find_images, main, note, parser, read_notes
from helpers.studies.objects import label_objects
from helpers.tiling import strips
from helpers.tiling.prediction import predict_image, predict_strips
from helpers.transforms import open_photo

import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F
from PIL import Image

NAMES, COLORS = ["cell", "ground", "rim"], ["#D55E00", "#0072B2", "#F0E442"]
PALETTE = [0xD5, 0x5E, 0x00, 0x00, 0x72, 0xB2, 0xF0, 0xE4, 0x42]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def weights(folder):
    """A function that writes a checkpoint of a tiny network, and gives its path.

    It predicts all three classes: the mean of each one's logits is 0.
    """

    def make(name: str = "w.pt", seed: int = 0, **about) -> str:
        torch.manual_seed(seed)
        model = UNet(base_channels=4, depth=2)
        images = F.interpolate(torch.randn(16, 3, 6, 6), (32, 32), mode="bilinear")
        with torch.no_grad():
            for _ in range(30):
                model(images)
            model.head.weight *= 5
            model.head.bias -= model.eval()(images).mean(dim=(0, 2, 3))
        known = {"size": 32, "class_names": NAMES, "class_colors": COLORS}
        state = {"model": model.state_dict(), "model_config": model.config}
        save_checkpoint(folder / name, state | known | about)
        return name

    return make


def photo(path: str | Path, width: int = 50, height: int = 40, seed: int = 0, **options) -> Path:
    """An image file of smooth noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, **options)
    return Path(path)


def read(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def written(out: str = "out") -> set[str]:
    """All files in the folder of masks, hidden ones, too, but for the lock, which stays."""
    found = {p.relative_to(out).as_posix() for p in Path(out).rglob("*") if p.is_file()}
    return found - {".predictions.lock"}


def command(*words: str, out: str = "out") -> int:
    """The exit status."""
    try:
        main([*map(str, words), "--out", out, "--device", "cpu"])
    except SystemExit as stopped:
        if isinstance(stopped.code, str):
            raise
        return stopped.code
    return 0


class TestMasks:
    def test_are_those_of_predict_photo_in_the_colors_of_the_classes(self, weights):
        paths = [photo(f"in/{k}.png", 50 + k, 40 - k, k) for k in range(5)]
        assert command(weights(), "in", "--batch-size", "2") == 0
        assert written() == {"predictions.json", *(f"{k}.png" for k in range(5))}
        model, _ = load_model("w.pt")
        for path in paths:
            expected = predict_photo(open_photo(path), model, 32)
            found = read(f"out/{path.name}")
            assert found.shape == expected.shape and (found != expected.numpy()).mean() < 1e-3
            assert len(np.unique(found)) > 1
        with Image.open("out/0.png") as mask:
            assert mask.mode == "P" and mask.getpalette()[:9] == PALETTE

    @pytest.mark.parametrize("scale", [1.0, 0.5, 1.7])
    def test_of_weights_with_a_scale_are_made_of_tiles(self, weights, scale):
        path = photo("a.png", 150, 111)
        assert command(weights(scale=scale), "a.png", "--tile", "64") == 0
        model, about = load_model("w.pt")
        pixels = np.asarray(open_photo(path))
        parts = predict_strips(lambda a, b: pixels[a:b], (111, 150), model, about, tile=64)
        expected = torch.cat([part.argmax(dim=0) for part in parts])
        assert (read("out/a.png") == expected.numpy()).all() and expected.shape == (111, 150)
        squashed = predict_photo(open_photo(path), model, 32).numpy()
        assert (read("out/a.png") != squashed).mean() > 0.05

    def test_of_photographs_are_upright(self, weights):
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by a quarter
        photo("a.jpg", 50, 40, exif=exif)
        assert command(weights(), "a.jpg") == 0
        assert read("out/a.png").shape == (50, 40)

    def test_of_16_bits_by_the_levels_of_the_checkpoint(self, weights, capsys):
        gray = np.linspace(1000, 3000, 1600).reshape(40, 40).astype(np.uint16)
        tifffile.imwrite("a.tif", gray)
        Image.fromarray(((gray - 1000.0) * 255 / 2000).round().astype(np.uint8)).save("b.png")
        assert command(weights(levels=[1000, 3000]), "a.tif", "b.png") == 0
        assert (read("out/a.png") == read("out/b.png")).all()

    def test_in_16_bits_are_nearly_the_same(self, weights):
        photo("a.png")
        command(weights(), "a.png")
        command("w.pt", "a.png", "--precision", "bfloat16", out="other")
        assert (read("out/a.png") == read("other/a.png")).mean() > 0.9
        assert json.loads(Path("other/predictions.json").read_text())["settings"]["precision"] == (
            "bfloat16"
        )


class TestMore:
    def test_overlays_and_probabilities(self, weights):
        photo("a.png", 50, 600)
        assert command(weights(), "a.png", "--overlay", "--probabilities") == 0
        assert written() == {"predictions.json", "a.png", "a.npz", "a.overlay.jpg"}
        mask = read("out/a.png")
        with np.load("out/a.npz") as file:
            found = file["probabilities"]
        assert found.dtype == np.float16 and found.shape == (3, 600, 50)
        assert np.allclose(found.sum(axis=0, dtype=float), 1, atol=2e-3)
        assert (found.argmax(axis=0) == mask).mean() > 0.99  # but where float16 makes them equal

        # Class 1 is tinted blue, and class 0 keeps its colors inside.
        tinted, plain = read("out/a.overlay.jpg").astype(float), read("a.png").astype(float)
        change = (tinted - plain)[mask == 1].mean(axis=0)
        assert tinted.shape == plain.shape and change[2] > change[0] + 20

    def test_overlays_have_no_seams(self, monkeypatch):
        """Made in parts or at once, they are the same."""
        pixels = np.random.default_rng(0).integers(0, 256, (70, 20, 3), dtype=np.uint8)
        mask = (pixels[..., 0] > 99).astype(np.uint8)
        whole = np.asarray(predict.overlaid(Image.fromarray(pixels), mask, COLORS))
        monkeypatch.setattr(predict, "ROWS", 16)
        parts = np.asarray(predict.overlaid(Image.fromarray(pixels), mask, COLORS))
        assert (whole == parts).all()

    def test_tables_of_objects(self, weights):
        photo("in/a.png", seed=1), photo("in/b.png", seed=2)
        flags = ["--count", "cell", "rim", "--min-area", "5"]
        assert command(weights(), "in", *flags) == 0
        with open("out/objects.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        with open("out/counts.csv", newline="") as file:
            counts = list(csv.DictReader(file))
        assert [(row["image"], row["class"]) for row in counts] == [
            ("a", "cell"), ("a", "rim"), ("b", "cell"), ("b", "rim")
        ]  # fmt: skip
        assert rows and list(rows[0])[:4] == ["image", "class", "object", "area_px"]
        assert {(row["min_area_px"], row["split_px"]) for row in counts} == {("5", "")}
        for row in counts:
            own = [r for r in rows if r["image"] == row["image"] and r["class"] == row["class"]]
            labels = label_objects(read(f"out/{row['image']}.png"), NAMES.index(row["class"]), 5)
            assert len(own) == int(row["objects"]) == labels.max()
            assert sum(float(r["area_px"]) for r in own) == int(row["area_px"])
            assert all(float(r["area_px"]) >= 5 for r in own)

    def test_tables_hold_all_images_also_where_the_command_goes_on(self, weights):
        photo("in/a.png", seed=1), photo("in/b.png", seed=2)
        command(weights(), "in", "--count", "ground")
        whole = Path("out/objects.csv").read_text()
        for path in ("out/b.png", "out/objects.csv"):
            Path(path).unlink()
        assert command("w.pt", "in", "--count", "ground") == 0
        assert Path("out/objects.csv").read_text() == whole

    def test_tables_hold_the_masks_of_earlier_calls(self, weights):
        for name in ("a", "b"):
            photo(f"{name}.png", seed=ord(name))
            assert command(weights(), f"{name}.png", "--count", "cell") == 0
        with open("out/counts.csv", newline="") as file:
            assert [row["image"] for row in csv.DictReader(file)] == ["a", "b"]

    def test_tables_leave_out_the_mask_of_an_image_that_has_changed(self, weights, capsys):
        photo("a.png", seed=1), photo("b.png", seed=2)
        command(weights(), "a.png", "b.png", "--count", "cell")
        Path("a.png").write_text("broken")
        assert command("w.pt", "a.png", "b.png", "--count", "cell") == 1
        assert command("w.pt", "b.png", "--count", "cell") == 0
        assert "a.png has changed since its mask was made" in capsys.readouterr().err
        with open("out/counts.csv", newline="") as file:
            assert [row["image"] for row in csv.DictReader(file)] == ["b"]

        Path("a.png").unlink()  # what is put away after its prediction counts
        assert command("w.pt", "b.png", "--count", "cell") == 0
        with open("out/counts.csv", newline="") as file:
            assert [row["image"] for row in csv.DictReader(file)] == ["a", "b"]


class TestGoingOn:
    def test_an_empty_mask_is_made_anew(self, weights):
        photo("in/a.png")
        command(weights(), "in")
        whole = Path("out/a.png").read_bytes()
        Path("out/a.png").write_bytes(b"")
        assert command("w.pt", "in") == 0 and Path("out/a.png").read_bytes() == whole

    @pytest.mark.parametrize(
        "notes", ["", "[]", "{}", '{"images": {}}', '{"settings": 1, "images": 2}']
    )
    def test_damaged_notes_are_named(self, weights, notes):
        photo("in/a.png")
        Path("out").mkdir()
        Path("out/predictions.json").write_text(notes)
        with pytest.raises(SystemExit, match=r"predictions\.json is damaged: delete it"):
            main([weights(), "in", "--out", "out", "--device", "cpu"])

    def test_what_is_there_stays_and_what_is_missing_or_changed_is_made(self, weights):
        for k in range(4):
            photo(f"in/{k}.png", seed=k)
        command(weights(), "in")
        before = {k: Path(f"out/{k}.png").stat().st_mtime_ns for k in range(4)}
        Path("out/1.png").unlink()
        time.sleep(0.02)
        photo("in/2.png", seed=9)
        assert command("w.pt", "in") == 0
        after = {k: Path(f"out/{k}.png").stat().st_mtime_ns for k in range(4)}
        assert [k for k in range(4) if before[k] != after[k]] == [1, 2]

    def test_an_image_that_took_the_place_of_one_is_done_again(self, weights):
        """By a move, which leaves it the time of its last change, years ago."""
        photo("in/a.png", width=24), photo("b.png", width=40)
        os.utime("b.png", (1e9, 1e9))
        assert command(weights(), "in") == 0
        time.sleep(0.02)
        os.replace("b.png", "in/a.png")
        assert command("w.pt", "in") == 0
        with Image.open("out/a.png") as mask:
            assert mask.width == 40

    @pytest.mark.parametrize("large", [False, True])
    def test_another_folder_of_one_name_is_done_again(self, weights, monkeypatch, large):
        """No file's time changes where the folder above it is renamed."""
        if large:
            monkeypatch.setattr(strips, "LARGE", 1000)
        tiled = {"scale": 1.0} if large else {}
        for day in (1, 2):
            photo(f"day{day}/a.tif", width=40 + day, seed=day)
        os.replace("day1", "in")
        command(weights(**tiled), "in")
        os.replace("in", "day1"), os.replace("day2", "in")
        assert command("w.pt", "in") == 0 and command("w.pt", "in", out="new") == 0
        (name,) = written() - {"predictions.json"}
        assert name == ("a.tif" if large else "a.png")
        again, new = Path("out", name), Path("new", name)
        assert (read(again) == read(new)).all() and read(again).shape[1] == 42
        before = again.stat().st_mtime_ns
        assert command("w.pt", "in") == 0 and again.stat().st_mtime_ns == before

    def test_a_large_mask_corrected_by_hand_stays(self, weights, monkeypatch):
        """Other programs write something of their own where it told its image."""
        monkeypatch.setattr(strips, "LARGE", 1000)
        photo("in/a.tif")
        command(weights(scale=1.0), "in")
        corrected = np.zeros_like(read("out/a.tif"))
        tifffile.imwrite("out/a.tif", corrected, description="ImageJ=1.54f")
        assert command("w.pt", "in") == 0 and not read("out/a.tif").any()

    def test_a_mask_corrected_by_hand_stays(self, weights):
        photo("in/a.png")
        command(weights(), "in", "--count", "cell")
        Image.fromarray(np.zeros_like(read("out/a.png"))).save("out/a.png")
        assert command("w.pt", "in", "--count", "cell") == 0 and not read("out/a.png").any()
        with open("out/counts.csv", newline="") as file:
            assert [(row["image"], row["area_px"]) for row in csv.DictReader(file)] == [
                ("a", str(read("out/a.png").size))
            ]

    @pytest.mark.parametrize("flag", ["--overlay", "--probabilities"])
    def test_what_else_is_wanted_leaves_a_corrected_mask_as_it_is(self, weights, flag):
        photo("in/a.png")
        command(weights(), "in")
        before = read("out/a.png")
        Image.fromarray(1 - before.clip(0, 1)).save("out/a.png")
        assert command("w.pt", "in", flag) == 0
        assert (read("out/a.png") == 1 - before.clip(0, 1)).all() and len(written()) == 3

    def test_an_overlay_is_of_the_corrected_mask(self, weights):
        photo("in/a.png")
        command(weights(), "in", "--overlay")
        before = read("out/a.overlay.jpg")
        Path("out/a.overlay.jpg").unlink()
        Image.fromarray((read("out/a.png") + 1) % 3).save("out/a.png")
        command("w.pt", "in", "--overlay")
        assert (read("out/a.overlay.jpg") != before).mean() > 0.5

    def test_a_corrected_mask_that_does_not_fit_is_named(self, weights, capsys):
        photo("in/a.png"), photo("in/b.png", seed=1)
        command(weights(), "in")
        Image.fromarray(np.zeros((7, 9), np.uint8)).save("out/a.png")
        assert command("w.pt", "in", "--overlay") == 1
        assert "out/a.png is not of its image's size and classes" in capsys.readouterr().err
        assert read("out/a.png").shape == (7, 9) and "b.overlay.jpg" in written()

    def test_a_corrected_mask_whose_image_is_newer_is_named_and_stays(self, weights, capsys):
        photo("in/a.png")
        command(weights(), "in")
        Image.fromarray(np.zeros_like(read("out/a.png"))).save("out/a.png")
        time.sleep(0.02)
        photo("in/a.png", seed=1)
        for _ in range(2):
            assert command("w.pt", "in") == 1
            assert "a.png is newer than out/a.png, which was changed" in capsys.readouterr().err
        assert not read("out/a.png").any()
        Image.fromarray(np.zeros_like(read("out/a.png"))).save("out/a.png")  # it still fits
        assert command("w.pt", "in") == 0 and not read("out/a.png").any()

    def test_a_mask_knows_its_image_by_more_than_times(self, weights):
        photo("in/a.png")
        command(weights(), "in")
        before = Path("out/a.png").stat().st_mtime_ns
        time.sleep(0.02)
        Path("in/a.png").chmod(0o444)
        assert command("w.pt", "in") == 0 and Path("out/a.png").stat().st_mtime_ns == before

    def test_a_run_that_left_no_mask_binds_nobody(self, weights):
        Path("x").mkdir(), Path("x/a.png").write_text("no image"), photo("y/a.png")
        assert command(weights(), "x/a.png", "--precision", "bfloat16") == 1
        assert command("w.pt", "y/a.png") == 0 and read("out/a.png").any()

    def test_what_several_processes_note_at_once_is_all_kept(self):
        with ThreadPoolExecutor(8) as pool:
            for k in range(40):
                pool.submit(note, Path("out"), {f"{k}": Path(f"in/{k}.png")}, {"tile": None})
        assert len(read_notes(Path("out/predictions.json"))["images"]) == 40

    def test_more_is_wanted_later(self, weights):
        photo("a.png")
        command(weights(), "a.png")
        assert command("w.pt", "a.png", "--overlay") == 0
        assert "a.overlay.jpg" in written()

    @pytest.mark.parametrize("change", ["weights", "tile", "precision"])
    def test_masks_made_otherwise_are_refused_and_left_alone(self, weights, change):
        photo("a.png"), weights(), weights("v.pt", seed=1)
        command("w.pt", "a.png")
        before = Path("out/a.png").read_bytes()
        flags = {"tile": ["--tile", "64"], "precision": ["--precision", "bfloat16"]}.get(change, [])
        name = "v.pt" if change == "weights" else "w.pt"
        with pytest.raises(SystemExit, match=r"error: out holds masks made with .* another folder"):
            command(name, "a.png", *flags)
        assert Path("out/a.png").read_bytes() == before

    def test_the_mask_of_another_image_is_refused(self, weights):
        photo("x/a.png"), photo("y/a.png")
        command(weights(), "x/a.png")
        with pytest.raises(
            SystemExit, match=r"a in out is the mask of .*x/a\.png, not of y/a\.png"
        ):
            command("w.pt", "y/a.png")

    def test_an_interrupt_leaves_nothing_half_written(self, weights, monkeypatch, capsys):
        for k in range(4):
            photo(f"in/{k}.png", seed=k)
        save, saved = Image.Image.save, []

        def interrupted(image, path, *rest, **options):
            save(image, path, *rest, **options)
            saved.append(path)
            if len(saved) == 3:
                raise KeyboardInterrupt

        weights()
        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "save", interrupted)
            assert command("w.pt", "in", "--batch-size", "1") == 130
        assert written() == {"predictions.json", "0.png", "1.png"}
        assert "the same command goes on from here" in capsys.readouterr().out
        assert command("w.pt", "in") == 0 and len(written()) == 5


class TestFinding:
    def test_folders_keep_their_order_and_files_their_names(self):
        for name in (
            "in/a.png",
            "in/deep/b.JPG",
            "in/.hidden/c.png",
            "in/masks/old.png",
            "x/d.tif",
        ):
            photo(name)
        Path("in/notes.txt").write_text("no image")
        found = find_images(["in", "x/*.tif"], Path("in/masks"))
        assert {target: path.as_posix() for target, path in found.items()} == {
            "a": "in/a.png", "deep/b": "in/deep/b.JPG", "d": "x/d.tif"
        }  # fmt: skip

    def test_an_image_named_twice_is_one(self):
        photo("in/a.png")
        assert list(find_images(["in", "in/a.png", "./in/*.png"], Path("out"))) == ["a"]

    @pytest.mark.parametrize("other", ["in/a.jpg", "in2/a.png"])
    def test_two_images_of_one_name_are_refused(self, other):
        photo("in/a.png"), photo(other)
        with pytest.raises(
            ValueError, match=r"in/a\.\w+ and .* would have one mask, a\.png: rename"
        ):
            find_images(["in", str(Path(other).parent)], Path("out"))

    def test_images_in_the_folder_of_masks_are_refused(self):
        photo("in/a.png")
        with pytest.raises(ValueError, match=r"in/a\.png lies in --out, in: choose another"):
            find_images(["in"], Path("in"))

    @pytest.mark.parametrize("name", ["empty", "*.bmp"])
    def test_no_image(self, name):
        Path("empty").mkdir()
        with pytest.raises(ValueError, match=rf"{name[1:]} holds no image: \.png, \.jpg"):
            find_images([name], Path("out"))

    @pytest.mark.parametrize("name", ["in", "in/*"])
    def test_a_folder_named_as_an_image_is_none(self, name):
        photo("in/a.png"), photo("in/b.tif/c.png")
        assert [path.name for path in find_images([name], Path("out")).values()][:1] == ["a.png"]
        assert Path("in/b.tif") not in find_images([name], Path("out")).values()

    def test_a_name_with_signs_of_a_pattern_is_a_name(self):
        photo("a[1].png")
        assert list(find_images(["a[1].png"], Path("out"))) == ["a[1]"]


class TestErrors:
    def test_a_bad_image_is_named_and_the_others_are_done(self, weights, capsys):
        photo("in/a.png"), photo("in/c.png")
        Path("in/b.png").write_bytes(b"no image")
        assert command(weights(), "in", "missing.png", "--count", "cell") == 1
        assert written() == {"predictions.json", "a.png", "c.png", "objects.csv", "counts.csv"}
        told = capsys.readouterr()
        assert "failed: in/b.png cannot be decoded" in told.err and "missing.png" in told.err
        assert "Traceback" not in told.err and "2 of 4 images failed" in told.out

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("no.pt a.png", r"no\.pt does not exist: train first"),
            ("a.png a.png", r"a\.png is not a readable checkpoint"),
            (
                "w.pt a.png --count cat",
                "--count cat: the weights know the classes cell, ground, rim",
            ),
            ("w.pt a.png --device gpu", "device 'gpu' was asked for"),
            ("w.pt *.jpg", r"\*\.jpg holds no image"),
        ],
    )
    def test_in_what_was_asked_for_are_one_line(self, weights, words, message):
        photo("a.png"), weights()
        with pytest.raises(SystemExit, match=f"^error: {message}"):
            main([*words.split(), "--out", "out", *(() if "gpu" in words else ("--device", "cpu"))])
        assert not Path("out").exists()

    def test_weights_that_do_not_tell_their_size_are_refused(self, weights):
        """From `fit` without `about`."""
        path = weights()
        state = {key: value for key, value in torch.load(path).items() if key != "size"}
        save_checkpoint(Path(path), state)
        photo("a.png")
        with pytest.raises(
            SystemExit, match=r"do not tell the size .*: train with fit\(\.\.\., ab"
        ):
            command(path, "a.png")
        assert not Path("out").exists()
        model, about = load_model(path)
        with pytest.raises(ValueError, match="do not tell the size"):
            predict_image(Image.new("RGB", (9, 9)), model, about)

    def test_a_full_disk_is_one_line(self, weights, monkeypatch):
        photo("a.png"), weights()

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Image.Image, "save", full)
        with pytest.raises(SystemExit, match=r"error: .*the disk is full, out/a\.png was not"):
            command("w.pt", "a.png")
        assert written() == {"predictions.json"}

    @pytest.mark.parametrize("flag", ["--overlay", "--probabilities", "--count"])
    def test_more_than_a_mask_of_a_huge_image_is_refused(self, weights, monkeypatch, capsys, flag):
        photo("a.png", 50, 40)
        monkeypatch.setattr(predict, "LARGE", 1999)
        assert command(weights(), "a.png", flag, *(["cell"] if flag == "--count" else [])) == 1
        assert "has 2,000 pixels" in capsys.readouterr().err and "a.png" not in written()


class TestHuge:
    """Every TIFF of more than 5,000 pixels is huge here."""

    @pytest.fixture(autouse=True)
    def limit(self, monkeypatch):
        for module in (predict, strips):
            monkeypatch.setattr(module, "LARGE", 5000)

    @pytest.mark.parametrize("scale", [None, 1.0, 0.6])
    def test_is_predicted_as_others_are(self, weights, monkeypatch, scale):
        image = np.asarray(Image.open(photo("b.png", 90, 700)))
        tifffile.imwrite("a.tif", image, tile=(32, 48), compression="zlib")
        monkeypatch.setattr(predict, "read_image", None)  # would load all of it
        assert command(weights(scale=scale), "a.tif", "--tile", "64") == 0
        assert written() == {"predictions.json", "a.tif"}
        found, (model, about) = tifffile.imread("out/a.tif"), load_model("w.pt")
        parts = predict_strips(lambda a, b: image[a:b], (700, 90), model, about, tile=64)
        assert (found == torch.cat([p.argmax(dim=0) for p in parts]).numpy()).mean() > 0.999
        assert (found == predict_image(Image.fromarray(image), model, about).numpy()).mean() > 0.9
        with Image.open("out/a.tif") as mask:
            assert mask.mode == "P" and np.array(mask.getpalette()).reshape(3, -1).size == 768
            assert (np.asarray(mask.convert("RGB"))[0, 0] == np.array(PALETTE).reshape(3, 3)[
                found[0, 0]
            ]).all()  # fmt: skip

    def test_goes_on(self, weights):
        tifffile.imwrite("a.tif", np.asarray(Image.open(photo("b.png", 90, 100))), tile=(32, 32))
        command(weights(), "a.tif")
        before = Path("out/a.tif").stat().st_mtime_ns
        assert command("w.pt", "a.tif") == 0 and Path("out/a.tif").stat().st_mtime_ns == before
        assert command("w.pt", "a.tif", "--count", "cell") == 1  # not in so large a mask

    def test_damage_leaves_nothing_half_written(self, weights, capsys):
        image = np.asarray(Image.open(photo("b.png", 90, 700)))
        tifffile.imwrite("a.tif", image, tile=(32, 48), compression="zlib")
        with tifffile.TiffFile("a.tif") as file:
            place = file.pages[0].dataoffsets[-1]
        with open("a.tif", "r+b") as file:
            file.seek(place)
            file.write(b"\0" * 20)
        assert command(weights(scale=1.0), "a.tif", "b.png") == 1
        assert "a.tif cannot be decoded" in capsys.readouterr().err
        assert written() == {"predictions.json", "b.png"}


class TestFlags:
    @pytest.mark.parametrize(
        "action", [a for a in parser()._actions if a.dest != "help"], ids=lambda a: a.dest
    )
    def test_every_flag_is_explained_with_its_default(self, action):
        assert action.help and action.help != SUPPRESS
        assert not action.option_strings or action.required or "(default: " in action.help

    def test_help_is_readable(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as stopped:
            main(["--help"])
        text = capsys.readouterr().out
        assert stopped.value.code == 0 and max(map(len, text.splitlines())) <= 100
        assert "None" not in text and "PosixPath" not in text and "--count CLASS" in text

    @pytest.mark.parametrize(
        "words",
        [
            "w.pt a.png",
            "w.pt a.png --out x --tile 0",
            "w.pt --out x",
            *(f"w.pt a.png --out x --split {value}" for value in ("0", "-1", "nan", "inf", "x")),
        ],
    )
    def test_wrong_flags_are_usage(self, words, capsys):
        with pytest.raises(SystemExit) as stopped:
            main(words.split())
        assert (
            stopped.value.code == 2
            and "usage: python -m helpers.predict" in capsys.readouterr().err
        )
