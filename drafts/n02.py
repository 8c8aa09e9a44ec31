from i4ex import *

nb = NB("02")
nb.objectives(
    [
        "to fit photos of all shapes into one square, and to say what that costs",
        "to move photo and mask together, and to recognize a mask that was left behind",
        "to resize masks without inventing labels",
        "to fill what has no label with a value that does not count",
        "to split data so that no score is flattered",
    ]
)
nb.sub(
    "from helpers.data import (\n    IGNORE_INDEX,",
    "from helpers.checks import data as check\nfrom helpers.data import (\n    IGNORE_INDEX,",
)
nb.sub(
    "from helpers.source import PairReader, find_dataset\n",
    "from helpers.quiz import quiz\nfrom helpers.source import PairReader, find_dataset\n",
)
nb.sub("Exercise 2 builds the padding.", "Exercise 4 builds the padding.")
nb.exercises(
    "Answer where the dots are, then run the cell below each, which checks. Each exercise belongs to the objective with its number.",
    [
        (
            "predict first",
            "A photo of 500 x 300 pixels is letterboxed to 128 x 128: scaled until its longer side fits, the rest padded. Which share of the square is padding?",
            "share = ...",
            "check.padding_share(share)",
            """```python
share = 1 - 300 / 500
```

The photo fills 128 x 76.8 of 128 x 128.""",
        ),
        (
            "a joint transform of your own",
            "For plain tensors, image (3, H, W) and mask (H, W): mirror both left to right, with a probability of one half, and otherwise change neither. Return both.",
            "def random_flip(image, mask):\n    return ..., ...",
            "check.random_flip(random_flip)",
            """```python
def random_flip(image, mask):
    if torch.rand(1) < 0.5:
        image, mask = image.flip(-1), mask.flip(-1)
    return image, mask
```

One random number for both. The last dimension is the width in both; counting from the end makes the code right for batches, too.""",
        ),
        (
            "what an input size costs",
            "Even a perfect network answers at its input size. Write the function that takes a mask (H, W) to `size` x `size` and back to (H, W), as well as class numbers allow.",
            "def there_and_back(mask, size):\n    return ...",
            "check.there_and_back(there_and_back)",
            """```python
def there_and_back(mask, size):
    low = v2.functional.resize(mask[None], [size, size], InterpolationMode.NEAREST_EXACT)
    return v2.functional.resize(low, list(mask.shape), InterpolationMode.NEAREST_EXACT)[0]


for size in (64, 128):
    masks_of_some = [torch.from_numpy(reader[i][1]) for i in some]
    wrong = [(there_and_back(mask, size) != mask).float().mean() for mask in masks_of_some]
    print(f"{size} px: {sum(wrong) / len(wrong):.1%} of the pixels are lost before any network has answered")
```

Nearly all of them lie along the border, which is thin. Notebook 05 reports scores beside such a ceiling.""",
        ),
        (
            "letterbox",
            "Keep the aspect: scale the photo (PIL) and its mask (NumPy, H x W) until the longer side is `size`, put them in the middle of a square, and fill the rest: gray (124) in the photo, in the mask the value that does not count. Return tensors (3, size, size) and (size, size).",
            "def letterbox(photo, mask, size):\n    return ..., ...",
            "check.letterbox(letterbox)",
            """```python
def letterbox(photo, mask, size):
    scale = size / max(photo.size)
    width, height = (max(1, round(side * scale)) for side in photo.size)
    image = v2.functional.pil_to_tensor(photo)
    image = v2.functional.resize(image, [height, width], InterpolationMode.BILINEAR, antialias=True)
    mask = v2.functional.resize(torch.from_numpy(mask)[None], [height, width], InterpolationMode.NEAREST_EXACT)
    left, top = (size - width) // 2, (size - height) // 2
    padding = [left, top, size - width - left, size - height - top]
    return v2.functional.pad(image, padding, 124), v2.functional.pad(mask, padding, IGNORE_INDEX)[0]


boxed, boxed_mask = letterbox(*reader[int(stretch.argmax())], SIZE)
plot_samples([boxed, small], [boxed_mask, small_mask], ["letterbox", "squashed"])
```

Shapes stay true, but the pet has fewer pixels.""",
        ),
        (
            "an open task: split without leaks",
            "Write the split yourself. `breeds` is a tensor (N,) of breed numbers. Return two tensors of row numbers, training and validation, with a quarter of *each breed* in validation, chosen at random by `seed` and the same again with the same seed.",
            "def split_by_breed(breeds, seed):\n    return ..., ...",
            "check.split_by_breed(split_by_breed)",
            """```python
def split_by_breed(breeds, seed):
    generator = torch.Generator().manual_seed(seed)
    train, val = [], []
    for breed in breeds.unique():
        rows = (breeds == breed).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        held = round(len(rows) / 4)
        val.append(rows[:held])
        train.append(rows[held:])
    return torch.cat(train), torch.cat(val)
```

A generator of its own: the split must not depend on what else drew random numbers before. `helpers.data.split_indices` also deals fairly where breeds have fewer than four pairs.""",
        ),
    ],
    1,
    "data",
)
nb.quiz(
    [
        (
            "This series squashes photos to a square. What does that do?",
            [
                ("It cuts off parts of some pets.", 0, "Cropping does. Squashing keeps the whole photo."),
                (
                    "It changes the proportions of pets, by a different factor in each photo.",
                    1,
                    "A network has to see through that.",
                ),
                ("It spends some input pixels on padding.", 0, "Letterboxing does."),
            ],
        ),
        (
            "You rotate photos in a pipeline, and training ends with good-looking loss curves but a poor score. In a batch, the colored masks lie upright on turned pets. Why was there no error?",
            [
                (
                    "v2 passes anything that it does not know as image or mask through untouched.",
                    1,
                    "Declare masks as `tv_tensors.Mask`, and look at a batch.",
                ),
                (
                    "The loss ignores masks that do not fit.",
                    0,
                    "No loss knows where the pet is. It compares what it is given.",
                ),
                (
                    "Shapes agree, and shapes are all that is checked.",
                    1,
                    "A mask in the wrong place has the right shape and type.",
                ),
            ],
        ),
        (
            "Why must a mask not be resized bilinearly?",
            [
                (
                    "It would be blurred.",
                    0,
                    "Blurred how? The result is worse than blur: after rounding, other classes.",
                ),
                (
                    "Between pet (0) and border (2) the average is 1, which is background.",
                    1,
                    "Class numbers are names. The average of two names is nothing.",
                ),
                ("It is slower.", 0, "Speed is not the problem."),
            ],
        ),
        (
            "Augmentation turned a photo, and its corners are now filled with gray. What belongs in the mask there?",
            [
                (
                    "1, background.",
                    0,
                    "Nobody knows what is there; the pet may go on beyond the edge. And flat gray is an easy pixel to collect.",
                ),
                ("2, border.", 0, "The border class is the outline of a pet."),
                ("255, which loss and metrics skip.", 1, "Ignored pixels teach nothing, right or wrong."),
            ],
        ),
        (
            "Which of these let validation pairs influence training?",
            [
                ("Augmenting first and splitting then.", 1, "Versions of one photo end up on both sides."),
                (
                    "Choosing the number of epochs by the validation score.",
                    0,
                    "That is what validation is for. (It flatters the validation score, which is why there is a test list.)",
                ),
                ("The same photo under two names, in both parts.", 1, "A leak that no assertion on names can see."),
            ],
        ),
    ]
)
nb.save()
