from i4ex import *

nb = NB("01")
nb.objectives(
    [
        "to say what score a model must beat before it deserves attention",
        "to read a trimap, and to recognize a broken one",
        "to describe a segmentation dataset by the numbers that matter",
        "to explain what the border class is, and what it does to a score",
    ]
)
nb.sub(
    "from helpers.data import CLASS_COLORS, CLASS_NAMES, decode\n",
    "from helpers.checks import data as check\nfrom helpers.data import CLASS_COLORS, CLASS_NAMES, decode\n",
)
nb.sub(
    "from helpers.metrics import ConfusionMatrix\n",
    "from helpers.metrics import ConfusionMatrix\nfrom helpers.quiz import quiz\n",
)
nb.exercises(
    "Put your answer where the dots are and run the cell and the one below it, which checks. Each exercise belongs to the objective with its number.",
    [
        (
            "predict first",
            'A model answers "pet" for every pixel. From the shares above and without code: what is its mIoU on the test list, to within 0.02?',
            "miou = ...",
            "check.all_pet(miou, test_pairs.masks)",
            """```python
miou = shares[0].item() / 3
```

Every true pet pixel is found, so the intersection is the pet's area; the union is the whole image. The IoU of pet is therefore the share of pet, that of the other two classes 0, and the mean a third of the share. (The shares are those of `trainval`; the test list has nearly the same.)""",
        ),
        (
            "a safe reader",
            "Write the function that turns a trimap (a NumPy array, `uint8`, values 1 to 3) into labels for `cross_entropy`. A trimap with any other value must raise a `ValueError` whose message names the value.",
            "def to_labels(trimap):\n    return ...",
            "check.to_labels(to_labels)",
            """```python
def to_labels(trimap):
    bad = set(np.unique(trimap).tolist()) - {1, 2, 3}
    if bad:
        raise ValueError(f"a trimap holds 1, 2 and 3; this one also holds {sorted(bad)}")
    return torch.from_numpy(trimap).long() - 1
```

Convert first, subtract then: in `uint8`, 0 - 1 is 255.""",
        ),
        (
            "class weights",
            "A loss can weigh classes so that rare ones count more. From the shares of the classes, a tensor of three numbers that sum to 1, compute weights that are proportional to one over the share and average to 1 over all *pixels*.",
            "def class_weights(shares):\n    return ...",
            "check.class_weights(class_weights)",
            """```python
def class_weights(shares):
    return 1 / (len(shares) * shares)


print(dict(zip(CLASS_NAMES, class_weights(shares).tolist())))
```

The average over pixels is the sum of share times weight: three times 1/3. Each class now contributes the same total weight. Such weights make a model predict the border more often, at the price of bands that are too wide.""",
        ),
        (
            "a better blind guess",
            "Draw one mask, SIZE x SIZE, that scores a higher mIoU on all of `trainval` than the mean mask does. Which class does the mean mask give up?",
            "guess = ...  # a tensor (SIZE, SIZE) of the classes 0, 1 and 2",
            "check.blind_guess(guess, pairs)",
            """```python
guess = torch.where(frequency[0] > 0.4, 0, torch.where(frequency[0] > 0.3, 2, 1))
```

`frequency[0]` says how many of the masks have pet at a position. Where more than 40 % do, guess pet; around that, border; else background. The mean mask has no border. A band around the likely place of a pet meets some, by luck of position alone, and an IoU of 0.1 in place of 0 is worth 0.03 of the mean. An ellipse with a band does as well. Choose the thresholds on `trainval`: chosen on `test`, they would be fitted to those pairs, and the score there would say nothing about new ones.""",
        ),
    ],
    1,
    "data",
)
nb.quiz(
    [
        (
            "A network scores an accuracy of 0.60 on a list where 59 % of the pixels are background. What do you conclude?",
            [
                (
                    "It has learned a little.",
                    0,
                    'Answering "background" everywhere gives 0.59 without looking at a photo. One point more proves nothing.',
                ),
                ("It is hardly better than no model at all.", 1, "That is what baselines are for: 0.59 costs nothing."),
                ("It classifies 60 % of the images correctly.", 0, "Pixels are counted here, not images."),
            ],
        ),
        (
            "You open a trimap in an image viewer and it is black. What is true?",
            [
                ("The file is damaged.", 0, "It holds 1, 2 and 3, which are three very dark grays."),
                (
                    "It holds class numbers, which a viewer shows as brightness.",
                    1,
                    "Stretch 1 to 3 over the range from black to white, and you see it.",
                ),
                (
                    "It should be brightened and saved again.",
                    0,
                    'Then the values are no class numbers any more: that is the accident of "What bad data looks like".',
                ),
            ],
        ),
        (
            "Why does it matter that the border is the rarest class?",
            [
                (
                    "A model that ignores it loses little accuracy.",
                    1,
                    "Accuracy counts pixels, and the border has few.",
                ),
                (
                    "A third of the mIoU hangs on it all the same.",
                    1,
                    "Each class is a third of the mean, however many pixels it has.",
                ),
                (
                    "It should be removed from the masks.",
                    0,
                    "One may ignore it, and some do. That is a decision about the task and not a consequence of its being rare.",
                ),
            ],
        ),
        (
            "What is the border class of these trimaps?",
            [
                ("The outermost pixels of the photo.", 0, "It follows the outline of the pet, wherever that is."),
                ("A line one pixel wide between pet and background.", 0, "It is a band, several pixels wide."),
                (
                    "A band along the outline that the annotators left open.",
                    1,
                    '"Not classified" is its official name. Its width is a convention.',
                ),
            ],
        ),
    ]
)
nb.save()
