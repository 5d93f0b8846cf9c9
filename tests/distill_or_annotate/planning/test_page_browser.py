"""The plan's page in headless Chromium: each slider is moved, and what the page says is what the planner says there.

Needs Chromium (`make test-browser` installs it and runs this file). Without it these tests are skipped, and say so;
with DOA_NEEDS_BROWSER=1 they fail instead.
"""

import argparse
import dataclasses
import json
import pathlib

import pytest

from distill_or_annotate import planning
from distill_or_annotate.costs import distill_cost_per_1k, finetune_cost
from distill_or_annotate.planning import advice, arguments, command, posterior, prior, wanted
from distill_or_annotate.planning.kept import kept_of
from distill_or_annotate.planning.options import why_not
from distill_or_annotate.planning.outcomes import Evidence, PlanningError
from distill_or_annotate.planning.page import page
from distill_or_annotate.planning.page.numbers import computing_as_dict
from distill_or_annotate.planning.text import change_text, cost_lines, recommendation
from distill_or_annotate.planning.wishes import Wish
from distill_or_annotate.prices import load_book

pytestmark = pytest.mark.timeout(300)
_SCRIPTS = pathlib.Path(planning.__file__).parent / "page"
_RUN = pathlib.Path(__file__).parents[3] / "docs/results/figure2_mini_mini"
# Keeps what the page says of each state that it has settled in.
_KEEP = """
window.settled = [];
document.addEventListener("planned", event => {
  const text = id => document.getElementById(id).hidden ? "" : document.getElementById(id).textContent;
  const all = found => [...document.querySelectorAll(found)];
  const cells = id => all(`#${id} tr`).map(row => [...row.cells].map(cell => cell.textContent));
  window.settled.push({detail: event.detail, status: text("status"), buy: text("buy"), thin: text("thin"),
    kept: text("kept"), nothing: text("nothing"), infeasible: all("#infeasible-list li").map(li => li.textContent),
    changes: all("#change-list li").map(li => li.textContent),
    bill: cells("bill-lines"), frontier: cells("frontier-lines"), hash: location.hash,
    dots: document.querySelectorAll("#chart .mark").length, stale: document.querySelectorAll(".stale").length});
});
"""
_FIRST = "new Promise(done => { const look = () => settled[0] ? done(settled[0]) : setTimeout(look, 20); look(); })"
# The next state; then what is to be done to get there.
_NEXT = """new Promise(resolve => {
  const known = window.settled.length;
  %s
  const look = () => window.settled.length > known ? resolve(window.settled.at(-1)) : setTimeout(look, 20);
  look();
})"""
_SLIDE = """{ const slider = document.getElementById("%s-slider"); slider.value = %s;
  slider.dispatchEvent(new Event("input", {bubbles: true})); }"""
_TYPE = """{ const field = document.getElementById("%s"); field.value = "%s";
  field.dispatchEvent(new Event("input", {bubbles: true})); }"""


class Plan:
    """A plan, and what the planner says of it at other prices."""

    def __init__(self, words, n_draws, evidence=None):
        parser = argparse.ArgumentParser()
        arguments.add_arguments(parser)
        args = parser.parse_args(words)
        self.prices = wanted.prices_for(args)
        self.evidence = evidence or command.evidence_of([*args.results, *args.pilot], args.task)
        self.kept = kept_of(self.evidence.outcomes) if args.pilot else None
        self.wish = Wish(
            float(args.budget_usd), args.labels_at_hand, args.max_labels, args.max_unlabeled,
            wanted.model_names("teachers", args.teachers), wanted.model_names("students", args.students),
            args.served_per_month, args.months,
        )  # fmt: skip
        self.draws = posterior.condition(self.evidence, prior.broad(), n_draws).rounded()

    def written(self, folder):
        """The address of its page."""
        today = advice.advise(self.wish, self.prices, self.draws, self.kept)
        path = folder / "plan.html"
        path.write_text(page(today, self.evidence, self.wish, self.prices, self.draws, self.prices.notes), "utf-8")
        return path.as_uri()

    def at(self, values):
        """Wish, prices and advice at the page's values."""
        wish = dataclasses.replace(self.wish, budget_usd=values["budget_usd"])
        if "served_per_month" in values:
            wish = dataclasses.replace(wish, served_per_month=values["served_per_month"])
        prices = dataclasses.replace(
            self.prices,
            label_usd=values["label_usd"],
            compute_factor=values["compute_factor"],
            llm_factor=values.get("llm_factor", 1.0),
        )
        return wish, prices, advice.advise(wish, prices, self.draws, self.kept)


