"""When a model has learnt nothing: one answer for all, or a score within noise of a floor."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

# Above this share of one and the same answer a model is called constant.
MOST_CONSTANT_SHARE = 0.95
# A score is told apart from a floor when it is higher by more than this many standard errors of the difference.
STANDARD_ERRORS = 2.0


@dataclasses.dataclass(frozen=True)
class FloorDistance:
    """How far a score is above a floor.

    Args:
      floor: the floor's name.
      score: the floor's score, in percent.
      distance: the model's score less the floor's, in points of percent.
      stderr: paired bootstrap standard error of the distance.
    """

    floor: str
    score: float
    distance: float
    stderr: float

    def within_noise(self) -> bool:
        """Tells whether the model cannot be told apart from the floor, or is below it.

        Returns:
          True when the distance is at most `STANDARD_ERRORS` standard errors.
        """
        return self.distance <= STANDARD_ERRORS * self.stderr

    def describe(self) -> str:
        """Returns the distance as a reason.

        Returns:
          `3.1 +- 0.8 below the floor 'lookup' (59.0)` or the like.
        """
        side = "below" if self.distance < 0 else "above"
        return f"{abs(self.distance):.1f} +- {self.stderr:.1f} {side} the floor '{self.floor}' ({self.score:.1f})"


def constant_share(predictions: Sequence[str]) -> float:
    """Returns the share of the most frequent prediction.

    Args:
      predictions: predictions, [n], n at least 1.
    Returns:
      0 to 1; predictions are compared stripped and in upper case.
    """
    return Counter(text.strip().upper() for text in predictions).most_common(1)[0][1] / len(predictions)


def judge(predictions: Sequence[str], invalid_share: float, distances: Sequence[FloorDistance]) -> dict[str, object]:
    """Judges whether a model is degenerate.

    Args:
      predictions: predictions, [n], n at least 1.
      invalid_share: share of outputs outside the task's form, 0 to 1; stated, not judged.
      distances: distance from each floor, at least one.
    Returns:
      `flagged` (bool), `reasons` (sentences, empty when not flagged), `constant_share`, `invalid_share` (0 to 1),
      `floor` (the highest one's name), `distance` and `distance_stderr` (from that one, in points of percent).
    """
    share = constant_share(predictions)
    nearest = max(distances, key=lambda item: item.score)
    reasons = []
    if share > MOST_CONSTANT_SHARE and len(predictions) > 1:
        reasons.append(f"one answer in {100 * share:.1f}% of cases")
    reasons += [item.describe() for item in distances if item.within_noise()]
    return {
        "flagged": bool(reasons),
        "reasons": reasons,
        "constant_share": share,
        "invalid_share": invalid_share,
        "floor": nearest.floor,
        "distance": nearest.distance,
        "distance_stderr": nearest.stderr,
    }
