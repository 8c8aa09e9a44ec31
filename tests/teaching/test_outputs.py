from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

from helpers.studies.records import load_records
from helpers.teaching.outputs import Described, from_records

import matplotlib.pyplot as plt
import pytest
from PIL import Image


@pytest.mark.parametrize("photos, kind", [(False, "PNG"), (True, "JPEG")])
def test_a_figure_is_shown_once_with_its_words(photos, kind):
    figure, ax = plt.subplots(figsize=(3, 2), dpi=100)
    ax.plot([1, 2])
    shown = Described(figure, 'A line that "rises" < 3 & ends', photos)._repr_mimebundle_()

    assert not plt.fignum_exists(figure.number)
    assert shown["text/plain"] == 'A line that "rises" < 3 & ends'
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(shown["text/html"])
    [(tag, image)] = tags
    assert tag == "img" and image["alt"] == shown["text/plain"]
    head, data = image["src"].split(",")
    assert head == f"data:image/{kind.lower()};base64"
    picture = Image.open(BytesIO(b64decode(data)))
    assert picture.format == kind and picture.size == (300, 200)


def test_what_is_made_of_records():
    """Text becomes Markdown; anything else, and an error, is as it is."""
    shown = from_records("baselines", lambda records: f"{len(records)} **records**")
    assert shown.data == f"{len(load_records('baselines'))} **records**"
    assert from_records("baselines", len) == len(load_records("baselines"))
    with pytest.raises(FileNotFoundError, match="no such study"):
        from_records("no such study", len)
