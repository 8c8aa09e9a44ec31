"""The explorers and quizzes where people use them: JupyterLab in Chromium, driven by keyboard.

Skipped only where there is no Chromium: `apt install chromium`, or `playwright install chromium`.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Error, Locator, Page, sync_playwright

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
READ_ONLY = "06_see_right_and_wrong.ipynb"  # looked at as it was saved; it has two explorers
NAME = "explorers.ipynb"
CELLS = [
    """
from helpers.constants import CLASS_NAMES
from helpers.checkpoint import load_model
from helpers.data import decode
from helpers.datasets.pets import find_dataset
from helpers.inference import predict
from helpers.networks.pretrained import PretrainedUNet
from helpers.teaching.checks import nb07 as check
from helpers.teaching.explorers import (
    explore_augmentation, explore_dataset, explore_features, explore_objects, explore_predictions,
    explore_pyramid, explore_runs, explore_unet,
)
from helpers.teaching.clinic import Ward
from helpers.teaching.quiz import quiz
from helpers.transforms import normalize
import numpy as np
""",
    """
source = find_dataset()
trainval, test = decode(source, "trainval", 64), decode(source, "test", 64)
images, masks, names = test.images[:8], test.masks[:8], test.names[:8]
model, _ = load_model("synthetic")
encoders = {name: PretrainedUNet().encoder for name in ("one", "another")}
probabilities = predict(model, normalize(images))
fall = {"train_loss": [1.0, 0.6, 0.5, 0.3, 0.2], "val_loss": [0.9, 0.7, 0.5, 0.6, 0.4]}
rise = {"val_miou": [0.2, 0.4, 0.6, 0.5, 0.7], "learning_rate": [0.1] * 5, "seconds": [1.0] * 5}
runs = {
    name: {key: [factor * value for value in values] for key, values in (fall | rise).items()}
    for name, factor in (("first", 1), ("second", 0.9), ("third", 0.8))
}
rows, columns = np.mgrid[:64, :64]
spots = np.minimum(np.hypot(rows - 24, columns - 20), np.hypot(rows - 24, columns - 42)) < 12
spots[:7, :7] = True  # a speck
both = [spots, spots.T]
""",
    "explore_dataset(trainval, test)",
    "explore_augmentation(images[0], masks[0])",
    "explore_unet(images[0])",
    "explore_runs(runs)",
    "explore_predictions(images, masks.long(), probabilities, names)",
    "explore_features(model, normalize(images), images, masks.long())",
    "explore_pyramid(encoders, normalize(images), images)",
    "explore_objects([np.stack([m * np.uint8(99)] * 3, axis=-1) for m in both], both, [3, 3])",
    'quiz("05")',
    'Ward(source).visit("A")',
    "def seeds_needed(effect, luck):\n    return ...",
    "check.seeds_needed(seeds_needed)",
]
EXPLORERS = sum(cell.startswith("explore_") for cell in CELLS)
# One step of these need not change the picture, but it changes the text.
TEXT_ONLY = ("Batch", "Border, %", "Breed", "List", "Sorted by")
SECONDS = 240  # for all cells
TOKEN = "tests"
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
)
DIGEST = """async image => {
    const bytes = await (await fetch(image.src)).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return Array.from(digest).join(" ");
}"""

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        path = next(filter(None, map(shutil.which, names)), playwright.chromium.executable_path)
        if not Path(path).is_file():
            pytest.skip(
                "no Chromium: install it (apt install chromium, or playwright install chromium)"
            )
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS.split())
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own, on copies of the notebooks; gives its address."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    shutil.copy(FOLDER / READ_ONLY, folder / "notebooks")
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "notebooks" / NAME)

    tracker = (
        folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    )
    tracker.parent.mkdir(parents=True)
    tracker.write_text('{"windowingMode": "none"}')  # else cells out of sight are not drawn
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "RUNTIME", "DATA")
    }
    own |= {
        "UNET_HOME": str(folder / "home"),  # answers to the quiz are kept there
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    options = [
        "--no-browser",
        "--allow-root",
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={folder / 'notebooks'}",
        f"--IdentityProvider.token={TOKEN}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=None",
    ]
    with open(folder / "log.txt", "w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(
            command, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT
        )
        address = f"http://127.0.0.1:{port}"
        try:
            wait(
                lambda: answers(address), 120, f"JupyterLab at {address}, see {folder / 'log.txt'}"
            )
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)


def answers(address: str) -> bool:
    try:
        return bool(sessions(address) is not None)
    except OSError:
        return False


def sessions(address: str) -> list[dict]:
    with urllib.request.urlopen(f"{address}/api/sessions?token={TOKEN}") as reply:
        return json.load(reply)


def wait(condition, seconds: float, what: str) -> float:
    """Seconds until the condition holds."""
    start = time.perf_counter()
    while not condition():
        assert time.perf_counter() - start < seconds, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return time.perf_counter() - start


def open_notebook(page: Page, lab: str, name: str) -> None:
    page.goto(f"{lab}/lab/tree/{name}?token={TOKEN}&reset")
    page.wait_for_selector(".jp-NotebookPanel-notebook", timeout=120_000)


def run_all(page: Page, lab: str, name: str) -> None:
    def ready() -> bool:
        kernels = [session["kernel"] for session in sessions(lab) if session["path"] == name]
        idle = bool(kernels) and kernels[0]["execution_state"] == "idle"
        return idle and kernels[0]["connections"] > 0

    wait(ready, 120, f"the kernel of {name}")
    page.set_default_timeout(SECONDS * 1000)
    page.evaluate(
        "async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells') }"
    )
    page.set_default_timeout(30_000)

    cells = page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.context.model.toJSON().cells"
    )
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")


def state(explorer: Locator) -> tuple[str, str]:
    """The picture and the text of an explorer."""
    for _ in range(20):
        try:
            digest = explorer.locator("img").evaluate(DIGEST)
            return digest, explorer.locator(".widget-html-content").last.inner_text()
        except Error:  # the picture was exchanged while it was read
            time.sleep(0.05)
    raise AssertionError("the picture cannot be read")


def moves(explorer: Locator) -> list[tuple[str, Locator, str, str]]:
    """Of each control: its label, what takes the focus, a key that changes it, and one back."""
    found = []
    for control in explorer.locator(".widget-hbox").first.locator("> *").all():
        label = control.inner_text().split("\n")[0]
        if control.locator(".noUi-handle").count():
            handle = control.locator(".noUi-handle").last  # of a range: its upper end
            top = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
            keys = ("ArrowLeft", "ArrowRight") if top else ("ArrowRight", "ArrowLeft")
            found.append((label, handle, *keys))
        else:
            found.append((label, control.locator("input[type=checkbox]"), "Space", "Space"))
    return found


def is_undistorted(picture: Locator) -> bool:
    """Whether it has the proportions that it was drawn in, and is not enlarged."""
    drawn, shown = picture.evaluate("i => [i.naturalWidth / i.naturalHeight, i.width / i.height]")
    return abs(drawn / shown - 1) < 0.01 and picture.evaluate("i => i.width <= i.naturalWidth")


def is_single_valued(handle: Locator) -> bool:
    return (
        handle.get_attribute("aria-valuemin") == handle.get_attribute("aria-valuemax") is not None
    )


@pytest.fixture
def page(browser):
    """A page that must end without an error on its console."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    errors: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert not errors, errors
    page.close()


