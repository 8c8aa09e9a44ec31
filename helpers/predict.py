"""Predict from the shell: a mask for every image, at the image's own size.

    python -m helpers.predict pets-pretrained photos/ --out masks --overlay --count pet

WEIGHTS is a checkpoint (runs/first/best.pt) or the name of shipped weights. IMAGE is a file, a
pattern such as "scans/*.tif", or a folder, whose subfolders are searched, too, and found again in
the folder of masks. Weights and settings are noted there, in predictions.json; the same command
goes on where an earlier one was cut off, and predicts what has changed since.

A mask is an indexed PNG of class numbers, in the classes' colors. A TIFF of more than 50 million
pixels is read by strips, and its mask is an indexed TIFF: memory does not grow with such an image.
An image that cannot be read is named, the others are done, and the exit status is 1.
"""

import argparse
import csv
import glob
import hashlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from helpers.checkpoint import find_weights, load_model
from helpers.datasets.images import SUFFIXES, read_image, read_mask
from helpers.files import atomic, make_folder
from helpers.inference import PRECISIONS, memory_format, pick_device, pick_precision, predict_logits
from helpers.studies.objects import COLUMNS, count_objects, label_objects
from helpers.tiling.prediction import input_size, predict_strips
from helpers.tiling.strips import LARGE, ROWS, enlarge, is_large, open_rows, write_mask
from helpers.tiling.tiles import Shape
from helpers.transforms import normalize, resize_image
from helpers.visualization import overlay

import numpy as np
import tifffile
import torch
from filelock import FileLock
from PIL import Image, ImageColor, PngImagePlugin
from torch import Tensor
from tqdm import tqdm

NOTES = "predictions.json"
SOURCE = "image it is of"  # how a mask's file begins what it tells of its image
BAD_IMAGE = (ValueError, FileNotFoundError, PermissionError)  # what is wrong with one, not with all


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # odd file names
    try:
        run = Run(options)
    except (ValueError, OSError, RuntimeError) as error:
        raise SystemExit(f"error: {error}") from error

    try:
        run.predict()
        if run.counted:
            run.count()
    except KeyboardInterrupt:
        print("stopped: what there is, is whole; the same command goes on from here")
        raise SystemExit(130) from None
    except (OSError, ValueError) as error:  # such as a full disk, or a mask that is none of ours
        raise SystemExit(f"error: {error}") from error
    print(f"{len(run.sources) - len(run.failed)} masks in {options.out}")
    if run.failed:
        print(f"{len(run.failed)} of {len(run.sources)} images failed, named above")
        raise SystemExit(1)


