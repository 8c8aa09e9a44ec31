"""What ships weights: a run whose score 16 bits keep, and no other."""

import hashlib
import json

from helpers import checkpoint
from helpers.checkpoint import load_model
from helpers.train import main as train

import pytest
import shipped


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    flags = "--data synthetic --epochs 1 --limit 8 --size 32 --model base_channels=4 depth=2 --test"
    train([*flags.split(), "--out", str(out)])
    return out


@pytest.fixture
def weights(tmp_path, monkeypatch):
    for module in (shipped, checkpoint):
        monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    return tmp_path


def test_a_run_is_shipped_with_its_sum(run, weights, synthetic):
    shipped.ship_run(weights / "pets.pt", run, synthetic)
    content = (weights / "pets.pt").read_bytes()
    assert (weights / "SHA256SUMS").read_text().split() == [
        hashlib.sha256(content).hexdigest(),
        "pets.pt",
    ]
    model, about = load_model("pets")
    assert about["size"] == 32 and about["dataset"] == "synthetic"
    assert len(content) < 0.75 * 4 * sum(p.numel() for p in model.parameters()) + 20_000


def test_nothing_is_shipped_that_scores_otherwise(run, weights, synthetic):
    record = json.loads((run / "record.json").read_text())
    record["test"]["miou"] += 0.002
    other = weights / "other"
    other.mkdir()
    (other / "record.json").write_text(json.dumps(record))
    (other / "best.pt").write_bytes((run / "best.pt").read_bytes())
    with pytest.raises(SystemExit, match="16 bits lose too much"):
        shipped.ship_run(weights / "pets.pt", other, synthetic)
    assert not (weights / "pets.pt").exists() and not (weights / "SHA256SUMS").exists()


@pytest.fixture(scope="module")
def synthetic():
    return shipped.find_dataset()
