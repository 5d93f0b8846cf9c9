"""Stanceosaurus: a JSON array of threads, each a claim with a root tweet and, recursively, the replies to it.

  {"claim": "...", "id": 7, "source": "...", "root_tweet": {"id": 1, "text": "...", "stance": "Refuting",
   "leaning": "", "children": [{"id": 2, "text": "...", "stance": "Querying", "leaning": "", "children": []}]}}

Each tweet is a row `claim: CLAIM tweet: TWEET [SEP] PARENT`, its stance the target; a root has no parent. Claim, tweet
and parent are masked and set as in the released rows (`tweet_text`). Released rows end in ` [SEP] TITLE` where a tweet
links to a page; the titles are not in this form. The published files have their texts blanked: blank and deleted
tweets are left out.
"""

import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from distill_or_annotate.preprocess.official.labels import LABELS
from distill_or_annotate.preprocess.official.reading import (
    Collector,
    OfficialRow,
    Paths,
    Reading,
    clean,
    known_label,
    needed,
    usable,
)
from distill_or_annotate.preprocess.official.tweet_text import released_words
from distill_or_annotate.preprocess.rows import RowError

DELETED = "[DELETED]"
BLANK = "tweet text blank or deleted"

_SPACE = re.compile(r"[\s,]*")


def read(paths: Paths, on_bad_row: str = "stop", labelled: bool = True) -> Reading:
    """Reads threads.

    Args:
      paths: the files.
      on_bad_row: `stop` or `skip`.
      labelled: whether each tweet needs a stance; without, targets are empty.
    Returns:
      One row a tweet that has a text, grouped by claim.
    Raises:
      RowError: a malformed thread or an unknown stance, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for path in paths:
        for line, thread in _threads(path, collector):
            try:
                claim = usable(path, line, "claim", needed(path, line, thread, "claim"))
                root = needed(path, line, thread, "root_tweet")
            except RowError as error:
                collector.bad(error)
                continue
            for tweet, parent in _tweets(root):
                try:
                    _add(collector, path, line, claim, tweet, parent, labelled)
                except RowError as error:
                    collector.bad(error)
    return collector.reading()


def _add(collector, path, line, claim, tweet, parent, labelled) -> None:
    if not isinstance(tweet, dict):
        raise RowError(path, line, "tweet", f"an object is needed, received {type(tweet).__name__}")
    if not _text(tweet):
        collector.leave_out(BLANK)
        return
    source = f"claim: {released_words(claim)} tweet: {released_words(usable(path, line, 'text', tweet['text']))}"
    if parent is not None and _text(parent):
        source += f" [SEP] {released_words(usable(path, line, 'text', parent['text']))}"
    elif parent is not None:
        collector.note("parent tweet blank: row without context")
    stance = ""
    if labelled:
        stance = usable(path, line, "stance", needed(path, line, tweet, "stance"))
        known_label(path, line, "stance", stance, LABELS["stanceosaurus"])
    collector.add(OfficialRow(source, stance, claim))


def _text(tweet: dict[str, Any]) -> str:
    text = tweet.get("text")
    text = clean(text) if isinstance(text, str) else ""
    return "" if text == DELETED else text


def _tweets(root: Any) -> Iterator[tuple[Any, dict | None]]:
    # A stack of one's own: threads can be deeper than Python's recursion allows.
    waiting: list[tuple[Any, dict | None]] = [(root, None)]
    while waiting:
        tweet, parent = waiting.pop()
        yield tweet, parent
        children = tweet.get("children") if isinstance(tweet, dict) else None
        if isinstance(children, list):
            waiting += [(child, tweet) for child in reversed(children)]


def _threads(path: str | os.PathLike, collector: Collector) -> Iterator[tuple[int, dict[str, Any]]]:
    """Walks the array object by object, so that each has its line and a broken one takes no other along."""
    text = pathlib.Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    decoder = json.JSONDecoder()
    place = _SPACE.match(text).end()
    if text[place : place + 1] != "[":
        collector.bad(
            RowError(path, 1, "json", f"an array of threads is needed, received {text[place : place + 40]!r}")
        )
        return
    line, counted = 1, 0
    place = _SPACE.match(text, place + 1).end()
    while place < len(text) and text[place] != "]":
        line, counted = line + text.count("\n", counted, place), place
        try:
            thread, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            collector.bad(RowError(path, line, "json", f"not JSON ({error}): {text[place : place + 60]!r}"))
            following = text.find('\n{"claim"', place)
            end = len(text) if following < 0 else following
        else:
            if isinstance(thread, dict):
                yield line, thread
            else:
                collector.bad(RowError(path, line, "json", f"a thread is needed, received {type(thread).__name__}"))
        place = _SPACE.match(text, end).end()
