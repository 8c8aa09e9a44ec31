from i4ex import *

nb = NB("03")
nb.objectives(
    [
        "to build a `DoubleConv`, and to count its parameters by hand",
        "to predict every shape on the way down, and to compute how far a pixel sees",
        "to explain what a skip connection carries, and to join it",
        "to put a U-Net together, and to say why it returns logits",
        "to change a block, and to say what the change costs",
    ]
)
nb.sub("import helpers.model\n", "import helpers.model\nfrom helpers.checks import blocks as check\n")
nb.sub(
    "from helpers.metrics import ConfusionMatrix\n",
    "from helpers.metrics import ConfusionMatrix\nfrom helpers.quiz import quiz\n",
)
nb.sub(
    "Here you write each of them, watch the shapes, put them together, and prove that what you wrote is the network that the rest of the series uses.",
    "Here you write each of them and have it checked, put them together, and prove that the result is the network that the rest of the series uses.",
)
FOLD = "Ours is in the next cell, which is folded in JupyterLab (click the dots). Run it in any case: what follows uses it."


def flow(marker, k, title, statement, stub, call, split=None, between=""):
    i = nb.find(marker)
    body = nb.text(i)
    cls, rest = (body, None) if split is None else (body[: body.index(split)].rstrip(), body[body.index(split) :])
    before = nb.text(i - 1)
    nb.set(i - 1, before + f"\n\n**Exercise {k}: {title}.** {statement}")
    new = [
        code(stub, "exercise"),
        code(call, "check"),
        md(FOLD),
        code(cls, "solution", jupyter={"source_hidden": True}),
    ]
    if rest:
        new += [md(between), code(rest, *nb.cells[i]["metadata"].get("tags", []))]
    nb.cells[i : i + 1] = new


