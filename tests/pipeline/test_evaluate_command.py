"""`doa evaluate`: a file of predictions in, one result out; what cannot be scored is refused with its place."""

import json
import subprocess
import sys

import pytest

from distill_or_annotate import cli
from distill_or_annotate.metrics.evaluation import Scorer

FEVER = [{"source": f"claim {i}", "target": "SUPPORTS" if i % 2 else "REFUTES"} for i in range(40)]
RIGHT = [row["target"].lower() for row in FEVER]


def _write(path, rows):
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def _predicted(path, rows=FEVER, predictions=RIGHT):
    return _write(path, [{**row, "prediction": text} for row, text in zip(rows, predictions, strict=True)])


def _doa(*words):
    return cli.main(["evaluate", *map(str, words)])


def _json(capsys, *words):
    assert _doa(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def _refused(capsys, *words):
    assert _doa(*words) == 2
    return capsys.readouterr().err


def test_json_has_the_agreed_keys_and_equals_the_scorer(tmp_path, capsys):
    mixed = ["maybe", *RIGHT[1:35], *["SUPPORTS"] * 5]
    for mode in ("fair", "paper"):
        found = _json(
            capsys, "--task", "fever", "--mode", mode, "--predictions", _predicted(tmp_path / "p", FEVER, mixed)
        )
        scorer = Scorer("accuracy", ("REFUTES", "SUPPORTS"), mode)
        assert found["parts"] == scorer.scores(FEVER, mixed) and found["score"] == found["parts"]["accuracy"]
        assert (found["metric"], found["mode"], found["n_examples"]) == ("accuracy", mode, 40)
        assert found["stderr"] > 0 and found["similarity_model"] is None
        assert {"empty", "copied_source", "constant", "constant:REFUTES", "constant:SUPPORTS"} == set(found["floors"])
        assert not found["degenerate"]["flagged"]
    # In paper mode the unknown answer counts as the first class, which it is.
    assert found["score"] == 95.0 and found["floors"]["empty"] == 50.0


def test_the_form_of_a_task_sets_its_mode_and_a_mode_given_wins(tmp_path, capsys):
    path = _predicted(tmp_path / "p", FEVER, [""] * 40)
    assert _json(capsys, "--task", "fever_paper", "--predictions", path)["score"] == 50.0
    assert _json(capsys, "--task", "fever_n1000_s0", "--predictions", path)["score"] == 0.0
    assert _json(capsys, "--task", "fever_paper", "--mode", "fair", "--predictions", path)["score"] == 0.0


def test_tables_name_score_parts_and_floors(tmp_path, capsys):
    assert _doa("--task", "fever", "--predictions", _predicted(tmp_path / "p")) == 0
    told = capsys.readouterr()
    assert "fever, mode fair: accuracy 100.00 ± 0.00 over 40 examples" in told.out
    assert "macro_f1" in told.out and "constant:SUPPORTS" in told.out and "+50.00" in told.out
    assert "Floors that learn are left out: give --train" in told.out and told.err == ""


def test_a_degenerate_model_is_told_on_standard_error(tmp_path, capsys):
    path = _predicted(tmp_path / "p", FEVER, ["SUPPORTS"] * 40)
    assert _doa("--task", "fever", "--predictions", path) == 0
    told = capsys.readouterr()
    assert "doa evaluate: this model is degenerate: one answer in 100.0% of cases; " in told.err
    assert "above the floor 'constant' (50.0)" in told.err and "Degenerate: one answer" in told.out
    assert _doa("--task", "fever", "--predictions", path, "--strict", "--json") == 1
    assert json.loads(capsys.readouterr().out)["degenerate"]["flagged"]


def test_labels_that_the_model_had_make_floors_that_learn(tmp_path, capsys):
    train = _write(
        tmp_path / "train.jsonl", [{"source": f"{row['target']} claim", "target": row["target"]} for row in FEVER]
    )
    found = _json(capsys, "--task", "fever", "--predictions", _predicted(tmp_path / "p"), "--train", train)
    assert "tfidf_logistic" in found["floors"] and found["n_train"] == 40
    wlp = [{"source": "Mix the tube.", "target": "Mix [Action] tube [Location]"}] * 3
    path = _predicted(tmp_path / "w", wlp, ["Mix [Action]"] * 3)
    found = _json(capsys, "--task", "wlp", "--predictions", path, "--train", _write(tmp_path / "t", wlp))
    assert found["floors"]["lookup"] == 100.0 and found["parts"]["span_f1"] == pytest.approx(200 / 3)


def test_a_number_of_labels_takes_them_from_the_tasks_data(tmp_path, capsys):
    rows = [{"source": "then galate some tulol", "target": "galate [Action] tulol [Reagent]"}]
    found = _json(capsys, "--task", "mini", "--predictions", _predicted(tmp_path / "p", rows, [""]), "--train", 100)
    assert found["n_train"] == 100 and "lookup" in found["floors"]


def test_what_t5x_wrote_is_read_without_the_tasks_prefix(tmp_path, capsys):
    sources = [f"wlp: Mix tube {i}" for i in range(3)]
    fields = [{"inputs_pretokenized": source, "targets_pretokenized": "Mix [Action]"} for source in sources]
    infer = [{"inputs": each, "prediction": "Mix [Action]"} for each in fields]
    found = _json(capsys, "--task", "wlp_paper", "--predictions", _write(tmp_path / "i", infer))
    assert found["score"] == 100.0
    seqio = [{"input": {"inputs_pretokenized": "who?"}, "target": ["Ann", "Ann Lee"], "prediction": "Ann Lee"}]
    assert (
        _json(capsys, "--task", "natural_questions", "--predictions", _write(tmp_path / "s", seqio))["score"] == 100.0
    )
    row = {"source": "a b c d e", "target": "f g h i j"}
    whole = [
        {"input": {"inputs_pretokenized": "multipit_gen: a b c d e"}, "target": row, "prediction": "a b c d e"}
    ] * 2
    path = _write(tmp_path / "g", whole)
    found = _json(capsys, "--task", "multipit_gen", "--metric", "chrf_ibleu", "--predictions", path)
    assert found["parts"]["copied"] == 100.0


def test_several_answers_count_where_the_metric_takes_them(tmp_path, capsys):
    rows = [
        {"source": "who?", "targets": ["Ann", "Ann Lee"]},
        {"source": "who?", "target": "Bo", "targets": ["Bob", "Bo"]},
    ]
    path = _predicted(tmp_path / "p", rows, ["Ann Lee", "Bob"])
    assert _json(capsys, "--task", "natural_questions", "--predictions", path)["score"] == 100.0
    # The paper's reference knows the target alone: 2 of 3 words, then none.
    assert _json(capsys, "--task", "natural_questions_paper", "--predictions", path)["score"] == pytest.approx(100 / 3)
    assert "line 1, field 'targets': 2 accepted answers" in _refused(capsys, "--task", "wlp", "--predictions", path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"line 2, field 'json': not JSON"),
        ("[]", r"line 2, field 'json': a JSON object is needed, received list []"),
        ({"target": "REFUTES", "prediction": ""}, "'source': missing; the line has ['prediction', 'target']"),
        ({"source": " ", "target": "REFUTES", "prediction": ""}, "line 2, field 'source': empty"),
        ({"source": "x", "prediction": ""}, "line 2, field 'target': missing, and so is 'targets'"),
        ({"source": "x", "targets": [], "prediction": ""}, "line 2, field 'targets': a list of at least one string"),
        ({"source": "x", "target": "REFUTES"}, "line 2, field 'prediction': missing"),
        ({"source": "x", "target": "REFUTES", "prediction": None}, "'prediction': a string is needed, received None"),
        ({"source": "x", "target": "REFUTE", "prediction": ""}, "line 2, field 'target': 'REFUTE' is not among"),
        ({"inputs": {}, "prediction": ""}, "line 2, field 'inputs_pretokenized': missing"),
        ({"inputs": {"inputs_pretokenized": "x"}, "prediction": ""}, "line 2, field 'target': a string is needed"),
    ],
)  # fmt: skip
def test_a_malformed_line_is_refused_with_its_place(tmp_path, capsys, line, said):
    path = _write(tmp_path / "p.jsonl", [{**FEVER[0], "prediction": ""}, line])
    told = _refused(capsys, "--task", "fever", "--predictions", path)
    assert told.startswith(f"doa evaluate: {path}, ") and said in told and told.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "field", "said"),
    [
        ({"target": "Paris", "targets": "Paris"}, "targets", "a list of at least one string is needed, received str"),
        ({"target": "Paris", "targets": 5}, "targets", "a list of at least one string is needed, received int 5"),
        ({"targets": []}, "targets", "a list of at least one string is needed, received list []"),
        ({"targets": ["Paris", 5]}, "targets", "a string is needed, received int 5"),
        ({"target": ["Paris"]}, "target", "a string is needed, received list ['Paris']"),
        ({"source": "x"}, "target", "missing, and so is 'target.targets'; the line has ['source']"),
    ],
)  # fmt: skip
def test_a_row_inside_a_target_is_held_to_the_checks_of_a_row(tmp_path, capsys, target, field, said):
    line = {"input": {"inputs_pretokenized": "which city?"}, "target": target, "prediction": "P"}
    path = _write(tmp_path / "p.jsonl", [line])
    told = _refused(capsys, "--task", "natural_questions", "--predictions", path)
    assert told.startswith(f"doa evaluate: {path}, line 1, field 'target.{field}': {said}") and told.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"source": "a", "target": "b", "prediction": "c\ud800"}, "prediction"),
        ({"source": "a", "target": "\udc00b", "prediction": "c"}, "target"),
        ({"source": "a", "targets": ["b", "b\ud800"], "prediction": "c"}, "targets"),
        ({"source": "a\ud800", "target": "b", "prediction": "c"}, "source"),
        ({"inputs": {"inputs_pretokenized": "a\ud800"}, "target": "b", "prediction": "c"}, "inputs_pretokenized"),
        ({"input": {"inputs_pretokenized": "a"}, "target": {"targets": ["\ud800"]}}, "target.targets"),
    ],
)  # fmt: skip
def test_half_of_a_surrogate_pair_is_refused_where_rows_are_read(tmp_path, capsys, line, field):
    path = _write(tmp_path / "p.jsonl", [{"source": "a", "target": "b", "prediction": "\U0001f600"}, line])
    told = _refused(capsys, "--task", "multipit_gen", "--predictions", path)
    assert told.startswith(f"doa evaluate: {path}, line 2, field {field!r}: holds half of a surrogate pair, '\\ud")
    assert told.count("\n") == 1


