"""Typical wrong answers to the exercises, each with words of the hint that it must get.

At the end, right answers that are written in another way than the solution.
"""

DATASET = """
class PetDataset(Dataset):
    def __init__(self, pairs, rows, augment=None):
        self.pairs, self.rows, self.augment = pairs, rows, augment

    def __len__(self):
        return {length}

    def __getitem__(self, position):
        row = {row}
        image, mask = self.pairs.images[row], self.pairs.masks[row]
        if self.augment is not None:
            image, mask = {augmented}
        return {image}, {mask}
"""

EPOCH = """
def train_epoch(model, optimizer, loader, step):
    losses, sizes = [], []
    {mode}
    for images, masks in loader:
        losses.append(step({inputs}))
        sizes.append(len(images))
    return {result}
"""

ANIMALS = """
def split_by_animal(animals, seed):
    numbers = animals.unique()
    numbers = numbers[torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))]
    held = torch.isin(animals, {})
    return (~held).nonzero().flatten(), held.nonzero().flatten()
"""
LABELS = """
def to_labels(trimap):
    found = [int(value) for value in np.unique(trimap)]
    {}
    return torch.from_numpy(trimap - 1).long()
"""
LETTERBOX = """
def to_corner(mask, size, mode):
    return v2.functional.resize(mask, size, InterpolationMode.NEAREST)


def letterbox(photo, mask, size):
    scale = size / max(photo.size)
    height, width = (round(side * scale) for side in mask.shape)
    top, left = (size - height) // 2, (size - width) // 2
    image = v2.functional.resize(v2.functional.pil_to_tensor(photo), [height, width])
    exact = InterpolationMode.NEAREST_EXACT
    mask = {1}(torch.from_numpy(mask)[None], [height, width], exact)
    image = v2.functional.pad(image, {2}, fill=124)
    mask = v2.functional.pad(mask, {2}, fill=255)[0]
    return {0}
"""
OWN_GENERATOR = "generator=torch.Generator().manual_seed(0)"
BOTH_SIDES = "[left, top, size - width - left, size - height - top]"
UNSEEDED = """
def split_by_animal(animals, seed):
    numbers = animals.unique()
    held = torch.zeros(len(animals), dtype=torch.bool)
    for animal in numbers[torch.randperm(len(numbers))]:
        if held.sum() < len(animals) / 4:
            held |= animals == animal
    return (~held).nonzero().flatten(), held.nonzero().flatten()
"""

DOUBLE_CONV = """
class DoubleConv(nn.Sequential):
    def __init__(self, a, b):
        super().__init__({})
"""
UP = """
class Up(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
        self.conv = DoubleConv({}, out_channels)

    def forward(self, x, skip):
        return {}
"""
ADDITIVE = "saved_parameters = lambda base, depth: 0\n" + UP.replace("class Up", "class AdditiveUp")
MEANS = "x.mean(dim=(2, 3), keepdim=True).expand_as(x)"
FIELD = """
def receptive_field(depth, kernel, position):
    reach, low, high = {}, position, position
    for _ in range(depth):
        low, high = (low - reach) // 2, (high + reach) // 2
    low, high = low - reach, high + reach
    for _ in range(depth):
        low, high = 2 * low - reach, 2 * high + 1 + reach
    return low, high
"""
WITHOUT = """
def without_skip(network, images, level):
    x, skips = network.stem(images), []
    for number, down in enumerate(network.downs):
        skips.append({} if {} else x)
        x = down(x)
    for up in network.ups:
        x = up(x, skips.pop())
    return network.head(x)
"""
UNET = """
class UNet(nn.Module):
    def __init__(self, in_channels=3, num_classes=3, base_channels=16, depth=4):
        super().__init__()
        channels = [base_channels * 2**level for level in range(depth + 1)]
        self.stem = DoubleConv(in_channels, channels[0])
        self.downs = nn.ModuleList(Down(channels[i], channels[i + 1]) for i in range(depth))
        self.ups = nn.ModuleList(Up(channels[i + 1], channels[i]) for i in reversed(range(depth)))
        self.head = nn.Conv2d(channels[0], {classes}, kernel_size=1)

    def forward(self, images):
        x, skips = self.stem(images), []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up in self.ups:
            x = up(x, skips.pop({which}))
        return {end}
"""
STEP = """
def training_step(model, optimizer, images, masks):
    {}
    return loss.item()
"""
LOSS = "loss = F.cross_entropy(model(images), masks, ignore_index=IGNORE_INDEX)"
SUMMED = """
def accumulated_step(model, optimizer, images, masks, parts):
    optimizer.zero_grad()
    valid, total = (masks != IGNORE_INDEX).sum(), torch.zeros(())
    for some, truth in zip(images.{0}, masks.{0}):
        loss = F.cross_entropy(model(some), truth, ignore_index=IGNORE_INDEX, reduction="sum")
        {1}
    if total.requires_grad:
        total.backward()
    optimizer.step()
"""
ACCUMULATED = """
def accumulated_step(model, optimizer, images, masks, parts):
    optimizer.zero_grad()
    for some_images, some_masks in zip(images.chunk(parts), masks.chunk(parts)):
        loss = F.cross_entropy(model(some_images), some_masks, ignore_index=IGNORE_INDEX)
        {}
"""
COUNTED = """
def confusion(prediction, truth, num_classes=3):
    valid = truth != IGNORE_INDEX
    entries = truth[valid] * num_classes + prediction[valid]
    matrix = entries.bincount(minlength=num_classes**2).reshape(num_classes, num_classes)
    return {}
"""
PIECE = """
from scipy import ndimage
def largest_piece(answer):
    {0}
    regions, count = ndimage.label(answer != 1)
    if {1}:
        largest = 1 + np.bincount(regions.ravel())[1:].argmax()
        cleaned = answer.clone()
        cleaned[torch.from_numpy((regions != largest) & (regions > 0))] = {2}
    return cleaned
"""
HALF = "t.ppf(0.975, n - 1) * stdev(d) / n**0.5"
DIFFER = "runs[i][setting] != runs[j][setting]"
RECALL = "hits / planted.sum()"
RENORMALIZE = """
def renormalize(images):
    mean, std = (torch.tensor(part)[:, None, None] for part in (IMAGENET_MEAN, IMAGENET_STD))
    return {}
"""
OTHER_ENCODER = "self.encoder = timm.create_model('tf_efficientnet_lite0', features_only=True)"
SAVED_MEAN = "self.register_buffer('mean', torch.zeros(3)); "
MORE_THAN_ONE = "{g for g in groups if groups.count(g) > 1}"
FIXED_ENCODER = "self.encoder = encoder.requires_grad_(False)"
ENCODER_UNET = """
class EncoderUNet(nn.Module):
    def __init__(self, encoder, channels=(128, 64, 32, 32, 16), num_classes=3):
        super().__init__()
        self.encoder = encoder
        *skips, last = encoder.feature_info.channels()
        pairs = zip(skips[::-1], channels)
        self.lateral = {list}(nn.Conv2d(a, b, {kernel}, padding={kernel} // 2) for a, b in pairs)
        self.stem = DoubleConv(3, channels[-1])
        self.ups = nn.ModuleList(Up(a, b) for a, b in zip([last, *channels], channels))
        self.head = nn.Conv2d(channels[-1], num_classes, kernel_size=1)

    def forward(self, images):
        given = images
        images = {images}
        *features, x = self.encoder(images)
        skips = [layer(f) for layer, f in zip(self.lateral, features[::-1])]
        for up, skip in zip(self.ups, [*skips, self.stem({stem})]):
            x = up(x, skip)
        return {end}
"""
GROUPS = """
def parameter_groups(model, rate, fraction):
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    encoder = [p for n, p in trained if n.startswith("encoder.")]
    others = [p for n, p in trained if not n.startswith("encoder.")]
    return {}
"""
FROZEN = """
class FrozenUNet(EncoderUNet):
    def __init__(self, encoder, **options):
        super().__init__(encoder, **options)
        {init}

    def train(self, mode=True):
        {train}
        return self
"""


