from i4ex import *

nb = NB("05")
nb.objectives(
    [
        "to compute and explain the IoU of a class, Dice and pixel accuracy",
        "to count a confusion matrix, without a loop and without the pixels that do not count",
        "to recognize ways of scoring that flatter or mislead",
        "to say how much an error of one pixel costs, and how much of a result is the choice of test images",
        "to report a number so that others can compare it",
    ]
)
nb.sub(
    "from helpers.checkpoint import find_checkpoint, load_model\n",
    "from helpers.checkpoint import find_checkpoint, load_model\nfrom helpers.checks import metrics as check\n",
)
nb.sub(
    "from helpers.source import PairReader, find_dataset\n",
    "from helpers.quiz import quiz\nfrom helpers.source import PairReader, find_dataset\n",
)
i = nb.find("def scores(matrix)")
t = nb.text(i - 1)
assert t.endswith("its predicted area.")
t = t.replace(
    "**Predict** the IoU of each class. The row sum is a class's true area, the column sum its predicted area.",
    "The row sum of a class is its true area, the column sum its predicted area.\n\n**Exercise 1: IoU.** Write the function that gives the IoU of each class, (C,), from a confusion matrix (C, C). Where 0 is divided by 0, let PyTorch say what it says.",
)
nb.set(i - 1, t)
nb.cells[i:i] = [
    code("def class_iou(matrix):\n    return ...", "exercise"),
    code("check.class_iou(class_iou)", "check"),
    md("""<details><summary>Solution</summary>

```python
def class_iou(matrix):
    intersection = matrix.diag()
    return intersection / (matrix.sum(dim=1) + matrix.sum(dim=0) - intersection)
```

</details>

All three measures in one function. **Predict** the IoU of each class of the four pixels before you run it."""),
]
i = nb.find("def confusion(prediction, truth")
nb.set(i - 1, nb.text(i - 1) + "\n\n**Exercise 2: the confusion matrix.** Write it so, without a loop over pixels.")
body = nb.text(i)
cls, rest = body.split("\n\n\n")
tags = nb.cells[i]["metadata"].get("tags", [])
nb.cells[i : i + 1] = [
    code("def confusion(prediction, truth, num_classes=3):\n    return ...", "exercise"),
    code("check.confusion(confusion)", "check"),
    md(
        "Ours is in the next cell, which is folded in JupyterLab (click the dots). Run it in any case: what follows uses it."
    ),
    code(cls, "solution", jupyter={"source_hidden": True}),
    md("On the four pixels:"),
    code(rest, *tags),
]
nb.exercises(
    "Exercises 1 and 2 are above. Each belongs to the objective with its number.",
    [
        (
            "read a published number",
            "A paper reports an accuracy of 0.90, taken over the one-hot channels of three classes. What was its pixel accuracy?",
            "accuracy = ...",
            "check.pixel_accuracy(accuracy)",
            """```python
accuracy = 1 - (1 - 0.90) * 3 / 2
```

A wrong pixel has two wrong channels of three.""",
        ),
        (
            "off by one pixel",
            "A square object of n x n pixels is predicted in the right shape, but one pixel too far to the right. What is its IoU, as a function of n?",
            "def shifted_iou(n):\n    return ...",
            "check.shifted_iou(shifted_iou)",
            """```python
def shifted_iou(n):
    return (n - 1) / (n + 1)
```

The intersection is n(n - 1), the union n(n + 1). The same shift costs a thin structure most: a border 3 px wide that is off by one pixel across has an IoU of 0.5.""",
        ),
        (
            "an open task: a measure of your own",
            "The *frequency-weighted* IoU weights each class by its share of the true pixels. Compute it from a confusion matrix. Is it above or below the mIoU here, and why would somebody report it?",
            "def weighted_iou(matrix):\n    return ...",
            "check.weighted_iou(weighted_iou)",
            """```python
def weighted_iou(matrix):
    intersection, true = matrix.diag(), matrix.sum(dim=1)
    return (true / matrix.sum() * intersection / (true + matrix.sum(dim=0) - intersection)).sum().item()


print(f"mIoU {result.mean_iou():.3f}, weighted {weighted_iou(result.matrix):.3f}, accuracy {result.pixel_accuracy():.3f}")
```

Above: the large classes weigh most, and the border, with the lowest IoU, weighs least. It cannot exceed the accuracy: a class has IoU = I/U, its union U is at least its true area T, and with T/U at most 1, the sum of (T/N)(I/U) is at most the sum of I/N. Report it, if you like, beside the mIoU and with its name.""",
        ),
    ],
    3,
    "metrics",
)
nb.quiz(
    [
        (
            "Of a class, 30 pixels are right, 10 were missed, and 20 of other classes were called it. What are IoU and Dice?",
            [
                ("IoU 0.50, Dice 0.67", 1, "30 / (30 + 10 + 20), and 60 / (60 + 10 + 20)."),
                ("IoU 0.75, Dice 0.60", 0, "30/40 is recall and 30/50 precision."),
                ("IoU 0.67, Dice 0.50", 0, "Swapped: Dice is never the smaller one."),
            ],
        ),
        (
            'Rows are true classes, columns predicted ones. What does the entry in row "border", column "pet" count?',
            [
                ("Border pixels that were called pet.", 1, "Row: the truth. Column: the answer."),
                ("Pet pixels that were called border.", 0, "That is the entry on the other side of the diagonal."),
                ("Pixels on the edge between pet and border.", 0, "The matrix knows nothing of where a pixel lies."),
            ],
        ),
        (
            "Which of these raise a score without a better network?",
            [
                ("Counting one-hot channels instead of pixels.", 1, "An error then counts two thirds."),
                ("Writing 1 for the IoU of a class that an image does not have.", 1, "Easy images are rewarded."),
                (
                    "One confusion matrix for the whole list.",
                    0,
                    "That is one definition of two; it flatters nobody. Name it.",
                ),
                (
                    "Scoring with batch normalization in `train()` mode.",
                    1,
                    "It can: the statistics of the test batch are used. In any case the score then depends on which images share a batch.",
                ),
            ],
        ),
        (
            "A test list of 189 images gives a mIoU of 0.740, and the bootstrap interval over images is 0.723 to 0.756. What does the interval say?",
            [
                (
                    "How far the score would move with another 189 images of the same kind.",
                    1,
                    "Resampling the images is the bootstrap's stand-in for other lists.",
                ),
                (
                    "How far it would move with another seed of training.",
                    0,
                    "The weights are fixed here. For that, train again.",
                ),
                ("95 % of the images have a mIoU between these values.", 0, "Single images spread far wider."),
            ],
        ),
        (
            "What must stand beside a mIoU so that others can compare theirs?",
            [
                (
                    "The dataset, the list, and the input size or the photo's own.",
                    1,
                    "Figures on different ones cannot share a column.",
                ),
                (
                    "Whether it is one matrix for the list or a mean over images.",
                    1,
                    "The two can differ by several hundredths.",
                ),
                ("The training loss.", 0, "It says little about new images, and depends on the loss."),
                (
                    "What is done with the border, and with absent classes.",
                    1,
                    "Leaving the border out changes the IoU of pet by a tenth here.",
                ),
            ],
        ),
    ]
)
nb.save()
