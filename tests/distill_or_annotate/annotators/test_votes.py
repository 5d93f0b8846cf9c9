"""Matrices from several people's labels: words and entities, and what is refused."""

import json

import numpy as np
import pytest

from distill_or_annotate.annotators import forms, simulated_file, votes
from distill_or_annotate.annotators.simulated import Simulated, SimulationError

FEVER, WLP = forms.of_task("fever", None), forms.of_task("wlp", None)


def _write(folder, *rows):
    path = folder / "votes.jsonl"
    path.write_text("".join(json.dumps({"source": source, "votes": given}) + "\n" for source, given in rows))
    return path


def _share(fitted, true, given):
    labels = [label.upper() for label in fitted.labels]
    return fitted.matrix[labels.index(true.upper()), labels.index(given.upper())]


def test_votes_are_read_in_any_case_and_null_is_no_vote(tmp_path):
    rows = [(f"claim {i}", [" supports.", "SUPPORTS", None, "refutes"]) for i in range(20)]
    rows += [("another", ["REFUTES", "REFUTES"])]
    gold = {f"claim {i}": "SUPPORTS" for i in range(20)} | {"another": "REFUTES"}
    for written in (rows, [*rows, rows[0]]):  # a source that stands there twice
        fitted = votes.fitted(_write(tmp_path, *written), FEVER, gold)
        n_votes = 62 + 3 * (len(written) - len(rows))
        told = f"{n_votes} votes of up to 4 annotators on {len(written)} items of known label"
        assert fitted.provenance == "fitted" and fitted.source == told
        assert _share(fitted, "SUPPORTS", "REFUTES") == pytest.approx(1 / 3, abs=0.01)


def test_one_vote_an_item_is_one_persons_word_and_assumed(tmp_path):
    path = _write(tmp_path, *((f"claim {i}", ["REFUTES"]) for i in range(20)))
    assert votes.fitted(path, FEVER, {f"claim {i}": "REFUTES" for i in range(20)}).provenance == "assumed"


def test_of_entities_the_types_that_the_same_words_were_given_are_counted(tmp_path):
    true = "Spin [Action] the tube [Location] spin [Action]"
    given = [
        "Spin [Action] the tube [Device] spin [Method]",
        "Spin [action] the tube [Device] spin [Action]",
        "tube [Reagent]",  # other words: no vote on what was cut otherwise
        "",
    ]
    source = "Spin the tube spin"
    fitted = votes.fitted(_write(tmp_path, *((source, given) for _ in range(50))), WLP, {source: true})
    assert _share(fitted, "Action", "Action") == pytest.approx(3 / 4, abs=0.01)
    assert _share(fitted, "Action", "Method") == pytest.approx(1 / 4, abs=0.01)
    assert _share(fitted, "Location", "Device") == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(fitted.matrix.sum(1), 1)


def test_annotators_who_agree_with_the_truth_are_fitted_as_such(tmp_path):
    rows = [(f"Add {i} ml water", f"Add [Action] {i} ml [Amount] water [Reagent]") for i in range(40)]
    path = _write(tmp_path, *((source, [target] * 3) for source, target in rows))
    fitted = votes.fitted(path, WLP, dict(rows))
    assert all(_share(fitted, kind, kind) > 0.99 for kind in ("Action", "Amount", "Reagent"))


@pytest.mark.parametrize(
    ("form", "given", "gold", "told"),
    [
        (FEVER, ["SUPORTS"], {}, r"line 1: 'SUPORTS' .* Allowed: \w+, \w+\."),
        (FEVER, ["SUPPORTS"], {"Add water": "Maybe"}, r"'Maybe' for 'Add water'"),
        (FEVER, [], {}, "no votes"),
        (FEVER, "SUPPORTS", {}, "a list of votes"),
        (WLP, ["Add [Actoin]"], {"Add water": "Add [Action]"}, "line 1: .*type"),
        (WLP, ["Add [Action]"], {}, "1 of 1 sources have no true label"),
    ],
)
def test_what_is_no_vote_or_no_truth_is_named(tmp_path, form, given, gold, told):
    with pytest.raises(SimulationError, match=told):
        votes.fitted(_write(tmp_path, ("Add water", given)), form, gold)


def test_simulated_labels_say_so_and_replace_none_that_were_paid_for(tmp_path):
    rows = [{"source": "x", "target": "SUPPORTS"}]
    found = Simulated(("SUPPORTS",), (("SUPPORTS", "REFUTES"),), 1, 0.2, "assumed")
    path = tmp_path / "labels.jsonl"
    for _ in range(2):  # the second time over its own
        simulated_file.write_labels(path, rows, found)
    line = json.loads(path.read_text())
    assert (line["annotators"], line["confusion"], line["prediction"]) == ("simulated", "assumed", "SUPPORTS")
    path.write_text(f'\n{path.read_text()}{{"source": "x", "prediction": "REFUTES"}}\n')
    with pytest.raises(SimulationError, match=r"were not simulated\. Fix: another --out"):
        simulated_file.write_labels(path, rows, found)
    assert "REFUTES" in path.read_text()