def _close(seen, judged):
    assert seen["option"] == dataclasses.asdict(judged.option)
    assert seen["name"] == judged.option.name
    for field in ("expected", "low", "high"):
        assert seen[field] == pytest.approx(getattr(judged, field), rel=1e-6), field
    assert seen["chance"] == pytest.approx(judged.chance, abs=1e-9)
    assert seen["total_usd"] == pytest.approx(judged.option.total_usd, rel=1e-9)


def _same(state, plan):
    """Checks that a state of the page is what the planner says at its values."""
    seen = state["detail"]
    try:
        wish, prices, said = plan.at(seen["values"])
    except PlanningError as error:
        assert seen["nothing"] in str(error) and state["status"] in str(error)
        return None
    assert "nothing" not in seen and state["stale"] == 0
    _close(seen["recommended"], said.best)
    assert (seen["runner_up"] is None) == (said.runner_up is None)
    if said.runner_up:
        _close(seen["runner_up"], said.runner_up)
    assert seen["is_sure"] == said.is_sure
    assert seen["infeasible"] == state["infeasible"] == why_not(wish, prices)
    assert len(seen["frontier"]) == len(said.frontier) == len(state["frontier"]) == state["dots"]
    for each, judged in zip(seen["frontier"], said.frontier, strict=True):
        _close(each, judged)
    assert [each["axis"] for each in seen["break_evens"]] == [each.axis for each in said.break_evens]
    for each, found in zip(seen["break_evens"], said.break_evens, strict=True):
        for side in ("below", "above"):
            factor, option = getattr(found, side), getattr(found, f"becomes_{side}")
            assert each[side] == (factor and pytest.approx(factor, rel=1e-9))
            assert each[f"becomes_{side}"] == (option and dataclasses.asdict(option))
    assert state["changes"] == [text for each in said.break_evens for text in change_text(each)]
    lines = [
        (name, f"${usd:,.2f}") for name, usd in (*cost_lines(said.best.option), ("all", said.best.option.total_usd))
    ]
    assert [tuple(row[:2]) for row in state["bill"]] == lines
    told = recommendation(dataclasses.replace(said, pilots=()))
    assert all(sentence in state["status"] for sentence in told)
    assert state["kept"] == (told[0] if said.keeps else "")
    assert said.best.option.name in state["buy"]
    return said


def _do(browser, script=""):
    return browser.evaluate(_NEXT % script)


def _moved(browser, address, plan, moves):
    """Moves sliders one after another and checks each state; returns what the planner said of each."""
    browser.open(address, before=_KEEP)
    first = browser.evaluate(_FIRST)
    said = [_same(first, plan)]
    assert first["status"] == " ".join(recommendation(said[0]))
    for name, value in moves:
        script = _SLIDE if isinstance(value, int) else _TYPE
        said.append(_same(_do(browser, script % (name, value)), plan))
    assert browser.complaints() == ([], [])
    return said


@pytest.fixture(scope="module")
def unknown():
    """A plan of a task of which nothing is known, with as many draws as the command takes."""
    words = ["--task", "reviews", "--label-usd", "0.26", "--budget-usd", "500"]
    return Plan(words, command.PLANNED_DRAWS, Evidence("reviews", "", 0.5, ()))


@pytest.fixture(scope="module")
def address(unknown, tmp_path_factory):
    """Its page."""
    return unknown.written(tmp_path_factory.mktemp("page"))


def test_each_slider_says_what_the_planner_says_of_a_task_unknown(browser, address, unknown):
    moves = [("budget_usd", 900), ("budget_usd", "17.5"), ("label_usd", 120), ("compute_factor", 800)]
    moves += [("label_usd", 1000), ("compute_factor", "0.3"), ("budget_usd", 20), ("budget_usd", 730)]
    said = _moved(browser, address, unknown, moves)
    kinds = {each.best.option.kind for each in said if each}
    assert len(kinds) > 1 and None in said, "the moves must change the answer, and one must buy nothing"


def test_each_slider_says_it_of_models_to_choose_from_serving_and_language_models(browser, tmp_path):
    words = ["--task", "wlp", "--budget-usd", "900", "--teachers", "large,xl,xxl", "--students", "small,base"]
    words += ["--served-per-month", "200000", "--llm", "text-davinci-003", "--llm-score", "60", "--llm-gold", "200"]
    plan = Plan(words, 240, Evidence("wlp", "f1", 9.2, ()))
    moves = [("budget_usd", 420), ("label_usd", 700), ("compute_factor", 900), ("llm_factor", 200)]
    moves += [("served_per_month", 990), ("served_per_month", 0)]
    said = _moved(browser, plan.written(tmp_path), plan, moves)
    assert any(each.best.option.strategy != said[0].best.option.strategy for each in said)
    assert any(each.option.llm for found in said for each in (*found.frontier, found.best))


