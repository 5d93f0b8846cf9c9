"""Computing priced by forecasts: what is read of them, and what is refused."""

import json

import pytest

from distill_or_annotate.planning.accelerators import of_forecasts
from distill_or_annotate.planning.options import options_of
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.planning.prices import prices_of
from distill_or_annotate.planning.wishes import Wish
from distill_or_annotate.prices import load_book

_WAY = "teacher captured once"


def _entry(mesh, finetune_usd=10.0, way_usd=50.0, fits=True, task="wlp"):
    run = {"kind": "finetune", "fits": fits, "usd": finetune_usd, "costs": {"steps": 1000, "batch_size": 32}}
    return {"task": task, "mesh": mesh, "programs": [run], "ways": {_WAY: {"usd": way_usd, "fits": True}}}


def _file(path, *entries):
    path.write_text(json.dumps({"examples": 100_000, "forecasts": list(entries)}), encoding="utf-8")
    return path


def test_dollars_are_per_thousand_labels_and_examples(tmp_path):
    (found,) = of_forecasts([_file(tmp_path / "f.json", _entry("v5p-8"))], "wlp", "wlp", [])
    # 20 epochs over 1,000 labels in batches of 32 are 625 steps, of which 1,000 cost $10.
    assert found.finetune_usd_per_1k == pytest.approx(6.25)
    assert found.distill_usd_per_1k == pytest.approx(0.5)


def test_a_task_of_ones_own_takes_the_forecast_of_the_task_that_stands_for_it(tmp_path):
    path = _file(tmp_path / "f.json", _entry("v5p-8"), _entry("v5p-8", task="fever", way_usd=7.0))
    assert of_forecasts([path], "reviews", "fever", [])[0].distill_usd_per_1k == pytest.approx(0.07)
    with pytest.raises(PlanningError, match="forecast: none is of 'reviews' or 'multipit_id', but of fever, wlp"):
        of_forecasts([path], "reviews", "multipit_id", [])


def test_a_slice_on_which_the_teacher_does_not_fit_is_left_out(tmp_path):
    path = _file(tmp_path / "f.json", _entry("v5e-16"), _entry("v5p-8", fits=False))
    assert [each.name for each in of_forecasts([path], "wlp", "wlp", [])] == ["v5e-16"]
    with pytest.raises(PlanningError, match="mesh: the teacher does not fit on 'v5p-8'"):
        of_forecasts([path], "wlp", "wlp", ["v5p-8"])


def test_a_mesh_without_a_forecast_names_the_command(tmp_path):
    with pytest.raises(
        PlanningError, match=r"no forecast has 'h100-8'; allowed: v5p-8\. Fix: doa forecast --mesh h100-8"
    ):
        of_forecasts([_file(tmp_path / "f.json", _entry("v5p-8"))], "wlp", "wlp", ["h100-8"])


def test_forecasts_that_disagree_are_refused(tmp_path):
    one = _file(tmp_path / "a.json", _entry("v5p-8"))
    other = _file(tmp_path / "b.json", _entry("v5p-8", finetune_usd=12.0))
    with pytest.raises(PlanningError, match="contradicts another on v5p-8: finetune_usd_per_1k"):
        of_forecasts([one, other], "wlp", "wlp", [])


@pytest.mark.parametrize("text", ["{", "[]", '{"forecasts": [{}]}'])
def test_a_file_that_is_no_forecast_is_refused(text, tmp_path):
    path = tmp_path / "f.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PlanningError, match="is not what `doa forecast --json` prints"):
        of_forecasts([path], "wlp", "wlp", [])


def test_an_option_takes_the_slice_that_leaves_most_to_distil(tmp_path):
    import dataclasses

    path = _file(tmp_path / "f.json", _entry("dear", way_usd=500.0), _entry("cheap", way_usd=5.0))
    slices = tuple(of_forecasts([path], "wlp", "wlp", []))
    prices = dataclasses.replace(prices_of(load_book("paper"), "wlp"), accelerators=slices)
    distilled = [each for each in options_of(Wish(200.0), prices) if each.n_unlabeled]
    assert distilled and {each.accelerator for each in distilled} == {"cheap"}


def test_spot_capacity_is_cheaper_less_what_is_done_twice(tmp_path):
    path = _file(tmp_path / "f.json", _entry("v5p-8"))
    (usual,), (spot,), (twice,) = (of_forecasts([path], "wlp", "wlp", [], share) for share in (None, 0.0, 1.0))
    prices = load_book("cloud").entries
    ratio = prices["device_hour/v5p_spot"].usd / prices["device_hour/v5p"].usd
    assert spot.distill_usd_per_1k == pytest.approx(ratio * usual.distill_usd_per_1k)
    assert twice.finetune_usd_per_1k == pytest.approx(2 * ratio * usual.finetune_usd_per_1k)
    with pytest.raises(PlanningError, match="spot: received -1"):
        of_forecasts([path], "wlp", "wlp", [], -1)
    with pytest.raises(PlanningError, match="has no spot price for 'cpu-8'"):
        of_forecasts([_file(tmp_path / "g.json", _entry("cpu-8"))], "wlp", "wlp", [], 0.1)


@pytest.mark.parametrize("mesh", ["v4-8", "v5e-16", "v6e-8", "h100-8", "a100-80gb-1", "a100-40gb-8"])
def test_every_mesh_of_the_cloud_has_a_spot_price(mesh, tmp_path):
    assert of_forecasts([_file(tmp_path / "f.json", _entry(mesh))], "wlp", "wlp", [], 0.1)
