"""Every link from one page to another, or to a heading of it, leads somewhere."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]


def _links(page):
    """The page's links within the project, images too: `(file, anchor)`."""
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link.partition("#")[::2] for link in links if "://" not in link]


def _anchors(page):
    """The names that GitHub gives the headings: lower case, spaces to dashes, no other punctuation."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_to_a_heading_that_are_there(page):
    lost = []
    for name, anchor in _links(page):
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            lost.append(f"{name}#{anchor}")
    assert lost == []


def test_the_readme_leads_to_the_results():
    assert ("docs/results.md", "") in _links(_ROOT / "README.md")
