"""The clinic of notebook 08: patients to examine, a form for the diagnosis, and sheets to print.

    python -m helpers.teaching.clinic sheets --seed 3 --out sheets.md [--key]

`helpers.teaching.ward` has the patients, and with them the answers: please do not read it first.
"""

import argparse
import copy
import functools
import inspect
import json
import random
import textwrap
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from helpers import files
from helpers.datasets.pets import PetFolder, find_dataset
from helpers.metrics import ConfusionMatrix
from helpers.model import UNet
from helpers.teaching import mine, ward
from helpers.teaching.outputs import Described, as_html
from helpers.transforms import denormalize
from helpers.visualization import plot_samples

import ipywidgets as widgets
import matplotlib.pyplot as plt
import mistune
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

DIAGNOSES = {
    "healthy": "Nothing is wrong",
    "labels": "The labels are 1 to 3, not 0 to 2",
    "clamp": "Pixels without a label (255) were turned into a class",
    "bilinear": "The masks were resized bilinearly",
    "sorting": "Photos and masks were paired in different orders",
    "exif": "Photos lie on their side: the EXIF orientation is not used",
    "reshape": "reshape where permute belongs: rows and channels are mixed",
    "twice": "The training images are normalized twice",
    "softmax": "Softmax before cross_entropy, which applies it again",
    "rate": "The learning rate is too high",
    "overflow": "A number is too large for float16",
    "missing": "Some parameters are not in the optimizer",
    "strict": "Weights of a file were skipped (strict=False)",
    "schedule": "The schedule moves on at each batch, not at each epoch",
    "mode": "It predicts in train() mode",
    "raw": "In use, the images are not normalized",
    "leak": "The validation holds copies of training images",
    "gray": "Class numbers are saved as gray values, which look black",
}
SAME_TRAINING = {"predict", "enter", "picture", "validation"}  # steps that leave the weights alone
FIRST = 10  # patients among whom at least one is healthy


class Case:
    """A patient as the notebook sees it: what its owner says, and what can be measured.

    `photos`, uint8 (N, 3, 64, 64), and `masks` (N, 64, 64) are those of the ward: new pets, which
    no owner has seen.
    """

    def __init__(self, label: str, patient: ward.Patient, new: tuple[Tensor, Tensor]) -> None:
        self.label, self._patient = label, patient
        self.photos, self.masks = new

    def __repr__(self) -> str:
        return f"Patient {self.label}" if len(self.label) == 1 else self.label

    @property
    def complaint(self) -> str:
        """What the owner says."""
        return self._patient.complaint

    def training(self) -> tuple[Tensor, Tensor]:
        """All images and masks as they enter its training."""
        return self._patient.trained_on

    def validation(self) -> tuple[Tensor, Tensor]:
        """All images and masks that its owner validates on."""
        return self._patient.validated_on

    def batch(self) -> tuple[Tensor, Tensor]:
        """Eight images and masks as they enter its training."""
        images, masks = self.training()
        return images[:8], masks[:8]

    def enter(self, photos: Tensor) -> Tensor:
        """What enters the network in use, from photos, uint8 (N, 3, 64, 64).

        Raises ValueError for a single one.
        """
        if photos.ndim != 4:
            shape = tuple(photos.shape)
            raise ValueError(f"photos are a batch, (N, 3, 64, 64), not {shape}: take photos[:1]")

        return self._patient.enter(photos)

    def predict(self, photos: Tensor) -> Tensor:
        """Classes (N, 64, 64) of photos, uint8 (N, 3, 64, 64), in one batch, as in use."""
        return self._patient.predict(self.model, self.enter(photos))

    def picture(self, classes: Tensor) -> np.ndarray:
        """What its owner's program saves of one prediction, (64, 64): uint8.

        Raises ValueError for several.
        """
        if classes.ndim != 2:
            shape = tuple(classes.shape)
            raise ValueError(f"a picture is of one prediction, (64, 64), not {shape}: take [0]")

        return np.array(self._patient.picture(classes))

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Its loss function, of logits (N, 3, H, W) and masks (N, H, W)."""
        return self._patient.loss(logits, masks)

    def backward(self, loss: Tensor, model: UNet) -> None:
        """Its backward pass: sets the gradients of a model's parameters."""
        self._patient.backward(loss, model)

    @property
    def curve(self) -> ward.Curve:
        """loss and rate of each step, and its own validation score (mIoU) after each epoch."""
        _ = self._patient.model
        return self._patient.curve

    @property
    def start(self) -> UNet:
        """A copy of its network before training."""
        return copy.deepcopy(self._patient.start)

    @property
    def model(self) -> UNet:
        """A copy of its network after training."""
        return copy.deepcopy(self._patient.model)

    @property
    def file(self) -> dict[str, Tensor]:
        """The weights of the file that it goes on from, by their names in a UNet; {} if none."""
        given = self._patient.folders.weights if self._patient.starts_from_file else {}
        return {name.removeprefix("module."): value for name, value in given.items()}


