"""The training command: every setting is a flag, a killed run goes on, errors are clear."""

import json
import os
import subprocess
import sys
import time
from argparse import SUPPRESS
from dataclasses import asdict, fields
from unittest import mock

from helpers import train
from helpers.checkpoint import WEIGHTS, load_model, read_checkpoint
from helpers.datasets import synthetic
from helpers.model import UNet
from helpers.studies.experiments import Experiment
from helpers.train import main, parser
from helpers.training import TrainingConfig

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

TINY = "--size 32 --model base_channels=4 depth=2 --epochs 2 --device cpu --threads 1".split()

OWN = """
from helpers.model import UNet
from torchvision.transforms import v2

calls = []

class Network(UNet):
    def __init__(self, width):
        super().__init__(base_channels=width, depth=2)

class Broken(UNet):
    def forward(self, images):
        raise ValueError("a mistake of one's own")

def augmentation():
    calls.append("made")
    return v2.RandomHorizontalFlip()
"""


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Caches, PETS_DATA, the current folder and torch's threads are those of a test alone."""
    monkeypatch.setenv("UNET_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PETS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def command(drawn):
    """A function that calls the command on the 74 drawings. Gives the record, if there is one."""

    def call(*flags, data=str(drawn.root), out="runs/x") -> dict | None:
        main(["--data", data, "--out", out, *TINY, *flags])
        path = train.Path(out) / "record.json"
        return json.loads(path.read_text()) if path.exists() else None

    return call


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of one's own in the current folder, which `python -m` imports from."""
    (tmp_path / "own_module.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_module", None)


class TestFlags:
    def other(self, field):
        """A value that is not the default."""
        return {int: 7, float: 0.25, str: "another"}[type(field.default)]

    def test_every_setting_is_a_flag_and_reaches_the_run(self, command, monkeypatch):
        seen = {}

        def instead(name, source, experiment, **options):
            seen.update(options, name=name, experiment=experiment)
            return None, {}

        monkeypatch.setattr(train, "run_experiment", instead)
        own = [field for field in fields(Experiment) if field.name not in ("model", "training")]
        every = [*own, *fields(TrainingConfig)]
        flags = [
            word
            for field in every
            for word in ("--" + field.name.replace("_", "-"), str(self.other(field)))
        ]
        command(*flags, "--name", "mine", "--limit", "9", "--test", "--flip")

        wanted = Experiment(
            model={"base_channels": 4, "depth": 2},
            **{field.name: self.other(field) for field in own},
        )
        assert seen.pop("experiment") == wanted
        for field in fields(TrainingConfig):
            assert seen.pop(field.name) == self.other(field)
        assert seen.pop("device").type == "cpu" and seen.pop("folder") == train.Path("runs/x")
        assert seen == {"name": "mine", "limit": 9, "test": True, "flip": True}

    def test_without_flags_it_is_fit_with_its_defaults(self):
        options = vars(parser().parse_args(["--data", "synthetic", "--out", "x"]))
        defaults = asdict(Experiment()) | asdict(TrainingConfig())
        for name in ("model", "training"):
            del defaults[name]
        assert {name: options[name] for name in defaults} == defaults
        assert not options["model"] and not options["test"] and options["limit"] is None

    @pytest.mark.parametrize(
        "action", [a for a in parser()._actions if a.dest != "help"], ids=lambda a: a.dest
    )
    def test_every_flag_is_explained_with_its_default(self, action):
        assert action.help and action.help != SUPPRESS
        text = action.help % {"default": action.default}
        assert action.required or "(default: " in text
        if action.default:
            assert f"(default: {action.default})" in text
        assert "`" not in text and "  " not in text

    def test_help_is_readable(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as stopped:
            main(["--help"])
        text = capsys.readouterr().out
        assert stopped.value.code == 0
        assert max(map(len, text.splitlines())) <= 100
        for words in ("--learning-rate X", "in a schedule of one cycle", "torchrun --nproc"):
            assert words in text
        assert "None" not in text and "PosixPath" not in text

    def test_values_of_the_network(self, capsys):
        given = parser().parse_args(
            "--data x --out x --model a=3 b=[1,2] c=False d=word e=1e-3 f=".split()
        )
        assert dict(given.model) == {
            "a": 3,
            "b": [1, 2],
            "c": False,
            "d": "word",
            "e": 1e-3,
            "f": "",
        }


class TestRecord:
    def test_what_is_printed_is_what_is_kept(self, command, capsys):
        record = command("--seed", "3", "--loss", "ce", "--batch-size", "8", "--fraction", "0.5")
        printed = capsys.readouterr().out
        shown, _ = json.JSONDecoder().raw_decode(printed[printed.index("{") :])
        assert shown.pop("data") == record["dataset"] == "synthetic"
        assert shown == record["settings"]
        assert shown["training"] == asdict(TrainingConfig(epochs=2, seed=3, loss="ce"))
        assert shown["experiment"]["fraction"] == 0.5 and shown["experiment"]["batch_size"] == 8

        assert record["name"] == "x" and record["seed"] == 3 and record["model"] == "UNet"
        assert record["device"].endswith("1 threads") and record["size"] == 32
        assert f"val mIoU {record['val']['miou']:.4f}" in printed
        assert "test" not in record and "test mIoU" not in printed
        assert sorted(p.name for p in train.Path("runs/x").iterdir()) == [
            "best.pt",
            "last.pt",
            "record.json",
        ]

    def test_the_seed_is_also_that_of_the_weights(self, command):
        """After one step of size nearly 0 the weights are still those that were drawn."""
        for seed in (5, 6):
            command("--seed", str(seed), "--learning-rate", "1e-12", out=f"runs/{seed}")
        five, six = (read_checkpoint(f"runs/{seed}/best.pt")["model"] for seed in (5, 6))
        torch.manual_seed(5)
        drawn = UNet(base_channels=4, depth=2).state_dict()
        assert torch.allclose(five["head.weight"], drawn["head.weight"], atol=1e-9)
        assert not torch.allclose(six["head.weight"], drawn["head.weight"], atol=1e-3)

    def test_the_test_list_when_it_is_asked_for(self, command):
        """Also of a run that is finished: it is scored, and not trained again."""
        first = command()
        record = command("--test", "--flip")
        assert record["history"] == first["history"] and record["val"] == first["val"]
        for part in ("test", "test_flip"):
            assert record[part]["images"] == 37 and "calibration_error" in record[part]
        assert record["test"] != record["test_flip"]

    def test_limit(self, command):
        assert command("--limit", "5")["pairs"] == {"train": 5, "val": 5, "test": 37}

    def test_begun_with_the_weights_of_another_run(self, command, tmp_path):
        """Two stages: the record of the second names the first by no place of this machine."""
        command(out="runs/first")
        first = read_checkpoint("runs/first/best.pt")["model"]
        flags = ["--learning-rate", "1e-12", "--epochs", "1", "--weights"]
        relative = command(*flags, "runs/first/best.pt", out="runs/second")
        absolute = command(*flags, str(tmp_path / "runs/first/best.pt"), out="runs/third")
        second = read_checkpoint("runs/second/best.pt")["model"]
        assert torch.allclose(second["head.weight"], first["head.weight"], atol=1e-9)
        assert relative["settings"] == absolute["settings"]
        assert relative["settings"]["experiment"]["weights"] == "runs/first/best.pt"
        for text in (json.dumps(absolute), str(read_checkpoint("runs/third/last.pt").keys())):
            assert str(tmp_path) not in text


class TestData:
    def test_synthetic_is_the_whole_archive(self, command, monkeypatch, tmp_path):
        """Whatever PETS_DATA says."""
        monkeypatch.setenv("PETS_DATA", str(tmp_path / "nowhere"))
        record = command("--limit", "8", "--epochs", "1", data="synthetic")
        assert record["dataset"] == "synthetic" and record["pairs"]["test"] == 148

    def test_pets_where_there_are_none(self, command):
        with pytest.raises(SystemExit, match=r"set PETS_DATA to the folder that holds oxford-iiit"):
            command(data="pets")
        assert not train.Path("runs").exists()

    def test_pets_where_the_variable_says(self, command, drawn_copy, monkeypatch):
        (drawn_copy.folder / synthetic.MARKER).unlink()
        monkeypatch.setenv("PETS_DATA", str(drawn_copy.root))
        record = command("--epochs", "1", data="pets")
        assert record["dataset"] == "Oxford-IIIT Pet (8-pair part)"
        monkeypatch.setenv("PETS_DATA", str(drawn_copy.root / "nowhere"))
        with pytest.raises(SystemExit, match=r"nowhere does not hold the dataset: PETS_DATA must"):
            command(data="pets")

    def test_a_folder(self, command, drawn_copy, monkeypatch):
        monkeypatch.setenv("PETS_DATA", "/not/used")
        record = command("--epochs", "1", data=str(drawn_copy.root))
        assert record["dataset"] == "synthetic" and record["pairs"]["test"] == 4
        with pytest.raises(SystemExit, match=r"--data none: it must hold images/.* or oxford-iiit"):
            command(data="none")
        with pytest.raises(SystemExit, match=r"holds oxford-iiit-pet/ \(here, .*\)"):
            command(data=str(drawn_copy.folder))

    def test_images_of_your_own_of_many_channels(self, command, tmp_path):
        rng = np.random.default_rng(0)
        for kind in ("images", "masks"):
            (tmp_path / "mine" / kind).mkdir(parents=True)
        for k in range(6):
            image = rng.integers(0, 256, (32, 32, 5), np.uint8)
            tifffile.imwrite(
                tmp_path / "mine" / "images" / f"{k}.tif", image, planarconfig="contig"
            )
            Image.fromarray(image[..., 0] // 128).save(tmp_path / "mine" / "masks" / f"{k}.png")
        (tmp_path / "mine" / "classes.csv").write_text("value,name\n0,a\n1,b\n")

        with pytest.raises(SystemExit, match="has 5 channels, and a network here takes three"):
            command(data="mine")
        flags = "--epochs 1 --channels 0 2 4".split()
        assert command(*flags, data="mine")["dataset"] == "mine"
        assert read_checkpoint("runs/x/best.pt")["channels"] == [0, 2, 4]
        with pytest.raises(SystemExit, match=r"last\.pt was made with channels"):
            command(*flags[:-1], "3", data="mine")
        with pytest.raises(SystemExit, match="--channels is for images of your own: leave it out"):
            command(*flags)


class TestOwnCode:
    def test_a_network_and_an_augmentation(self, command, own):
        flags = "--network own_module:Network --augment own_module:augmentation".split()
        record = command(*flags, "--model", "width=8")
        assert record["model"] == "Network" and sys.modules["own_module"].calls == ["made"]
        assert record["parameters"] == sum(
            p.numel() for p in UNet(base_channels=8, depth=2).parameters()
        )
        settings = record["settings"]["experiment"]
        assert settings["network"] == "own_module:Network" and settings["model"] == {"width": 8}
        assert settings["augment"] == "own_module:augmentation"

    def test_a_mistake_in_it_is_shown_whole(self, command, own):
        with pytest.raises(ValueError, match="a mistake of one's own"):
            command("--network", "own_module:Broken")

    def test_an_import_that_fails_in_it_is_shown_whole(self, command, tmp_path, monkeypatch):
        (tmp_path / "needs.py").write_text("import no_such_package\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ModuleNotFoundError, match="no_such_package"):
            command("--network", "needs:Network")

    def test_a_pretrained_encoder(self, command):
        flags = "--network PretrainedUNet --weights imagenet --encoder-rate 0.1 --epochs 1".split()
        record = command(*flags, "--model", "channels=[8,8,8,8,4]")
        assert record["model"] == "PretrainedUNet"
        model, about = load_model("runs/x/best.pt")
        assert model.config["channels"] == [8, 8, 8, 8, 4]
        assert about["config"]["encoder_rate"] == 0.1


class TestErrors:
    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            ("--loss focal", r"loss must be one of \('ce', 'dice', 'ce\+dice'\), not 'focal'"),
            ("--precision half", "precision must be one of"),
            ("--epochs 0", "epochs must be above 0"),
            ("--encoder-rate 0", "encoder_rate must be above 0"),
            ("--size 30", "30 x 30 is not divisible by .* = 4: resize or pad it, to 32 x 32"),
            ("--size 0", "size must be a whole number from 1 on, not 0"),
            ("--batch-size 0", "batch_size must be a whole number from 1 on, not 0"),
            ("--fraction 0.3", "fraction must be 1, 1/2, 1/3"),
            ("--network Nope", "no 'Nope': there are UNet, PretrainedUNet, and your own as MOD"),
            ("--network nope:Nope", r"no module 'nope': be in the folder that nope\.py is in"),
            ("--network nope.nets:Nope", r"no module 'nope\.nets': be in the folder"),
            ("--network :Nope", "no ':Nope': there are UNet, PretrainedUNet, and your own"),
            ("--network .nets:Nope", r"no '\.nets:Nope': there are UNet"),
            ("--network json:Nope", "no 'Nope' in .*json"),
            ("--augment blur", "no 'blur': there are default, none, and your own"),
            ("--model width=3", r"UNet: got an unexpected .* 'width'; it takes .*base_channels:"),
            ("--model num_classes=5", "num_classes is 5, but the data have 3: leave it out"),
            ("--model depth=0", "depth 0, base_channels 16: at least 1"),
            ("--weights no.pt", r"no\.pt does not exist: .* are .*synthetic"),
            ("--weights synthetic", "the weights 'synthetic' do not fit this UNet: they belong"),
            ("--weights imagenet", "for a network that has them: PretrainedUNet"),
            ("--device gpu", "'gpu' was asked for.* there are 'auto', 'cpu',"),
            ("--model skips=false", "UNet: skips must be True or False, not 'false'"),
            ("--model depth=two", "UNet: depth must be a whole number, not 'two'"),
            (f"--seed {10**30}", r"seed must be from 0 to 2\*\*32 - 1, not 1000"),
            ("--seed -1", r"seed must be from 0 to 2\*\*32 - 1, not -1"),
            ("--weight-decay nan", r"weight_decay must be from 0 to 2\*\*32 - 1, not nan"),
            ("--scale inf", "scale must be 0, for whole images, or above, not inf"),
        ],
    )
    def test_are_one_line_that_says_what_to_do(self, command, flags, message):
        with pytest.raises(SystemExit, match=rf"^error: (?s:.*){message}") as stopped:
            command(*flags.split())
        assert isinstance(stopped.value.code, str)  # which Python prints, and ends with 1
        assert "\n" not in stopped.value.code
        assert not train.Path("runs/x/record.json").exists()

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            ("--model depth", "argument --model: 'depth' is not KEY=VALUE"),
            ("--epochs two", "argument --epochs: invalid int value: 'two'"),
            ("--threads 0", "argument --threads: '0' is no whole number from 1 on"),
            ("--limit -1", "argument --limit: "),
            ("--flip", "--flip is about the test list: give --test, too"),
            ("--rate 3", "unrecognized arguments: --rate 3"),
        ],
    )
    def test_in_the_flags_themselves(self, command, capsys, flags, message):
        with pytest.raises(SystemExit) as stopped:
            command(*flags.split())
        assert stopped.value.code == 2 and message in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("change", "key"),
        [
            ("--epochs 3", "config"),
            ("--seed 1", "config"),
            ("--model base_channels=8 depth=2", "experiment"),
            ("--augment none", "experiment"),
            ("--batch-size 15", "experiment"),
            ("--limit 20", "training_samples"),
            ("--size 64", "size"),
        ],
    )
    def test_the_folder_of_another_run_is_refused_and_left_alone(self, command, change, key):
        """15 pairs in a batch are as many steps as 16: the experiment itself is compared."""
        command()
        before = {path.name: path.read_bytes() for path in train.Path("runs/x").iterdir()}
        with pytest.raises(SystemExit, match=rf"last\.pt was made with {key} .*another folder"):
            command(*change.split())
        assert {p.name: p.read_bytes() for p in train.Path("runs/x").iterdir()} == before

    def test_an_interrupt_says_how_to_go_on(self, command, monkeypatch, capsys):
        monkeypatch.setattr(train, "run_experiment", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(SystemExit) as stopped:
            command()
        assert stopped.value.code == 130
        assert "the same command goes on after the last finished" in capsys.readouterr().out

    def test_labels_that_were_corrected_are_other_data(self, command, drawn_copy):
        """Not those of a run that is done, whose old weights would be scored on them."""
        command(data=str(drawn_copy.root))
        before = train.Path("runs/x/record.json").read_bytes()
        for path in (drawn_copy.folder / "annotations" / "trimaps").glob("*.png"):
            Image.fromarray(4 - np.asarray(Image.open(path))).save(path)
        with pytest.raises(SystemExit, match=r"last\.pt was made with data_hash .*another folder"):
            command(data=str(drawn_copy.root))
        assert train.Path("runs/x/record.json").read_bytes() == before

    def test_a_mistake_in_the_package_is_shown_whole(self, command, monkeypatch):
        """What no `raise` of ours has made: no message of ours explains it."""
        monkeypatch.setattr(train, "run_experiment", lambda *_, **__: (None, {"val": {}}))
        with pytest.raises(KeyError, match="miou"):
            command()


@pytest.mark.slow
def test_a_killed_run_goes_on_and_no_bit_differs(command, drawn, tmp_path):
    """SIGKILL after the first epoch; the same command again gives what an undisturbed one gives."""
    flags = ["--epochs", "30", "--seed", "2"]
    whole = command(*flags, out="runs/whole")

    line = [sys.executable, "-m", "helpers.train", "--data", str(drawn.root), "--out", "runs/cut"]
    line += [*TINY, *flags]
    run = {"cwd": tmp_path, "env": os.environ | {"OMP_NUM_THREADS": "1"}}
    run |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    folder = tmp_path / "runs" / "cut"
    with subprocess.Popen(line, **run) as process:
        while not (folder / "last.pt").exists():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.01)
        process.kill()
    assert process.returncode != 0
    before = read_checkpoint(folder / "last.pt")
    assert 0 < before["epoch"] < 30
    assert not (folder / "record.json").exists()

    done = subprocess.run(line, **run)
    assert done.returncode == 0, done.stdout
    record = json.loads((folder / "record.json").read_text())
    took = [float(f"{seconds:.4g}") for seconds in before["history"]["seconds"]]
    assert record["history"]["seconds"][: before["epoch"]] == took  # it did not begin anew
    for key in set(whole["history"]) - {"seconds"}:
        assert record["history"][key] == whole["history"][key], key
    for key in ("val", "settings", "split_hash", "parameters", "precision", "device"):
        assert record[key] == whole[key], key

    best, expected = (read_checkpoint(f"runs/{name}/best.pt") for name in ("cut", "whole"))
    weights, wanted = best.pop("model"), expected.pop("model")
    assert best == expected and weights.keys() == wanted.keys()
    assert all(torch.equal(weights[key], wanted[key]) for key in wanted)


