"""The report of a demonstration: one HTML file that needs nothing beside it."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from . import plots

__all__ = ["Section", "data_uri", "render"]


@dataclass(frozen=True)
class Section:
    """A figure with what it shows: ``text`` above, ``caption`` below; ``name`` is its file's."""

    name: str
    title: str
    text: str
    caption: str
    figure: Figure


def data_uri(figure: Figure) -> str:
    """The figure as an SVG image inside a URI."""
    return "data:image/svg+xml;base64," + b64encode(plots.svg(figure).encode()).decode()


def render(result: Mapping[str, Any], headline: Sequence[tuple[str, str]],
           sections: Sequence[Section]) -> str:
    """HTML text of ``result`` (the content of the JSON file beside it).

    ``headline`` is (value, label) of the large numbers at the top. A name that the template needs
    and ``result`` lacks is an error, not an empty space.
    """
    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)
    template = environment.from_string(
        files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    figures = [{"title": section.title, "text": section.text, "caption": section.caption,
                "image": data_uri(section.figure)} for section in sections]
    return template.render(**result, headline=headline, sections=figures)
