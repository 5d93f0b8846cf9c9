"""The three divisions behind the cost columns of Tables 2 and 11."""

import math

# 26 / 0.26 is 99.999... in binary; a billionth of a unit is far below a cent and above such errors.
_TOLERANCE = 1e-9


class CostError(ValueError):
    """Raised for quantities no cost can be computed from."""


def check_usd(name: str, usd: float, *, positive: bool = False) -> float:
    """Returns `usd` as float.

    Args:
      name: the field's name, for the message.
      usd: dollars, finite and at least 0.
      positive: whether 0 is refused too.

    Raises:
      CostError: not a finite number in range.
    """
    low = "above 0" if positive else "at least 0"
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not math.isfinite(usd):
        raise CostError(f"{name}: received {usd!r}; it must be a finite number of dollars, {low}.")
    if usd < 0 or (positive and usd == 0):
        raise CostError(f"{name}: received {usd!r}; it must be {low} dollars.")
    return float(usd)


def labels_bought(additional_usd: float, usd_per_label: float) -> int:
    """Returns how many whole labels the dollars buy, rounded down (column "#Additional Data" of Table 2).

    Args:
      additional_usd: dollars to spend, at least 0.
      usd_per_label: dollars per label, above 0.

    Raises:
      CostError: a negative budget, or a price that is not positive.
    """
    budget_usd = check_usd("additional_usd", additional_usd)
    price_usd = check_usd("usd_per_label", usd_per_label, positive=True)
    return math.floor(budget_usd / price_usd + _TOLERANCE)


def gpu_hours_for(additional_usd: float, usd_per_gpu_hour: float) -> int:
    """Returns the GPU-hours the dollars rent, rounded up (column "GPU Hours" of Table 2).

    Args:
      additional_usd: dollars to spend, at least 0.
      usd_per_gpu_hour: dollars per GPU-hour, above 0.

    Raises:
      CostError: a negative budget, or a price that is not positive.
    """
    budget_usd = check_usd("additional_usd", additional_usd)
    price_usd = check_usd("usd_per_gpu_hour", usd_per_gpu_hour, positive=True)
    return math.ceil(budget_usd / price_usd - _TOLERANCE)


def unlabeled_affordable(additional_usd: float, finetune_usd: float, distill_usd_per_1k: float) -> int | None:
    """Returns the unlabeled examples that can be distilled after the teacher is paid, rounded down.

    Args:
      additional_usd: dollars to spend, at least 0.
      finetune_usd: dollars to fine-tune the teacher on the initial labels, at least 0.
      distill_usd_per_1k: dollars per 1,000 distilled unlabeled examples, above 0.

    Returns:
      Examples, at least 1; None (N/A) where fine-tuning alone takes the whole budget or more.

    Raises:
      CostError: a negative budget, or a price that is not positive.
    """
    left_usd = check_usd("additional_usd", additional_usd) - check_usd("finetune_usd", finetune_usd)
    rate_usd = check_usd("distill_usd_per_1k", distill_usd_per_1k, positive=True)
    # The tolerance is per thousand examples, the unit that the paper rounds in.
    examples = math.floor((left_usd / rate_usd + _TOLERANCE) * 1000)
    return examples if left_usd > 0 and examples > 0 else None
