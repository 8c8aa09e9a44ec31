"""What was tried for the recipe and is not part of `helpers`: PETS_DATA=... python tests/benchmarks/left_out.py

    --names NAME ... --seeds 0 1 --epochs 30 --threads 1 --out FOLDER

Each variant differs from the baseline of `experiments.py one-factor` in one thing and is scored on validation; the one
named "recipe" differs so from the recipe, at its length. Records go to runs/records/<dataset>/left-out/, or to
FOLDER/left-out/; runs that have one are not repeated.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from helpers.checkpoint import SHIPPED, load_model
from helpers.constants import IGNORE_INDEX
from helpers.data import SegmentationDataset, Splits, load_splits
from helpers.datasets.pets import PairReader, find_dataset
from helpers.inference import predict
from helpers.losses import LOSSES, dice_loss
from helpers.metrics import ConfusionMatrix
from helpers.model import UNet
from helpers.studies.experiments import own_records, record_path, record_run, save_record
from helpers.training import TrainingConfig, fit
from helpers.transforms import default_augmentation

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

SIZE = 128


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
    return v2.Compose([v2.RandomHorizontalFlip(), move, v2.ColorJitter(0.4, 0.4, 0.4, 0.06), v2.RandomGrayscale(0.1)])


def cut_outs() -> v2.Transform:
    """A gray rectangle over 2 to 20 % of every other photo; its mask stays."""
    return v2.Compose([default_augmentation(), v2.RandomErasing(0.5, scale=(0.02, 0.2), value=124)])


def border_twice(logits: Tensor, target: Tensor) -> Tensor:
    """The border counts double in the cross-entropy."""
    weight = torch.tensor([1.0, 1.0, 2.0], device=logits.device)
    return F.cross_entropy(logits.float(), target, weight, ignore_index=IGNORE_INDEX) + dice_loss(logits, target)


def deep(logits: list[Tensor], target: Tensor) -> Tensor:
    """Deep supervision: the decoder's coarser levels answer, too, and count 0.4 each."""
    if isinstance(logits, Tensor):
        return LOSSES["ce+dice"](logits, target)
    total = LOSSES["ce+dice"](logits[0], target)
    for coarse in logits[1:]:
        step = target.shape[-1] // coarse.shape[-1]
        total = total + 0.4 * LOSSES["ce+dice"](coarse, target[:, step // 2 :: step, step // 2 :: step])
    return total


LOSSES |= {"border twice": border_twice, "deep": deep}


class DeepUNet(UNet):
    """A U-Net whose decoder levels at 1/2 and 1/4 have heads of their own, used in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(16 * 2**level, 3, kernel_size=1) for level in (1, 2))

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        if not self.training:
            return super().forward(images)
        kept: list[Tensor] = []
        hooks = [up.register_forward_hook(lambda _m, _i, output: kept.append(output)) for up in self.ups[-3:-1]]
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
    "cosine schedule": Variant(training={"schedule": "cosine"}),
    "learning rate 1e-3": Variant(training={"learning_rate": 1e-3}),
    "weight decay 0.05": Variant(training={"weight_decay": 0.05}),
    "letterbox": Variant(letterbox=True),
    "averaged weights (EMA 0.99)": Variant(average=True),
    "recipe, stronger augmentation": Variant(
        build=lambda: load_model(SHIPPED)[0], augment=stronger, training={"epochs": TrainingConfig().epochs}
    ),
}


def letterboxed(dataset: SegmentationDataset) -> tuple[SegmentationDataset, list[tuple[int, int, int, int]]]:
    """The pairs of a dataset with their aspect kept, and gray bars; also (top, left, height, width) of each photo."""
    reader, boxes = PairReader(dataset.pairs.source, dataset.pairs.split), []
    images = torch.full((len(reader), 3, SIZE, SIZE), 124, dtype=torch.uint8)
    masks = torch.full((len(reader), SIZE, SIZE), IGNORE_INDEX, dtype=torch.uint8)
    for i in range(len(reader)):
        photo, mask = reader[i]
        scale = SIZE / max(photo.size)
        width, height = (max(1, round(side * scale)) for side in photo.size)
        top, left = (SIZE - height) // 2, (SIZE - width) // 2
        inside = (slice(top, top + height), slice(left, left + width))
        images[(i, slice(None), *inside)] = v2.functional.resize(v2.functional.pil_to_tensor(photo), [height, width])
        mask = torch.from_numpy(mask)[None]
        masks[i][inside] = v2.functional.resize(mask, [height, width], InterpolationMode.NEAREST_EXACT)[0]
        boxes.append((top, left, height, width))
    return SegmentationDataset(replace(dataset.pairs, images=images, masks=masks), dataset.indices, dataset.augment), boxes


def letterbox_score(model: nn.Module, val: SegmentationDataset, boxes: list) -> dict:
    """mIoU at the photo's own size, from the part of each answer that lies on the photo."""
    reader, confusion = PairReader(val.pairs.source, val.pairs.split), ConfusionMatrix()
    logits = predict(model, val.__getitems__(list(range(len(val))))[0]).clamp(min=1e-12).log()
    for answer, row in zip(logits, val.indices.tolist(), strict=True):
        top, left, height, width = boxes[row]
        truth = torch.from_numpy(reader[row][1]).long()[None]
        part = answer[None, :, top : top + height, left : left + width]
        confusion.update(F.interpolate(part, truth.shape[1:], mode="bilinear").argmax(dim=1), truth)
    return {"own_size": {"miou": round(confusion.mean_iou(), 4)}}


def run(name: str, splits: Splits, epochs: int, seed: int) -> dict:
    variant = VARIANTS[name]
    splits = splits._replace(train=SegmentationDataset(splits.train.pairs, splits.train.indices, variant.augment()))
    if variant.letterbox:
        (train, boxes), (val, _) = letterboxed(splits.train), letterboxed(splits.val)
        splits = splits._replace(train=train, val=val)
    torch.manual_seed(seed)
    model = variant.build()
    config = TrainingConfig(**({"seed": seed, "epochs": epochs, "mixed_precision": True} | variant.training))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)

    def train() -> dict:
        if not variant.average:
            return fit(model, splits.train, splits.val, config, progress=False)
        hook = register_optimizer_step_post_hook(lambda *_: average.update_parameters(model))
        history = fit(model, splits.train, splits.val, config, progress=False)
        hook.remove()
        model.load_state_dict(average.module.state_dict())  # the average at the end, in place of the best epoch
        return history

    settings = {"variant": name, "training": asdict(config)}
    score = (lambda: letterbox_score(model, splits.val, boxes)) if variant.letterbox else None
    return record_run(name, model, splits, seed, settings, train, score)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of records; helpers/records makes README's tables")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = find_dataset()
    out, splits = options.out or own_records(source), load_splits(source, SIZE)
    for seed in options.seeds:
        for name in options.names:
            path = record_path(name, seed, "left-out", out)
            if path.is_file():
                print(f"skipped: {path} exists", flush=True)
                continue
            record = run(name, splits, options.epochs, seed)
            print(save_record(record, "left-out", out), record["val"]["own_size"]["miou"], flush=True)


if __name__ == "__main__":
    main()
