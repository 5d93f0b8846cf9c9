"""What nobody ever paid is refused with file, entry, value and the fix."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.prices import PriceBookError, load_books, units

_BOOK = '[books.mine]\n[[books.mine.entries]]\nid = "{id}"\nusd = {usd}\nunit = "{unit}"\n{rest}'
_REST = 'date = 2026-11-01\nsource = "us"\nprovenance = "assumption"\n'


def _write(tmp_path, usd, unit, entry_id="device_hour/v6e"):
    path = tmp_path / "mine.toml"
    path.write_text(_BOOK.format(id=entry_id, usd=usd, unit=unit, rest=_REST))
    return path


@pytest.mark.parametrize(
    ("usd", "unit"),
    [
        ("700.0", "chip-hour"),
        ("999", "device-hour"),
        ("0.0", "GPU-hour"),
        ("0", "label"),
        ("999.99", "run"),
        ("12345", "run"),
        ("5000.0", "label"),
        ("0.0", "1000 unlabeled examples"),
        ("20000.0", "1000000 tokens"),
        ("14.0", "kWh"),
    ],
)
def test_a_placeholder_is_refused_with_file_entry_value_and_fix(tmp_path, usd, unit):
    with pytest.raises(PriceBookError) as refused:
        load_books(_write(tmp_path, usd, unit))
    said = str(refused.value)
    for part in ("mine.toml", "'device_hour/v6e'", f"usd is {usd} per {unit}", "placeholder", "Fix: look it up"):
        assert part in said
    assert "\n" not in said and len(said) < 400


@pytest.mark.parametrize("usd", ["0.26", "3.673", "0.0049"])
def test_prices_that_somebody_pays_are_read(tmp_path, usd):
    assert load_books(_write(tmp_path, usd, "label"))


@pytest.mark.parametrize(
    ("unit", "message"), [("GPU-hours", "did you mean 'GPU-hour'"), ("pound", "allowed: label, GPU-hour, chip-hour")]
)
def test_an_unknown_unit_is_refused_since_nothing_would_check_its_price(tmp_path, unit, message):
    with pytest.raises(PriceBookError, match=f"unit is '{unit}'; .*{message}"):
        load_books(_write(tmp_path, "1.0", unit))


@settings(deadline=None)
@given(unit=st.sampled_from(sorted(units.RANGES)), share=st.floats(0, 1))
def test_a_unit_takes_what_lies_in_its_range_and_nothing_outside(unit, share):
    low, high = units.RANGES[unit]
    inside = low * (high / low) ** share
    wrong = units.problem("usd", min(high, max(low, inside)), unit, units.RANGES)
    assert wrong is None or inside in units._PLACEHOLDERS
    for outside in (low * 0.99, high * 1.01, 0.0, -inside):
        assert units.problem("usd", outside, unit, units.RANGES)


@pytest.mark.parametrize(("value", "unit"), [("37.9", "kg CO2e/kWh"), ("0.0", "kW"), ("379.0", "kW")])
def test_factors_have_ranges_too(tmp_path, value, unit):
    path = tmp_path / "mine.toml"
    path.write_text(
        f'[books.mine]\n[[books.mine.factors]]\nid = "carbon/us"\nvalue = {value}\nunit = "{unit}"\n{_REST}'
    )
    with pytest.raises(PriceBookError, match=rf"mine\.toml: factor 'carbon/us' .*value is {value} {unit}.*placeholder"):
        load_books(path)


def test_a_factor_without_a_source_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[books.mine]\n[[books.mine.factors]]\nid = "carbon/us"\nvalue = 0.4\nunit = "kg CO2e/kWh"\n'
        'date = 2026-11-01\nprovenance = "assumption"\n'
    )
    with pytest.raises(PriceBookError, match="factor 'carbon/us' of book 'mine': source is missing"):
        load_books(path)