def test_shipped_weights_are_named_and_summed(command):
    sums = dict(reversed(line.split()) for line in (WEIGHTS / "SHA256SUMS").open())
    default = ["--model", "depth=4", "--epochs", "1", "--limit", "4"]
    settings = command(*default, "--weights", "synthetic")["settings"]
    assert settings["experiment"]["weights"] == "synthetic"
    assert settings["weights_sha256"] == sums["synthetic.pt"]


def test_without_torch_distributed_there_is_one_process(monkeypatch):
    """A PyTorch that was built without it lacks most of its names."""
    monkeypatch.setattr(train.dist, "is_available", lambda: False)
    monkeypatch.delattr(train.dist, "is_torchelastic_launched")
    with train.processes("cpu") as device:
        assert device.type == "cpu"


def test_processes_on_a_mac_share_its_cpu(monkeypatch):
    """gloo, which joins processes without CUDA, does not know Apple's MPS."""
    started = []
    monkeypatch.setattr(train, "pick_device", lambda name: torch.device("mps"))
    monkeypatch.setattr(train.dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(train.dist, "init_process_group", started.append)
    monkeypatch.setattr(train.dist, "destroy_process_group", lambda: None)
    with train.processes("auto") as device:
        assert device.type == "cpu" and started == ["gloo"]
