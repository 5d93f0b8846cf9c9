"""One random step of a job under a cap; run as a script it takes steps until it is killed (test_cap_property.py).

`python cap_worker.py LEDGER MAX_USD SEED`
"""

import random
import sys
import time

from distill_or_annotate.ledger import CapReached, Charge, Ledger
from distill_or_annotate.prices import load_book

LABEL = load_book("quickstart_scaled").label("mini")
DEVICE = load_book("cloud").entry("device_hour/v5e")


def step(ledger: Ledger, chance: random.Random, seconds: float = 0.0) -> str | None:
    """Buys labels, or reconciles, or attempts a stage.

    Args:
      ledger: the ledger, which may have a cap.
      chance: decides.
      seconds: time that an attempt is held open.

    Returns:
      The id of an attempt that was left open, as a kill would leave it; None else.

    Raises:
      CapReached: what was decided does not fit.
    """
    deed = chance.random()
    if deed < 0.2:
        first = chance.randint(0, 40)
        last = first + chance.randint(1, 20)
        ledger.buy_labels(stage="label-0", task="mini", first_label=first, last_label=last, data_seed=0, price=LABEL)
        return None
    stage = f"finetune-{chance.randint(0, 5)}"
    if deed < 0.3:
        ledger.reconcile(finished=lambda name: name.endswith(("0", "1")))
        return None
    charge = Charge(stage, "device", 1, "run", 4.0 * int(stage[-1]), "paper", "paper:x", "2023-07-09", "paper")
    charges = [charge] if chance.random() < 0.6 else []
    if deed < 0.35:
        ledger.charge(stage, charges)
        return None
    price = DEVICE if chance.random() < 0.7 else None
    reserve_seconds = chance.choice([None, chance.uniform(1, 20_000)]) if price else 0.0
    attempt = ledger.open_attempt(
        stage, price=price, devices=chance.randint(1, 4), reserve_seconds=reserve_seconds, charges=charges
    )
    time.sleep(seconds)
    if chance.random() < 0.3:
        attempt._stop.set()
        return attempt.id
    # A running stage is stopped at its reserve, so it takes no more than that.
    took = attempt.reserve_seconds * chance.random()
    attempt.settle(seconds=took, wasted=chance.random() < 0.3, finished=chance.random() < 0.7)
    return None


def main(path: str, max_usd: float, seed: int) -> None:
    """Takes steps for ever."""
    ledger, chance = Ledger(path, max_usd=max_usd), random.Random(seed)
    while True:
        try:
            step(ledger, chance, seconds=0.002)
        except CapReached:
            continue


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
