"""The list of runs: what is taken next, what waits, and that nothing is trained twice."""

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

from helpers.datasets import synthetic
from helpers.studies.experiments import EXPERIMENTS
from helpers.studies.records import RECORDS, record_path
from helpers.train import parser
from helpers.training import TrainingConfig

import pytest
import runs
from runs import RATES, RUNS, Run, claimed, train_next


def write_record(folder, run, **content):
    path = folder / run.folder / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def told(command):
    return parser().parse_args(command)


def test_all_runs_differ_and_are_understood(tmp_path):
    assert len({run.folder for run in RUNS}) == len(RUNS)
    for run in RUNS:
        fixed = Run(run.study, run.name, run.seed, run.flags)
        command = fixed.command(tmp_path)
        if command is not None:  # else it begins with the weights of another run
            options = told(command)
            assert options.seed == run.seed and options.name == run.name
            assert options.out.as_posix() == run.folder


def test_compared_runs_differ_in_the_arm_alone():
    short, *_, long = runs.compared("study", {"a": "", "b": "--size 64"}, "--limit 9", "--test")
    assert (short.name, short.seed, short.flags.split()[0]) == ("a, 1e-3", 0, "--limit")
    assert "--test" not in short.flags and short.flags.endswith("--learning-rate 1e-3")
    assert (long.name, long.seed, long.rates) == ("b", 3, "study-rates")
    assert long.flags.split() == ["--test", "--size", "64"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_arms_of_the_ablation_are_the_experiments_of_notebook_07(name):
    assert runs.ARMS.keys() == EXPERIMENTS.keys()
    options = vars(told(["--data", "pets", "--out", ".", *shlex.split(runs.ARMS[name])]))
    experiment = EXPERIMENTS[name]
    wanted = asdict(experiment) | asdict(TrainingConfig(**experiment.training))
    del wanted["training"]
    options["model"] = dict(options["model"])
    assert {key: options[key] for key in wanted} == wanted


def test_a_run_waits_for_the_trials_of_its_rate(tmp_path):
    run = Run("study", "net", 1, rates="study-rates")
    scores = dict(zip(RATES, (0.5, 0.7, 0.6), strict=True))
    for rate, miou in scores.items():
        assert run.command(tmp_path) is None
        settings = {"training": {"learning_rate": float(rate)}}
        trial = Run("study-rates", f"net, {rate}", 0)
        write_record(tmp_path, trial, val={"miou": miou}, settings=settings)
    assert told(run.command(tmp_path)).learning_rate == float(RATES[1])


def test_minutes_wait_for_the_speed_and_become_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "load_records", missing)
    run = Run("study", "net", 1, "--size 192", minutes=10)
    assert run.command(tmp_path) is None

    case = {"network": "UNet", "model": {}, "size": 192, "precision": "bfloat16", "training": 12.0}
    speeds = {"name": runs.MACHINE, "pairs": 2760, "networks": {"it": case}}
    another = {"name": "another machine", "pairs": 2760, "networks": {"it": case | {"training": 9}}}
    monkeypatch.setattr(runs, "load_records", lambda study: [another, speeds])
    assert told(run.command(tmp_path)).epochs == 2  # 10 * 60 * 12 / 2760 = 2.6

    in_parts = told(replace(run, parts=5).command(tmp_path))
    assert in_parts.epochs == 5 and in_parts.samples == 1440  # 10 * 60 * 12 / 5
    assert Run("study", "other", 1, "--size 128", minutes=10).command(tmp_path) is None


def missing(study):
    raise FileNotFoundError