def test_each_slider_says_it_of_a_forecasts_accelerators(browser, tmp_path):
    (tmp_path / "forecast.json").write_text(json.dumps(_forecast()), encoding="utf-8")
    words = ["--task", "wlp", "--budget-usd", "400", "--forecast", str(tmp_path / "forecast.json")]
    plan = Plan(words, 600, Evidence("wlp", "f1", 9.2, ()))
    said = _moved(
        browser, plan.written(tmp_path), plan, [("compute_factor", 300), ("budget_usd", 650), ("label_usd", 90)]
    )
    assert {each.best.option.accelerator for each in said} & {"v5e-4", "v5p-8"}


def test_each_slider_says_it_of_a_scaled_book_and_known_models(browser, tmp_path):
    words = ["--task", "mini", "--book", "quickstart_scaled", "--budget-usd", "30", "--pilot", str(_RUN)]
    plan = Plan(words, 600)
    _moved(browser, plan.written(tmp_path), plan, [("budget_usd", 700), ("label_usd", 820), ("compute_factor", 910)])


def _forecast():
    def entry(mesh, finetune_usd, distill_usd):
        costs = {"batch_size": 32, "steps": 2500}
        programs = [{"kind": "finetune", "fits": True, "usd": finetune_usd, "costs": costs}]
        ways = {"teacher captured once": {"fits": True, "usd": distill_usd}}
        return {"task": "wlp", "mesh": mesh, "programs": programs, "ways": ways}

    return {"examples": 10_000, "forecasts": [entry("v5e-4", 4.0, 90.0), entry("v5p-8", 60.0, 22.0)]}