# Instruments, as numbers. The notebook builds those that its reader needs.


def score(case: Case, together: bool = False) -> ConfusionMatrix:
    """Its predictions of the ward's photos, one at a time as in use, or all in one batch."""
    parts = case.photos.split(len(case.photos) if together else 1)
    return ConfusionMatrix.of(torch.cat([case.predict(part) for part in parts]), case.masks)


def gradients(case: Case) -> dict[str, float]:
    """The norm of the first gradients, block by block."""
    model, (images, masks) = case.start.train(), case.batch()
    case.backward(case.loss(model(images), masks), model)
    norms = {}
    for name, part in model.named_children():
        found = [p.grad.norm() for p in part.parameters() if p.grad is not None]
        norms[name] = torch.stack(found).norm().item()
    return norms


def moved(case: Case) -> tuple[int, int]:
    """How many of its parameter tensors training has changed, and how many there are."""
    pairs = list(zip(case.start.parameters(), case.model.parameters(), strict=True))
    return sum(not torch.equal(*pair) for pair in pairs), len(pairs)


def copies(case: Case) -> tuple[int, int]:
    """How many validation images are in training, mirrored or not, and how many there are."""
    known = {_fingerprint(image) for image in case.training()[0]}
    found = [_fingerprint(image) in known for image in case.validation()[0]]
    return sum(found), len(found)


def _fingerprint(image: Tensor) -> bytes:
    """The same for an image and its mirror image."""
    return min(part.numpy().tobytes() for part in (image, image.flip(-1)))


def touching(masks: Tensor) -> float:
    """The fraction of background pixels with a pet pixel beside them, of masks (N, H, W)."""
    pet = F.max_pool2d((masks == 0).float(), 3, stride=1, padding=1) > 0
    return float((pet & (masks == 1)).sum() / (masks == 1).sum())


def alike(images: Tensor) -> float:
    """The mean correlation of two channels of an image, pixel by pixel, of images (N, 3, H, W)."""
    each = torch.stack([torch.corrcoef(image.flatten(1)).nan_to_num() for image in images])
    return float(each[:, [0, 0, 1], [1, 2, 2]].mean())


def steps_per_rate(case: Case) -> float:
    """The mean number of steps that share one learning rate."""
    return len(case.curve.rate) / len(set(case.curve.rate))


def perfect_loss(case: Case) -> float:
    """Its loss for logits that are as right as can be."""
    masks = case.masks[:8]
    return float(case.loss(30 * F.one_hot(masks, 3).movedim(-1, 1).float(), masks))


def agreeing(case: Case) -> tuple[int, int]:
    """How many tensors of its file are those of its network before training, and how many are."""
    first = case.start.state_dict()
    return sum(torch.equal(first[name], value) for name, value in case.file.items()), len(case.file)


def apart(case: Case) -> float:
    """The fraction of pixels that one batch and one photo at a time predict differently."""
    alone = torch.cat([case.predict(photo) for photo in case.photos[:8].split(1)])
    return float((alone != case.predict(case.photos[:8])).float().mean())


