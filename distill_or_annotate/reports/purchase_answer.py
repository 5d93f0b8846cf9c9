"""The first page of a study over labels L and unlabeled examples U: the frontier, how surely, what to buy next."""

from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.reports.answer import Answer, step_of
from distill_or_annotate.reports.certainty import Comparison
from distill_or_annotate.reports.purchases import Purchase, Purchases
from distill_or_annotate.reports.verdict import cautions_of


def answer_of(purchases: Purchases, compared: Sequence[Comparison], manifest: Mapping[str, Any]) -> Answer:
    """Returns the answer of a study over L and U.

    Args:
      purchases: the study.
      compared: the best of both strategies within the dollars of the frontier's purchases.
      manifest: the run's, for its price book.
    """
    frontier = purchases.frontier()
    return Answer(
        headline=_headline(frontier, len(purchases.found)),
        won=tuple(_won(compared)),
        next_purchase=tuple(_next(frontier, manifest)),
        would_change=tuple(_would_change(purchases)),
        cautions=tuple(cautions_of([each.cell for each in purchases.found], len(purchases.planned))),
    )


def _headline(frontier: Sequence[Purchase], n_models: int) -> str:
    if not frontier:
        return "No model is told apart from its floors yet: there is nothing to recommend."
    if len(frontier) == 1:
        (only,) = frontier
        said = "nothing beats it" if n_models > 1 else "there is nothing to compare"
        return f"{only.name[0].upper()}{only.name[1:]} ({_dollars(only)}): {only.cell.display}; {said}."
    alone = [each for each in frontier if not each.n_unlabeled]
    first, last = frontier[0], frontier[-1]
    if not alone:
        return f"Distilling belongs in every plan from {_dollars(first)} to {_dollars(last)}."
    if len(alone) == len(frontier):
        return f"Labels alone are the better buy from {_dollars(first)} to {_dollars(last)}."
    best = ", ".join(_dollars(each) for each in alone)
    return f"It depends on the dollars: labels alone are the best buy at {best}, distilling at the others."


def _won(compared: Sequence[Comparison]) -> list[str]:
    """One sentence for all dollars at which the same strategy is ahead, as surely."""
    groups: dict[tuple[bool, bool], list[Comparison]] = {}
    for found in compared:
        groups.setdefault((found.points > 0, found.is_sure), []).append(found)
    sentences = []
    for (is_distilled, is_sure), group in groups.items():
        first = group[0]
        if first.n_models == 1:
            certainty = f"{'beyond' if is_sure else 'within'} the noise of the test {first.clusters}s"
        else:
            certainty = "surely" if is_sure else "not surely"
        at = ", ".join(f"${found.budget_usd:,.2f} ({_points(found)})" for found in group)
        sentences.append(f"With {at} {'distilling' if is_distilled else 'annotating'} is ahead, {certainty}.")
    if sentences:
        sentences.append(f"Each pair is the best of both strategies within those dollars, {compared[0].basis}.")
    return sentences


def _points(found: Comparison) -> str:
    return f"{abs(found.points):.1f} points, {found.lead_interval}"


def _next(frontier: Sequence[Purchase], manifest: Mapping[str, Any]) -> list[str]:
    step_usd, named = step_of(manifest)
    if len(frontier) < 2:
        return [f"Not known what {named} should buy: fewer than two purchases are on the frontier."]
    before, last = frontier[-2:]
    gain, cost = last.cell.value - before.cell.value, last.total_usd - before.total_usd
    more = []
    if last.n_labels > before.n_labels:
        more.append(f"{last.n_labels - before.n_labels:,} more labels")
    if last.n_unlabeled > before.n_unlabeled:
        more.append(f"{last.n_unlabeled - before.n_unlabeled:,} more unlabeled examples")
    bought = " and ".join(more) or "what the dearer one buys"
    return [
        f"{bought[0].upper()}{bought[1:]}: the last step of the frontier, from {_dollars(before)} to {_dollars(last)}, "
        f"gained {gain:.1f} points, which is {gain / cost * step_usd:+.1f} for {named}. Beyond it nobody measured.",
        "A pilot of one larger purchase in each direction (more labels, more unlabeled text) tells which goes on.",
    ]


def _would_change(purchases: Purchases) -> list[str]:
    alone = [each for each in purchases.found if not each.n_unlabeled and each.is_sound]
    if not alone:
        return ["Not known: no purchase of labels alone gave a sound model."]
    best = max(alone, key=lambda each: each.cell.value)
    rivals = [each for each in purchases.found if each.n_unlabeled and each.is_sound]
    enough = [each for each in rivals if each.cell.value >= best.cell.value]
    if not enough:
        return [f"No distilled model reaches the {best.cell.value:.1f} of {best.name}."]
    rival = min(enough, key=lambda each: each.total_usd)
    saved, price_usd = best.n_labels - rival.n_labels, best.label_usd / best.n_labels
    computing_usd = rival.total_usd - rival.label_usd
    if saved <= 0:
        return [
            f"{rival.name} ({_dollars(rival)}) score {rival.cell.value:.1f}, {best.name} ({_dollars(best)}) "
            f"{best.cell.value:.1f}: the difference is paid in computing, and no price of a label changes that."
        ]
    even_usd = computing_usd / saved
    return [
        f"{rival.name} ({_dollars(rival)}) score at least the {best.cell.value:.1f} of {best.name} ({_dollars(best)}).",
        f"A label below ${even_usd:,.4g} ({even_usd / price_usd:.2g} times today's ${price_usd:,.4g}), or computing at "
        f"more than {price_usd / even_usd:.2g} times today's price, makes labels alone the cheaper way to that score.",
    ]


def _dollars(purchase: Purchase) -> str:
    return f"${purchase.total_usd:,.2f}"
