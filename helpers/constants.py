"""Numbers and names that the whole package agrees on."""

IGNORE_INDEX = 255  # a target pixel of this value counts neither in the loss nor in the metrics

# The convention of the field: statistics of ImageNet's RGB channels, for images in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# The Oxford-IIIT Pet dataset's classes, and the default wherever a dataset does not bring its own.
CLASS_NAMES = ("pet", "background", "border")
CLASS_COLORS = ("#D55E00", "#0072B2", "#F0E442")  # Okabe and Ito 2008: for the color-blind, too