# Why a diagnosis does not fit: what would be seen, and what is seen.


def _values(masks: Tensor) -> str:
    return ", ".join(map(str, masks.unique().tolist()))


def _spread(images: Tensor) -> str:
    return f"mean {images.mean():.1f} and standard deviation {images.std():.1f}"


def _strict(case: Case) -> str:
    if not case.file:
        return "There is no file: it starts from random weights (`file` is empty)."
    found, count = agreeing(case)
    return (
        "Then its first weights would not be those of the file. Of the file's"
        f" {count} tensors, {found} are in the network before training."
    )


AGAINST: Mapping[str, Callable[[Case], str]] = {
    "healthy": lambda case: f"One of the instruments shows a fault. {case._patient.hint}",
    "labels": lambda case: (
        f"Then its masks would hold 3, and no 0. They hold {_values(case.training()[1])}."
    ),
    "clamp": lambda case: (
        "Then no mask would hold 255 where the image has gray edges. Its masks hold"
        f" {_values(case.training()[1])}."
    ),
    "bilinear": lambda case: (
        "Then there would be background between pet and border. Of the background pixels in its"
        f" masks, {touching(case.training()[1]):.1%} touch the pet; in the ward's masks,"
        f" {touching(case.masks):.1%}."
    ),
    "sorting": lambda case: (
        "Then the images would lie under the outlines of other pets. Draw the masks of a batch over"
        " its images: the outlines fit."
    ),
    "exif": lambda case: (
        "Then about half of the images would lie on their side, under upright masks. Look at a"
        " batch: all of them are upright."
    ),
    "reshape": lambda case: (
        "Then the channels of a pixel would come from different rows, and hardly agree. Their"
        f" correlation would be near 0. In its training images it is"
        f" {alike(case.training()[0]):.2f}."
    ),
    "twice": lambda case: (
        "Then the standard deviation of what enters training would be some four times that of what"
        f" enters validation. In training it is {case.training()[0].std():.1f}, in validation"
        f" {case.validation()[0].std():.1f}."
    ),
    "softmax": lambda case: (
        "Then its loss could not go below 0.55, not even for perfect logits. For those, it is"
        f" {perfect_loss(case):.2f}."
    ),
    "rate": lambda case: (
        f"Its highest learning rate is {max(case.curve.rate):g}, as in the sound training."
    ),
    "overflow": lambda case: (
        "Then numbers would be inf or NaN. The norms of its first gradients, block by block, are"
        f" {', '.join(f'{value:.2g}' for value in gradients(case).values())}."
    ),
    "missing": lambda case: (
        "Then some tensors would stand after training where they stood before. Of"
        " {1}, {0} have changed.".format(*moved(case))
    ),
    "strict": _strict,
    "schedule": lambda case: (
        "Then the learning rate would change at each step. In its curve, a rate is kept for"
        f" {steps_per_rate(case):.0f} steps, which is one epoch."
    ),
    "mode": lambda case: (
        "Then the prediction for a photo would depend on the other photos in the batch. Between"
        f" eight photos alone and the same eight together, {apart(case):.1%} of the pixels differ."
    ),
    "raw": lambda case: (
        "Then numbers between 0 and 1 would enter in use. They lie between"
        f" {case.enter(case.photos).min():.1f} and {case.enter(case.photos).max():.1f}."
    ),
    "leak": lambda case: (
        "Then images of its validation would be among those of its training, mirrored or not. Of"
        " {1}, {0} are.".format(*copies(case))
    ),
    "gray": lambda case: (
        "Then the brightest value in the pictures that its program saves would be at most 2. It is"
        f" {case.picture(case.predict(case.photos[:1])[0]).max()}."
    ),
}


# What is shown: the behavior of a patient, and the answer to a diagnosis.


