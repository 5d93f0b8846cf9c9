"""Energy and emissions follow from measured seconds and the price book's factors, and from nothing else."""

import pytest

from distill_or_annotate.prices import load_book
from distill_or_annotate.reports import read_run
from distill_or_annotate.reports.energy import billed_gpu_hours, csv_of, grid_of, power_of, stage_energy


def test_a_stage_costs_its_seconds_at_the_power_of_the_book(run_folder):
    stages = stage_energy(read_run(run_folder).ledger)
    assert [stage.stage.split("-")[0] for stage in stages] == ["finetune"]
    # 90 seconds of work and 30 that were wasted.
    (stage,) = stages
    power, carbon = power_of("local:device_hour/local_cpu"), load_book("current").factor("carbon/us")
    assert stage.device_seconds == 120
    assert stage.energy_kwh == pytest.approx(120 / 3600 * power.value)
    assert stage.emissions_kg_co2e == pytest.approx(stage.energy_kwh * carbon.value)
    assert csv_of(stages).splitlines()[0] == "stage,device_seconds,energy_kwh,emissions_kg_co2e"


def test_a_row_that_stands_there_twice_counts_once(run_folder):
    ledger = read_run(run_folder).ledger
    assert stage_energy([*ledger, *ledger]) == stage_energy(ledger)


def test_a_device_of_unknown_power_has_no_energy(run_folder):
    ledger = [
        {**row, "price_entry": "mine:device_hour/abacus"} if row["unit"] == "device-second" else row
        for row in read_run(run_folder).ledger
    ]
    (stage,) = stage_energy(ledger)
    assert (stage.energy_kwh, stage.emissions_kg_co2e) == (None, None)
    assert "power not known" in {entry.text for _, entries in grid_of([stage]).rows for entry in entries}


def test_hours_are_billed_under_real_prices_only(run_folder):
    ledger = read_run(run_folder).ledger
    assert billed_gpu_hours(ledger) == 0
    charge = {"status": "settled", "kind": "device", "unit": "run", "usd": 67.5}
    assert billed_gpu_hours([{**charge, "book": "paper"}]) == pytest.approx(36)
    assert billed_gpu_hours([{**charge, "book": "somebody's"}]) == 0
    shown = [name for name, _ in grid_of(stage_energy(ledger), 36).rows]
    assert shown[-1] == "As billed, on A40 GPUs"


def test_sources_and_estimates_are_named(run_folder):
    grid = grid_of(stage_energy(read_run(run_folder).ledger))
    assert "Estimated" in grid.caption
    assert any("power/local_cpu: 0.015 kW (assumption" in note for note in grid.notes)
    assert any("carbon/us: 0.367 kg CO2e/kWh (published" in note for note in grid.notes)
