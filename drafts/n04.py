from i4ex import *

nb = NB("04")
nb.objectives(
    [
        "to write a training step, and to say what each of its lines does",
        "to say what the loss should be before training starts, and check it",
        "to read loss and mIoU curves, and to choose a checkpoint without looking at the test list",
        "to say what a GPU changes and what it does not",
    ]
)
nb.sub(
    "from helpers.checkpoint import load_model, read_checkpoint\n",
    "from helpers.checkpoint import load_model, read_checkpoint\nfrom helpers.checks import training as check\n",
)
nb.sub(
    "from helpers.source import find_dataset\n",
    "from helpers.quiz import quiz\nfrom helpers.source import find_dataset\n",
)
i = nb.find("def training_step(images, masks)")
nb.set(
    i - 1,
    nb.text(i - 1)
    + "\n\n**Exercise 1: the step.** Write it: take the step, and return the loss as a plain number. Pixels with the value `IGNORE_INDEX` do not count.",
)
body = nb.text(i).replace("training_step(images, masks)", "training_step(model, optimizer, images, masks)")
cls = body[body.index("def training_step") :]
opt = body[: body.index("\n\n")]
nb.cells[i : i + 1] = [
    code("def training_step(model, optimizer, images, masks):\n    return ...", "exercise"),
    code("check.training_step(training_step)", "check"),
    md(
        "Ours is in the next cell, which is folded in JupyterLab (click the dots). Run it in any case: what follows uses it."
    ),
    code(cls, "solution", jupyter={"source_hidden": True}),
]
nb.sub(
    "losses = [training_step(images, masks) for _ in range(50)]",
    "optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)\nlosses = [training_step(model, optimizer, images, masks) for _ in range(50)]",
)
nb.sub(
    "Notebook [07](07_what_makes_it_work.ipynb) measures what each is worth, exercise 2 lets you try.",
    "Notebook [07](07_what_makes_it_work.ipynb) measures what each is worth, and lets you try.",
)
nb.exercises(
    "Exercise 1 is above. Each belongs to the objective with its number.",
    [
        (
            "predict first",
            "Instead of three classes, the network is to tell the 37 breeds apart, pixel by pixel. What is its loss before training?",
            "loss = ...",
            "check.first_loss(loss)",
            """```python
loss = math.log(37)
```

Each class gets the probability 1/37, whatever the truth is.""",
        ),
        (
            "the checkpoint",
            "Write the function that gets a `history` like that of `fit`, a dictionary of lists with one value per epoch, and returns the number of the epoch whose weights this series keeps. The first epoch has the number 1.",
            "def best_epoch(history):\n    return ...",
            "check.best_epoch(best_epoch)",
            """```python
def best_epoch(history):
    return history["val_miou"].index(max(history["val_miou"])) + 1


print(best_epoch(history), "as noted in the checkpoint:", about["epoch"])
```

Not the lowest validation loss: the score is the mIoU, and the two need not agree. A network that gets surer of its errors has a rising loss and unchanged answers.""",
        ),
        (
            "an open task: gradient accumulation",
            "Your GPU holds four images, but you want the step of a batch of sixteen. Write a step that shows the network `len(images) // parts` images at a time and moves the weights once, by the gradient of the whole batch.",
            "def accumulated_step(model, optimizer, images, masks, parts):\n    return ...",
            "check.accumulated_step(accumulated_step)",
            """```python
def accumulated_step(model, optimizer, images, masks, parts):
    optimizer.zero_grad()
    for some_images, some_masks in zip(images.chunk(parts), masks.chunk(parts)):
        loss = F.cross_entropy(model(some_images), some_masks, ignore_index=IGNORE_INDEX)
        (loss / parts).backward()  # gradients add up: that is the point here
    optimizer.step()
```

With our U-Net it is not exactly the same step: batch normalization sees four images at a time instead of sixteen, and the mean over pixels is taken in each part, which differs where the parts have different numbers of ignored pixels.""",
        ),
    ],
    2,
    "training",
)
nb.quiz(
    [
        (
            "You forget `optimizer.zero_grad()`. What happens?",
            [
                (
                    "PyTorch raises an error at the second `backward()`.",
                    0,
                    "It does not: adding gradients up is a feature.",
                ),
                (
                    "Each step also uses the gradients of all steps before.",
                    1,
                    "Gradients add up in `.grad` until they are cleared.",
                ),
                ("The weights do not change.", 0, "They do, by too much and in old directions."),
            ],
        ),
        (
            "The first loss of a network with three classes is 8.3. What could be the cause?",
            [
                (
                    "The last layer or the images are badly scaled: the logits are far from zero.",
                    1,
                    "Logits of plus and minus 10 make a network that is sure and mostly wrong.",
                ),
                ("Nothing: losses start high.", 0, "One that knows nothing starts near ln 3 = 1.10."),
                ("The labels are wrong.", 0, "A network with equal probabilities loses ln 3 on any labels."),
            ],
        ),
        (
            "From epoch 40 on, the training loss goes on falling, the validation loss rises, and the validation mIoU stays as it is. What do you do?",
            [
                (
                    "Keep the weights with the best validation mIoU, which `fit` has saved.",
                    1,
                    "They are in `best.pt`, whatever came after.",
                ),
                ("Look at the test score to decide when to stop.", 0, "Then it is no test score any more."),
                (
                    "Expect more from stronger augmentation or more pairs than from more epochs.",
                    1,
                    "The network learns pairs by heart; that is what both act against.",
                ),
            ],
        ),
        (
            "You move the same training from a CPU to a GPU. What may change?",
            [
                ("The time.", 1, "That is the point."),
                (
                    "The last digits of losses and scores.",
                    1,
                    "Sums are added in another order, and some in no fixed order.",
                ),
                (
                    "The best learning rate, by a factor of 10.",
                    0,
                    "The mathematics is the same. (Another batch size, because there is room for it, may want another rate.)",
                ),
            ],
        ),
    ]
)
nb.cells[nb.find('history = fit(model, train, val, config')]['metadata'].setdefault('tags',[]).append('long')  # the grader leaves it out
nb.save()
