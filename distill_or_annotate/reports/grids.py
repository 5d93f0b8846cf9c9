"""A table as data, drawn as HTML and as Markdown."""

import dataclasses
from collections.abc import Sequence

from distill_or_annotate.reports.parts import bulleted, escaped


@dataclasses.dataclass(frozen=True)
class Entry:
    """One field of a table.

    Attributes:
      text: what it says.
      small: a second line, in small type.
      is_best: whether it is set in bold.
      is_ours: whether it is a number of ours beside published ones.
    """

    text: str
    small: str = ""
    is_best: bool = False
    is_ours: bool = False


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
      title: its heading.
      heads: heads of its columns, the first that of the rows' names.
      rows: name of a row and its fields, one per column after the first; without fields it heads those that follow.
      caption: what the numbers are.
      notes: what a reader must know, one sentence each.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]
    caption: str = ""
    notes: tuple[str, ...] = ()


def html_of(grid: Grid, level: int = 3) -> str:
    """Returns a table as HTML, scrolling sideways within the page where it is wide.

    Args:
      grid: the table.
      level: of its heading, 2 to 4.
    """
    heads = "".join(f'<th scope="col">{escaped(head)}</th>' for head in grid.heads)
    rows = "".join(_row(name, entries, len(grid.heads)) for name, entries in grid.rows)
    # Beside the table, not in it: a caption inside would be as wide as what scrolls.
    caption = f'<p class="caption">{escaped(grid.caption)}</p>' if grid.caption else ""
    label = f' aria-label="{escaped(grid.title)}"' if grid.title else ""
    table = f"<table{label}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    notes = f'<div class="note">{bulleted(grid.notes)}</div>' if grid.notes else ""
    title = f"<h{level}>{escaped(grid.title)}</h{level}>" if grid.title else ""
    return f'{title}{caption}<div class="scroll" tabindex="0">{table}</div>{notes}'


def markdown_of(grid: Grid, level: int = 3) -> str:
    """Returns a table as Markdown.

    Args:
      grid: the table.
      level: of its heading.
    """
    lines = [f"{'#' * level} {grid.title}", ""] if grid.title else []
    lines += [grid.caption, ""] if grid.caption else []
    lines += [_line(grid.heads), "|---|" + "---:|" * (len(grid.heads) - 1)]
    for name, entries in grid.rows:
        texts = [_text(entry) for entry in entries] or [""] * (len(grid.heads) - 1)
        lines.append(_line([name if entries else f"**{name}**", *texts]))
    lines += ["", *(f"- {note}" for note in grid.notes)] if grid.notes else []
    return "\n".join(lines) + "\n"


def _row(name: str, entries: Sequence[Entry], width: int) -> str:
    if not entries:
        return f'<tr class="group"><th scope="rowgroup" colspan="{width}">{escaped(name)}</th></tr>'
    return f'<tr><th scope="row">{escaped(name)}</th>{"".join(map(_field, entries))}</tr>'


def _field(entry: Entry) -> str:
    classes = " ".join(name for name, holds in (("best", entry.is_best), ("ours", entry.is_ours)) if holds)
    small = f"<small>{escaped(entry.small)}</small>" if entry.small else ""
    return f"<td{f' class={chr(34)}{classes}{chr(34)}' if classes else ''}>{escaped(entry.text)}{small}</td>"


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _text(entry: Entry) -> str:
    text = f"**{entry.text}**" if entry.is_best else entry.text
    return f"{text} ({entry.small})" if entry.small else text