def plot_case(case: Case, sound: ward.Curve) -> Figure:
    """Loss and own score, beside the sound training's in gray; photos, and the owner's pictures."""
    figure, axes = _panels(str(case))
    for ax, name in zip(axes[:2], ("loss", "score"), strict=True):
        ax.plot(*_along(getattr(sound, name)), "--", color="0.65", label="sound training")
        ax.plot(*_along(getattr(case.curve, name)), ".-", color="C0", label="this patient")
    _label(axes)

    # Columns: a photo, and below it what the owner's program makes of it.
    for column, k in enumerate((0, len(case.photos) // 2)):
        picture = case.picture(case.predict(case.photos[k : k + 1])[0])
        _draw_pair(axes[2 + column], case.photos[k], picture)
    axes[2].set_title("two pets, and the\npictures of their masks", fontsize=9)
    return figure


def plot_fix(before: Case, after: Case) -> Figure:
    """The same before (gray) and after the fix; with the score on the ward's photos."""
    figure, axes = _panels(f"Patient {before.label}, before and after the fix")
    for case, style, name in ((before, "--", "before"), (after, "-", "after")):
        color = "0.55" if name == "before" else "C2"
        for ax, part in zip(axes[:2], ("loss", "score"), strict=True):
            ax.plot(*_along(getattr(case.curve, part)), style, color=color, label=name)
        axes[1].plot([1.04], [score(case).mean_iou()], "o", color=color)
    _label(axes)
    axes[1].set_xlabel("part of the training\ndots: on the ward's photos")

    for ax, case, name in ((axes[2], before, "before"), (axes[3], after, "after")):
        _draw_pair(ax, case.photos[0], case.picture(case.predict(case.photos[:1])[0]))
        ax.set_title(name, fontsize=9)
    return figure


def _panels(title: str) -> tuple[Figure, Sequence]:
    figure, axes = plt.subplots(
        1, 4, figsize=(11.6, 6.0), dpi=90, layout="constrained", width_ratios=(2.8, 2.8, 2.5, 2.5)
    )
    figure.suptitle(title, fontsize=11)
    return figure, axes


def _along(values: Sequence[float]) -> tuple[np.ndarray, Sequence[float]]:
    return (np.arange(len(values)) + 1) / len(values), values


def _label(axes: Sequence) -> None:
    axes[0].set(xlabel="part of the training", title="Training loss of each step")
    axes[1].set(xlabel="part of the training", title="mIoU of its own validation", ylim=(0, 0.8))
    for ax in axes[:2]:
        ax.set_xlim(0, 1.08)
        ax.title.set_fontsize(9)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False, fontsize=8)
    top = max(axes[0].get_ylim()[1], 1.3)
    if top > 3:  # one peak would press the rest to the axis
        axes[0].set_yscale("log")
        axes[0].set_title("Training loss of each step, logarithmic", fontsize=9)
    else:
        axes[0].set_ylim(0, top)


def _draw_pair(ax: Any, photo: Tensor, picture: np.ndarray) -> None:
    """A photo (3, H, W) above a picture, gray (H, W) or RGB (H, W, 3)."""
    if picture.ndim == 2:
        picture = picture[..., None].repeat(3, axis=2)
    ax.imshow(np.concatenate([photo.permute(1, 2, 0).numpy(), picture]))
    ax.set_axis_off()


def describe(case: Case) -> str:
    """What `plot_case` shows, for those who do not see it."""
    loss, own = case.curve.loss, case.curve.score
    shown = case.picture(case.predict(case.photos[:1])[0]).reshape(64 * 64, -1)
    colors = len(np.unique(shown, axis=0))
    return (
        f"Patient {case.label}. Training loss: first {loss[0]:.2f}, at the end"
        f" {case.curve.at_end:.2f} on average. mIoU of its own validation: {own[0]:.2f} after"
        f" the first epoch, {own[-1]:.2f} at the end. Two pets, and the pictures that its"
        f" program makes of their masks: the number of colors in the first is {colors}, the"
        f" brightest value is {shown.max()} of 255."
    )


class Answer:
    """What the clinic says to a diagnosis: `text`, and if it is right, code and curve as HTML."""

    def __init__(self, right: bool, text: str, more: str = "") -> None:
        self.right, self.text = right, f"{'✓ Right' if right else '✗ Not this'}: {text}"
        self.html = str(mistune.html(self.text)) + more

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **_options: object) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def _code(patient: ward.Patient) -> str:
    """The faulty step and the sound one, as they run."""
    parts = []
    for title, owner in (("The code", type(patient)), ("Fixed", ward.Patient)):
        source = textwrap.dedent(inspect.getsource(getattr(owner, patient.step)))
        box = "font-family: monospace; padding: 0.6em; border: 1px solid #ccc; margin: 0 0 1em"
        parts.append(f"<p><b>{title}</b></p><pre style='{box}'>{escape(source)}</pre>")
    return "".join(parts)


