"""The table that scores a file without SeqIO says what the tasks are registered with."""

import pytest

from distill_or_annotate.tasks import registry, scoring


@pytest.mark.parametrize("name", sorted(registry.HOMES))
def test_the_table_agrees_with_the_registered_task(name):
    spec = registry.get(name)
    found, mode = scoring.find(name)
    assert (found.metric, found.labels, mode) == (spec.metric, spec.labels, spec.mode)


def test_variants_are_scored_as_their_task_is():
    for name in ("stanceosaurus_n500_s3", "stanceosaurus_u4000", "stanceosaurus_pseudo_u4000_ab12cd34"):
        assert scoring.find(name) == (scoring.PUBLISHED["stanceosaurus"], "fair")
    assert scoring.find("wlp_paper_n1000_s0") == (scoring.PUBLISHED["wlp"], "paper")


def test_other_names_are_not_ours():
    for name in ("feverish", "mini_paper", "wlp_mini_pooled", "", "fever_n1000"):
        assert scoring.find(name) is None
    assert {"fever", "wlp_mini", "mini_cls"} <= set(scoring.names())
