from i4ex import *

nb = NB("00")
import re

i = next(
    k for k, c in enumerate(nb.cells) if c["cell_type"] == "code" and "from helpers.source" in "".join(c["source"])
)
nb.sub("from helpers.source import", "from helpers.quiz import quiz\nfrom helpers.source import")
nb.quiz(
    [
        (
            "What does a segmentation network answer?",
            [
                ("One class for the whole image.", 0, "That is classification."),
                ("A box around each animal.", 0, "That is detection."),
                ("One class for each pixel.", 1, "As many answers as the image has pixels."),
            ],
        ),
        (
            "Which three classes does this series use?",
            [
                ("Cat, dog, background.", 0, 'Both are "pet" here.'),
                ("Pet, background, border.", 1, "The border is a band along the outline."),
                ("Head, body, tail.", 0, "Parts of the animal are not told apart."),
            ],
        ),
        (
            'The network\'s answer for one pixel of pure noise is "pet", with a probability of 0.97. What does that mean?',
            [
                ("That there is a pet in the noise.", 0, 'It has no way to say "none of these".'),
                (
                    "Little: it answers whatever it is shown, and its probabilities hold, at best, for images like those it was trained on.",
                    1,
                    "Notebook 06 comes back to that.",
                ),
                ("That the network is broken.", 0, "It does what it was built for."),
            ],
        ),
        (
            "What do you need to run the series?",
            [
                ("A GPU.", 0, "Two CPU cores are enough; a GPU makes notebook 04 faster."),
                ("A network connection.", 0, "Not after the set-up. The drawn pets need no download."),
                ("Python and this repository.", 1, "And a few minutes for each notebook."),
            ],
        ),
    ]
)
nb.save()
