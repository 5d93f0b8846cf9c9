"""The parts that our pages are made of: each page is one file, without network, script or second file."""

import base64
import dataclasses
import html
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

_STYLE = pathlib.Path(__file__).with_name("style.css")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture in both colour schemes.

    Attributes:
      name: file name without its ending.
      light_png: PNG bytes for a light page.
      dark_png: PNG bytes for a dark one.
    """

    name: str
    light_png: bytes
    dark_png: bytes


def document(title: str, parts: Iterable[str]) -> str:
    """Returns a page.

    Args:
      title: its title, escaped.
      parts: HTML of its body, in order.
    """
    head = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>",
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head><body><main>",
    ]
    return "\n".join([*head, *parts, "</main></body></html>"]) + "\n"


def fact_row(facts: Sequence[tuple[str, str, str]]) -> str:
    """Returns a row of numbers in large type.

    Args:
      facts: name, value and a small line below for each.
    """
    cells = (
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}<small>{escaped(more)}</small></dd></div>"
        for name, value, more in facts
    )
    return f'<dl class="facts">{"".join(cells)}</dl>'


def pictured(figure: Figure, alt: str, caption: str) -> str:
    """Returns a figure that follows the reader's colour scheme.

    Args:
      figure: the picture.
      alt: what it shows, for those who cannot see it.
      caption: HTML below it.
    """
    # A PNG says its size in its first chunk: width and height, four bytes each.
    width, height = (int.from_bytes(figure.light_png[i : i + 4], "big") for i in (16, 20))
    return "\n".join([
        '<figure><div class="scroll" tabindex="0"><picture>',
        f'<source media="(prefers-color-scheme: dark)" srcset="{inlined(figure.dark_png)}">',
        f'<img src="{inlined(figure.light_png)}" width="{width}" height="{height}" alt="{escaped(alt)}"></picture>',
        f"</div><figcaption>{caption}</figcaption></figure>",
    ])  # fmt: skip


def bulleted(sentences: Iterable[str]) -> str:
    """Returns a list.

    Args:
      sentences: its items, plain text.
    """
    return f"<ul>{''.join(f'<li>{escaped(sentence)}</li>' for sentence in sentences)}</ul>"


def inlined(png: bytes) -> str:
    """Returns a picture as an address that holds it.

    Args:
      png: the picture.
    """
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def escaped(text: Any) -> str:
    """Returns text for use in HTML, attributes included.

    Args:
      text: anything with a text form.
    """
    return html.escape(str(text), quote=True)