flow(
    "class DoubleConv(nn.Sequential)",
    1,
    "the block",
    "Put its six layers where the dots are, then run the cell below, which checks. The convolutions keep the size and have no bias. If you would rather read first, skip the two cells.",
    '''class DoubleConv(nn.Sequential):
    """(N, in_channels, H, W) -> (N, out_channels, H, W)"""

    def __init__(self, in_channels, out_channels):
        super().__init__(...)''',
    "check.double_conv(DoubleConv)",
)
i = nb.find("class Down(nn.Sequential)")
t = nb.text(i - 1)
nb.set(i - 1, t.replace(" **Predict** the result of pooling the 4x4 numbers, and the shape at the end.", ""))
flow(
    "class Down(nn.Sequential)",
    2,
    "one step down",
    "Two layers.",
    '''class Down(nn.Sequential):
    """(N, in_channels, H, W) -> (N, out_channels, H/2, W/2)"""

    def __init__(self, in_channels, out_channels):
        super().__init__(...)''',
    "check.down(Down)",
    split="grid = torch",
    between="**Predict** the result of pooling the 4x4 numbers, and the shape at the end.",
)
flow(
    "class Up(nn.Module)",
    3,
    "one step up",
    "The upsampling is called `up`, the convolutions `conv`, as below.",
    '''class Up(nn.Module):
    """x (N, in_channels, H, W), skip (N, out_channels, 2H, 2W) -> (N, out_channels, 2H, 2W)"""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.up = ...
        self.conv = ...

    def forward(self, x, skip):
        return ...  # the skip comes first''',
    "check.up(Up)",
    split="below, skip = ",
    between="The shapes that you predicted:",
)
flow(
    "class UNet(nn.Module)",
    4,
    "the whole network",
    "Keep the names of the four parts.",
    '''class UNet(nn.Module):
    """images (N, in_channels, H, W) -> logits (N, num_classes, H, W)"""

    def __init__(self, in_channels=3, num_classes=NUM_CLASSES, base_channels=BASE_CHANNELS, depth=DEPTH):
        super().__init__()
        self.stem = ...
        self.downs = ...
        self.ups = ...
        self.head = ...

    def forward(self, images):
        return ...''',
    "check.unet(UNet)",
)
nb.sub(
    "Concatenation adds channels, not values, so the two need the same height and width, but nothing else. **Predict:** `Up(32, 16)` gets (2, 32, 64, 64) from below. What must the shape of the skip be, and what comes out?",
    "Concatenation adds channels, not values, so the two need the same height and width, but nothing else. **Predict:** `Up(32, 16)` gets (2, 32, 64, 64) from below. What must the shape of the skip be, and what comes out?",
)
nb.exercises(
    "Exercises 1 to 4 are above, where the blocks are built. The last one is open: build, check, then train.",
    [
        (
            "skips that add",
            "Write `AdditiveUp`, which adds the skip to the upsampled tensor instead of concatenating it. When it is right, train a U-Net made of it on the ellipses. Is the outline still found?",
            '''class AdditiveUp(nn.Module):
    """The shapes of Up, with addition in place of concatenation."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.up = ...
        self.conv = ...

    def forward(self, x, skip):
        return ...''',
            "check.additive_up(AdditiveUp)",
            """```python
class AdditiveUp(helpers.model.Up):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, skips=False)  # a DoubleConv of half the input channels

    def forward(self, x, skip):
        return self.conv(self.up(x) + skip)


def additive_unet(base_channels=16, depth=4):
    network = helpers.model.UNet(base_channels=base_channels, depth=depth)
    widths = [base_channels * 2**level for level in range(depth + 1)]
    network.ups = nn.ModuleList(AdditiveUp(widths[i + 1], widths[i]) for i in reversed(range(depth)))
    return network


saved = total - sum(p.numel() for p in additive_unet().parameters())
print(f"{saved:,} parameters fewer, {saved / total:.0%}")

torch.manual_seed(SEED)
network = train_on_ellipses(additive_unet(base_channels=8), SEED)
images, masks = draw_ellipses(64, torch.Generator().manual_seed(12345))
with torch.inference_mode():
    confusion = ConfusionMatrix()
    confusion.update(network(images).argmax(dim=1), masks)
print(confusion.iou())
```

It saves 195,840 parameters, a tenth. The outline is found, less reliably: with seeds 0, 1 and 2 its IoU lay between 0.3 and 0.85, with concatenation each time between 0.75 and 0.85. A sum can no longer tell which part came from where; concatenation leaves the mixing to the convolution.""",
        ),
    ],
    5,
    "blocks",
)
nb.quiz(
    [
        (
            "How many parameters has a 3x3 convolution from 16 to 32 channels without bias, on images of 128 px?",
            [
                ("4,608", 1, "3 · 3 · 16 · 32. The size of the image does not enter."),
                (
                    "288",
                    0,
                    "3 · 3 · 32 forgets that each output channel has a window for *each* of the 16 input channels.",
                ),
                ("75 million", 0, "That multiplies by the 128 · 128 positions. The window is the same at all of them."),
            ],
        ),
        (
            "An image of 192 px goes into a U-Net of depth 4 with 16 base channels. What is the shape at the bottleneck?",
            [
                (
                    "256 channels, 12 x 12",
                    1,
                    "Halved four times: 192, 96, 48, 24, 12. Doubled four times: 16, 32, 64, 128, 256.",
                ),
                ("64 channels, 12 x 12", 0, "Channels double at each of the four steps: 16 · 16 = 256."),
                (
                    "It stops with an error: 192 is not a power of two.",
                    0,
                    "It need not be. It must be divisible by 2 to the power of the depth, 16.",
                ),
            ],
        ),
        (
            "Why does a U-Net need skip connections to draw a thin border?",
            [
                (
                    "Without them it cannot know *that* there is a border.",
                    0,
                    "It can: what there is, is known at the bottleneck. In the experiment above, the ellipse was found.",
                ),
                (
                    "The encoder gives up position for context; a skip brings position back.",
                    1,
                    "Each pooling keeps the largest of four values and not where it stood.",
                ),
                (
                    "Without them no gradient reaches the encoder.",
                    0,
                    "It does, through the decoder. That it also has a shorter way is a help in training.",
                ),
            ],
        ),
        (
            "Why is there no softmax at the end of the network?",
            [
                (
                    "`cross_entropy` applies it, in logarithms, where nothing underflows.",
                    1,
                    "With a second softmax the loss could never fall below 0.55.",
                ),
                (
                    "For the prediction it changes nothing: `argmax` gives the same.",
                    1,
                    "Softmax keeps the order of the logits.",
                ),
                (
                    "Because the three values of a pixel need not sum to 1 for segmentation.",
                    0,
                    "As probabilities they do; the softmax is only applied elsewhere.",
                ),
            ],
        ),
        (
            "You add skips in place of concatenating them. What changes?",
            [
                (
                    "The first convolution of each `Up` has half as many input channels.",
                    1,
                    "And so half of its weights.",
                ),
                ("The network accepts images of other sizes.", 0, "Height and width must agree for a sum as well."),
                (
                    "The network can no longer treat the two parts differently.",
                    1,
                    "What was added cannot be told apart. (The layers before it can adapt to that.)",
                ),
            ],
        ),
    ]
)
nb.cells[nb.find('scores[skips] = confusion.iou().tolist()')]['metadata'].setdefault('tags',[]).append('long')  # the grader leaves it out
nb.save()
