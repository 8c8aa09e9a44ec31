"""Two processes on the CPU train as one does, started by torchrun as README shows it."""

import json
import math
import os
import subprocess
import sys
import time
from itertools import chain

from helpers import distributed
from helpers.checkpoint import read_checkpoint
from helpers.distributed import Share, part_of
from helpers.metrics import ConfusionMatrix
from helpers.train import main

import numpy as np
import pytest
import torch

SMALL = "--size 32 --model base_channels=4 depth=2 --threads 1 --device cpu".split()
FROZEN = """
from helpers.model import UNet
from torch import nn

class Frozen(UNet):
    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    (folder / "frozen.py").write_text(FROZEN)
    return folder


def flags_of(folder, out, more):
    return ["--data", "synthetic", "--out", str(folder / out), *SMALL, *more.split()]


def start(folder, out, flags):
    """Two processes of the command."""
    launch = "-m torch.distributed.run --standalone --nproc-per-node 2 -m helpers.train".split()
    return subprocess.Popen(
        [sys.executable, *launch, *flags_of(folder, out, flags)],
        env=os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(folder, out):
    """The history and the best weights of a run."""
    record = json.loads((folder / out / "record.json").read_text())
    return record["history"], read_checkpoint(folder / out / "best.pt")["model"]


def alone(folder, out, flags):
    """The same command in this process."""
    threads = torch.get_num_threads()
    main(flags_of(folder, out, flags))
    torch.set_num_threads(threads)
    return finished(folder, out)


@pytest.mark.slow
def test_two_processes_are_one_where_nothing_depends_on_the_part_of_a_batch(folder, monkeypatch):
    """Ended after an epoch or more, and started again.

    Cross-entropy is a mean over samples here, since no pixel is ignored, and each batch is even.
    """
    monkeypatch.syspath_prepend(folder)
    flags = "--network frozen:Frozen --loss ce --augment none --epochs 40 --seed 5 --limit 44"
    flags += " --learning-rate 3e-4"  # a higher one leaves a plateau, where rounding grows
    one, weights = alone(folder, "one", flags)

    process = start(folder, "two", flags)
    while not (folder / "two" / "last.pt").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.terminate()  # torchrun ends its processes, wherever they are
    process.communicate()
    assert not (folder / "two" / "record.json").exists()
    assert 0 < read_checkpoint(folder / "two" / "last.pt")["epoch"] < 40

    process = start(folder, "two", flags)
    printed = process.communicate(timeout=240)[0]
    assert process.returncode == 0, printed
    two, others = finished(folder, "two")
    for key in ("train_loss", "val_loss", "learning_rate"):
        assert one[key] == pytest.approx(two[key], rel=1e-3), key  # records have 4 digits
    assert one["val_miou"] == pytest.approx(two["val_miou"], abs=5e-3)
    assert one["train_loss"][-1] < one["train_loss"][0]
    for key, value in weights.items():
        torch.testing.assert_close(others[key], value, rtol=0.01, atol=0.005)

    # The first process alone writes and speaks.
    names = {path.name for path in (folder / "two").iterdir()}
    assert names == {"best.pt", "last.pt", "record.json"}
    assert printed.count('"experiment"') == printed.count("record.json") == 1
    device = json.loads((folder / "two" / "record.json").read_text())["device"]
    assert device.startswith("2 x cpu") and device.endswith("1 threads")


@pytest.mark.slow
def test_the_defaults_stay_within_the_spread_of_seeds(folder):
    """BatchNorm and Dice see half batches: another training, not a worse one."""
    flags = "--epochs 4 --limit 64 --seed"
    losses = [
        alone(folder, f"seed{seed}", f"{flags} {seed}")[0]["val_loss"][-1] for seed in range(3)
    ]
    process = start(folder, "halves", f"{flags} 0")
    printed = process.communicate(timeout=240)[0]
    assert process.returncode == 0, printed
    two = finished(folder, "halves")[0]["val_loss"][-1]
    spread = max(losses) - min(losses)
    assert min(losses) - spread <= two <= max(losses) + spread
    assert two != pytest.approx(losses[0], abs=1e-4)


@pytest.mark.parametrize("samples", [0, 1, 7, 12, 13, 24, 25, 33])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_parts_of_batches(samples, count, monkeypatch):
    """All samples once; or, if even, parts of one length that make up batches of one process."""
    order, batch = list(range(100, 100 + samples)), 12
    for even in (False, True):
        parts = []
        for number in range(count):
            monkeypatch.setattr(distributed, "place", lambda number=number: (number, count))
            share = Share(order, even)
            parts.append(list(share))
            assert len(share) == len(parts[-1])
            assert part_of(batch) == batch // count
        used = sorted(chain.from_iterable(parts))
        if not even:
            assert used == order
            continue
        assert len(set(map(len, parts))) == 1 and used == order[: samples - samples % count]
        size = batch // count
        for start in range(0, len(parts[0]), size):
            together = set(chain.from_iterable(part[start : start + size] for part in parts))
            assert together <= set(order[start * count : start * count + batch])


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "place", lambda: (0, 4))
    for wrong in (3, 18):
        with pytest.raises(ValueError, match=f"batch_size {wrong} is no multiple of 4, the proc"):
            part_of(wrong)


def test_counts_and_losses_of_all_processes(monkeypatch):
    """Two parts of unequal size give what the whole gives."""
    torch.manual_seed(0)
    prediction, truth = torch.randint(0, 3, (2, 5, 8, 8))
    truth[4] = 255
    whole = ConfusionMatrix.of(prediction, truth)
    parts = [ConfusionMatrix.of(prediction[part], truth[part]) for part in ([0, 2, 4], [1, 3])]
    results = list(zip(parts, (0.5, 2.0), strict=True))
    monkeypatch.setattr(distributed, "everywhere", lambda _: results)

    counts, loss = distributed.total(*results[0])
    assert torch.equal(counts.matrix, whole.matrix)
    assert counts.per_image_iou() == pytest.approx(whole.per_image_iou())
    assert loss == pytest.approx(np.average([0.5, 2.0], weights=[2 * 64, 2 * 64]))

    # A process whose images are all ignored has no mean, and is left out of it.
    nothing = ConfusionMatrix.of(prediction[[4]], truth[[4]])
    results.append((nothing, math.nan))
    assert distributed.total(*results[0])[1] == pytest.approx(loss)
    results[:] = [(nothing, math.nan)] * 2
    assert math.isnan(distributed.total(*results[0])[1])

    monkeypatch.undo()
    assert distributed.total(*results[0]) == results[0]
