import json
import platform
import re
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path, PurePosixPath, PureWindowsPath

from helpers.data import SegmentationDataset
from helpers.model import UNet
from helpers.studies import records
from helpers.studies.experiments import fewer_pairs
from helpers.studies.records import (
    RECORDS,
    commit,
    load_records,
    make_record,
    save_record,
    split_hash,
    write_record,
)
from helpers.training import TrainingConfig

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def record_of(splits, precision="auto", epochs=2, done=2):
    """What a run leaves: of `epochs` planned, `done` were finished."""
    history = {"seconds": [1.0] * done, "val_miou": [0.123456789] * done}
    config = TrainingConfig(epochs=epochs, precision=precision, seed=3)
    model = UNet(base_channels=4, depth=2)
    return make_record("1/2 of it", model, splits, history, config, {"batch_size": 16}, val={})


def test_a_record_survives_saving(splits, tmp_path):
    record = record_of(splits)
    path = save_record(record, "study", tmp_path)
    assert path == records.record_path("1/2 of it", 3, "study", tmp_path)
    assert [p.name for p in path.parent.iterdir()] == ["1-2-of-it-3.json"]
    assert load_records("study", tmp_path) == [record]
    assert record["history"]["val_miou"] == [0.1235] * 2  # four digits
    with pytest.raises(FileNotFoundError, match="holds no records: the scripts in tests"):
        load_records("none", tmp_path)


