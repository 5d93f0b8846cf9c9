"""Curves, and what evidence says about them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.planning import curves, outcomes, posterior, prior
from distill_or_annotate.planning.curves import Purchases
from distill_or_annotate.planning.outcomes import Evidence, Outcome


def _scores(draws, *asked):
    return draws.scores(Purchases.of([Outcome(*each, score=0.0) for each in asked]))


def _world(n_labels=(100, 300, 1000, 3000)):
    """Models of a made-up task that learns from the first label on."""
    sizes = [Outcome("annotate", n, 0, 0.0) for n in n_labels]
    sizes += [Outcome("teacher", n, 0, 0.0) for n in n_labels]
    sizes += [Outcome("distill", n, u, 0.0) for n in n_labels for u in (1000, 10_000)]
    drawn = np.log([[0.4, 0.5, 1.0, 10.0, 10.0]])
    linear = np.array([1.5, 0.7, 2.0, 0.4, 0.1, 0.05, 0.0, 0.3, 0.2, 0.1])
    score = curves.percent(curves.features(Purchases.of(sizes), drawn)[0] @ linear)
    found = [dataclasses.replace(each, score=value) for each, value in zip(sizes, score, strict=True)]
    return Evidence("made_up", "accuracy", 5.0, tuple(found))


@given(st.floats(0.5, 99.5))
def test_percent_undoes_logit(score):
    assert curves.percent(curves.logit(np.array([score])))[0] == pytest.approx(score)


@settings(max_examples=25)
@given(st.sampled_from(("annotate", "teacher", "distill")), st.integers(0, 3))
def test_more_labels_and_a_larger_pool_never_hurt_on_average(strategy, seed):
    draws = posterior.condition(_world(), prior.broad(), 500, seed)
    asked = Purchases.of([Outcome(strategy, n, u, 0.0) for n, u in ((500, 2000), (5000, 2000), (5000, 50_000))])
    mean = draws.scores(asked).mean(0)
    # The tilt alone may make more labels worse for a distilled model; the seen ones say that they do not.
    assert mean[1] > mean[0] and mean[2] >= mean[1]


def test_the_posterior_finds_the_curve_that_made_the_scores():
    known = _world()
    later = _world((10_000,))
    draws = posterior.condition(known, prior.broad())
    found = draws.scores(Purchases.of(later.outcomes))
    truth = np.array([each.score for each in later.outcomes])
    low, high = np.percentile(found, [2, 98], axis=0)
    assert ((low < truth) & (truth < high)).all() and np.abs(np.median(found, axis=0) - truth).max() < 4


def test_more_evidence_leaves_less_doubt():
    whole = _world()
    part = dataclasses.replace(whole, outcomes=whole.outcomes[::4])
    spread = [
        _scores(posterior.condition(each, prior.broad()), ("annotate", 10_000, 0)).std()
        for each in (dataclasses.replace(whole, outcomes=()), part, whole)
    ]
    assert spread[0] > spread[1] > spread[2]


def test_degenerate_models_move_the_onset_and_no_curve():
    flat = tuple(Outcome("annotate", n, 0, 50.0, degenerate=True) for n in (100, 500, 1000, 2000))
    draws = posterior.condition(Evidence("t", "accuracy", 50.0, flat), prior.broad())
    assert (_scores(draws, ("annotate", 500, 0)) == 50).mean() > 0.9
    assert (_scores(draws, ("annotate", 50_000, 0)) > 50).mean() > 0.5
    assert np.median(np.exp(draws.drawn[:, 3])) > 2000


def test_evidence_that_more_labels_hurt_is_not_thrown_away():
    fall = tuple(Outcome("annotate", n, 0, score, 0.1) for n, score in ((100, 90.0), (1000, 60.0), (10_000, 30.0)))
    draws = posterior.condition(Evidence("t", "accuracy", 5.0, fall), prior.broad(), 400)
    few, many = _scores(draws, ("annotate", 100, 0), ("annotate", 10_000, 0)).mean(0)
    assert few > many + 10


@given(st.integers(1, 1000))
def test_some_of_the_draws_are_at_most_as_many_as_asked_for(count):
    draws = posterior.Draws(np.zeros((357, 5)), np.zeros((357, 10)), np.zeros((357, 6)), 0.0, 1.0)
    assert 1 <= len(draws.first(count).drawn) <= count


def test_the_same_seed_gives_the_same_draws():
    one, other = (posterior.condition(_world(), prior.broad(), 300, seed=5).parameters() for _ in range(2))
    assert (one == other).all()


@pytest.mark.parametrize("task", ("wlp", "fever"))
def test_the_learnt_prior_never_sees_the_task_that_is_planned(task, monkeypatch):
    seen = []
    monkeypatch.setattr(prior, "of_paper", lambda name: seen.append(name) or outcomes.of_paper(name))
    prior.learnt.cache_clear()
    prior.learnt(task, 200)
    assert task not in seen and len(seen) == 5
    prior.learnt.cache_clear()


def test_the_papers_constant_answers_are_degenerate():
    flagged = {(task, each.score) for task in ("fever", "multipit_id", "stanceosaurus")
               for each in outcomes.of_paper(task).outcomes if each.degenerate}  # fmt: skip
    assert {("fever", 49.7), ("multipit_id", 53.1), ("stanceosaurus", 45.5)} <= flagged
    assert not any(score > 56 for _, score in flagged)


def test_results_of_two_metrics_cannot_be_mixed():
    row = {"task": "t", "strategy": "annotate", "n_labels": 10, "score": 50.0, "mode": "fair"}
    rows = [row | {"metric": "accuracy", "run_ids": ["a"]}, row | {"metric": "macro_f1", "run_ids": ["b"]}]
    with pytest.raises(outcomes.PlanningError, match=r"metric: .*accuracy and macro_f1"):
        outcomes.of_rows(rows, "t")


def test_a_model_that_stands_in_two_runs_counts_once():
    row = {"task": "t", "strategy": "annotate", "n_labels": 10, "score": 50.0, "mode": "fair", "metric": "accuracy"}
    rows = [row | {"run_ids": ["a"]}, row | {"run_ids": ["a"], "n_labels": 10}, row | {"run_ids": ["b"]}]
    assert len(outcomes.of_rows(rows, "t").outcomes) == 2