class Visit(widgets.VBox):
    """A patient's complaint and behavior, and a form for the diagnosis."""

    def __init__(self, clinic: "Ward", case: Case) -> None:
        shown = Described(plot_case(case, clinic.sound.curve), describe(case))
        image = as_html(shown.picture, shown.kind, shown.text)
        self.saved = f"<p><b>Patient {case.label}</b>: “{escape(case.complaint)}”</p>{image}"
        self.plain = f"Patient {case.label}: “{case.complaint}” {shown.text}"

        # Not a Dropdown: JupyterLab keeps its arrow keys for itself, but not those of a text field.
        self.choice = widgets.Combobox(
            options=list(DIAGNOSES.values()),
            description=f"Patient {case.label}",
            placeholder="Choose from the list, or type the short name",
            continuous_update=False,  # one message, before the button's, however fast one types
            layout={"width": "36em"},
        )
        self.button = widgets.Button(description=f"Diagnose {case.label}")
        self.feedback = widgets.HTML()

        given = clinic.answers().get(case.label, "")
        if given in DIAGNOSES:
            self.choice.value = DIAGNOSES[given]
            self.feedback.value = "<p>This was your last answer. Press the button.</p>"

        def check(_button: widgets.Button) -> None:
            if not self.choice.value.strip():
                self.feedback.value = "<p>Choose something first.</p>"
                return
            self.feedback.value = "<p>One moment ...</p>"
            try:
                self.feedback.value = clinic.answer(case.label, self.choice.value).html
            except ValueError as error:
                self.feedback.value = f"<p>{escape(str(error))}</p>"
            except Exception as error:  # such as a full disk: not to wait for ever
                self.feedback.value = f"<p>{type(error).__name__}: {escape(str(error))}</p>"
                raise

        self.button.on_click(check)
        row = widgets.HBox([self.choice, self.button], layout={"flex_flow": "row wrap"})
        super().__init__([widgets.HTML(self.saved), row, self.feedback])

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        """The form; saved without a kernel, complaint and picture."""
        line = "<p><em>Run this cell to state a diagnosis.</em></p>"
        shown = {"text/html": self.saved + line, "text/plain": self.plain}
        return dict(super()._repr_mimebundle_(**options)) | shown