def test_saved_explorers_are_pictures_until_they_run(page, lab):
    open_notebook(page, lab, READ_ONLY)
    saved = page.locator(".jp-OutputArea-output:has-text('Run this cell to move the controls') img")
    wait(lambda: saved.count() == 2, 30, "the pictures of a notebook that was not run")
    for picture in saved.all():
        assert "(" in picture.get_attribute("alt")  # what it shows, and where the controls stand
        assert is_undistorted(picture)
    assert not page.get_by_text("Error displaying widget").count()


def test_explorers_exercise_quiz_and_patient_follow_the_keyboard(page, lab, capsys):
    open_notebook(page, lab, NAME)
    run_all(page, lab, NAME)
    explorers = page.locator(".jp-OutputArea-output .explorer")
    wait(lambda: explorers.count() == EXPLORERS, 30, "the explorers to be drawn")

    seconds = []
    for explorer in explorers.all():
        seconds += [(took, label) for label, took in move_all(page, explorer)]
    assert all(is_undistorted(explorer.locator("img")) for explorer in explorers.all())
    answer_quiz(page)
    diagnose_patient(page)
    solve_exercise(page)

    with capsys.disabled():
        slowest = max(seconds)
        print(f"\n{len(seconds)} moves, the slowest {slowest[0]:.2f} s ({slowest[1]})", end=" ")