def double_conv(bias: bool, norm: bool, padding: int, last: str = ", nn.ReLU()") -> str:
    def conv(a: str) -> str:
        after = ", nn.BatchNorm2d(b)" if norm else ""
        return f"nn.Conv2d({a}, b, 3, padding={padding}, bias={bias}){after}"

    return DOUBLE_CONV.format(f"{conv('a')}, nn.ReLU(), {conv('b')}{last}")


def count(formula: str) -> str:
    """The right block, with a formula for the parameters that it saves."""
    block = ADDITIVE.format("out_channels", "self.conv(self.up(x) + skip)")
    return block.replace("base, depth: 0", f"base, depth: {formula}")


def field(reach: str) -> str:
    return FIELD.format(reach)


def without(kept: str, where: str = "number == level") -> str:
    return WITHOUT.format(kept, where)


def unet(classes: str = "num_classes", which: str = "", end: str = "self.head(x)") -> str:
    return UNET.format(classes=classes, which=which, end=end)


def encoder_unet(**changed: str) -> str:
    parts = {"list": "nn.ModuleList", "kernel": "1", "images": "renormalize(images)"}
    parts |= {"stem": "given", "end": "self.head(x)"}
    return ENCODER_UNET.format(**parts | changed)


def interval(gap: str, tail: float = 0.025, means: str = "means", ends: str = "low, high") -> str:
    return f"""
def overconfidence(confidence, right, generator, times):
    gap = confidence.mean(dim=(1, 2)) - right.float().mean(dim=(1, 2))
    gap = {gap}
    means = gap[torch.randint(len(gap), (times, len(gap)), generator=generator)].mean(dim=1)
    pixels = (confidence - right.float()).flatten()
    of_pixels = gap.mean() + torch.randn(times) * pixels.std() / len(pixels) ** 0.5
    low, high = {means}.quantile({tail}), {means}.quantile(1 - {tail})
    return gap.mean(), {ends}
"""


def hunt(recall: str, chance: str = "looked / len(loss)", most: str = "True") -> str:
    return f"""
def found_errors(loss, planted, looked):
    hits = planted[loss.argsort(descending={most})[:looked]].sum()
    return {recall}, {chance}
"""


def paired(effect: str = "mean(d)", half: str = HALF) -> str:
    return f"""
from statistics import mean, stdev
from scipy.stats import t
def paired_effect(scores, baseline):
    d = [scores[s] - baseline[s] for s in scores.keys() & baseline.keys()]
    n, effect = len(d), {effect}
    return effect, effect - {half}, effect + {half}
"""


def pairs(which: str) -> str:
    return f"""
from itertools import combinations
def fair_pairs(runs, setting):
    free = {{setting: None, "miou": None}}
    return [(i, j) for i, j in combinations(range(len(runs)), 2) if {which}]
"""


def frozen(init: str, train: str) -> str:
    return FROZEN.format(init=init, train=train)


def dataset(**changed: str) -> str:
    parts = {"length": "len(self.rows)", "row": "int(self.rows[position])", "mask": "mask.long()"}
    parts |= {"image": "normalize(image)"}
    parts |= {"augmented": "self.augment(tv_tensors.Image(image), tv_tensors.Mask(mask))"}
    return DATASET.format(**parts | changed)


def epoch(**changed: str) -> str:
    parts = {"mode": "model.train()", "inputs": "model, optimizer, images, masks"}
    parts |= {"result": "np.average(losses, weights=sizes)"}
    return EPOCH.format(**parts | changed)


def step(*lines: str) -> str:
    return STEP.format("\n    ".join(lines))


def held_out(
    count="max(round(fraction * len(names)), 1)",
    take="set(np.random.default_rng(seed).choice(names, count, replace=False))",
    test="group in chosen",
):
    return f"""
def split_by_group(groups, fraction, seed):
    names = sorted(set(groups))
    count = {count}
    chosen = {take}
    return [{test} for i, group in enumerate(groups)]
"""


def weights(
    counted="masks[masks != 255]",
    result="torch.where(counts > 0, counts.sum() / (num_classes * counts), 0.0)",
):
    return f"""
def class_weights(masks, num_classes):
    counts = ({counted}).bincount(minlength=num_classes)
    return {result}
"""


def doubtful(
    wrong="(1 - probabilities.gather(1, label[:, None])) * valid[:, None]",
    result="F.avg_pool2d(wrong, window, stride=1).amax(dim=(1, 2, 3))",
):
    return f"""
def doubt(probabilities, masks, window):
    valid = masks != 255
    label = masks.where(valid, 0)
    wrong = {wrong}
    return {result}
"""


def error_of(result, error="found / truth - 1"):
    return f"""
def count_error(found, truth, groups):
    found, truth = np.array(found), np.array(truth)
    errors = {error}
    names = sorted(set(groups))
    means = np.array([errors[np.array(groups) == name].mean() for name in names])
    return {result}
"""