@pytest.mark.parametrize("other", ["inputs", "input"])
def test_a_line_with_a_source_is_ours_whatever_its_other_fields_hold(tmp_path, capsys, other):
    rows = [{**row, other: {"inputs_pretokenized": "y", "id": 7} if i % 2 else {}} for i, row in enumerate(FEVER)]
    path = _predicted(tmp_path / "p", rows)
    assert _json(capsys, "--task", "fever", "--predictions", path)["score"] == 100.0
    assert _json(capsys, "--task", "fever", "--predictions", path, "--train", path)["n_train"] == 40


@pytest.mark.parametrize("flag", ["--seed", "--data-seed"])
def test_a_seed_below_0_is_refused_by_its_flag(tmp_path, capsys, flag):
    told = _refused(capsys, "--task", "fever", "--predictions", _predicted(tmp_path / "p"), flag, -1)
    assert told == f"doa evaluate: {flag}: received -1. Fix: a whole number of 0 and more.\n"


def test_bytes_that_are_no_text_a_file_without_lines_and_no_file_are_refused(tmp_path, capsys):
    path = tmp_path / "p"
    path.write_bytes(b'{"source": "\xff"}\n')
    assert "line 1, field 'encoding': byte 0xff is not UTF-8" in _refused(
        capsys, "--task", "wlp", "--predictions", path
    )
    path.write_bytes(b"\n")
    assert "has no line. Fix: one JSON object a line" in _refused(capsys, "--task", "wlp", "--predictions", path)
    assert "No such file" in _refused(capsys, "--task", "wlp", "--predictions", tmp_path / "none")


