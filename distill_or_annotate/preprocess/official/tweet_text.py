"""Tweets in the shape of the released Stanceosaurus rows: names and addresses masked, words and marks apart.

Released: `@USER they do n't say COVID - 19 " leaks " ... see HTTPURL`. The rules were read off the released rows and
published claims. Released rows also spell most emoji out (`:folded_hands:`), which needs a list of names and is not
done here.
"""

import re

_TOKEN = re.compile(
    r"""
      (?:https?://|www\.)\S+?(?=[.,;:!?)\]'"”]*(?:\s|$))   # an address, without the marks behind it
    | (?<![\w@])@\w+                               # a user's name
    | \#+\w+(?:[\w'-]*\w)?                         # a hashtag
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+                 # a mail address
    | [A-Za-z][\w-]+(?:\.[A-Za-z]{2,})+            # a site, or sentences without a space between
    | [+-]?\d+[,/.:-]\d+[+-]?                      # 1,200  3.5  1/3  17:30  2020-21
    | [^\W\d_](?:[^\W\d_]|['_-])+[^\W\d_]          # forty-three, don't
    | \w+
    | \.(?:\s*\.)+                                 # dots, at least two
    | :[a-z][a-z_-]+:                              # an emoji by name
    | [<:;][-']?[()\[/DP3]|[-=]>|<-                # a face, a heart, an arrow
    | [^\w\s][\U0001F3FB-\U0001F3FF\u200d\ufe0f\u2640\u2642]+   # an emoji with what belongs to it
    | \S
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Released rows keep CHINA'S whole: only small letters are cut off.
_CONTRACTION = re.compile(r"(?<=\w)(n't|'(?:s|m|re|ve|ll|d))$")
_WHOLE = ("can't", "ain't")
_LONG_RUN = re.compile(r"([^\w\s]|_)\1{3,}")


def released_words(text: str) -> str:
    """Writes a tweet or claim as released rows write them.

    Args:
      text: the text as published.
    Returns:
      Words, marks, @USER and HTTPURL with single spaces between.
    """
    text = _LONG_RUN.sub(r"\1\1\1", text.replace("’", "'").replace("…", "..."))
    return " ".join(_word(token) for token in _TOKEN.findall(text))


def _word(token: str) -> str:
    lower = token.lower()
    if lower.startswith("@") and len(token) > 1:
        return "@USER"
    if lower.startswith(("http", "www.")):
        return "HTTPURL"
    if lower == "cannot":
        return f"{token[:3]} {token[3:]}"
    if token in _WHOLE:
        return token
    return _CONTRACTION.sub(r" \1", token)