def move_all(page: Page, explorer: Locator) -> list[tuple[str, float]]:
    """Move every control there and back; the label, and the seconds until the answer was seen."""
    explorer.scroll_into_view_if_needed()
    answered = []
    for label, control, key, back in moves(explorer):
        assert label.strip(), "a control without a label"
        for press in () if is_single_valued(control) else (key, back):
            before = state(explorer)
            part = slice(None) if label in TEXT_ONLY else slice(1)  # else the picture must change
            control.focus()
            page.keyboard.press(press)
            took = wait(
                lambda b=before, p=part: state(explorer)[p] != b[p],
                10,
                f"{label} to answer to {press}",
            )
            answered.append((label, took))

    # For those who listen: where the controls stand, and what is written below.
    def alt() -> str:
        return explorer.locator("img").get_attribute("alt")

    wait(lambda: state(explorer)[1] in alt(), 10, "the picture to say what the text says")
    assert answered and f"{label}: " in alt()
    return answered


def answer_quiz(page: Page) -> None:
    """Choose in the first question, by keyboard, and read the verdict, score and line."""
    forms = page.locator(".widget-vbox:has(> .widget-checkbox):has(> .widget-button)")
    quiz = page.locator(".widget-vbox:has(> .widget-vbox > .widget-checkbox)").last
    form = forms.first
    form.scroll_into_view_if_needed()
    boxes = form.locator("input[type=checkbox]")
    boxes.first.focus()
    page.keyboard.press("Space")
    wait(lambda: 'quiz("05", "1a")' in quiz.inner_text(), 10, "the line to hand in")

    # From box to box: of a question with one answer, a new choice takes the old one away.
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    wait(lambda: 'quiz("05", "1b")' in quiz.inner_text(), 10, "another choice")
    assert boxes.evaluate_all("all => all.map(box => box.checked)") == [False, True, False, False]

    # And on to the button.
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    wait(lambda: re.search("✓ b: Right|✗ b: Wrong", form.inner_text()), 10, "the quiz to answer")
    assert re.search(r"[01] of 7 right so far", quiz.inner_text())

    # No label is cut off in a narrow window, and a question taught earlier says so.
    page.set_viewport_size({"width": 620, "height": 1000})
    cut = "all => all.filter(label => label.scrollWidth > label.clientWidth).length"
    assert not quiz.locator(".widget-checkbox label").evaluate_all(cut)
    assert "From notebook 02." in forms.last.inner_text()


def diagnose_patient(page: Page) -> None:
    """Choose a diagnosis in the clinic's form, by keyboard, and read why it fits or does not."""
    form = page.locator(".widget-vbox:has(input[list])").last
    form.scroll_into_view_if_needed()
    form.locator("input[list]").focus()
    page.keyboard.type("softmax")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the button
    wait(lambda: re.search("✓ Right|✗ Not this", form.inner_text()), 60, "the clinic")


def solve_exercise(page: Page) -> None:
    """Type two answers into the cell of exercise 07.2, run its check, and read the verdicts."""
    answer, check = page.locator(".jp-CodeCell").all()[-2:]
    wait(lambda: "not answered yet" in check.inner_text(), 10, "the exercise to be open")

    enough = "-int((1e-9 - 18 * (luck / effect) ** 2) // 1)"
    for value, verdict in ((enough.replace("18", "9"), ": not yet."), (enough, ": right.")):
        answer.locator(".cm-content").focus()
        page.keyboard.press("Control+A")
        page.keyboard.type(f"def seeds_needed(effect, luck): return {value}")
        page.keyboard.press("Shift+Enter")  # it runs, and the cell of the check is the next
        page.keyboard.press("Shift+Enter")
        wait(lambda v=verdict: v in check.inner_text(), 30, f"the check to say {verdict}")