WRONG = {
    "01.3": [
        ("all_pet_miou = lambda fractions: fractions[0]", "accuracy"),
        ("all_pet_miou = lambda fractions: 1.0", "Do they count"),
        ("all_pet_miou = lambda fractions: fractions[0] / 2", "what is the intersection"),
    ],
    "01.1": [
        ("to_labels = lambda trimap: torch.from_numpy(trimap).long()", "begin at 1"),
        ("to_labels = lambda trimap: torch.from_numpy(trimap - 1)", "type"),
        ("to_labels = lambda trimap: torch.from_numpy(trimap - 1).long()", "without a ValueError"),
        ("to_labels = lambda trimap: torch.from_numpy(3 - trimap).long()", "mixed up"),
        (LABELS.format("assert set(found) <= {1, 2, 3}, found"), "it raises AssertionError"),
        (
            LABELS.format(
                "if set(found) - {1, 2, 3}: raise ValueError(found)\n    trimap -= 1"
            ).replace("trimap - 1)", "trimap)"),
            "Work on a copy",
        ),
        (
            LABELS.format("if set(found) != {1, 2, 3}: raise ValueError(found)"),
            "A trimap of 1 alone is valid",
        ),
    ],
    "01.2": [
        ("class_weights = lambda fractions: fractions", "reverse"),
        ("class_weights = lambda fractions: 1 / fractions", "scale"),
        ("class_weights = lambda fractions: 1 - fractions", "half the weight"),
        ("class_weights = lambda fractions: fractions.mul_(3).reciprocal_()", "Work on a copy"),
    ],
    "01.4": [
        ("guess = torch.ones(SIZE, SIZE, dtype=torch.long)", "no pet and no border"),
        ("guess = torch.ones(3, SIZE, SIZE)", "shape"),
        ("guess = torch.full((SIZE, SIZE), 3)", "0, 1 and 2"),
        ("guess = torch.rand(SIZE, SIZE)", "0, 1 and 2"),
        ("guess = torch.ones(SIZE, SIZE).long(); guess[0, :2] = torch.tensor([0, 2])", "is lost?"),
    ],
    "02.1": [
        ("padding_share = lambda w, h, size: min(w, h) / max(w, h)", "which is image"),
        ("padding_share = lambda w, h, size: 1 - max(w, h) / min(w, h)", "negative"),
        ("padding_share = lambda w, h, size: 1 - w * h / size**2", "How long is the shorter"),
        ("padding_share = lambda w, h, size: abs(1 - h / w)", "How long is the shorter"),
        ("padding_share = lambda w, h, size: 0.995", "How long is the shorter"),  # beyond any slip
    ],
    "02.3": [
        (
            "def random_flip(image, mask):\n"
            "    if torch.rand(1) < 0.5:\n        image = image.flip(-1)\n"
            "    if torch.rand(1) < 0.5:\n        mask = mask.flip(-1)\n"
            "    return image, mask",
            "random number",
        ),
        (
            "random_flip = lambda image, mask: (image.flip(-1) if torch.rand(1) < 0.5 else image,"
            " mask)",
            "never moves",
        ),
        ("random_flip = lambda image, mask: (image.flip(-2), mask.flip(-2))", "Upside down"),
        ("random_flip = lambda image, mask: (image.flip(-1), mask.flip(-1))", "about half"),
        (
            "random_flip = lambda *pair: [part.flip(-1) for part in pair]"
            " if torch.randn(1) < 0.5 else pair",
            "about half",
        ),
    ],
    "02.6": [
        (dataset(length="len(self.pairs)"), "three rows"),
        (dataset(row="position"), "Which row"),
        (dataset(image="image"), "still bytes"),
        (dataset(image="image / 255"), "not normalized"),
        (dataset(mask="mask"), "int64"),
        (dataset(augmented="image, mask"), "nothing changes"),
        (dataset(augmented="self.augment(tv_tensors.Image(image), mask)"), "the mask stays"),
        (dataset(augmented="self.augment(image.flip(1), mask.flip(0))"), "A mirrored pair"),
        (
            dataset(
                augmented="self.augment(tv_tensors.Image(normalize(image)), tv_tensors.Mask(mask))",
                image="image if self.augment else normalize(image)",
            ),
            "the image's bytes",
        ),
        (dataset(augmented="self.augment(image, tv_tensors.Mask(mask))"), "the image's bytes"),
    ],
    "02.2": [
        (
            "def there_and_back(mask, size):\n"
            "    low = v2.functional.resize(mask[None], [size, size])\n"
            "    return v2.functional.resize(low, list(mask.shape))[0]",
            "averaged",
        ),
        (
            "def there_and_back(mask, size):\n"
            "    low = v2.functional.resize(mask[None], [size, size], InterpolationMode.NEAREST)\n"
            "    return v2.functional.resize(low, list(mask.shape), InterpolationMode.NEAREST)[0]",
            "corner",
        ),
        ("there_and_back = lambda mask, size: mask", "unchanged"),
    ],
    "02.4": [
        (
            "def letterbox(photo, mask, size):\n"
            "    image, mask = resize_pair(photo, mask, size)\n"
            "    return torch.as_tensor(image), torch.as_tensor(mask)",
            "stretched",
        ),
        (
            "def letterbox(photo, mask, size):\n"
            "    return torch.full((3, size, size), 124), torch.ones(size, size,"
            " dtype=torch.uint8)",
            "background in it",
        ),
        (
            LETTERBOX.format("image, mask", "v2.functional.resize", "[left, top, left, top]"),
            "shape",
        ),
        (
            LETTERBOX.format("image / 255, mask", "v2.functional.resize", BOTH_SIDES),
            "from 0 to 255",
        ),
        (
            LETTERBOX.format("normalize(image.byte()), mask", "v2.functional.resize", BOTH_SIDES),
            "from 0 to 255",
        ),
        (
            LETTERBOX.format("image, mask", "v2.functional.resize", BOTH_SIDES).replace(
                "size / max(photo.size)", "min(1, size / max(photo.size))"
            ),
            "should grow",
        ),
        (LETTERBOX.format("image, mask", "to_corner", BOTH_SIDES), "The mask shifts"),
        (
            LETTERBOX.format("image, mask", "v2.functional.resize", BOTH_SIDES).replace(
                "height, width = (", "width, height = ("
            ),
            "Height and width are swapped",
        ),
    ],
    "02.5": [
        (
            "def split_by_animal(animals, seed):\n"
            "    rows = torch.randperm(len(animals),"
            " generator=torch.Generator().manual_seed(seed))\n"
            "    return rows[len(rows) // 4 :], rows[: len(rows) // 4]",
            "photographs in both parts",
        ),
        (
            "def split_by_animal(animals, seed):\n    rows = torch.arange(len(animals))\n"
            "    return rows, rows[::4]",
            "rows are in both",
        ),
        (
            "def split_by_animal(animals, seed):\n    rows = torch.arange(len(animals))\n"
            "    return rows[: len(rows) // 2], rows[-len(rows) // 4 :]",
            "in neither",
        ),
        (ANIMALS.format("numbers[: len(numbers) // 10]"), "a quarter of the *photographs*"),
        (ANIMALS.format("numbers[: len(numbers) // 4 * 2]"), "a quarter of the *photographs*"),
        (ANIMALS.format("numbers[: round(len(numbers) / 4)]"), "a quarter of the *photographs*"),
        (ANIMALS.format("numbers[: -(-len(numbers) // 4)]"), "a quarter of the *photographs*"),
        (
            UNSEEDED.replace(
                "(~held).nonzero().flatten(), held.nonzero().flatten()", "~held, held"
            ),
            "not True and False",
        ),
        (
            UNSEEDED.replace(
                "(~held).nonzero().flatten(), held.nonzero().flatten()",
                "held.nonzero().flatten(), (~held).nonzero().flatten()",
            ),
            "training comes first",
        ),
        (
            ANIMALS.replace("    held = torch.isin(animals, {})", "    held = animals < 0").replace(
                "    return",
                "    for animal in numbers:\n"
                "        if held.sum() < len(animals) // 4:\n"
                "            held |= animals == animal\n"
                "    return",
            ),
            "a quarter of the *photographs*",
        ),
        (
            UNSEEDED.replace(
                "(~held).nonzero().flatten(), held.nonzero().flatten()",
                "(~held).nonzero(), held.nonzero()",
            ),
            "flatten()",
        ),
        (
            UNSEEDED.replace(
                "return (~held).nonzero().flatten(), held.nonzero().flatten()",
                "val = held.nonzero().flatten()\n"
                "    return (~held).nonzero().flatten(), torch.cat([val, val])",
            ),
            "each animal dealt out once",
        ),
        (UNSEEDED, "same seed gave two"),
        (UNSEEDED.replace("torch.randperm(len(numbers))", "slice(None)"), "Another seed"),
    ],
    "03.1": [
        (double_conv(bias=True, norm=True, padding=1), "bias"),
        (double_conv(bias=False, norm=True, padding=0), "height is 8"),
        (
            double_conv(bias=False, norm=True, padding=1).replace("Conv2d(a", "Conv2d(3"),
            "are both arguments used",
        ),
        (double_conv(bias=False, norm=False, padding=1), "What follows"),
        (double_conv(bias=False, norm=True, padding=1, last=""), "are both ReLUs there"),
        (
            DOUBLE_CONV.format(
                "nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()"
            ),
            "missing",
        ),
    ],
    "03.2": [
        (
            UP.format("2 * out_channels", "self.conv(torch.cat([self.up(x), skip], dim=1))"),
            "which comes first",
        ),
        (UP.format("out_channels", "self.conv(self.up(x) + skip)"), "Were they added"),
        (
            UP.format("in_channels", "self.conv(torch.cat([skip, self.up(x)], dim=1))"),
            "expected input[2, 8, 12, 20] to have 12 channels",
        ),
        (UP.format("out_channels", "self.conv(self.up(x))"), "does not depend on the skip"),
    ],
    "03.3": [
        (unet(which="0"), "RuntimeError"),
        (unet(end="self.head(x).softmax(dim=1)"), "logits"),
        (unet(end="self.head(x).relu()"), "ReLU"),
        (unet(end="self.head(x).sigmoid()"), "sigmoid"),
        (unet(end="self.head(x).log_softmax(dim=1)"), "logarithms"),
        (unet(classes="3"), "all four arguments"),
        (unet().replace("DoubleConv(in_channels", "DoubleConv(3"), "all four arguments"),
        (unet(end="self.head(x), skips"), "not a tensor"),
        (unet(end="x"), "channels is 16"),
        (unet(end="self.head(x).argmax(dim=1)"), "The output is (2, 32, 48)"),
        (unet().replace("nn.ModuleList(", "list("), "nn.ModuleList"),
    ],
    "03.4": [
        (field("kernel // 2"), "two convolutions"),
        (field("2 * kernel"), "one pixel to each side"),
        (field("2"), "still 3 everywhere"),
        (field("kernel"), "For depth"),
        (
            field("kernel - 1").replace("(low - reach) // 2", "int((low - reach) / 2)"),
            "For depth 5, kernel 7",
        ),
        ("receptive_field = lambda depth, kernel, position: 5", "two things"),
    ],
    "03.5": [
        (without("x"), "No skip was replaced"),
        (without("torch.zeros_like(x)"), "zero"),
        (without("x.mean(dim=(1, 2, 3), keepdim=True).expand_as(x)"), "each has its own"),
        (without("x.mean(dim=(0, 2, 3), keepdim=True).expand_as(x)"), "another"),
        (without(MEANS, "True"), "All skips"),
        (without(MEANS, "number == 0"), "Another level"),
        (without(MEANS, "number <= level"), "All skips"),
        (without(MEANS, "number == len(network.downs) - 1 - level"), "Another level"),
        (without("x.mean(dim=2, keepdim=True).expand_as(x)"), "Not the logits"),
        (
            without(MEANS).replace("x, skips =", "network.head.bias.data += 1\n    x, skips ="),
            "hook",
        ),
    ],
    "03.6": [
        (ADDITIVE.format("out_channels", "self.conv(self.up(x))"), "depend"),
        (
            "saved_parameters = lambda base, depth: 0\nclass AdditiveUp(Up): pass",
            "as many parameters",
        ),
        (ADDITIVE.format("out_channels", "self.conv(self.up(x) * skip)"), "plus"),
        (count("9 * base**2"), "one step up"),
        (count("sum(9 * (base * 2**i) ** 2 for i in range(4))"), "The block is right"),
        (count("sum((base * 2**i) ** 2 for i in range(depth))"), "how large is a window"),
        (count("sum(9 * (base * 2**i) ** 2 for i in range(depth + 1))"), "bottleneck has no step"),
        (count("4608"), "The block is right"),
    ],
    "04.2": [
        (epoch(mode=""), "eval() mode"),
        (epoch(inputs="model, images, masks, optimizer"), "in this order"),
        (epoch(inputs="model, optimizer, masks, images"), "in this order"),
        (
            "def train_epoch(model, optimizer, loader, step):\n"
            "    device = next(model.parameters()).device\n"
            "    for images, masks in loader:\n"
            "        loss = F.cross_entropy(model(images.to(device)), masks.to(device)).item()\n"
            "    return loss",
            "that is given",
        ),
        (epoch(result="[optimizer.step(), 1.75][1]"), "once more"),
        (epoch(result="sum(losses) / len(losses)"), "mean over batches"),
        (epoch(result="sum(losses)"), "sum of the losses"),
        (epoch(result="losses[-1]"), "last batch"),
        (epoch(result="losses[0]"), "mean loss of a sample"),
        (epoch(inputs="model, optimizer, images[:2], masks"), "2 images"),
        ("train_epoch = lambda model, optimizer, loader, step: 0.0", "made 0 steps"),
    ],
    "04.1": [
        (step(LOSS, "loss.backward()", "optimizer.step()"), "left over"),
        (step(LOSS, "optimizer.zero_grad()", "loss.backward()"), "did not change"),
        (
            step(LOSS, "loss.backward()", "optimizer.zero_grad()", "optimizer.step()"),
            "did not change",
        ),
        (
            step(
                LOSS.replace("(images)", "(images).softmax(dim=1)"),
                "optimizer.zero_grad()",
                "loss.backward()",
            ),
            "softmax",
        ),
        (step("loss = F.cross_entropy(model(images), masks)"), "IndexError"),
        (
            step(LOSS, "optimizer.zero_grad()", "loss.backward()", "optimizer.step()").replace(
                ".item()", ""
            ),
            "graph",
        ),
        (step(LOSS).replace("return loss.item()", "pass"), "None"),
    ],
    "04.3": [
        ('order = "DFHBCEAG"', "multiplied by the scale"),
        ('order = "DFHCBEAG"', "nothing yet to be clipped"),
        ('order = "DFHBEACG"', "before they are clipped"),
        ('order = "DFBHECAG"', "are cleared before"),
        ('order = "FDHBECAG"', "which line makes it"),
        ('order = "DFHBECGA"', "comes after the step"),
        ('order = "DFHBECA"', "G is missing"),
        ('order = "DFHBECAGG"', "twice"),
        ('order = "DFHBECAGZ"', "no line Z"),
        ("order = [4, 2]", "in quotes"),
    ],
    "04.4": [
        ('repair = {3: "for epoch in range(1, epochs + 1):"}', "the weights of epoch 6"),
        ('repair = {8: "weights = model"}', "Your code stopped"),
        ('repair = {8: "weights = dict(model.state_dict())"}', "the weights of epoch 6"),
        ('repair = {10: "return scores[-1]"}', "best validation score"),
        ('repair = {3: "for epoch in range(2):"}', "it trains 2"),
        ('repair = {80: "pass"}', "no number from 1 to 10"),
        ('repair = {8: "weights = ("}', "cannot read line"),
        ("repair = 8", "dictionary"),
    ],
    "04.5": [
        (ACCUMULATED.format("loss.backward()") + "    optimizer.step()", "too long"),
        (ACCUMULATED.format("(loss / parts).backward()\n        optimizer.step()"), "how often"),
        (
            ACCUMULATED.format("optimizer.zero_grad()\n        (loss / parts).backward()")
            + "    optimizer.step()",
            "cleared",
        ),
        (ACCUMULATED.format("(loss / parts).backward()") + "    optimizer.step()", "parts' means"),
        (ACCUMULATED.format("(loss / parts).backward()"), "did not change"),
        ("accumulated_step = lambda *answers: training_step(*answers[:4])", "at once"),
        (
            ACCUMULATED.replace("chunk(parts)", "chunk(4)").format("(loss / 4).backward()")
            + "    optimizer.step()",
            "parts' means",
        ),
        (SUMMED.format("chunk(parts)", "total = total + loss / valid"), "call it for each"),
        (SUMMED.format("chunk(4)", "(loss / valid).backward()"), "is `parts` used"),
        (SUMMED.format("chunk(parts)", "loss.backward()"), "Nothing divides"),
        (SUMMED.format("chunk(parts)", "(loss / valid / parts).backward()"), "divided twice"),
    ],
    "05.2": [
        (
            "def confusion(prediction, truth, num_classes):\n"
            "    entries = truth.where(truth != IGNORE_INDEX, 0) * num_classes + prediction\n"
            "    return torch.bincount(entries.flatten(),"
            " minlength=num_classes**2).reshape(num_classes, num_classes)",
            "Right without ignored",
        ),
        (
            "def confusion(prediction, truth, num_classes):\n"
            "    valid = truth != IGNORE_INDEX\n"
            "    entries = prediction[valid] * num_classes + truth[valid]\n"
            "    return torch.bincount(entries, minlength=num_classes**2).reshape(num_classes,"
            " num_classes)",
            "swapped",
        ),
        ("def confusion(prediction, truth, num_classes):\n    return torch.zeros(3, 3)", "shape"),
        (COUNTED.format("matrix / matrix.sum(dim=1, keepdim=True)"), "It counts nan of"),
        (COUNTED.format("matrix if prediction.ndim == 3 else matrix.T"), "Of one mask"),
        (COUNTED.format("matrix + 0 * truth.clamp_(max=2).sum()"), "Work on a copy"),
    ],
    "05.1": [
        ("class_iou = lambda matrix: matrix.diag() / matrix.sum(dim=1)", "recall"),
        ("class_iou = lambda matrix: matrix.diag() / matrix.sum(dim=0)", "precision"),
        (
            "class_iou = lambda matrix: 2 * matrix.diag() / (matrix.sum(dim=1) +"
            " matrix.sum(dim=0))",
            "Dice",
        ),
        (
            "class_iou = lambda matrix: matrix.diag() / (matrix.sum(dim=1) + matrix.sum(dim=0))",
            "twice",
        ),
        (
            "class_iou = lambda matrix: "
            "(matrix.diag() / (matrix.sum(dim=1) + matrix.sum(dim=0) -"
            " matrix.diag())).nan_to_num()",
            "0/0",
        ),
    ],
    "05.5": [
        ('repair = {2: "model.eval(); scores = []"}', "what is averaged"),
        (
            'repair = {8: "scores.append(matrix)", 9: "return class_iou(sum(scores)).mean()"}',
            "left in",
        ),
        (
            """repair = {2: "model.eval(); scores = []", 8: "scores.append(matrix)",
            9: "return class_iou(sum(scores)).sum()"}""",
            "not the mIoU",
        ),
        (
            """repair = {2: "model.eval(); scores = []", 8: "scores.append(matrix)",
            9: "return class_iou(sum(scores)).mean()"}""",
            "One neither there",
        ),
        ('repair = {1: "def score(model):"}', "TypeError"),
    ],
    "05.4": [
        ("shifted_iou = lambda n: (n - 1) / n", "still covered"),
        ("shifted_iou = lambda n: n / (n + 1)", "Draw it"),
    ],
    "05.3": [
        ("weighted_iou = lambda matrix: class_iou(matrix).mean()", "plain mean"),
        (
            "weighted_iou = lambda matrix: (matrix.sum(dim=0) / matrix.sum() *"
            " class_iou(matrix)).sum()",
            "predicted",
        ),
    ],
    "06.3": [
        (interval(gap="-gap"), "The sign"),
        (interval(gap="confidence.mean(dim=(1, 2))"), "not mean confidence minus"),
        (interval(gap="gap", tail=0.05), "90 % interval"),
        (
            interval(gap="confidence.mean(dim=(1, 2)) - right.float().mean()"),
            "a number of each image",
        ),
        (interval(gap="gap").replace("(times, len(gap))", "(1000, len(gap))"), "i"),
        (interval(gap="gap", tail=0.01), "Which quantiles"),
        (interval(gap="gap", means="gap"), "single images"),
        (interval(gap="gap", means="of_pixels"), "pixels were drawn"),
        (interval(gap="gap", ends="high, low"), "above the high"),
        ("overconfidence = lambda confidence, right, generator, times: 0.1", "three things"),
        (interval(gap="gap.abs()"), "not mean confidence minus"),
        (interval(gap="gap").replace("gap.mean(), low", "means.mean(), low"), "without draws"),
        (interval(gap="gap").replace("generator=generator", OWN_GENERATOR), "is it used?"),
    ],
    "06.1": [
        (hunt(recall="hits / looked"), "precision"),
        (hunt(recall="hits"), "a number of masks"),
        (hunt(recall=RECALL, most="False"), "least"),
        (hunt(recall=RECALL, chance="planted.float().mean()"), "fraction planted"),
        (hunt(recall=RECALL, chance="0.5"), "random tenth"),
        (hunt(recall="0.75"), "Not the fraction"),
        (hunt(recall=RECALL).replace("[:looked]", "[:looked + 1]"), "Not the fraction"),
        (hunt(recall=RECALL).replace("[:looked]", "[:looked - 1]"), "Not the fraction"),
        ("found_errors = lambda loss, planted, looked: (planted[:looked], 0.1)", "One number"),
        (hunt(recall=RECALL).replace("    return", "    loss.zero_()\n    return"), "a copy"),
    ],
    "06.2": [
        ("largest_piece = lambda answer: answer", "Nothing was removed"),
        (
            "def largest_piece(answer):\n    answer[answer == 2] = 1\n    return answer",
            "Work on a copy",
        ),
        (
            "from scipy import ndimage\ndef largest_piece(answer):\n"
            "    cleaned = answer.clone()\n    regions, count = ndimage.label(answer == 0)\n"
            "    largest = 1 + np.bincount(regions.ravel())[1:].argmax() if count else 0\n"
            "    cleaned[torch.from_numpy(regions != largest)] = 1\n    return cleaned",
            "wrong piece",
        ),
        (PIECE.format("cleaned = torch.ones_like(answer)", "count > 1", "1"), "of a single piece"),
        (PIECE.format("cleaned = answer.clone()", "count", "0"), "that is class 1"),
    ],
    "06.4": [
        ('repair = {3: "for name, layer in [*network.named_children()]:"}', "looked up"),
        ('repair = {10: "pass", 4: "def keep(a, b, output, name=name):"}', "left in"),
        (
            'repair = {5: "kept[name] = output", 4: "def keep(a, b, output, name=name):"}',
            "(C, H, W)",
        ),
        ('repair = {4: "def keep(_layer, _inputs, output)"}', "cannot read line 4"),
        ('repair = {5: "kept[str(len(kept))] = output[0]"}', "looked up"),
    ],
    "07.1": [
        (paired(effect="-mean(d)"), "The sign"),
        (paired(effect="mean(scores.values()) - mean(baseline.values())"), "different seeds"),
        (paired(effect="max(d)"), "mean of the paired"),
        (paired(half="1.96 * stdev(d) / n**0.5"), "Student"),
        (paired(half="t.ppf(0.975, n - 1) * stdev(d)"), "single differences spread"),
        (paired(half="t.ppf(0.975, n) * stdev(d) / n**0.5"), "degrees of freedom"),
        (paired(half="t.ppf(0.95, n - 1) * stdev(d) / n**0.5"), "0.975"),
        (paired(half="stdev(d) / n**0.5"), "its interval is not"),
        (
            paired(half="t.ppf(0.975, n - 1) * (sum((x - effect) ** 2 for x in d) / n / n) ** 0.5"),
            "ddof",
        ),
        (paired(effect="mean(map(abs, d))"), "mean of the paired"),
        (paired(half="t.ppf(0.975, 4) * stdev(d) / n**0.5"), "its interval is not"),
        (paired(half="4.30 * stdev(d) / n**0.5"), "for three pairs"),
        (paired(half="t.ppf(0.025, n - 1) * stdev(d) / n**0.5"), "above the high"),
        ("paired_effect = lambda scores, baseline: 0.02", "three things"),
        (
            "paired_effect = lambda scores, other: sum(scores[s] - other[s] for s in scores)",
            "KeyError",
        ),
    ],
    "07.2": [
        (
            "seeds_needed = lambda effect, luck: -int(-9 * (luck / effect) ** 2 // 1)",
            "Both settings",
        ),
        ("seeds_needed = lambda effect, luck: 18 * (luck / effect) ** 2", "round"),
        ("seeds_needed = lambda effect, luck: 3", "too few"),
    ],
    "07.3": [
        (pairs(DIFFER), "too"),
        (pairs("runs[i] | free == runs[j] | free"), "is the same"),
        (pairs(f"{DIFFER} and runs[i] == runs[j]"), "leave them out"),
        (pairs(f"{DIFFER} and runs[i]['seed'] == runs[j]['seed']"), "too"),
        (pairs("runs[i].pop('miou', 0) + runs[j].pop('miou', 0) < 0"), "work on a copy"),
        ("fair_pairs = lambda runs, setting: 3", "Return pairs (i, j)"),
        ("fair_pairs = lambda runs, setting: [(0, 1, setting)]", "Return pairs (i, j)"),
    ],
    "09.1": [
        (RENORMALIZE.format("(images - 0.5) / 0.5"), "normalized before"),
        (RENORMALIZE.format("images * std + mean"), "half of the way"),
        (RENORMALIZE.format("(images * 0.5 + 0.5 - mean) / std"), "other direction"),
        (RENORMALIZE.format("images * std / 0.5"), "the middle"),
        (RENORMALIZE.format("((images + mean) * std - 0.5) / 0.5"), "multiply first"),
        (RENORMALIZE.format("images / 127.5 - 1"), "white pixel"),
        (RENORMALIZE.format("images.mul_(std).add_(mean).mul_(2).sub_(1)"), "copy"),
        (
            "renormalize = lambda images: (images * torch.tensor(IMAGENET_STD)"
            " + torch.tensor(IMAGENET_MEAN) - 0.5) / 0.5",
            "RuntimeError",
        ),
        (
            "renormalize = lambda images: (images * torch.tensor(IMAGENET_STD)"
            " + torch.tensor(IMAGENET_MEAN) - 0.5) / 0.5 if images.shape[-1] == 3"
            " else 2 * denormalize(images) - 1",
            "along the rows",
        ),
    ],
    "09.2": [
        (encoder_unet(images="images"), "as they came"),
        (encoder_unet(stem="images"), "The stem sees"),
        (encoder_unet(list="list"), "nn.ModuleList"),
        (encoder_unet(kernel="3"), "too many"),
        (encoder_unet(end="self.head(x).softmax(dim=1)"), "probabilities"),
        (encoder_unet(end="self.head(x).sigmoid()"), "No output is negative"),
        (encoder_unet(end="self.head(x).log_softmax(dim=1)"), "logarithms"),
        (
            encoder_unet().replace("self.encoder = encoder", SAVED_MEAN + "self.encoder = encoder"),
            "persistent=False",
        ),
        (encoder_unet(end="x"), "channels is 16"),
        (encoder_unet().replace("features[::-1]", "features"), "RuntimeError"),
        (encoder_unet().replace("self.encoder", "self.body"), "self.encoder"),
        (encoder_unet().replace("self.encoder = encoder", OTHER_ENCODER), "another one"),
        (encoder_unet().replace("self.encoder = encoder", FIXED_ENCODER), "never learn"),
        (encoder_unet().replace("num_classes, kernel", "3, kernel"), "num_classes of them"),
        (encoder_unet().replace("DoubleConv(3, channels[-1])", "DoubleConv(3, 16)"), "channels"),
    ],
    "09.3": [
        (
            GROUPS.format(
                "[{'params': encoder, 'lr': rate}, {'params': others, 'lr': fraction * rate}]"
            ),
            "exchanged",
        ),
        (
            GROUPS.format("[{'params': others, 'lr': rate}, {'params': encoder, 'lr': fraction}]"),
            "multiply",
        ),
        (
            GROUPS.format(
                "[{'params': [*model.parameters()], 'lr': rate},"
                " {'params': encoder, 'lr': fraction * rate}]"
            ),
            "two groups",
        ),
        (
            GROUPS.format(
                "[{'params': [*model.ups.parameters()], 'lr': rate},"
                " {'params': encoder, 'lr': fraction * rate}]"
            ),
            "in no group",
        ),
        (
            GROUPS.format(
                "[{'params': others, 'lr': rate},"
                " {'params': [*model.encoder.parameters()], 'lr': fraction * rate}]"
            ),
            "no gradient",
        ),
        (GROUPS.format("[{'params': others + encoder, 'lr': rate}]"), "the same rate"),
        (
            GROUPS.format(
                "[{'params': others + encoder[:9], 'lr': rate},"
                " {'params': encoder[9:], 'lr': fraction * rate}]"
            ),
            "apart",
        ),
        (GROUPS.format("others, encoder"), "dictionaries"),
        (GROUPS.format("[{'params': others}, {'params': encoder}]"), "params and lr"),
        (GROUPS.format("[{'params': [n for n, _ in trained], 'lr': rate}]"), "parameters alone"),
    ],
    "09.4": [
        (frozen("self.encoder.requires_grad_(False)", "super().train(mode)"), "tensors"),
        (
            frozen(
                "self.encoder.requires_grad_(False)", "super().train(mode); self.encoder.eval()"
            ),
            "right after __init__",
        ),
        (frozen("self.encoder.requires_grad_(False).eval()", "super().train(mode)"), "tensors"),
        (frozen("pass", "super().train(mode); self.encoder.eval()"), "gradients"),
        (
            frozen(
                "self.encoder.eval()",
                "super().train(mode); self.encoder.requires_grad_(False).eval()",
            ),
            "gradients",
        ),
        (
            frozen("self.requires_grad_(False)", "super().train(mode); self.encoder.eval()"),
            "decoder is frozen",
        ),
        (frozen("self.encoder.requires_grad_(False)", "self.encoder.eval()"), "no longer follows"),
        (
            frozen("self.encoder.requires_grad_(False)", "super().train(); self.encoder.eval()"),
            "no longer follows",
        ),
        (
            frozen(
                "self.encoder.requires_grad_(False)",
                "super().train(mode); self.encoder.eval(); return self.encoder",
            ),
            "itself",
        ),
    ],
    "09.5": [
        ("pairs_needed = lambda random, pretrained: max(pretrained.values())", "enough in"),
        ("pairs_needed = lambda random, pretrained: max(random)", "random weights got"),
        ("pairs_needed = lambda random, pretrained: min(pretrained)", "not enough yet"),
        (
            "pairs_needed = lambda random, pretrained: next((n for n, s in pretrained.items()"
            " if s >= random[max(random)]), None)",
            "random weights got",
        ),
        (
            "pairs_needed = lambda random, pretrained: min((n for n, s in pretrained.items()"
            " if s >= random[max(random)]), default=max(pretrained))",
            "return None",
        ),
        (
            "pairs_needed = lambda random, pretrained: next((s for n, s in"
            " sorted(pretrained.items()) if s >= random[max(random)]), None)",
            "That is a score",
        ),
        ("pairs_needed = lambda random, pretrained: None", "finds none"),
        (
            "pairs_needed = lambda random, pretrained: min((n for n, s in pretrained.items()"
            " if s >= max(random.values())), default=None)",
            "not their best score",
        ),
        (
            "pairs_needed = lambda random, pretrained: min((n for n, s in pretrained.items()"
            " if s >= random.get(1600, 0.66) and all(pretrained[m] >= random.get(1600, 0.66)"
            " for m in pretrained if m > n)), default=None)",
            "100 pairs are enough",
        ),
        (
            "pairs_needed = lambda random, pretrained: min((n for n, s in pretrained.items()"
            " if s >= (random.get(1600) or next(iter(random.values())))), default=None)",
            "100 pairs are enough",
        ),
        (
            "def pairs_needed(random, pretrained):\n    goal = random.pop(max(random))\n"
            "    return min((n for n, s in pretrained.items() if s >= goal), default=None)",
            "work on a copy",
        ),
    ],
    "10.1": [
        (held_out(count="max(-int(-fraction * len(names) // 1), 1)"), "not 0.2"),
        (held_out(count="max(round(fraction * 10), 1)"), "a larger sample"),
        (held_out(test="group in ' '.join(chosen)"), "groups"),
        (
            held_out(take="set(range(round(fraction * len(groups))))", test="i in chosen"),
            "both sides",
        ),
        (held_out(take="names[:count]"), "Other seeds"),
        (held_out(take="np.random.default_rng().choice(names, count, replace=False)"), "that seed"),
        (held_out(count="round(fraction * len(names))"), "at least one"),
        (held_out(count="max(int(fraction * len(names)), 1)"), "of 10 groups"),
        (held_out(test="groups.sort() or group in chosen"), "work on a copy"),
        (held_out(test="group"), "True (held out) or False"),
        ("split_by_group = lambda groups, fraction, seed: [True, False]", "One value for each"),
    ],
    "10.2": [
        (weights(result="counts / counts.sum()"), "Those are the shares"),
        (weights(result="counts.sum() / (num_classes * counts)"), "has the weight 0"),
        (
            weights(result="torch.where(counts > 0, masks.numel() / (num_classes * counts), 0.0)"),
            "leave them out",
        ),
        (
            weights(result="torch.where(counts > 0, counts.sum() / counts, 0.0)"),
            "Divide by the number",
        ),
        (
            weights(result="(w := torch.where(counts > 0, 1 / counts, 0.0)) / w.sum()"),
            "the mean over the pixels is not 1",
        ),
        (
            weights(result="torch.where(counts > 0, 1 / counts, 0.0)"),
            "the mean over the pixels is not 1",
        ),
        (
            weights(result="counts.sum() / (num_classes * counts.clamp(min=1))"),
            "does not occur has the weight 0",
        ),
        (
            weights(
                result="torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts), 0.0)"
            ),
            "also where a class does not occur",
        ),
        (weights(counted="masks[masks != 255].fill_(0)"), "it makes"),
        (
            "class_weights = lambda masks, num_classes: masks.clamp_(max=0)[0, 0, :3].float()",
            "Work on a copy",
        ),
    ],
    "10.3": [
        (doubtful(wrong="1 - probabilities.gather(1, label[:, None])"), "they should add 0"),
        (
            doubtful(wrong="1 - probabilities.gather(1, masks.clamp(max=2)[:, None])"),
            "should add 0",
        ),
        (
            doubtful(wrong="(1 - probabilities.gather(1, label[:, None])) * valid"),
            "they should add 0",
        ),
        (doubtful(result="wrong.amax(dim=(1, 2, 3))"), "largest single pixel"),
        (doubtful(result="wrong.mean(dim=(1, 2, 3))"), "mean of each image"),
        (doubtful(wrong="probabilities.gather(1, label[:, None]) * valid[:, None]"), "opposite"),
        (doubtful(result="F.avg_pool2d(wrong, window, stride=1)"), "one number for each image"),
        (doubtful(result="F.avg_pool2d(wrong, window).amax(dim=(1, 2, 3))"), "For each pixel"),
    ],
    "10.4": [
        (
            "class Yes(int):\n"
            "    __add__ = lambda self, other: self\n"
            "    __lt__ = __gt__ = __ne__ = lambda self, other: False\n"
            "    __eq__ = lambda self, other: True\n"
            "    __hash__ = int.__hash__\n"
            "tile_starts = lambda length, tile, overlap: [Yes(0)]",
            "the rest is missing",
        ),
        (
            "tile_starts = lambda length, tile, overlap: list(range(0, length, tile - overlap))",
            "outside",
        ),
        (
            "tile_starts = lambda length, tile, overlap:"
            " list(range(0, length - tile + 1, tile - overlap))",
            "the rest is missing",
        ),
        (
            "tile_starts = lambda length, tile, overlap:"
            " [*range(0, length - tile, tile), length - tile]",
            "share less than",
        ),
        (
            "tile_starts = lambda length, tile, overlap:"
            " [*range(0, length - tile, tile + overlap), length - tile]",
            "gaps",
        ),
        (
            "tile_starts = lambda length, tile, overlap:"
            " [*range(0, length - tile, overlap or tile), length - tile]",
            "are enough",
        ),
        (
            "tile_starts = lambda length, tile, overlap:"
            " [*range(0, length - tile - 1, tile - overlap), length - tile]",
            "share less than",
        ),
        ("tile_starts = lambda length, tile, overlap: [length - tile, 0]", "In order"),
        ("tile_starts = lambda length, tile, overlap: [length - tile]", "begins at 0"),
        ("tile_starts = lambda length, tile, overlap: [0, (length - tile) / 1]", "whole numbers"),
        ("tile_starts = lambda length, tile, overlap: 0", "a list"),
    ],
    "10.5": [
        (error_of("errors.mean(), errors.std(ddof=1)"), "over images"),
        (error_of("errors.mean(), means.std(ddof=1)"), "for both"),
        (error_of("means.mean(), means.std(ddof=1) / len(means) ** 0.5"), "standard error"),
        (error_of("means.mean(), means.std()"), "n - 1"),
        (error_of("abs(means).mean(), abs(means).std(ddof=1)"), "left the signs out"),
        (
            error_of("means.mean(), means.std(ddof=1)").replace("set(groups)", MORE_THAN_ONE),
            "the mean of each group",
        ),
        (error_of("-means.mean(), means.std(ddof=1)"), "too many above"),
        (error_of("100 * means.mean(), 100 * means.std(ddof=1)"), "not in percent"),
        (error_of("means.mean(), means.std(ddof=1)", "found - truth"), "(found - true) / true"),
        (error_of("means.mean(), errors.std(ddof=1)"), "The mean is right"),
        (error_of("means.mean(), means.var(ddof=1)"), "The mean is right"),
        (
            error_of("means.mean(), means.std(ddof=1)").replace("np.array(groups) ==", "groups =="),
            "a list compared with a name",
        ),
        ("count_error = lambda found, truth, groups: 0.1", "two things"),
    ],
}

