"""What was tried for the recipe and is not part of `helpers`: python tests/benchmarks/left_out.py

    --names NAME ... --seeds 0 1 --epochs 30 --threads 1 --out FOLDER

PETS_DATA names the dataset. Each variant differs from the baseline of `experiments.py one-factor`
in one thing and is scored on validation; the one named "recipe" differs so from the recipe, at its
length. Records go to runs/records/<dataset>/left-out/, or to FOLDER/left-out/; runs that have one
are not repeated. (The records of edition 0.2 hold one more: a cosine schedule, which it had.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from helpers.checkpoint import load_model
from helpers.constants import IGNORE_INDEX
from helpers.data import SegmentationDataset, Splits, describe, load_splits, make_loader
from helpers.datasets.pets import PairReader, find_dataset
from helpers.inference import predict_logits
from helpers.losses import LOSSES, cross_entropy_and_dice, dice_loss
from helpers.metrics import ConfusionMatrix
from helpers.model import UNet
from helpers.studies.records import make_record
from helpers.training import TrainingConfig, fit
from helpers.transforms import default_augmentation

import torch
import torch.nn.functional as F
from common import make_missing_records, options_of, own_records
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

SIZE = 128
Box = tuple[int, int, int, int]  # top, left, height, width


def stronger() -> v2.Transform:
    """More of everything: turns, scales, colors, and some gray photos."""
    move = v2.RandomAffine(
        degrees=25,
        translate=(0.15, 0.15),
        scale=(0.6, 2.0),
        shear=10,
        interpolation=InterpolationMode.BILINEAR,
        fill={tv_tensors.Image: 124, tv_tensors.Mask: IGNORE_INDEX},
    )
    colors = [v2.ColorJitter(0.4, 0.4, 0.4, 0.06), v2.RandomGrayscale(0.1)]
    return v2.Compose([v2.RandomHorizontalFlip(), move, *colors])


def cut_outs() -> v2.Transform:
    """A gray rectangle over 2 to 20 % of every other photo; its mask stays."""
    erasing = v2.RandomErasing(0.5, scale=(0.02, 0.2), value=124)
    return v2.Compose([default_augmentation(), erasing])


def border_twice(logits: Tensor, target: Tensor) -> Tensor:
    """The border counts double in the cross-entropy."""
    weight = torch.tensor([1.0, 1.0, 2.0], device=logits.device)
    weighted = F.cross_entropy(logits.float(), target, weight, ignore_index=IGNORE_INDEX)
    return weighted + dice_loss(logits, target)


def deep(logits: Tensor | list[Tensor], target: Tensor) -> Tensor:
    """Deep supervision: the decoder's coarser levels predict, too, and count 0.4 each."""
    if isinstance(logits, Tensor):
        return cross_entropy_and_dice(logits, target)
    total = cross_entropy_and_dice(logits[0], target)
    for coarse in logits[1:]:
        step = target.shape[-1] // coarse.shape[-1]
        every = slice(step // 2, None, step)
        total = total + 0.4 * cross_entropy_and_dice(coarse, target[:, every, every])
    return total


OWN_LOSSES = {"border twice": border_twice, "deep": deep}


class DeepUNet(UNet):
    """A U-Net whose decoder levels at 1/2 and 1/4 have own heads, used in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(16 * 2**level, 3, kernel_size=1) for level in (1, 2))

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        if not self.training:
            return super().forward(images)
        kept: list[Tensor] = []
        hooks = [
            up.register_forward_hook(lambda _m, _i, output: kept.append(output))
            for up in self.ups[-3:-1]
        ]
        logits = super().forward(images)
        for hook in hooks:
            hook.remove()
        return [logits, *(head(x) for head, x in zip(self.heads, reversed(kept), strict=True))]


def group_norm() -> nn.Module:
    """Groups of channels of one image are normalized, not the batch."""
    model = UNet()
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(8, child.num_features))
    return model


@dataclass(frozen=True)
class Variant:
    """One thing that differs from the baseline."""

    build: Callable[[], nn.Module] = UNet
    augment: Callable[[], v2.Transform] = default_augmentation
    training: dict = field(default_factory=dict)
    letterbox: bool = False
    average: bool = False


VARIANTS = {
    "stronger augmentation": Variant(augment=stronger),
    "cut-outs": Variant(augment=cut_outs),
    "border counts double": Variant(training={"loss": "border twice"}),
    "deep supervision": Variant(build=DeepUNet, training={"loss": "deep"}),
    "group normalization": Variant(build=group_norm),
    "bilinear upsampling": Variant(build=lambda: UNet(bilinear=True)),
    "learning rate 1e-3": Variant(training={"learning_rate": 1e-3}),
    "weight decay 0.05": Variant(training={"weight_decay": 0.05}),
    "letterbox": Variant(letterbox=True),
    "averaged weights (EMA 0.99)": Variant(average=True),
    "recipe, stronger augmentation": Variant(
        build=lambda: load_model("synthetic")[0],
        augment=stronger,
        training={"epochs": TrainingConfig().epochs},
    ),
}


def letterboxed(dataset: SegmentationDataset) -> tuple[SegmentationDataset, list[Box]]:
    """The pairs of a dataset with their aspect kept, and gray bars; also where each photo lies."""
    reader, boxes = PairReader(dataset.pairs.source, dataset.pairs.split), []
    size = dataset.pairs.images.shape[-1]
    images = torch.full((len(reader), 3, size, size), 124, dtype=torch.uint8)
    masks = torch.full((len(reader), size, size), IGNORE_INDEX, dtype=torch.uint8)

    for i in range(len(reader)):
        photo, mask = reader[i]
        scale = size / max(photo.size)
        width, height = (max(1, round(side * scale)) for side in photo.size)
        top, left = (size - height) // 2, (size - width) // 2
        inside = (slice(top, top + height), slice(left, left + width))

        small = v2.functional.resize(v2.functional.pil_to_tensor(photo), [height, width])
        images[(i, slice(None), *inside)] = small
        masks[i][inside] = v2.functional.resize(
            torch.from_numpy(mask)[None], [height, width], InterpolationMode.NEAREST_EXACT
        )[0]
        boxes.append((top, left, height, width))

    pairs = replace(dataset.pairs, images=images, masks=masks)
    return SegmentationDataset(pairs, dataset.indices, dataset.augment), boxes


def letterbox_score(model: nn.Module, val: SegmentationDataset, boxes: list[Box]) -> dict:
    """mIoU at the original resolution, from the part of each prediction that lies on the photo."""
    reader, confusion = PairReader(val.pairs.source, val.pairs.split), ConfusionMatrix()
    for logits, row in zip(
        predict_logits(model, val.batch()[0]), val.indices.tolist(), strict=True
    ):
        top, left, height, width = boxes[row]
        truth = torch.from_numpy(reader[row][1]).long()[None]
        part = logits[None, :, top : top + height, left : left + width]
        enlarged = F.interpolate(part, truth.shape[1:], mode="bilinear")
        confusion.update(enlarged.argmax(dim=1), truth)
    return {"own_size": {"miou": round(confusion.mean_iou(), 4)}}


def run(name: str, splits: Splits, epochs: int, seed: int) -> dict:
    variant = VARIANTS[name]
    LOSSES.update(OWN_LOSSES)

    # The data.
    train = SegmentationDataset(splits.train.pairs, splits.train.indices, variant.augment())
    splits = splits._replace(train=train)
    if variant.letterbox:
        (train, boxes), (val, _) = letterboxed(splits.train), letterboxed(splits.val)
        splits = splits._replace(train=train, val=val)

    # The model, and the average of its weights over the steps.
    torch.manual_seed(seed)
    model = variant.build()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)

    config = TrainingConfig(**({"seed": seed, "epochs": epochs} | variant.training))
    history = fit(
        model,
        make_loader(splits.train, shuffle=True),
        make_loader(splits.val),
        config,
        device="cpu",
        about=describe(splits.train, splits.val),
        after_step=(lambda m, _: average.update_parameters(m)) if variant.average else None,
        progress=False,
    )
    if variant.average:  # at the end, in place of the best epoch
        model.load_state_dict(average.module.state_dict())

    score = letterbox_score(model, splits.val, boxes) if variant.letterbox else None
    return make_record(name, model, splits, history, config, {"variant": name}, score)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options_of(__doc__, seeds=(0, 1))
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    source = find_dataset()
    splits = load_splits(source, SIZE)
    make_missing_records(
        "left-out",
        options.names or list(VARIANTS),
        options.seeds,
        options.out or own_records(source),
        lambda name, seed: run(name, splits, options.epochs, seed),
    )


if __name__ == "__main__":
    main()