def test_a_chip_without_16_bits_trains_in_32_as_many_steps(tmp_path, monkeypatch):
    assert told(Run("a", "b", 0).command(tmp_path, "float32")).precision == "float32"
    fixed = Run("a", "b", 0, "--precision bfloat16")
    assert told(fixed.command(tmp_path, "float32")).precision == "bfloat16"

    speeds = {"bfloat16": 12.0, "float32": 5.0}

    def speed_of(flags):
        return {"training": speeds[told([*flags, "--out", "x"]).precision]}, 2760

    monkeypatch.setattr(runs, "speed_of", speed_of)
    timed = told(Run("a", "b", 0, minutes=10).command(tmp_path, "float32"))
    assert timed.precision == "float32" and timed.epochs == 2  # 10 * 60 * 12 / 2760 = 2.6
    fixed = told(Run("a", "b", 0, "--precision float32", minutes=10).command(tmp_path, "bfloat16"))
    assert fixed.precision == "float32" and fixed.epochs == 1  # 10 * 60 * 5 / 2760 = 1.1


def test_other_studies_are_left_alone(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(runs, "train_next", lambda chosen, *_: asked.extend(chosen))
    monkeypatch.setattr(runs, "RUNS", [Run("long", "a", 0), Run("tried", "a", 0)])
    runs.main(["run", "--folder", str(tmp_path), "--only", "tried"])
    assert asked == runs.RUNS[1:]


def test_weights_that_are_not_shipped_yet_are_waited_for(tmp_path, monkeypatch):
    run = Run("b", "later", 0, "--weights pets")
    assert told(run.command(tmp_path)).weights == "pets"
    monkeypatch.setattr(runs, "WEIGHTS", tmp_path)
    assert run.command(tmp_path) is None
    assert Run("b", "other", 0, "--weights imagenet").command(tmp_path)


def test_a_folder_is_claimed_once(tmp_path):
    with claimed(tmp_path / "run") as mine, claimed(tmp_path / "run") as again:
        assert mine and not again
    with claimed(tmp_path / "run") as mine:
        assert mine


@pytest.fixture
def photographs(drawn_copy, monkeypatch):
    """Drawings that pass for photographs."""
    (drawn_copy.folder / synthetic.MARKER).unlink()
    monkeypatch.setenv("PETS_DATA", str(drawn_copy.root))


@pytest.mark.slow
def test_runs_are_taken_in_turn_and_once(tmp_path, monkeypatch, photographs):
    """Left are a failed one, one that another process works on, and one that waits for others."""
    tiny = "--size 32 --epochs 1 --model base_channels=4 depth=2"
    wrong, busy = Run("study", "wrong", 0, f"{tiny} --loss none"), Run("study", "busy", 0, tiny)
    waits, good = Run("study", "waits", 0, tiny, rates="none"), Run("study", "good", 0, tiny)
    listed = [wrong, waits, busy, good]

    with claimed(tmp_path / busy.folder):
        assert train_next(listed, tmp_path, threads=1)
        assert (tmp_path / wrong.folder / "failed").is_file()
        assert "loss must be one of" in (tmp_path / wrong.folder / "log").read_text()
        assert train_next(listed, tmp_path, threads=1)
        assert not train_next(listed, tmp_path, threads=1)
    done = {path.parent.name for path in tmp_path.rglob("record.json")}
    assert done == {Path(good.folder).name}


def test_finished_runs_are_collected(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "RUNS", [Run("study", "one", 0), Run("study", "two", 3)])
    monkeypatch.setattr(runs, "RECORDS", tmp_path / "records")
    (tmp_path / "records").mkdir()
    write_record(tmp_path / "runs", runs.RUNS[1], name="two")

    runs.main(["list", "--folder", str(tmp_path / "runs")])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("[ ] study/one-0: ") and second.startswith("[x] study/two-3: ")

    runs.main(["collect", "--folder", str(tmp_path / "runs")])
    (collected,) = (tmp_path / "records").rglob("*.json")
    assert collected == record_path("two", 3, "study", tmp_path / "records") != RECORDS
    assert json.loads(collected.read_text()) == {"name": "two"}

    # Elsewhere, such as on another machine, it counts as done.
    new = tmp_path / "new"
    assert runs.RUNS[0].record(new) is None and runs.RUNS[1].record(new) == collected
