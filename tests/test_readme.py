"""The programs on pages run as they stand, README is short, and its command starts JupyterLab."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from helpers.datasets.cells import write_cells
from helpers.predict import main as predict

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import chelsea

CLONE = Path(__file__).resolve().parents[1]
README = (CLONE / "README.md").read_text(encoding="utf-8")
OWN_IMAGES = (CLONE / "notebooks/YOUR_IMAGES.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README + OWN_IMAGES, re.DOTALL)
PAGES = [p.relative_to(CLONE) for p in CLONE.glob("*/*.md")]
FIRST_COMMAND = re.search(r"```\n(python3 .*jupyter lab.*)\n```", README).group(1)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_is_a_landing_page():
    words = re.sub(r"<!--.*?-->|\]\([^)]*\)", "", README)  # addresses are no words
    assert len(re.findall(r"\w+", words)) <= 900


@pytest.mark.parametrize("page", ["README.md", *(p.as_posix() for p in PAGES)])
def test_links_of_pages_lead_somewhere(page):
    path = CLONE / page
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_a_photo(folder):
    Image.fromarray(chelsea()).save(folder / "cat.jpg")
    exec(PROGRAMS[0], {})
    mask = np.array(Image.open(folder / "cat-mask.png"))
    assert mask.shape == chelsea().shape[:2]
    assert set(np.unique(mask)) == {0, 255} and 0.5 < (mask == 255).mean() < 0.95


def test_a_dataset_of_ones_own(folder, monkeypatch, capsys):
    monkeypatch.setenv("UNET_HOME", str(folder))
    write_cells(folder / "mine", dishes=4, fields=2)

    short = PROGRAMS[1].replace("128, None, 40", "64, None, 1")
    assert short != PROGRAMS[1]
    told: dict = {}
    exec(short, told)

    assert [len(part) for part in told["splits"]] == [4, 2, 2]  # a dish is held out whole
    assert told["model"](torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    best = torch.load(folder / "runs" / "own" / "best.pt", weights_only=True)
    assert best["class_names"] == ["background", "cell", "dividing"]
    assert "{'background': " in capsys.readouterr().out


def test_counts_and_hand_counts(folder, capsys):
    (folder / "photos").mkdir()
    for name, photo in (("a", chelsea()), ("b", chelsea()[:, ::-1])):
        Image.fromarray(photo).save(folder / f"photos/{name}.png")
    predict(["pets", "photos", "--out", "predicted", "--count", "pet"])
    counts = (folder / "predicted/counts.csv").read_text().splitlines()
    found = [int(line.split(",")[2]) for line in counts[1:]]
    hand = "image,class,objects,group\nb,pet,1,right\na,pet,2,left\n"
    (folder / "by_hand.csv").write_text(hand)

    exec(PROGRAMS[2], told := {})
    assert told["found"] == found[::-1] and told["truth"] == [1, 2]
    bias, left, right = (sum(found) - 3) / 2, found[0] / 2 - 1, found[1] - 1
    printed = capsys.readouterr().out
    assert f"bias={float(bias)}" in printed
    assert str(np.array([left, right], dtype=float)) in printed


@pytest.mark.slow
def test_the_first_command_brings_jupyterlab_up(tmp_path):
    """README's very line, in a clone of its own, until the server answers: to the token only.

    JupyterLab is told by its own settings, not by the line, to open no browser and to take any
    free port. What pip has fetched before is taken from its cache.
    """
    clone, settings, runtime = (tmp_path / name for name in ("clone", "settings", "runtime"))
    subprocess.run(["git", "clone", "-q", CLONE, clone], check=True)
    settings.mkdir()
    server = {"open_browser": False, "port": 0}
    (settings / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": server}))
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    env |= {"JUPYTER_CONFIG_DIR": str(settings), "JUPYTER_RUNTIME_DIR": str(runtime)}

    line = FIRST_COMMAND
    if sys.platform == "win32":  # as README says
        line = line.replace("python3", "py").replace(".venv/bin/", ".venv\\Scripts\\")
    with open(tmp_path / "log.txt", "w") as log:
        process = subprocess.Popen(
            line, shell=True, cwd=clone, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        address, token = wait_for_server(runtime, process, tmp_path / "log.txt")
        with urllib.request.urlopen(f"{address}api/contents?token={token}") as reply:
            shown = {entry["name"] for entry in json.load(reply)["content"]}
        assert {path.name for path in (CLONE / "notebooks").glob("*.ipynb")} <= shown
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{address}api/contents")
    finally:
        stop(process)
        shutil.rmtree(clone, ignore_errors=True)  # the environment is large


def wait_for_server(runtime: Path, process: subprocess.Popen, log: Path) -> tuple[str, str]:
    """The address and the token that the server notes when it listens."""
    end = time.monotonic() + 900
    while time.monotonic() < end and process.poll() is None:
        for note in runtime.glob("jpserver-*.json"):
            try:
                known = json.loads(note.read_text())
                with urllib.request.urlopen(f"{known['url']}api") as reply:
                    assert "version" in json.load(reply)
                return known["url"], known["token"]
            except (OSError, json.JSONDecodeError):
                continue  # not yet
        time.sleep(0.5)
    raise AssertionError(f"no server came up:\n{log.read_text()[-3000:]}")


def stop(process: subprocess.Popen) -> None:
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], check=False)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