class Ward:
    """Nineteen patients under letters, in an order that a seed shuffles.

    Args:
        source: from `find_dataset`.
        seed: of the order. At least one of the first ten patients is healthy.
    """

    def __init__(self, source: PetFolder, seed: int = 0) -> None:
        self.seed, self._folders = seed, _collected(source)
        drawn, order = random.Random(seed), list(range(len(ward.PATIENTS)))
        drawn.shuffle(order)
        while not any(ward.PATIENTS[k].name == "healthy" for k in order[:FIRST]):
            drawn.shuffle(order)
        self._order = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", order, strict=False))

    def __repr__(self) -> str:
        return f"{len(self._order)} patients, {', '.join(self._order)}, shuffled by {self.seed}"

    def __getitem__(self, label: str) -> Case:
        """The patient under a letter. Raises KeyError that names the letters."""
        if label not in self._order:
            raise KeyError(f"there is no patient {label!r}: there are {', '.join(self._order)}")
        k = self._order[label]
        return _admitted(self._folders, ward.PATIENTS[k], k + 1, label)

    @property
    def labels(self) -> list[str]:
        return list(self._order)

    @cached_property
    def sound(self) -> Case:
        """A training without a fault, to compare with."""
        return _admitted(self._folders, ward.Patient, 0, "the sound training")

    @cached_property
    def example(self) -> Case:
        """The patient that the notebook examines step by step."""
        return _admitted(self._folders, ward.Example, 0, "Z")

    def visit(self, label: str) -> Visit:
        """What a patient's owner says, how the training went, and a form for the diagnosis."""
        return Visit(self, self[label])

    def answer(self, label: str, diagnosis: str) -> Answer:
        """The form without widgets. diagnosis: one of `DIAGNOSES`, its key or its text."""
        keys = {text.lower(): key for key, text in DIAGNOSES.items()} | {k: k for k in DIAGNOSES}
        key = keys.get(diagnosis.strip().lower().rstrip("."), "")
        if not key:
            raise ValueError(f"no diagnosis {diagnosis!r}: choose among {', '.join(DIAGNOSES)}")
        case = self[label]
        self._keep(label, key)
        return answer(case, key)

    def answers(self) -> dict[str, str]:
        """The diagnoses that were stated for this seed, by letter."""
        try:
            kept = json.loads(_kept().read_text(encoding="utf-8"))[str(self.seed)]
            return {str(label): str(key) for label, key in kept.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}  # none yet, or a file that cannot be read

    def _keep(self, label: str, key: str) -> None:
        """Keep a diagnosis for the next start, if there is a place to write to."""
        try:
            whole = json.loads(_kept().read_text(encoding="utf-8"))
        except (OSError, ValueError):
            whole = {}
        whole = whole if isinstance(whole, dict) else {}
        whole[str(self.seed)] = self.answers() | {label: key}
        try:
            files.make_folder(_kept().parent)
            with files.atomic(_kept()) as partial:
                partial.write_text(json.dumps(whole, indent=1), encoding="utf-8")
        except OSError as error:
            print(f"(The diagnosis is not kept: {error})")


def answer(case: Case, key: str) -> Answer:
    """Right, with the code, the fix and what it changes; or why this diagnosis does not fit."""
    patient = case._patient
    if key != patient.name:
        against = patient.instead.get(key) or AGAINST[key](case)
        return Answer(False, f"{DIAGNOSES[key]}. {against}")
    text = f"{DIAGNOSES[key]}. {patient.why}"
    if not patient.step:
        return Answer(True, text)

    after = Case(case.label, patient.mended(), (case.photos, case.masks))
    figure = plot_fix(case, after)
    words = (
        f"After the fix, the loss at the end is {after.curve.at_end:.2f} on average (before:"
        f" {case.curve.at_end:.2f}), and the mIoU on the ward's photos is"
        f" {score(after).mean_iou():.2f} (before: {score(case).mean_iou():.2f})."
    )
    if patient.step not in SAME_TRAINING:
        words += " Two seeds of one code differ by about 0.04 here: a smaller change says nothing."
    shown = Described(figure, words)
    picture = as_html(shown.picture, shown.kind, words)
    return Answer(True, text, f"{_code(patient)}<p>{words}</p>{picture}")


def _kept() -> Path:
    return mine.folder() / "clinic.json"


@functools.cache
def _collected(source: PetFolder) -> ward.Folders:
    return ward.collect(source)


_CASES: dict[tuple, Case] = {}  # a patient is trained once in a process


def _admitted(folders: ward.Folders, kind: type[ward.Patient], seed: int, label: str) -> Case:
    key = (id(folders), kind)
    if key not in _CASES:
        healthy = ward.Patient(folders)
        _CASES[key] = Case(label, kind(folders, seed), healthy.load(folders.use))
    known = _CASES[key]
    return Case(label, known._patient, (known.photos, known.masks))


# Sheets for a room without computers.


