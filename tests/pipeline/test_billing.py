"""How a study is billed: rates, or a mesh's measured time; and what a stage costs that another run has finished."""

import dataclasses

import pytest

from distill_or_annotate import cli
from distill_or_annotate.pipeline.billing import Billing, billing_of, plan
from distill_or_annotate.prices import PriceBookError, load_book
from distill_or_annotate.scenarios import Scenario, expand_all

_SCENARIO = Scenario(
    name="billed",
    task="mini",
    n_labels=40,
    additional_usd=(0, 3),
    max_unlabeled=60,
    price_book="quickstart_scaled",
    mesh="v5e-8",
    teacher_gin="gin/experiments/mini_teacher.gin",
    capture_gin="gin/experiments/mini_capture.gin",
    distill_gin="gin/experiments/mini_distill.gin",
    annotate_gin="gin/experiments/mini_annotate.gin",
)
_CLOUD = load_book("cloud")


def _stage(kind, scenario=_SCENARIO):
    return next(stage for stage in expand_all(scenario, scenario.book()) if stage.kind == kind)


def test_a_fair_study_with_a_mesh_is_billed_for_its_devices_and_the_paper_s_mode_by_rates():
    billing = billing_of(_SCENARIO, _CLOUD)
    assert (billing.device, billing.n_devices) == (_CLOUD.entry("device_hour/v5e"), 8)
    assert billing.is_measured(_stage("capture")) and not billing.is_measured(_stage("evaluate"))
    assert billing_of(dataclasses.replace(_SCENARIO, mode="paper"), _CLOUD) == Billing(_CLOUD)
    assert billing_of(dataclasses.replace(_SCENARIO, mesh=""), _CLOUD) == Billing(_CLOUD)


def test_a_mesh_that_the_book_does_not_price_is_refused():
    with pytest.raises(PriceBookError, match="has no price 'device_hour/v99'"):
        billing_of(dataclasses.replace(_SCENARIO, mesh="v99-8"), _CLOUD)


def test_a_limit_makes_another_model_so_it_is_part_of_the_stage_s_name():
    names = {
        _stage(kind, dataclasses.replace(_SCENARIO, mesh=mesh)).name
        for kind in ("finetune", "distill")
        for mesh in ("", "v5e-8", "v5e-16")
    }
    assert len(names) == 6
    assert len({_stage("annotate", dataclasses.replace(_SCENARIO, mesh=mesh)).name for mesh in ("", "v5e-8")}) == 1


def test_a_shared_stage_owes_the_rates_or_the_time_that_it_took_elsewhere():
    stage = _stage("finetune")
    assert Billing(_SCENARIO.book()).elsewhere(stage, 100.0) == stage.charges
    device = _CLOUD.entry("device_hour/v5e")
    (charge,) = Billing(_SCENARIO.book(), device, 8).elsewhere(stage, 100.0)
    assert charge.usd == pytest.approx(100 * device.usd / 3600) and charge.book == "cloud"
    local = load_book("local").entry("device_hour/local_cpu")
    assert Billing(_SCENARIO.book(), local).elsewhere(stage, 100.0) == ()


def test_the_plan_adds_up():
    billing, stages = Billing(_SCENARIO.book()), expand_all(_SCENARIO, _SCENARIO.book())
    found = plan(stages, billing)
    assert found["labels_usd"] == pytest.approx(51 * 0.26)
    assert found["total_usd"] == pytest.approx(sum(found["usd"].values()))
    assert found["devices_usd"] == pytest.approx(sum(charge.usd for stage in stages for charge in stage.charges))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jobs", "0"], "--jobs: received 0; it must be at least 1"),
        (["--max-usd", "-1"], "max_usd: received -1.0; it must be a finite number of dollars, at least 0"),
        (["--stage", "finetune-0"], "--stage: the study has no stage 'finetune-0'; near: finetune-"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_anything_heavy_starts(words, message, tmp_path, capsys):
    assert cli.main(["run", "smoke", "--run-dir", str(tmp_path / "run"), *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
