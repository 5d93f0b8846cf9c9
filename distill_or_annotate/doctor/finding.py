"""One line of the doctor's report."""

from __future__ import annotations

import dataclasses

OK, NOTE, PROBLEM, BROKEN = "ok", "note", "problem", "broken"
"""`note`: something optional is absent. `problem`: a task or command won't work. `broken`: nor will the quickstart."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found out about one thing.

    Attributes:
      section: heading that it stands under.
      name: what was looked at.
      value: what was found.
      state: `ok`, `note`, `problem` or `broken`.
      fix: what to do about it; empty where there is nothing to mend.

    Raises:
      ValueError: an unknown state, or a problem without a fix.
    """

    section: str
    name: str
    value: str
    state: str = OK
    fix: str = ""

    def __post_init__(self):
        if self.state not in (OK, NOTE, PROBLEM, BROKEN):
            raise ValueError(f"state of finding {self.name!r} is {self.state!r}; allowed: ok, note, problem, broken.")
        if self.state in (PROBLEM, BROKEN) and not self.fix:
            raise ValueError(f"finding {self.name!r} is a {self.state} one without a fix; say what to do.")
