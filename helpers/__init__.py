"""The code that the notebooks of "U-Net, step by step" share. What to read, in this order:

The walk of an image from file to score:
    datasets/pets.py   where the pairs of photograph and trimap come from (notebook 01);
                       beside it the synthetic pets, and the cache of decoded pairs
    transforms.py      resize, augment, normalize (02)
    data.py            decoded pairs, dataset, splits, loaders (02)
    model.py           the U-Net (03)
    losses.py          what training minimizes (04)
    training.py        configuration, state, one epoch in mixed precision, the whole loop (04)
    checkpoint.py      what training leaves behind, and how it is read (04)
    inference.py       device, precision, evaluation, prediction (00, 04)
    metrics.py         confusion matrix, IoU, Dice, accuracy (05); add your own beside them
    visualization.py   figures of images, masks, predictions and training
    constants.py, files.py   small things that all of them use

Beside it: datasets/folder.py and what checks, imports and exports images of your own; tiling/
(images of any size); studies/ (what notebooks 05 and 07 compare, and the objects in a mask);
teaching/ (checks, explorers, clinic, grading). The commands are train.py, predict.py,
datasets/__main__.py and teaching/__main__.py.
"""

import os

# Threads that wait for work sleep instead of spinning. Alone, a training then runs a little
# slower; beside another one on the same cores, several times faster. The OpenMP library reads
# this once, when torch loads it: so `helpers` is imported before torch, everywhere.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