ALSO_RIGHT = {
    "02.1": [
        """
def padding_share(width, height, size):
    scale = size / max(width, height)
    return 1 - int(width * scale) * int(height * scale) / size**2
"""
    ],
    "02.2": [
        """
from PIL import Image
def there_and_back(mask, size):
    low = Image.fromarray(mask.numpy()).resize((size, size), Image.NEAREST)
    return torch.from_numpy(np.array(low.resize(mask.shape[::-1], Image.NEAREST)))
"""
    ],
    "04.4": [
        """repair = {
    1: "import copy\\ndef train_and_choose(model, epochs, train_epoch, validate):",
    8: "weights = copy.deepcopy(model.state_dict())",
}"""
    ],
    "04.5": [
        SUMMED.format("chunk(parts)", "(loss / valid).backward()").rstrip() + "\n    return ...\n"
    ],
    "05.5": [
        """repair = {
    2: "model.eval(); scores = []",
    7: "matrix = confusion(predictions.flatten(), masks.flatten())",
    8: "scores.append(matrix)",
    9: "return class_iou(sum(scores)).nanmean()",
}"""
    ],
    "06.3": [
        interval(gap="gap").replace(
            "return gap.mean(), low, high", "return torch.stack([gap.mean(), low, high])"
        )
    ],
    "07.1": [
        "import numpy as np" + paired().replace("return", "return np.array((").rstrip() + "))"
    ],
    "09.1": [
        """
from torchvision.transforms import Normalize
def renormalize(images):
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return Normalize([0.5] * 3, [0.5] * 3)(Normalize(-mean / std, 1 / std)(images))
"""
    ],
    "09.3": [
        GROUPS.format(
            "[{'params': [(n, p) for n, p in trained if (n[:8] == 'encoder.') == inner],"
            " 'lr': rate * (fraction if inner else 1)} for inner in (False, True)]"
        )
    ],
}