class Run:
    """What the command is told, found and checked; and the images that failed.

    sources: the image file of each target, which is the path in --out without a suffix.
    noted: all targets in --out, those of earlier calls, too.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, options.out
        self.model, self.about = load_model(options.weights)
        input_size(self.about)  # or an error, before anything is written
        self.device = pick_device(options.device)
        self.precision = pick_precision(self.device, options.precision)
        self.model.to(self.device).to(memory_format=memory_format(self.device))
        self.counted = class_numbers(options.count, self.about["class_names"])
        self.palette = palette(self.about["class_colors"])

        self.sources = find_images(options.images, options.out)
        self.noted = note(options.out, self.sources, self.settings())
        self.failed: set[str] = set()
        self.stamps: dict[str, str] = {}  # of the images, from before they are read

    def settings(self) -> dict:
        """What a mask depends on, besides its image."""
        path = find_weights(self.options.weights)
        return {
            "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "precision": str(self.precision or torch.float32).removeprefix("torch."),
            "tile": self.options.tile,
        }

    def predict(self) -> None:
        """Write what is wanted of all images that lack it, some at a time."""
        todo = [target for target in self.sources if self.is_wanted(target)]
        done = len(self.sources) - len(todo)
        bar = tqdm(total=len(self.sources), initial=done, unit="image", disable=None)
        size = self.options.batch_size
        with bar, ThreadPoolExecutor(4) as pool:  # that read and write
            for start in range(0, len(todo), size):
                some = todo[start : start + size]
                self.stamps |= {target: stamp(self.sources[target]) for target in some}
                alone = {target for target in some if self.is_alone(target)}
                self.predict_batch([target for target in some if target not in alone], pool)
                bar.update(len(some) - len(alone))
                for target in some:
                    if target in alone:
                        self.predict_one(target)
                        bar.update()

    def is_alone(self, target: str) -> bool:
        """Whether an image is predicted in tiles, or read by strips, and in no batch."""
        return self.about.get("scale") is not None or is_large(self.sources[target])

    def is_wanted(self, target: str) -> bool:
        """Whether an image lacks its mask, or what else is wanted, as new as the image.

        One that is newer than its mask, where that was changed by hand, is noted as failed: to
        predict it again would lose the work.
        """
        source, mask = self.sources[target], find_mask(self.out, target)
        if mask is None or not source.is_file():
            return True
        said = said_by(mask)
        if said not in ("", stamp(source)):  # of another image, or of this one before
            return True
        if not said and not is_newer(mask, source):
            text = f"{source} is newer than {mask}, which was changed by hand: if it still fits,"
            self.fail(target, ValueError(f"{text} save it again, or else delete it"))
            return False
        more = {".overlay.jpg": self.options.overlay, ".npz": self.options.probabilities}
        paths = [self.path(target, suffix) for suffix in more if more[suffix]]
        return not all(path.is_file() and is_newer(path, source) for path in paths)

    def predict_batch(self, targets: list[str], pool: ThreadPoolExecutor) -> None:
        """Images that are squashed to one size: read, predicted together, written."""
        size = self.about["size"]
        opened = zip(targets, pool.map(self.squashed, targets), strict=True)
        good = [(target, *found) for target, found in opened if found is not None]
        if not good:
            return
        names, shapes, images = zip(*good, strict=True)
        stacked = normalize(torch.stack(images))
        logits = predict_logits(
            self.model, stacked, batch_size=len(stacked), precision=self.precision
        )

        def write(target: str, shape: Shape, of_one: Tensor) -> None:
            try:
                self.write(target, enlarge(iter([of_one]), (size, size), shape), shape)
            except ValueError as error:
                self.fail(target, error)

        list(pool.map(write, names, shapes, logits))

    def squashed(self, target: str) -> tuple[Shape, Tensor] | None:
        """An image's own height and width, and its pixels at the network's size."""
        try:
            image = self.read(target)
        except BAD_IMAGE as error:
            self.fail(target, error)
            return None
        return (image.height, image.width), resize_image(image, self.about["size"])

    def predict_one(self, target: str) -> None:
        """An image that is predicted in tiles, or read by strips."""
        source, about = self.sources[target], self.about
        rest = (self.model, about, self.device, self.precision, self.options.tile)
        try:
            if is_large(source):
                with open_rows(source, about.get("levels"), about.get("channels")) as (rows, shape):
                    self.check(target, shape)
                    self.write_large(target, predict_strips(rows, shape, *rest), shape)
            else:
                pixels = np.asarray(self.read(target))
                shape = (pixels.shape[0], pixels.shape[1])
                strips = predict_strips(lambda top, end: pixels[top:end], shape, *rest)
                self.write(target, strips, shape)
        except BAD_IMAGE as error:
            self.fail(target, error)

    def read(self, target: str) -> Image.Image:
        """An image as the weights want it. Raises one of BAD_IMAGE."""
        levels, channels = self.about.get("levels"), self.about.get("channels")
        image = read_image(self.sources[target], levels, channels)
        self.check(target, (image.height, image.width))
        return image

    def check(self, target: str, shape: Shape) -> None:
        """Raise ValueError for an image too large for what is wanted of it besides its mask."""
        pixels, options = shape[0] * shape[1], self.options
        numbers = pixels * len(self.about["class_names"]) * options.probabilities
        wants = options.overlay or options.probabilities or options.count
        if (wants and pixels > LARGE) or numbers > 4 * LARGE:
            raise ValueError(
                f"{self.sources[target]} has {pixels:,} pixels: overlay and count are for up to"
                f" {LARGE:,}, probabilities for {4 * LARGE:,} over all classes; cut it into parts,"
                " or ask for its mask alone"
            )

    def write(self, target: str, strips: Iterator[Tensor], shape: Shape) -> None:
        """The mask, and what else is wanted, from the logits of an image; the mask comes last.

        A mask of this image that is there stays: it may have been corrected by hand.
        """
        mask, probabilities, top = np.empty(shape, np.uint8), [], 0
        for logits in strips:
            mask[top : top + logits.shape[1]] = logits.argmax(dim=0)
            top += logits.shape[1]
            if self.options.probabilities:
                probabilities.append(logits.softmax(dim=0).half().numpy())

        there = find_mask(self.out, target)
        if there and is_of_another(there, self.sources[target]):
            there = None
        if there:
            mask = read_mask(there)
            if mask.shape != shape or mask.max() >= len(self.about["class_names"]):
                raise ValueError(f"{there} is not of its image's size and classes: delete it")

        if probabilities:
            with atomic(self.path(target, ".npz")) as partial, open(partial, "wb") as file:
                np.savez_compressed(file, probabilities=np.concatenate(probabilities, axis=1))
        if self.options.overlay:
            tinted = overlaid(self.read(target), mask, self.about["class_colors"])
            with atomic(self.path(target, ".overlay.jpg")) as partial:
                tinted.save(partial, "JPEG", quality=90)

        if there:
            return
        image, note = Image.fromarray(mask), PngImagePlugin.PngInfo()
        image.putpalette(self.palette)
        note.add_text(SOURCE, self.stamps[target])
        with atomic(self.path(target, ".png")) as partial:
            image.save(partial, "PNG", pnginfo=note)

    def write_large(self, target: str, strips: Iterator[Tensor], shape: Shape) -> None:
        """The mask of an image that is read by strips."""
        count, name = -(-shape[0] // ROWS), self.sources[target].name
        bar = tqdm(strips, name, total=count, unit="strip", leave=False, disable=None)
        masks = (logits.argmax(dim=0).byte().numpy() for logits in bar)
        with atomic(self.path(target, ".tif")) as partial:
            write_mask(partial, masks, shape, self.palette, self.stamps[target])

    def count(self) -> None:
        """objects.csv and counts.csv, of all masks that there are, those of earlier calls, too.

        A mask is left out whose image has changed since.
        """
        options, good = self.options, [t for t in self.noted if t not in self.failed]
        heads = ["image", "class", *COLUMNS, "touches_border"]
        objects, counts = self.out / "objects.csv", self.out / "counts.csv"
        with (
            atomic(objects) as first,
            atomic(counts) as second,
            open(first, "w", newline="", encoding="utf-8", errors="surrogateescape") as one,
            open(second, "w", newline="", encoding="utf-8", errors="surrogateescape") as two,
        ):
            table, totals = csv.DictWriter(one, heads), csv.writer(two)
            table.writeheader()
            totals.writerow(["image", "class", "objects", "area_px", "min_area_px", "split_px"])
            for target in tqdm(good, "counting", unit="image", disable=None):
                if not (path := self.path(target, ".png")).is_file():
                    if target in self.sources:
                        self.fail(target, ValueError("its mask is too large to count in: cut it"))
                    continue
                source = Path(self.noted[target])
                if source.is_file() and is_of_another(path, source):
                    text = f"left out: {source} has changed since its mask was made"
                    tqdm.write(text, file=sys.stderr)
                    continue
                with Image.open(path) as image:
                    mask = np.asarray(image)
                for name, number in self.counted.items():
                    rows = count_objects(
                        label_objects(mask, number, options.min_area, options.split)
                    )
                    told = {"image": target, "class": name}
                    table.writerows(told | row for row in rows)
                    area = sum(int(row["area_px"]) for row in rows)
                    totals.writerow(
                        [target, name, len(rows), area, options.min_area, options.split]
                    )

    def path(self, target: str, suffix: str) -> Path:
        return self.out / (target + suffix)

    def fail(self, target: str, error: Exception) -> None:
        """Note an image that failed, and say why."""
        source = str(self.sources[target])
        text = str(error) if source in str(error) else f"{source}: {error}"
        tqdm.write(f"failed: {text}", file=sys.stderr)
        self.failed.add(target)


def find_images(named: Sequence[str], out: Path) -> dict[str, Path]:
    """The image file of each target, a path without suffix: "x" for photos/x.jpg.

    A folder's images keep their place in it. Raises ValueError for patterns without an image, for
    two images of one target, and for images in --out.
    """
    found: dict[str, Path] = {}
    for text in named:
        images = list(_expand(text, out.resolve()))
        if not images:
            raise ValueError(f"{text} holds no image: {', '.join(SUFFIXES)} are looked for")
        for target, path in images:
            other = found.setdefault(target, path)
            if other.resolve() != path.resolve():
                raise ValueError(
                    f"{other} and {path} would have one mask, {target}.png: rename one, or predict"
                    " them into two folders"
                )
            if out.resolve() in path.resolve().parents:
                raise ValueError(f"{path} lies in --out, {out}: choose another folder for masks")
    return found


def _expand(text: str, out: Path) -> Iterator[tuple[str, Path]]:
    """Target and path of the images that one argument names. A missing file is one, too."""
    path = Path(text).expanduser()
    if path.is_dir():
        for inner in sorted(path.rglob("*")):
            is_old = out != path.resolve() and out in inner.resolve().parents
            is_hidden = any(part.startswith(".") for part in inner.relative_to(path).parts)
            if is_image(inner) and not is_old and not is_hidden:
                yield inner.relative_to(path).with_suffix("").as_posix(), inner
    elif path.exists() or not glob.has_magic(text):
        yield path.stem, path
    else:
        for name in sorted(glob.glob(str(path), recursive=True)):
            if is_image(Path(name)):
                yield Path(name).stem, Path(name)


def is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def note(out: Path, sources: dict[str, Path], settings: dict) -> dict[str, str]:
    """Write predictions.json: the settings, and from which image each mask is; return the latter.

    Raises ValueError where a run with others has left masks, or where the file is damaged. A run
    that has failed before its first mask is no reason.
    """
    for folder in {out, *((out / target).parent for target in sources)}:
        make_folder(folder)

    # One process after the other: what another one notes meanwhile would be lost.
    path = out / NOTES
    with FileLock(out / ".predictions.lock"):
        before = read_notes(path) if path.is_file() else {}
        images = before.get("images", {})
        is_other = before.get("settings", settings) != settings
        if is_other and any(find_mask(out, target) for target in images):
            raise ValueError(
                f"{out} holds masks made with {before['settings']}, not {settings}: use the same"
                " again, or choose another folder"
            )

        for target, source in sources.items():
            other = images.get(target, str(source.resolve()))
            if other != str(source.resolve()) and find_mask(out, target):
                raise ValueError(
                    f"{target} in {out} is the mask of {other}, not of {source}: choose another"
                    " folder"
                )
        images |= {target: str(source.resolve()) for target, source in sources.items()}
        with atomic(path) as partial:
            text = json.dumps({"settings": settings, "images": images}, indent=1)
            partial.write_text(text, encoding="utf-8")
    return images


def stamp(path: Path) -> str:
    """Size and time of a file, by which a mask knows its image again; empty if it is not there."""
    if not path.is_file():
        return ""
    known = path.stat()
    return f"{SOURCE}: {known.st_size} bytes, {known.st_mtime_ns} ns"


def find_mask(out: Path, target: str) -> Path | None:
    """The mask that is there. An empty file, as a full disk may leave one, is none."""
    paths = [out / f"{target}{suffix}" for suffix in (".png", ".tif")]
    return next((path for path in paths if path.is_file() and path.stat().st_size), None)


def is_newer(path: Path, image: Path) -> bool:
    """Whether a file is newer than an image. When that came counts, too: `mv` keeps its time."""
    return path.stat().st_mtime >= max(image.stat().st_mtime, image.stat().st_ctime)


def is_of_another(mask: Path, image: Path) -> bool:
    """Whether a mask says that it is of another image, or of this one before it was changed."""
    return said_by(mask) not in ("", stamp(image))


def said_by(mask: Path) -> str:
    """The stamp of the image that a mask is of; empty if it says nothing, or is damaged.

    One that was corrected by hand may have lost what it said, or say what another program has
    written there.
    """
    try:
        if mask.suffix == ".tif":
            with tifffile.TiffFile(mask) as file:
                said = str(file.pages.first.description)
        else:
            with Image.open(mask) as opened:
                said = str(opened.info.get(SOURCE, ""))
    except Exception:  # a broken file raises a dozen types
        return ""
    return said if said.startswith(SOURCE) else ""


def read_notes(path: Path) -> dict:
    """What `note` has written. Raises ValueError for anything else."""
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(notes["settings"], dict) and isinstance(notes["images"], dict):
            return notes
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(
        f"{path} is damaged: delete it together with the masks beside it, or choose another folder"
    )


def class_numbers(wanted: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """The number of each class that objects are counted of. Raises ValueError for another."""
    for name in wanted:
        if name not in names:
            raise ValueError(f"--count {name}: the weights know the classes {', '.join(names)}")
    return {name: list(names).index(name) for name in wanted}


def palette(colors: Sequence[str]) -> bytes:
    """Red, green and blue of 256 classes: what is left is black."""
    numbers = b"".join(bytes(ImageColor.getcolor(color, "RGB")) for color in colors)
    return numbers.ljust(768, b"\0")


def overlaid(photo: Image.Image, mask: np.ndarray, colors: Sequence[str]) -> Image.Image:
    """`helpers.visualization.overlay`, some rows at a time, with a row more for the outline."""
    pixels, tinted = np.asarray(photo), np.empty((*mask.shape, 3), np.uint8)
    for top in range(0, len(mask), ROWS):
        above, below = max(top - 1, 0), top + ROWS + 1
        channels = np.moveaxis(pixels[above:below], -1, 0)
        part = overlay(channels, mask[above:below], class_colors=colors)[top - above :][:ROWS]
        tinted[top : top + ROWS] = (part * 255).round()
    return Image.fromarray(tinted)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m helpers.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("weights", metavar="WEIGHTS", help="a checkpoint, or shipped weights")
    made.add_argument("images", metavar="IMAGE", nargs="+", help="files, folders or patterns")
    made.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where masks go")

    more = made.add_argument_group("what else is written")
    text = "X.overlay.jpg: the image in the classes' colors (default: no)"
    more.add_argument("--overlay", action="store_true", help=text)
    text = "X.npz: 'probabilities', float16, classes x height x width (default: no)"
    more.add_argument("--probabilities", action="store_true", help=text)
    text = (
        "objects.csv and counts.csv: the objects of these classes, as connected components"
        " (default: none)"
    )
    more.add_argument("--count", nargs="+", default=[], metavar="CLASS", help=text)
    text = "with --count: what is smaller is no object (default: %(default)s)"
    more.add_argument("--min-area", type=_positive, default=1, metavar="PIXELS", help=text)
    text = (
        "with --count: cut objects that touch where the neck is so much narrower than the smaller"
        " of them, in pixels of the radius (default: do not cut)"
    )
    more.add_argument("--split", type=_above_0, metavar="PIXELS", help=text)

    how = made.add_argument_group("how it is computed")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    text = "of the convolutions (default: auto, as in training)"
    how.add_argument("--precision", default="auto", choices=PRECISIONS, help=text)
    text = "images that are squashed to one size, at a time (default: %(default)s)"
    how.add_argument("--batch-size", type=_positive, default=16, metavar="N", help=text)
    text = (
        "side of a tile, for weights that were trained on tiles; never below theirs (default: what"
        " a quarter of the memory is enough for, 1024 at most)"
    )
    how.add_argument("--tile", type=_positive, metavar="PIXELS", help=text)
    return made


def _positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _above_0(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


if __name__ == "__main__":
    main()