def test_unknown_tasks_metrics_and_training_labels_are_refused(tmp_path, capsys):
    path = _predicted(tmp_path / "p")
    assert "received 'fevr'; did you mean fever?" in _refused(capsys, "--task", "fevr", "--predictions", path)
    said = _refused(capsys, "--task", "fever", "--metric", "acuracy", "--predictions", path)
    assert "metric: 'acuracy' is not one of" in said
    said = _refused(capsys, "--task", "fever", "--train", "none.jsonl", "--predictions", path)
    assert "--train: 'none.jsonl' is neither a file nor a number of labels" in said
    train = _write(tmp_path / "t", [{"source": "x", "target": "MAYBE"}])
    said = _refused(capsys, "--task", "fever", "--train", train, "--predictions", path)
    assert f"{train}, line 1, field 'target': 'MAYBE'" in said


def test_scoring_a_file_loads_nothing_heavy(tmp_path):
    path = _predicted(tmp_path / "p")
    program = (
        "import json, sys\nfrom distill_or_annotate import cli\nfile = sys.argv[1]\n"
        "status = cli.main(['evaluate', '--task', 'fever', '--json', '--predictions', file, '--train', file])\n"
        "heavy = {'jax', 'flax', 'tensorflow', 'seqio', 'torch', 'matplotlib'} & set(sys.modules)\n"
        "print(json.dumps([status, *heavy]))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [0]