def test_a_run_that_was_stopped_is_no_record(splits, tmp_path):
    with pytest.raises(ValueError, match="was stopped after 1 of 2 epochs"):
        save_record(record_of(splits, done=1), "study", tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_no_record_takes_the_place_of_another(splits, tmp_path):
    first = record_of(splits) | {"name": "no skips"}
    for name in ("no skips", "\u732b", "\u72d7"):
        save_record(first | {"name": name}, "study", tmp_path)  # the first one again: it is newer
        save_record(first | {"name": name}, "study", tmp_path)
    assert len(load_records("study", tmp_path)) == 3
    with pytest.raises(
        ValueError, match=r"no-skips-3\.json is the record of 'no skips': give 'no-s"
    ):
        save_record(first | {"name": "no-skips"}, "study", tmp_path)
    assert {r["name"] for r in load_records("study", tmp_path)} == {"no skips", "\u732b", "\u72d7"}


def test_a_damaged_record_is_named(splits, tmp_path):
    path = save_record(record_of(splits), "study", tmp_path)
    path.write_text(path.read_text()[:30])
    with pytest.raises(ValueError, match=rf"{path} is damaged .*: delete it"):
        load_records("study", tmp_path)


def test_an_unwritable_record_leaves_nothing(splits, tmp_path):
    with pytest.raises(TypeError):
        save_record(record_of(splits) | {"bad": object()}, "study", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_validation_scores_are_a_full_report(splits):
    history = {"seconds": [1.0]}
    made = make_record("net", UNet(base_channels=4), splits, history, TrainingConfig(epochs=1))
    assert made["val"]["images"] == len(splits.val) and 0 < made["val"]["miou"] < 1


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_a_record_names_what_was_used(splits, precision, monkeypatch):
    """Trained on the CPU, although there is a GPU that "auto" would have taken."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a GPU")
    record = record_of(splits, precision)
    chip = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    assert record["device"] == f"cpu, {chip}, {torch.get_num_threads()} threads"
    assert record["precision"] == ("bfloat16" if precision == "bfloat16" else "float32")
    assert record["settings"]["training"]["precision"] == precision


def test_a_record_names_the_versions(splits):
    versions = record_of(splits)["versions"]
    assert versions.pop("python") == platform.python_version()
    assert versions == {name: version(name) for name in records.VERSIONS}
    assert {"torch", "pillow"} < set(versions)


def test_speed_and_memory(splits):
    """Two epochs of 28 samples in two seconds; memory as Linux tells it elsewhere."""
    record = record_of(splits)
    assert record["images_per_second"] == len(splits.train) == 28 and record["minutes"] == 0.03
    assert record_of(splits, done=0)["images_per_second"] is None

    held = records.peak_memory(torch.device("cpu"))
    assert 0.05e9 < held < 200e9 and record["peak_memory_gb"] == pytest.approx(held / 1e9, abs=0.02)
    status = Path("/proc/self/status")
    if status.exists():
        told = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert told and held > 0.98 * int(told[1]) * 1024  # that of a parent process may count


def test_where_memory_is_not_told(splits, monkeypatch):
    """Windows has no module `resource`."""
    monkeypatch.setitem(sys.modules, "resource", None)
    assert record_of(splits)["peak_memory_gb"] is None


def test_the_memory_of_a_gpu_is_torchs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 123)
    assert records.peak_memory(torch.device("cuda")) == 123


def test_a_line_for_each_key(splits, tmp_path):
    record = record_of(splits)
    write_record(record, tmp_path / "new" / "record.json")
    lines = (tmp_path / "new" / "record.json").read_text().splitlines()
    assert len(lines) == len(record) + 2 and lines[1] == ' "name": "1/2 of it",'


def test_the_test_split_when_it_is_asked_for(splits):
    model, history = UNet(base_channels=4, depth=2), {"seconds": [1.0]}
    config = TrainingConfig(epochs=1)
    made = [
        make_record("net", model, splits, history, config, val={}, test=test, flip=flip)
        for test, flip in ((False, False), (True, False), (True, True))
    ]
    found = [{"test", "test_flip"} & record.keys() for record in made]
    assert found == [set(), {"test"}, {"test", "test_flip"}]
    assert made[1]["test"] == made[2]["test"] != made[2]["test_flip"]


@pytest.mark.gpu
def test_a_gpu_is_named(splits):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    model = UNet(base_channels=4, depth=2).to("cuda")
    made = make_record("net", model, splits, {"seconds": []}, TrainingConfig(epochs=1), val={})
    assert made["device"] == torch.cuda.get_device_name() and made["precision"] != "float32"


def git(folder, *command):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *command], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path):
    """Somebody's repository, with a package installed into it that it does not track."""
    git(tmp_path, "init", "-q")
    package = tmp_path / ".venv" / "helpers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "__init__.py").touch()  # one of its own
    git(tmp_path, "add", "__init__.py")
    git(tmp_path, "commit", "-q", "-m", "own")
    return tmp_path


def test_the_commit_is_not_that_of_the_current_folder(project, monkeypatch):
    before = commit()
    monkeypatch.chdir(project)
    assert commit() == before and git(project, "rev-parse", "HEAD")[:12] not in commit()


def test_the_commit_is_not_that_of_a_repository_around_an_installed_package(project):
    package = project / ".venv" / "helpers"
    assert commit(package) == "unknown"
    assert commit(project / "missing") == "unknown"

    # One that tracks the package is its clone.
    git(project, "add", "-f", ".venv")
    git(project, "commit", "-q", "-m", "package")
    head = git(project, "rev-parse", "HEAD")[:12]
    assert commit(package) == head
    (package / "__init__.py").write_text("changed = True\n")
    assert commit(package) == f"{head}-dirty"


@pytest.mark.parametrize("flags, found", [("avx2 avx512_bf16 amx_bf16", 2), ("avx2", 0)])
def test_what_a_cpu_has_for_bfloat16(monkeypatch, flags, found):
    monkeypatch.setattr(records.Path, "read_text", lambda *_, **__: f"flags : {flags}")
    assert records.bfloat16_units() == ["amx_bf16", "avx512_bf16"][:found]


def test_split_hash_tells_roles_apart(splits):
    assert split_hash(splits) == split_hash(splits._replace(train=fewer_pairs(splits.train, 1)))
    swapped = splits._replace(train=splits.val, val=splits.train)
    assert split_hash(swapped) != split_hash(splits)
    less = SegmentationDataset(splits.train.pairs, splits.train.indices[1:])
    assert split_hash(splits._replace(train=less)) != split_hash(splits)


def test_the_edition_is_that_of_the_package():
    version = re.search(r'^version = "(\d+\.\d+)', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version and records.EDITION == version[1]


def experiment_of(record):
    return record.get("settings", {}).get("experiment", {})


def words_of(value):
    """Every string in a record, keys too."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        return [word for part in value for word in words_of(part)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("folder", sorted(RECORDS.iterdir()), ids=lambda folder: folder.name)
def test_shipped_records_are_complete_and_comparable(folder):
    """Runs of one study were made on the same pairs, by committed code, to their last epoch.

    Those on a fraction of the training pairs share it, and those on some images of one's own, which
    a seed chooses ("20 images, random", seed 0), share these. No record tells of the folders of a
    machine.
    """
    study, pairs = load_records(folder.name), defaultdict(set)
    assert len({(record.get("dataset"), record["edition"]) for record in study}) == 1
    for record in study:
        chosen = (record["name"].partition(",")[0], record["seed"]) if "images" in record else ()
        key = (experiment_of(record).get("fraction", 1), *chosen)
        pairs[key].add(record.get("split_hash"))
    assert all(len(found) == 1 for found in pairs.values()), pairs

    for record in study:
        for word in words_of(record):
            assert not PurePosixPath(word).is_absolute() and not PureWindowsPath(word).drive, word
        assert record["commit"] != "unknown" and not record["commit"].endswith("-dirty")
        assert len(json.dumps(record)) < 60_000
        path = records.record_path(record["name"], record["seed"], folder.name)
        assert json.loads(path.read_text()) == record
        planned = record.get("settings", {}).get("training", {}).get("epochs", 0)
        assert len(record.get("history", {}).get("seconds", ())) >= planned
