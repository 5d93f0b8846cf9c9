"""How much of the data a task's lengths cut off."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from distill_or_annotate.preprocess.rows import Row


@dataclasses.dataclass(frozen=True)
class Truncations:
    """Count of rows that are longer than the task allows, end-of-sequence token included.

    Args:
      n_rows: rows counted.
      input_tokens: longest input that is kept whole.
      target_tokens: longest target that is kept whole.
      n_sources_truncated: rows whose input is longer.
      n_targets_truncated: rows whose target is longer.
      longest_source_tokens: longest input seen.
      longest_target_tokens: longest target seen.
    """

    n_rows: int
    input_tokens: int
    target_tokens: int
    n_sources_truncated: int
    n_targets_truncated: int
    longest_source_tokens: int
    longest_target_tokens: int

    def summary(self) -> str:
        """Returns one line for a log or a report.

        Returns:
          Counts and shares, in percent.
        """
        if not self.n_rows:
            return "no rows"
        source, target = (100 * n / self.n_rows for n in (self.n_sources_truncated, self.n_targets_truncated))
        return (
            f"{self.n_rows} rows at {self.input_tokens}/{self.target_tokens} tokens: "
            f"{self.n_sources_truncated} sources truncated ({source:.1f}%, longest {self.longest_source_tokens}), "
            f"{self.n_targets_truncated} targets truncated ({target:.1f}%, longest {self.longest_target_tokens})"
        )


def count_truncations(
    rows: Iterable[Row],
    encode: Callable[[str], Sequence[int]],
    input_tokens: int,
    target_tokens: int,
    prefix: str = "",
) -> Truncations:
    """Counts the rows that do not fit.

    Args:
      rows: rows with `source` and `target`.
      encode: a vocabulary's text to ids, without end of sequence (`vocabulary.encode` of SeqIO).
      input_tokens: the task's input length, end of sequence included; at least 1.
      target_tokens: the task's target length, end of sequence included; at least 1.
      prefix: what the task puts before each source.
    Returns:
      The counts.
    Raises:
      ValueError: a length below 1.
    """
    for name, value in (("input_tokens", input_tokens), ("target_tokens", target_tokens)):
        if value < 1:
            raise ValueError(f"{name}: {value} is below 1; a sequence holds at least its end")
    sources, targets = [], []
    for row in rows:
        sources.append(len(encode(prefix + row["source"])) + 1)
        targets.append(len(encode(row["target"])) + 1)
    return Truncations(
        n_rows=len(sources),
        input_tokens=input_tokens,
        target_tokens=target_tokens,
        n_sources_truncated=sum(n > input_tokens for n in sources),
        n_targets_truncated=sum(n > target_tokens for n in targets),
        longest_source_tokens=max(sources, default=0),
        longest_target_tokens=max(targets, default=0),
    )
