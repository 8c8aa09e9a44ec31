from i4ex import *

nb = NB("06")
nb.objectives(
    [
        "to read a reliability diagram, and to say what calibration means",
        "to read an error map",
        "to check a suspicion, or an improvement, on all images and on the right list",
        "to find the cases where a network is sure and wrong, and to say what each level contributes",
    ]
)
nb.sub(
    "from helpers.checkpoint import find_checkpoint, load_model\n",
    "from helpers.checkpoint import find_checkpoint, load_model\nfrom helpers.checks import analysis as check\n",
)
nb.sub(
    "from helpers.source import find_dataset\n",
    "from helpers.quiz import quiz\nfrom helpers.source import find_dataset\n",
)
nb.exercises(
    "Each belongs to the objective with its number.",
    [
        (
            "predict first",
            "A quarter of all pixels lies in a bin whose mean confidence is 0.90; 78 % of them are right. How much does this bin add to the expected calibration error?",
            "contribution = ...",
            "check.calibration_part(contribution)",
            """```python
contribution = 0.25 * abs(0.90 - 0.78)
```""",
        ),
        (
            "an error map",
            "From answers and truth, both (N, H, W), make a map that is True where an answer is wrong, and False where it is right or does not count.",
            "def error_map(answers, truth):\n    return ...",
            "check.error_map(error_map)",
            """```python
def error_map(answers, truth):
    return (answers != truth) & (truth != IGNORE_INDEX)
```""",
        ),
        (
            "only the largest piece",
            "Pets are usually in one piece, but predictions have crumbs. Take one answer (H, W) and return it with all pet and border pixels outside the largest connected region turned into background. Pet and border together make a region. `scipy.ndimage.label` numbers the regions of a mask of True and False.",
            "def largest_piece(answer):\n    return ...",
            "check.largest_piece(largest_piece)",
            """```python
from scipy import ndimage


def largest_piece(answer):
    cleaned = answer.clone()
    regions, count = ndimage.label(answer != 1)
    if count > 1:
        largest = 1 + np.bincount(regions.ravel())[1:].argmax()
        cleaned[torch.from_numpy((regions != largest) & (regions > 0))] = 1
    return cleaned


before, after = ConfusionMatrix(), ConfusionMatrix()
val_answers = val_logits.argmax(dim=1)
before.update(val_answers, val_masks)
after.update(torch.stack([largest_piece(answer) for answer in val_answers]), val_masks)
print(f"validation mIoU {before.mean_iou():.4f} -> {after.mean_iou():.4f}")
```

Whether it helps is decided on the validation pairs: a choice made on the test list is training on it. It hurts where something in front of the pet cuts it in two, or where there are two pets.""",
        ),
        (
            "an open task: sure and wrong",
            "Give each image the share of all its pixels that are wrong with a confidence above `least`: from `confidence`, `answers` and `truth`, each (N, H, W), to (N,). Then look at the images with the largest shares. Is the network to blame, or the mask?",
            "def sure_and_wrong(confidence, answers, truth, least):\n    return ...",
            "check.sure_and_wrong(sure_and_wrong)",
            """```python
def sure_and_wrong(confidence, answers, truth, least):
    return ((confidence > least) & (answers != truth)).float().mean(dim=(1, 2))


show(sure_and_wrong(confidence, answers, masks, 0.95).argsort(descending=True)[:2])
```

Look at where the errors lie. A whole part of the pet, or a cushion taken for one: the network. A line along the outline, or a hole between the legs that the mask has filled: the mask, or the convention for the border. On the drawn pets the masks follow a rule and are right by definition, so there it is the network.""",
        ),
    ],
    1,
    "analysis",
)
nb.quiz(
    [
        (
            "Of all pixels with a confidence near 0.95, 85 % are right. What follows?",
            [
                ("The network is too sure of itself there.", 1, "Below the diagonal of the reliability diagram."),
                (
                    "A temperature above 1 would bring the two closer and change no answer.",
                    1,
                    "Dividing all logits by the same number keeps their order.",
                ),
                (
                    "Its mIoU is about 0.85.",
                    0,
                    "Calibration and score are different matters: a network that knows nothing and says so is well calibrated.",
                ),
            ],
        ),
        (
            "In an error map, a thin line of errors follows the whole outline of a pet. What is the likeliest reading?",
            [
                ("The network has mistaken the animal.", 0, "Then a whole region would be wrong."),
                (
                    "The network and the mask disagree by a pixel or so about where the border lies.",
                    1,
                    "Usual, also in the best images, and uncertain in the mask, too.",
                ),
                ("The photo was decoded wrongly.", 0, "That would not follow the outline."),
            ],
        ),
        (
            "Three of the worst images show small pets. What do you do with that?",
            [
                (
                    "Write that small pets are the cause.",
                    0,
                    "Three images prove nothing, and a correlation would not prove a cause.",
                ),
                (
                    "Plot the score against the size for all images, and compare the correlation with chance.",
                    1,
                    "And look for what else goes with size, such as the share of outline pixels.",
                ),
                (
                    "Change the network until these three improve, and report the test score.",
                    0,
                    "After choices made on test images, the test score is none.",
                ),
            ],
        ),
        (
            "In a trained network you replace one skip by zeros, and the mIoU collapses. What do you know?",
            [
                ("This network's decoder relies on that skip.", 1, "It has learned to."),
                (
                    "A network trained without that skip would be as bad.",
                    0,
                    "It might learn to do without. That takes another training to find out: notebook 07.",
                ),
                (
                    "The skip at full resolution is always the most important.",
                    0,
                    "It was not, in the networks tried here.",
                ),
            ],
        ),
    ]
)
nb.save()