def test_the_command_says_at_other_prices_what_its_page_says(browser, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    words = ["--task", "fever", "--prior", "none", "--json"]
    path = tmp_path / "plan.html"
    assert command.run(parser.parse_args([*words, "--budget-usd", "200", "--html", str(path)])) == 0
    capsys.readouterr()
    assert command.run(parser.parse_args([*words, "--budget-usd", "650", "--label-usd", "0.9"])) == 0
    said = json.loads(capsys.readouterr().out)
    browser.open(f"{path.as_uri()}#budget_usd=650&label_usd=0.9", before=_KEEP)
    seen = browser.evaluate(_FIRST)["detail"]
    for name in ("recommended", "runner_up"):
        assert seen[name]["option"] == said[name]["option"]
        assert [seen[name][key] for key in ("expected", "low", "high", "chance")] == pytest.approx(
            [said[name][key] for key in ("expected", "low", "high", "chance")], rel=1e-6
        )
    assert [each["name"] for each in seen["frontier"]] == [each["name"] for each in said["frontier"]]
    assert [each["becomes_above"] for each in seen["break_evens"]] == [
        each["becomes_above"] for each in said["break_evens"]
    ]


@pytest.mark.parametrize(
    ("book", "task"), [("paper", "natural_questions"), ("paper", "fever"), ("quickstart_scaled", "mini"),
                       ("wlp_scaled", "wlp")]
)  # fmt: skip
def test_the_pages_teachers_cost_what_the_books_do_at_any_number_of_labels(browser, book, task):
    sizes = [*range(1, 400), *range(400, 60_000, 377), 1000, 5000, 10_000, 10_001]
    script = f"""(() => {{ {(_SCRIPTS / "prices.js").read_text("utf-8")}
      const computing = {json.dumps(computing_as_dict(load_book(book), task))};
      return {sizes}.map(n => [finetuneBookUsd(computing, n), distillBookUsdPer1k(computing, n)]); }})()"""
    found = [[of(load_book(book), task, n).usd for of in (finetune_cost, distill_cost_per_1k)] for n in sizes]
    assert browser.evaluate(script) == found


def test_the_pages_numbers_are_written_as_pythons(browser):
    values = [0.0, 0.125, 0.375, 2.5, 3.5, 1.005, 18.75, 99.995, 999.5, 1234.565, 1e6 / 3, 0.26, 12.5, 1e-5 / 3, 20.0]
    values += [20 ** (step / 7) * 0.013 for step in range(-20, 40)]
    script = f"""(() => {{ {(_SCRIPTS / "text.js").read_text("utf-8")}
      return {values}.map(x => [dollars(x), whole(x), score(x), general(x, 2), general(x, 3), general(x, 6)]); }})()"""
    found = [[f"${x:,.2f}", f"{x:,.0f}", f"{x:.1f}", f"{x:.2g}", f"{x:.3g}", f"{x:g}"] for x in values]
    assert browser.evaluate(script) == found


def test_real_keys_move_a_slider_and_its_field_follows(browser, address):
    browser.open(address, before=_KEEP)
    browser.evaluate("document.getElementById('label_usd-slider').focus()")
    before = float(browser.evaluate("document.getElementById('label_usd').value"))
    for _ in range(3):
        browser.press("ArrowRight")
    state = _do(browser)
    assert state["detail"]["values"]["label_usd"] == float(browser.evaluate("label_usd.value")) > before == 0.26
    assert browser.evaluate("document.getElementById('label_usd-slider').getAttribute('aria-valuetext')") == "$0.284"
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.id") == "compute_factor"


def test_the_address_holds_every_control_and_a_new_one_is_read(browser, address):
    browser.open(address, before=_KEEP)
    _do(browser, _SLIDE % ("budget_usd", 640))
    moved = _do(browser, _TYPE % ("compute_factor", "2.5"))
    browser.open(address + moved["hash"], before=_KEEP)
    again = browser.evaluate(_FIRST)
    assert again["detail"]["values"] == moved["detail"]["values"] and again["buy"] == moved["buy"]
    for fragment, values in (
        ("#budget_usd=120&label_usd=1", (120, 1, 1)),
        ("#budget_usd=nonsense&label_usd=-3&compute_factor=0", (500, 0.26, 1)),
        ("#budget_usd=&compute_factor=1e400", (500, 0.26, 1)),
        ("#budget_usd=-0&label_usd=1e-300&compute_factor=NaN", (500, 0.26, 1)),
    ):
        found = _do(browser, f"location.hash = {fragment!r};")["detail"]["values"]
        assert (found["budget_usd"], found["label_usd"], found["compute_factor"]) == values
    _do(browser, _SLIDE % ("label_usd", 800))
    reset = _do(browser, "document.getElementById('reset').click();")
    assert reset["detail"]["values"] == {"budget_usd": 500, "label_usd": 0.26, "compute_factor": 1}
    assert browser.evaluate("document.getElementById('reset').disabled") is True


def test_a_field_that_holds_no_price_is_marked_and_nothing_else_changes(browser, address):
    browser.open(address, before=_KEEP)
    _do(browser, _TYPE % ("label_usd", "0.5"))
    browser.evaluate(_TYPE % ("label_usd", "0"))
    assert browser.evaluate("label_usd.getAttribute('aria-invalid')") == "true"
    assert "label_usd=0.5" in browser.evaluate("location.hash")


@pytest.mark.parametrize(("width", "height", "dark"), [(360, 740, False), (390, 844, True), (1280, 900, False)])
def test_the_page_fits_its_window_and_the_answer_comes_first(browser, address, width, height, dark):
    browser.open(address, width, height, dark, _KEEP)
    _do(browser, _SLIDE % ("budget_usd", 980))
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert 0 < browser.evaluate("document.getElementById('buy').getBoundingClientRect().bottom") < height / 2
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (not dark)
    assert browser.complaints() == ([], [])


def test_a_move_is_answered_at_once_and_spoken_only_when_it_rests(browser, address):
    browser.open(address, before=_KEEP)
    spoken = _do(browser, _SLIDE % ("budget_usd", 600))["status"]
    took = browser.evaluate(f"""(() => {{
      const times = [];
      for (let place = 300; place < 700; place += 20) {{
        const started = performance.now();
        {_SLIDE % ("budget_usd", "place")}
        times.push(performance.now() - started);
      }}
      return times.sort((one, other) => one - other);
    }})()""")
    assert browser.evaluate("document.getElementById('status').textContent") == spoken
    assert browser.evaluate("document.querySelectorAll('.stale').length") == 2
    # A third of a second on a slow laptop; half of the moves, since tests share their machine.
    assert took[len(took) // 2] < 300


def test_without_scripts_the_page_says_what_to_buy_today(browser, address, unknown):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(address)
        seen = browser.evaluate("document.body.innerText")
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert advice.advise(unknown.wish, unknown.prices, unknown.draws).best.option.name in seen
    assert "At these prices" not in seen
