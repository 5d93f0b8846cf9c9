"""Price books hold dated, sourced prices and refuse everything else."""

import datetime

import pytest

from distill_or_annotate import paper
from distill_or_annotate.prices import PriceBookError, load_book, load_books

ENTRY = {
    "id": '"label/wlp"',
    "usd": "0.26",
    "unit": '"label"',
    "date": "2023-07-09",
    "source": '"Table 1"',
    "provenance": '"published"',
}


def _write(tmp_path, entry, head="[books.mine]\n"):
    lines = "\n".join(f"{key} = {value}" for key, value in entry.items())
    path = tmp_path / "books.toml"
    path.write_text(f"{head}\n[[books.mine.entries]]\n{lines}\n", encoding="utf-8")
    return path


def test_a_complete_entry_is_read(tmp_path):
    entry = load_book("mine", _write(tmp_path, ENTRY)).label("wlp")
    assert (entry.usd, entry.date, entry.source) == (0.26, datetime.date(2023, 7, 9), "Table 1")


@pytest.mark.parametrize("field", ENTRY)
def test_an_entry_without_a_field_is_refused_by_name(tmp_path, field):
    entry = {key: value for key, value in ENTRY.items() if key != field}
    with pytest.raises(PriceBookError, match=f"{field} is missing"):
        load_books(_write(tmp_path, entry))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("source", '"  "', "source is '  '"),
        ("unit", '""', "unit is ''"),
        ("date", '"July"', "date is 'July'"),
        ("date", "2023-07-09T10:00:00", "YYYY-MM-DD"),
        ("usd", "-1.0", "usd is -1.0"),
        ("usd", "inf", "finite"),
        ("usd", "true", "usd is True"),
        ("provenance", '"hearsay"', "hearsay.*allowed: published"),
    ],
)
def test_a_wrong_value_is_refused_with_the_value(tmp_path, field, value, message):
    with pytest.raises(PriceBookError, match=message):
        load_books(_write(tmp_path, {**ENTRY, field: value}))


def test_an_unknown_field_is_refused(tmp_path):
    with pytest.raises(PriceBookError, match="unknown field 'usdd'"):
        load_books(_write(tmp_path, {**ENTRY, "usdd": "1.0"}))


def test_the_same_price_twice_is_refused(tmp_path):
    path = _write(tmp_path, ENTRY)
    path.write_text(path.read_text() + path.read_text().split("[books.mine]\n")[1])
    with pytest.raises(PriceBookError, match="twice"):
        load_books(path)


@pytest.mark.parametrize("scale", ["0", "1.5", "true"])
def test_scale_must_shrink(tmp_path, scale):
    with pytest.raises(PriceBookError, match="scale"):
        load_books(_write(tmp_path, ENTRY, head=f"[books.mine]\nscale = {scale}\n"))


def test_broken_toml_names_the_file(tmp_path):
    path = tmp_path / "books.toml"
    path.write_text("[books", encoding="utf-8")
    with pytest.raises(PriceBookError, match=r"books\.toml: not valid TOML"):
        load_books(path)


def test_near_names_are_offered_for_books_and_prices():
    with pytest.raises(PriceBookError, match="did you mean paper"):
        load_book("papr")
    with pytest.raises(PriceBookError, match="did you mean label/wlp"):
        load_book("paper").label("wpl")


def test_the_paper_book_repeats_the_facts_exactly():
    book, facts = load_book("paper"), paper.facts()
    assert book.gpu_hour().usd == facts["prices"]["a40_usd_per_gpu_hour"]["value"]
    for name, task in facts["tasks"].items():
        assert book.label(name).usd == task["usd_per_label"]["value"]
        assert book.distill_per_1k(name, 5000).usd == pytest.approx(task["distill_usd_100k"]["value"] / 100)
        points = {str(n): entry.usd for n, entry in book.finetune_points(name).items()}
        assert points == facts["derived"]["finetune_usd"][name]
        if points.get("5000") and book.finetune_points(name)[5000].provenance == "published":
            assert points["5000"] == task["finetune_usd_5k"]["value"]
    contradicted = book.finetune_points("multipit_id")[5000]
    assert contradicted.contradicts_usd == facts["tasks"]["multipit_id"]["finetune_usd_5k"]["value"]


def test_small_studies_of_natural_questions_have_their_own_rate():
    book = load_book("paper")
    assert [book.distill_per_1k("natural_questions", n).usd for n in (100, 1000, 1001)] == [1.23, 1.23, 0.86]


def test_a_scaled_book_prices_any_task_and_says_that_it_is_scaled():
    book = load_book("quickstart_scaled")
    assert book.is_scaled and not load_book("paper").is_scaled
    assert book.label("mini").usd == load_book("paper").label("wlp").usd


def test_local_dollars_are_an_assumption_and_say_so():
    entry = load_book("local").entry("device_hour/local_cpu")
    assert entry.provenance == "assumption" and "assumption" in entry.source


def test_a_price_goes_stale_after_a_year():
    entry = load_book("paper").label("wlp")
    assert not entry.is_stale(datetime.date(2024, 7, 1))
    assert entry.is_stale(datetime.date(2024, 8, 1))