def readings(case: Case) -> dict[str, str]:
    """What the instruments show, in words."""
    images, masks = case.training()
    alone, found = score(case), {key: f"{value:.2g}" for key, value in gradients(case).items()}
    shares = {k: f"{(masks == k).float().mean():.0%}" for k in masks.unique().tolist()}
    rates = case.curve.rate
    return {
        "Enters training": f"{_spread(images)}; correlation of the channels {alike(images):.2f}",
        "Enters in use": _spread(case.enter(case.photos)),
        "Mask values in training": ", ".join(f"{k}: {share}" for k, share in shares.items()),
        "Background beside pet": f"{touching(masks):.1%} (ward: {touching(case.masks):.1%})",
        "First loss; loss of perfect logits": f"{case.curve.loss[0]:.2f}; {perfect_loss(case):.2f}",
        "First gradients": ", ".join(f"{name} {value}" for name, value in found.items()),
        "Learning rate": f"{max(rates):g} to {min(rates):.2g}, {len(set(rates))} values in"
        f" {len(rates)} steps",
        "Tensors that moved": "{} of {}".format(*moved(case)),
        "Tensors as in its file": "{} of {}".format(*agreeing(case)) if case.file else "no file",
        "Own validation": f"mIoU {case.curve.score[-1]:.2f}",
        "Validation images in training": "{} of {}".format(*copies(case)),
        "New photos, one at a time": f"mIoU {alone.mean_iou():.2f}, accuracy"
        f" {alone.pixel_accuracy():.2f}",
        "Pixels that differ, alone or together": f"{apart(case):.1%}",
        "Brightest value of its pictures": str(
            case.picture(case.predict(case.photos[:1])[0]).max()
        ),
    }


def sheets(clinic: Ward, labels: Sequence[str], key: bool = False) -> str:
    """Markdown, a page for each patient to fill in by hand; key: adds the diagnoses at the end."""
    choices = "\n".join(f"- [ ] {text}" for text in DIAGNOSES.values())
    pages = []
    for label in labels:
        case = clinic[label]
        images, masks = (part[:6] for part in case.batch())
        batch = plot_samples(denormalize(images), masks, columns=6)
        words = "Six images as they enter its training, and below them the same under their masks."
        pictures = "\n\n".join(
            f"![{shown.text}](data:image/{shown.kind};base64,{b64encode(shown.picture).decode()})"
            for shown in (
                Described(plot_case(case, clinic.sound.curve), describe(case)),
                Described(batch, words, photos=True),
            )
        )
        rows = "\n".join(f"| {name} | {value} |" for name, value in readings(case).items())
        pages.append(
            f"# Patient {label}\n\n“{case.complaint}”\n\n{pictures}\n\n{words}\n\n"
            f"| instrument | reading |\n|---|---|\n{rows}\n\n**Diagnosis**\n\n{choices}\n\n"
            "**Because:**\n\n**Fix:**\n"
        )
    if key:
        lines = [f"- {label}: {DIAGNOSES[clinic[label]._patient.name]}" for label in labels]
        pages.append(f"# Key, seed {clinic.seed}\n\n" + "\n".join(lines) + "\n")
    return '\n<div style="page-break-after: always"></div>\n\n'.join(pages)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.teaching.clinic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["sheets"])
    parser.add_argument("--seed", type=int, default=0, help="of the order of the patients")
    most = len(ward.PATIENTS)
    text, counts = f"how many patients, up to {most} (default: {FIRST})", range(1, most + 1)
    parser.add_argument("--count", type=int, choices=counts, default=FIRST, metavar="N", help=text)
    parser.add_argument("--out", type=Path, required=True, help="a Markdown file")
    parser.add_argument("--key", action="store_true", help="with the diagnoses at the end")
    options = parser.parse_args(arguments)

    try:  # before the patients are trained
        files.make_folder(options.out.parent)
    except OSError as error:
        parser.error(str(error))
    if options.out.is_dir():
        parser.error(f"{options.out} is a folder: name a file")

    clinic = Ward(find_dataset(), options.seed)
    text = sheets(clinic, clinic.labels[: options.count], options.key)
    with files.atomic(options.out) as partial:
        partial.write_text(text, encoding="utf-8")
    print(f"{options.out}: {options.count} patients, seed {options.seed}")


if __name__ == "__main__":
    main()
