"""What a notebook's cells show: figures with alt text, and what is made of run records."""

from base64 import b64encode
from collections.abc import Callable
from html import escape
from io import BytesIO
from typing import Any

from helpers.studies.records import load_records

import matplotlib.pyplot as plt
from IPython.display import Markdown
from matplotlib.figure import Figure
from PIL import Image


class Described:
    """A figure as a cell shows it: an <img> whose alt text says what is to be seen.

    JupyterLab and nbconvert drop alt text that stands in an output's metadata, and keep this.

    Args:
        figure: is closed, so that a notebook shows it once.
        text: what somebody who does not see the figure should know of it.
        photos: most of it is images: saved as JPEG, which is smaller; lines stay sharp in PNG.
    """

    def __init__(self, figure: Figure, text: str, photos: bool = False) -> None:
        self.text, self.kind = text, "jpeg" if photos else "png"
        buffer = BytesIO()
        figure.savefig(buffer, format=self.kind)
        plt.close(figure)
        self.picture = buffer.getvalue()

    def _repr_mimebundle_(self, **_options: object) -> dict[str, str]:
        html = as_html(self.picture, self.kind, self.text)
        return {"text/html": html, "text/plain": self.text}


def as_html(picture: bytes, kind: str, text: str) -> str:
    """A picture of a kind ("png", "jpeg") as an <img> with alt text.

    Its size is said: a page keeps the place for it, and does not jump when it is there.
    """
    width, height = Image.open(BytesIO(picture)).size
    data = f"data:image/{kind};base64,{b64encode(picture).decode()}"
    return (
        f'<img alt="{escape(text)}" src="{data}" width="{width}" height="{height}"'
        ' style="max-width: 100%; height: auto">'
    )


def from_records(study: str, make: Callable[[list[dict]], Any]) -> Any:
    """What `make` makes of a study's records; text is shown as Markdown."""
    made = make(load_records(study))
    return Markdown(made) if isinstance(made, str) else made
