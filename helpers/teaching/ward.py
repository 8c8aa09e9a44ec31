"""The patients of notebook 08. Please do not read on before you have diagnosed them.

The notebook shows what matters here, patient by patient, once you have stated a diagnosis.











Each patient is a short training of a small U-Net and the use of what was trained. `Patient` does
every step right. One with a fault replaces one method, `step`, by what its owner wrote: to take the
replacement away is the fix.
"""

import copy
from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from typing import ClassVar, NamedTuple

from helpers.constants import CLASS_COLORS, IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD
from helpers.data import split_indices
from helpers.datasets.pets import PairReader, PetFolder
from helpers.metrics import ConfusionMatrix
from helpers.model import UNet
from helpers.transforms import normalize, resize_pair

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from PIL import Image, ImageOps
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

SIZE = 64  # of what enters the networks, in pixels
LARGE = 128  # of the files
PAIRS = 64  # to train on; half as many to validate on, and half as many in use
SIDEWAYS = 6  # EXIF: to be turned by 90 degrees clockwise
# What moves into view has no label. Drawn once for each pair: all epochs see the same.
SHIFT = v2.RandomAffine(
    degrees=0, translate=(0.15, 0.15), fill={tv_tensors.Image: 124, tv_tensors.Mask: IGNORE_INDEX}
)


class Folder(NamedTuple):
    """Photos as a phone stores them (JPEG bytes), and masks, uint8 (LARGE, LARGE), by name."""

    photos: dict[str, bytes]
    masks: dict[str, np.ndarray]


class Folders(NamedTuple):
    """What the owners train on, validate on, and what comes in use. weights: a colleague's file."""

    training: Folder
    validation: Folder
    use: Folder
    weights: dict[str, Tensor]


def collect(source: PetFolder) -> Folders:
    """Pairs of many breeds from a dataset, and weights from a short training on other pairs."""
    trainval, test = PairReader(source, "trainval"), PairReader(source, "test")
    train, val = split_indices(torch.tensor(trainval.breeds))
    chosen = train[_evenly(len(train), 2 * PAIRS)]

    training, others = _folder(trainval, chosen[::2]), _folder(trainval, chosen[1::2])
    validation = _folder(trainval, val[_evenly(len(val), PAIRS // 2)])
    use = _folder(test, _evenly(len(test), PAIRS // 2))

    # The colleague trained on two GPUs: nn.DataParallel puts "module." before each name.
    colleague = Patient(Folders(others, validation, use, {}), seed=100)
    weights = {f"module.{name}": value for name, value in colleague.model.state_dict().items()}
    return Folders(training, validation, use, weights)


def _evenly(count: int, wanted: int) -> Tensor:
    return torch.linspace(0, count - 1, min(wanted, count)).long()


def _folder(reader: PairReader, chosen: Tensor) -> Folder:
    """Some pairs as files. Every other photo was taken with the phone held sideways."""
    photos, masks = {}, {}
    for k, i in enumerate(chosen.tolist()):
        image, mask = resize_pair(*reader[i], LARGE)
        photo, exif = Image.fromarray(image.permute(1, 2, 0).numpy()), Image.Exif()
        if k % 2:
            photo = photo.transpose(Image.Transpose.ROTATE_90)
            exif[0x0112] = SIDEWAYS
        buffer = BytesIO()
        photo.save(buffer, "JPEG", quality=95, subsampling=0, exif=exif)
        photos[reader.names[i]], masks[reader.names[i]] = buffer.getvalue(), mask.numpy()
    return Folder(photos, masks)


class Curve(NamedTuple):
    """loss and learning rate of each step; score: mIoU on the owner's validation, each epoch."""

    loss: list[float]
    rate: list[float]
    score: list[float]

    @property
    def at_end(self) -> float:
        """The mean loss of the last eight steps: that of a single batch is a matter of luck."""
        last = self.loss[-8:]
        return sum(last) / len(last)


class Patient:
    """A training and its use, in which every step is right.

    Args:
        folders: from `collect`.
        seed: of the weights, and of the order of the batches.
    """

    complaint = ""
    name = "healthy"  # the diagnosis, a key of clinic.DIAGNOSES
    step = ""  # the method that is replaced
    why = ""  # the diagnosis in words, and the instrument that shows it
    hint = "Nothing is wrong is a diagnosis, too."  # where to look
    instead: ClassVar[dict[str, str]] = {}  # why a diagnosis does not fit, where that is special

    pairs_used = PAIRS
    epochs = 8
    batch_size = 8
    gamma = 0.75  # of the learning rate, from epoch to epoch
    starts_from_file = False

    def __init__(self, folders: Folders, seed: int = 0) -> None:
        self.folders, self.seed = folders, seed
        self.curve = Curve([], [], [])

    # From files to batches.

    def pairs(self, folder: Folder) -> list[tuple[str, str]]:
        names = sorted(folder.photos)
        return [(name, name) for name in names]  # a mask has the name of its photo

    def open(self, file: bytes) -> Image.Image:
        image = Image.open(BytesIO(file))
        return ImageOps.exif_transpose(image).convert("RGB")

    def tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)

    def shrink(self, mask: Tensor) -> Tensor:
        return v2.functional.resize(mask, [SIZE, SIZE], InterpolationMode.NEAREST_EXACT)

    def labels(self, masks: Tensor) -> Tensor:
        return masks.long()  # the loss leaves out 255, "no label"

    def load(
        self, folder: Folder, count: int | None = None, move: Callable | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images, uint8 (N, 3, SIZE, SIZE), and masks, of the first `count` pairs."""
        images, masks = [], []
        for photo, mask in self.pairs(folder)[:count]:
            small = self.open(folder.photos[photo]).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            image: Tensor = self.tensor(np.array(small))
            label = self.shrink(torch.from_numpy(folder.masks[mask])[None])[0]
            if move is not None:
                image, label = move(tv_tensors.Image(image), tv_tensors.Mask(label))
            images.append(image.as_subclass(Tensor))
            masks.append(label.as_subclass(Tensor))
        return torch.stack(images), self.labels(torch.stack(masks))

    def training(self) -> tuple[Tensor, Tensor]:
        images, masks = self.load(self.folders.training, self.pairs_used, SHIFT)
        return normalize(images), masks

    def validation(self) -> tuple[Tensor, Tensor]:
        images, masks = self.load(self.folders.validation)
        return normalize(images), masks

    # Training.

    def network(self) -> UNet:
        model = UNet(base_channels=8, depth=3)
        if self.starts_from_file:
            weights = self.folders.weights
            weights = {name.removeprefix("module."): value for name, value in weights.items()}
            model.load_state_dict(weights)
        return model

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        return F.cross_entropy(logits, masks, ignore_index=IGNORE_INDEX)

    def optimizer(self, model: UNet) -> Optimizer:
        return AdamW(model.parameters(), lr=1e-2)

    def backward(self, loss: Tensor, model: UNet) -> None:
        loss.backward()

    def fit(self, model: UNet, images: Tensor, masks: Tensor) -> None:
        optimizer = self.optimizer(model)
        schedule = ExponentialLR(optimizer, self.gamma)
        for _ in range(self.epochs):
            for part in torch.randperm(len(images)).split(self.batch_size):
                self.learn(model, optimizer, images[part], masks[part])
            schedule.step()
            self.validate(model)

    def learn(self, model: UNet, optimizer: Optimizer, images: Tensor, masks: Tensor) -> None:
        loss = self.loss(model.train()(images), masks)
        optimizer.zero_grad()
        self.backward(loss, model)
        optimizer.step()
        self.note(loss, optimizer)

    # Use.

    def enter(self, photos: Tensor) -> Tensor:
        arrays = [photo.permute(1, 2, 0).numpy() for photo in photos]
        return normalize(torch.stack([self.tensor(array) for array in arrays]))

    def predict(self, model: UNet, images: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            return model(images).argmax(dim=1)

    def picture(self, classes: Tensor) -> Image.Image:
        colors = np.array([to_rgb(color) for color in CLASS_COLORS])
        return Image.fromarray((255 * colors[classes.numpy()]).astype(np.uint8))

    # What is kept of all this.

    def note(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Keep the loss and the learning rate of a step."""
        self.curve.loss.append(loss.item())
        self.curve.rate.append(optimizer.param_groups[0]["lr"])

    def validate(self, model: UNet) -> None:
        """Keep the score of an epoch, of a copy: nobody's prediction changes the training."""
        images, masks = self.validated_on
        prediction = self.predict(copy.deepcopy(model), images)
        self.curve.score.append(ConfusionMatrix.of(prediction, masks).mean_iou())

    @cached_property
    def validated_on(self) -> tuple[Tensor, Tensor]:
        return self.validation()

    @cached_property
    def trained_on(self) -> tuple[Tensor, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.training()

    @cached_property
    def start(self) -> UNet:
        """The network before its training."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.network()

    @cached_property
    def model(self) -> UNet:
        """The network after its training."""
        images, masks = self.trained_on
        images = images.contiguous(memory_format=torch.channels_last)  # faster
        model = copy.deepcopy(self.start).to(memory_format=torch.channels_last)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.fit(model, images, masks)
        return model

    def mended(self) -> "Patient":
        """The same patient with the sound method in place of the replaced one."""
        sound = {self.step: getattr(Patient, self.step)} if self.step else {}
        return type("Patient", (type(self),), sound)(self.folders, self.seed)


class Example(Patient):
    """Not on the ward: diagnosed step by step in the notebook."""

    complaint = "Its predictions are nearly all of one color, and the loss has shot up."
    name = "rate"
    step = "optimizer"
    why = (
        "The learning rate is a thousand times that of the sound training. The first loss and the"
        " first gradients are as they should be, so network, loss and data are not to blame; the"
        " first step throws the weights so far that the next losses are enormous. The fix is a"
        " smaller rate, and a loop that stops at a loss that is not finite, as `fit` does."
    )
    hint = "Look at the first steps of its curve."

    def optimizer(self, model: UNet) -> Optimizer:
        return AdamW(model.parameters(), lr=10)


class Patient01(Patient):
    complaint = (
        "There was an error message at first; since yesterday it runs. A colleague trains on the"
        " same photos, and his masks are better than mine."
    )
    name = "clamp"
    step = "labels"
    why = (
        "255 marks pixels that moved into view and have no label. Clamped to 2, they are trained on"
        " as border. The values of a batch show it: no 255 where there are gray edges, and a"
        " fraction of border above that of the ward's masks. The error message was right: the"
        " fix is `ignore_index=255` in the loss, not another value in the data."
    )
    hint = "Look at a batch as it enters training: at the classes, and how many pixels each has."

    def labels(self, masks: Tensor) -> Tensor:
        return masks.clamp(max=2).long()


class Patient02(Patient):
    complaint = (
        "I prepared the data with a script of my own. It learns. A colleague looked at the files"
        " and said that they are not like hers, but not why."
    )
    name = "bilinear"
    step = "shrink"
    why = (
        "The masks were resized bilinearly. Halfway between pet (0) and border (2) lies 1, which is"
        " background: a ring that nobody drew. A large picture of one mask shows it, and so does"
        " the fraction of background pixels that touch the pet. The values alone do not. The fix"
        " is NEAREST_EXACT."
    )
    hint = "Look at the masks of a batch, enlarged."

    def shrink(self, mask: Tensor) -> Tensor:
        return v2.functional.resize(mask, [SIZE, SIZE], InterpolationMode.BILINEAR)


class Patient03(Patient):
    complaint = "It trains, but its loss stays far above my colleague's, however long I wait."
    name = "softmax"
    step = "loss"
    why = (
        "`cross_entropy` applies the softmax itself; here it is applied twice. What reaches it lies"
        " between 0 and 1, so that the right class gets at most e / (e + 2) = 0.58, and the loss"
        " stays above 0.55. The first loss does not show it. The loss of perfect logits does, and"
        " so does an attempt to overfit one batch. The fix is to hand over logits."
    )
    hint = "Try whether one batch can be overfitted with this loss."

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        probabilities = logits.softmax(dim=1)
        return F.cross_entropy(probabilities, masks, ignore_index=IGNORE_INDEX)


class Patient04(Patient):
    complaint = (
        "In my hands it works. The client, who has the same weights and sends one photo at a time,"
        " gets masks that I cannot reproduce."
    )
    name = "mode"
    step = "predict"
    why = (
        "`model.eval()` is missing. In train() mode, batch normalization takes the mean and"
        " variance of the batch at hand, so the prediction for a photo depends on the photos"
        " beside it. The same photos, predicted alone and together, show it. The fix is eval()"
        " before every prediction, and train() before every epoch."
    )
    hint = "Predict the same photos in another way, and compare."

    def predict(self, model: UNet, images: Tensor) -> Tensor:
        with torch.no_grad():
            return model(images).argmax(dim=1)


class Patient05(Patient):
    complaint = (
        "In validation it is as good as my colleague's. In the demonstration for the client, with"
        " the same weights, it is far worse."
    )
    name = "raw"
    step = "enter"
    why = (
        "The demonstration divides by 255 and does not normalize. The shapes agree, so there is no"
        " error. The mean and spread of what enters, in training and in use, show it. The fix is"
        " one function for both, `helpers.transforms.normalize`. Other faults of this kind: BGR for"
        " RGB (OpenCV), another way to resize."
    )
    hint = "Compare what enters the network in training and in use."

    def enter(self, photos: Tensor) -> Tensor:
        arrays = [photo.permute(1, 2, 0).numpy() for photo in photos]
        return torch.stack([self.tensor(array) for array in arrays]) / 255


class Patient06(Patient):
    complaint = (
        "I have only a few photos to train on, and the validation is as good as my colleague's, who"
        " has four times as many."
    )
    name = "leak"
    step = "validation"
    why = (
        "A third of the validation images are training images, mirrored. Names cannot show that;"
        " the pictures can, as long as the copies are exact: compare each image and its mirror"
        " image with the training images. (Cropped or saved again, copies differ in their bytes:"
        " then only a split by source keeps them together.) The fix is to split before anything"
        " is copied or augmented."
    )
    hint = "Ask which images its own score is measured on, and whether it was trained on them."
    pairs_used = 16
    epochs = 32
    gamma = 0.95

    def validation(self) -> tuple[Tensor, Tensor]:
        images, masks = self.load(self.folders.validation)
        more, labels = self.trained_on
        images = torch.cat([normalize(images), more.flip(-1)])
        return images, torch.cat([masks, labels.flip(-1)])


class Patient07(Patient):
    complaint = (
        "It is worse than my colleague's, on the same photos and masks. All lines that I changed"
        " look harmless to me."
    )
    name = "sorting"
    step = "pairs"
    why = (
        "Photos and masks were listed in different orders: one list puts capital letters first, the"
        " other does not care for case. Most photos got the mask of another pet. No number of the"
        " batch shows it; the masks drawn over the images do. The fix is to find each mask by the"
        " name of its photo."
    )
    hint = "Look at a batch: at images and masks together."
    instead: ClassVar[dict[str, str]] = {
        "exif": "Then every other mask would fit, and the rest after a turn of the image by 90"
        " degrees. Try it: these do not."
    }

    def pairs(self, folder: Folder) -> list[tuple[str, str]]:
        return list(zip(sorted(folder.photos), sorted(folder.masks, key=str.lower), strict=True))


class Patient08(Patient):
    complaint = (
        "All shapes agree, and there is no message. It learns something, but far less than a"
        " colleague's network does."
    )
    name = "reshape"
    step = "tensor"
    why = (
        '`reshape(3, H, W)` takes an array (H, W, 3) row by row: each "channel" holds a third of'
        " the rows, with red, green and blue side by side. The shape is right, the content is not."
        " A look at the images shows it, and so does the correlation of the channels, which is"
        " high in any photo. The fix is `permute(2, 0, 1)`."
    )
    hint = "Look at a batch."
    instead: ClassVar[dict[str, str]] = {
        "sorting": "Then the images would show pets, under the outlines of others. Look at the"
        " images alone.",
        "exif": "Then every other image would show a pet that lies on its side. Look at the images"
        " alone.",
    }

    def tensor(self, array: np.ndarray) -> Tensor:
        height, width, channels = array.shape
        return torch.from_numpy(array).reshape(channels, height, width)


class Patient09(Patient):
    complaint = (
        "It learns, and the numbers that I print look as they should. Please check it before I let"
        " it run for a week."
    )
    name = "missing"
    step = "optimizer"
    why = (
        'The parameters were chosen by "conv" in their names. In this network only a part of the'
        " decoder is named so: the encoder and the upsampling keep their random weights. Gradients"
        " reach them, so gradients do not show it. How far each tensor has moved does. The fix is"
        " `model.parameters()`; where you must choose, count what you have chosen."
    )
    hint = "Compare the network before and after its training."

    def optimizer(self, model: UNet) -> Optimizer:
        chosen = [value for name, value in model.named_parameters() if "conv" in name]
        return AdamW([*chosen, *model.head.parameters()], lr=1e-2)


class Patient10(Patient):
    complaint = (
        "I go on from the weights that a colleague trained on other pets. It learns. Is all as it"
        " should be?"
    )
    name = "strict"
    step = "network"
    why = (
        'The names in the file begin with "module.", as nn.DataParallel saves them. With'
        " strict=False, `load_state_dict` skips every name that it does not know: all of them. The"
        " first loss is that of random weights, and the first weights are not those of the file."
        " The fix is to rename, and to load strictly (or to read what `load_state_dict` returns)."
    )
    hint = "Compare its first loss, and its first weights, with what you would expect."
    starts_from_file = True

    def network(self) -> UNet:
        model = UNet(base_channels=8, depth=3)
        model.load_state_dict(self.folders.weights, strict=False)
        return model


class Patient11(Patient):
    complaint = (
        "The loss falls at first, and then not any more. More epochs do not help. A colleague's"
        " code has the same settings, and goes on learning."
    )
    name = "schedule"
    step = "fit"
    why = (
        "`schedule.step()` stands in the inner loop. A factor of 0.75 that was meant for each epoch"
        " is applied at each batch: after the second epoch the learning rate is a hundredth of what"
        " it was, and nothing is learned. The learning rate along the steps shows it. The fix is"
        " one indentation (or a schedule that counts steps)."
    )
    hint = "Read more of its curve than the loss."

    def fit(self, model: UNet, images: Tensor, masks: Tensor) -> None:
        optimizer = self.optimizer(model)
        schedule = ExponentialLR(optimizer, self.gamma)
        for _ in range(self.epochs):
            for part in torch.randperm(len(images)).split(self.batch_size):
                self.learn(model, optimizer, images[part], masks[part])
                schedule.step()
            self.validate(model)


class Patient12(Patient):
    complaint = (
        "I had expected more of it, with these pets. I took out one photo and its mask and looked"
        " at them: they fit."
    )
    name = "exif"
    step = "open"
    why = (
        "A phone that is held sideways stores the photo as the sensor saw it, and notes in EXIF how"
        " to turn it. Viewers turn it, so the masks were drawn upright; `Image.open` does not. Half"
        " of the images lie on their side below upright masks. A look at a batch shows it. The fix"
        " is `ImageOps.exif_transpose`."
    )
    hint = "Look at a batch: at images and masks together."
    instead: ClassVar[dict[str, str]] = {
        "sorting": "Then hardly any mask would fit its image. Look at more of the batch: about half"
        " of them fit."
    }

    def open(self, file: bytes) -> Image.Image:
        image = Image.open(BytesIO(file))
        return image.convert("RGB")


class Patient13(Patient):
    complaint = "The training loss falls as it should. Validation and use do not keep up with it."
    name = "twice"
    step = "training"
    why = (
        "The dataset normalizes, and the training normalizes again: each channel is divided"
        " by about 0.225 twice, so its standard deviation is about 4, not 1. Validation and use"
        " normalize once. The network learns from what it gets, and gets something else afterwards."
        " The standard deviation of what enters shows it. The fix is to normalize in one place."
        " (`helpers.transforms.normalize` takes bytes only, and so refuses a second time.)"
    )
    hint = "Compare what enters the network in training and in validation."

    def training(self) -> tuple[Tensor, Tensor]:
        images, masks = self.load(self.folders.training, self.pairs_used, SHIFT)
        images = normalize(images)
        return v2.functional.normalize(images, IMAGENET_MEAN, IMAGENET_STD), masks


class Patient14(Patient):
    complaint = "Each of its predictions is one color. A restart with another seed does not help."
    name = "overflow"
    step = "backward"
    why = (
        "The loss is scaled by 65536 in float16, so that small gradients do not vanish. The largest"
        " number of float16 is 65504: the product is inf, the gradients are not finite, and the"
        " first step makes every weight NaN. The first loss is finite, the first gradients are"
        " not. The fix is to compute the loss in float32; with float16, torch.amp.GradScaler"
        " chooses the scale, and skips a step whose gradients are not finite."
    )
    hint = "Look at the numbers: at the loss of each step, and at the first gradients."
    instead: ClassVar[dict[str, str]] = {
        "rate": "Then the first gradients would be finite: no learning rate has multiplied anything"
        " before the first step."
    }

    def backward(self, loss: Tensor, model: UNet) -> None:
        scaled = loss.half() * 2.0**16
        scaled.backward()
        for value in model.parameters():
            if value.grad is not None:
                value.grad /= 2.0**16


class Patient15(Patient):
    complaint = "It predicts nothing: every mask that my program saves is black."
    name = "gray"
    step = "picture"
    why = (
        "The masks are right, and saved as they are: 0, 1 and 2 of 255 gray values look black. The"
        " predictions, before they are saved, hold more than one class, and the scores are sound."
        " The fix"
        " is to give the classes colors, for a viewer; a file for another program may well hold"
        " the numbers."
    )
    hint = "Look at the numbers of a prediction, and at those of the picture made of it."

    def picture(self, classes: Tensor) -> Image.Image:
        return Image.fromarray(classes.to(torch.uint8).numpy())


class Patient16(Patient):
    complaint = (
        "Something must be wrong. The first loss is above 1 and not 0, and after all my steps the"
        " accuracy on my validation is even below what I would get by saying background everywhere."
    )
    why = (
        "Nothing is wrong: it has taken 16 steps. A first loss near ln 3 = 1.1 is what three"
        " equally likely classes give, and after so few steps a network may know less than how"
        " frequent the classes are. Train on. What would count against it is a score that stays"
        " below that baseline after many more steps."
    )
    epochs = 2


class Patient17(Patient):
    complaint = "A friend says that so small a network cannot work. Please check everything."
    why = (
        "Nothing is wrong. What enters is right, all tensors move, the learning rate falls from"
        " epoch to epoch, and its own score agrees with one from other photos."
    )


class Patient18(Patient):
    complaint = "The loss jumps up and down from step to step. I do not trust it."
    why = (
        "Nothing is wrong. Its batches hold two images, so the loss of each step is that of two"
        " images, and images differ. The mean over an epoch falls. Larger batches, or a mean over"
        " several steps, make the curve smoother, not the network sounder."
    )
    batch_size = 2
    epochs = 4


class Patient19(Patient):
    complaint = (
        "I go on from the weights that a colleague trained on other pets. The very first loss is"
        " far below that of a guess. I have read that this is too good to be true."
    )
    why = (
        "Nothing is wrong: it goes on from a colleague's weights, so that it begins with what they"
        " know. Its first weights are those of the file, and none of its validation images is"
        " among its training images."
    )
    starts_from_file = True


PATIENTS: tuple[type[Patient], ...] = (
    Patient01,
    Patient02,
    Patient03,
    Patient04,
    Patient05,
    Patient06,
    Patient07,
    Patient08,
    Patient09,
    Patient10,
    Patient11,
    Patient12,
    Patient13,
    Patient14,
    Patient15,
    Patient16,
    Patient17,
    Patient18,
    Patient19,
)
