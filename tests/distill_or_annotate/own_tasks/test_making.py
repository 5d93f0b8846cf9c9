"""`doa task add` writes whole tasks that Python and gin can read, and refuses what it cannot make in one line."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from distill_or_annotate import cli
from distill_or_annotate.costs import cost_cell
from distill_or_annotate.own_tasks import names, prices, study, vocabulary
from distill_or_annotate.pipeline import study as study_files
from distill_or_annotate.prices import load_book

_ROOT = Path(__file__).parents[3]


def _add(*more, name="reviews", train="reviews.csv"):
    columns = ["--text-col", "text", "--label-col", "label"]
    return cli.main(["task", "add", name, "--train", train, *columns, *more])


def _written(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_a_task_is_written_whole_and_its_files_are_clean_and_readable(user_folder, capsys):
    assert _add("--unlabeled", "pool.txt", "--prompt", 'say "how": ', "--label-usd", "0.1") == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("positive", "cut at ", "pool.txt (text, utf-8)", "doa run my_tasks/"))
    assert "20 test rows: a score's standard error is up to 11 points" in printed
    rows = [json.loads(line) for line in (user_folder / "my_tasks/reviews/train.jsonl").read_text().splitlines()]
    assert len(rows) == 160 and set(rows[0]) == {"source", "target"}
    lint = [sys.executable, "-m", "ruff", "check", "--config", str(_ROOT / "pyproject.toml"), "my_tasks"]
    done = subprocess.run(lint, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert 'prefix="say \\"how\\": "' in (user_folder / "my_tasks/reviews.py").read_text()
    scenario, _ = study_files.read("my_tasks/reviews_study.gin")
    book = study_files.prices(scenario)
    assert (scenario.n_labels, scenario.max_labels, book.label("reviews").usd) == (80, 160, 0.1)
    pretrained, _ = study_files.read("my_tasks/reviews_pretrained_study.gin")
    assert pretrained.name == "reviews_pretrained" and len(scenario.notes) == 2 and len(pretrained.notes) == 1


def test_the_same_table_gives_the_same_files(user_folder):
    assert _add() == 0 and _add("--output", "again") == 0
    for path in _written(user_folder / "my_tasks"):
        same = (user_folder / "again" / path).read_bytes().replace(b"again", b"my_tasks")
        assert same == (user_folder / "my_tasks" / path).read_bytes(), path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label-usd", "-1"], "label-usd: received -1; it must be above 0"),
        (["--label-usd", "nan"], "label-usd: received nan"),
        (["--text-col", "txt"], "no column 'txt' in its header; did you mean 'text'?"),
        (["--metric", "bert_ibeu"], "did you mean bert_ibleu"),
        (["--metric", "entity_f1"], "no label holds one"),
        (["--test", "odd.csv"], "'positiv' (6 rows, nearest 'positive')"),
        (["--unlabeled", "leaky.txt"], "40 of 200 sources are in validation or test"),
        (["--train", "nowhere.csv"], "nowhere.csv"),
        (["--train", "."], "files ending in 'nothing' are not read"),
        (["--output", "my-tasks"], "'my-tasks' cannot be one. Fix: --output my_tasks"),
        (["--output", "."], "name one"),
        (["--encoding", "utf-9"], "encoding: 'utf-9' is none that Python knows"),
        (["--delimiter", ";;"], "delimiter: received ';;'"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line_and_nothing_is_written(arguments, message, user_folder, capsys):
    texts = [line.split(",label")[0] for line in (user_folder / "reviews.csv").read_text().splitlines()[1:]]
    (user_folder / "leaky.txt").write_text("".join(text.rsplit(",", 1)[0].strip('"') + "\n" for text in texts))
    (user_folder / "odd.csv").write_text("text,label\n" + "".join(f"odd {i},positiv\n" for i in range(6)))
    before = _written(user_folder)
    assert _add(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("doa task add: ") and error.count("\n") == 1
    assert _written(user_folder) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Reviews", "lower-case"),
        ("class", "no word of Python"),
        ("fever", "a task 'fever' comes with us"),
        ("wlp_mini", "comes with us"),
        ("reviews_n100_s0", "ends in '_n100_s0'"),
        ("reviews_study", "ends in '_study'"),
        ("../x", "lower-case"),
    ],
)
def test_a_name_that_cannot_be_a_task_s_is_refused(name, message, user_folder, capsys):
    assert _add(name=name) == 2
    assert message in capsys.readouterr().err


def test_nothing_of_the_user_s_is_written_over(user_folder, capsys):
    assert _add() == 0
    kept = (user_folder / "my_tasks" / "reviews.py").read_bytes()
    assert _add("--metric", "macro_f1") == 2
    assert "my_tasks/reviews.py is there already" in capsys.readouterr().err
    assert (user_folder / "my_tasks" / "reviews.py").read_bytes() == kept


def test_reserved_names_are_those_of_the_registry():
    source = (_ROOT / "tasks" / "registry.py").read_text()
    published = next(
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "_PUBLISHED"
    )
    assert {*published} <= names.RESERVED and {f"{name}_paper" for name in published} <= names.RESERVED


def test_a_folder_elsewhere_is_run_from_its_parent(user_folder, tmp_path_factory, capsys):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "tasks_of_mine"
    assert _add("--output", str(elsewhere)) == 0
    assert f"cd {elsewhere.parent}" in capsys.readouterr().out
    assert "MIXTURE_OR_TASK_MODULE = 'tasks_of_mine.reviews'" in (elsewhere / "reviews.gin").read_text()


def test_entity_labels_make_an_entity_task_with_one_piece_a_type(user_folder):
    lines = [{"text": f"mix {i} water {i}", "label": f"mix [Action] water {i} [Reagent]"} for i in range(60)]
    lines += [{"text": f"nothing here {i}", "label": ""} for i in range(20)]
    (user_folder / "protocols.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert _add(name="protocols", train="protocols.jsonl") == 0
    made = user_folder / "my_tasks"
    assert 'metric="entity_f1"' in (made / "protocols.py").read_text()
    encode = vocabulary.encoder((made / "protocols" / "vocab.model").read_bytes())
    assert len(encode("[Action]")) == len(encode("[Reagent]")) == 1


def test_lists_of_answers_make_a_task_that_accepts_each_and_other_metrics_refuse_them(user_folder, capsys):
    lines = [{"text": f"who was number {i}", "label": [f"person {i}", f"p. {i}"]} for i in range(60)]
    (user_folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert _add("--metric", "accuracy", name="questions", train="questions.jsonl") == 2
    assert "60 rows have lists of several" in capsys.readouterr().err
    assert _add(name="questions", train="questions.jsonl") == 0
    made = (user_folder / "my_tasks" / "questions.py").read_text()
    assert 'metric="token_f1"' in made and "several_answers=True" in made
    row = json.loads((user_folder / "my_tasks/questions/test.jsonl").read_text().splitlines()[0])
    assert row["targets"][0] == row["target"] and len(row["targets"]) == 2


def test_t5_models_get_an_experiment_and_lengths_that_say_they_are_estimates(user_folder, capsys, monkeypatch):
    monkeypatch.delenv("DOA_T5_VOCAB", raising=False)
    assert _add("--models", "t5") == 0
    assert "lengths and truncation are estimates" in capsys.readouterr().out
    assert {path.name for path in (user_folder / "my_tasks").iterdir()} == {
        "reviews", "reviews.py", "reviews.gin", "reviews_prices.toml", "reviews_train.gin"
    }  # fmt: skip


def test_a_vocabulary_spells_any_text_and_depends_on_its_text_alone():
    texts = [f"the {word} soup" for word in ("cold", "warm", "old")] * 20
    model, n_pieces = vocabulary.learn(texts, ("not relevant", "ok"))
    assert (model, n_pieces) == vocabulary.learn(texts, ("not relevant", "ok"))
    assert vocabulary.vocab_size(n_pieces) % 128 == 0 and vocabulary.vocab_size(n_pieces) >= n_pieces + 24
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert len(processor.encode("not relevant")) == 1
    for text in ("ein kühler Tag ☕ ½", "not relevant", "THE"):
        assert processor.decode(processor.encode(text)) == text


def test_text_of_more_signs_than_pieces_is_spelt_in_bytes():
    signs = [chr(0x4E00 + i) for i in range(4000)]
    texts = ["".join(signs[i : i + 40]) for i in range(0, 4000, 8)]
    model, n_pieces = vocabulary.learn(texts, ("ok",))
    assert n_pieces <= vocabulary.MOST_PIECES
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert processor.decode(processor.encode(texts[-1])) == texts[-1]


def test_lengths_hold_99_of_100_texts_whole():
    rows = [{"source": "x" * n, "target": "y"} for n in range(1, 101)]
    assert vocabulary.lengths(rows, [], list, "", 256) == (104, 8), "99 characters and the end, in steps of 8"
    assert vocabulary.lengths(rows, [], list, "", 64) == (64, 8)


def test_prices_read_back_as_they_were_made_and_say_what_they_assume(tmp_path):
    import datetime

    made = prices.book("mine", 0.5, datetime.date(2026, 1, 2))
    (tmp_path / "mine.toml").write_text(prices.toml_of(made))
    book = load_book("mine", tmp_path / "mine.toml")
    assert book.entries == made.entries
    assert (book.label("mine").usd, book.label("mine").source) == (0.5, "the user's --label-usd")
    # Means over the paper's six tasks: Table 6 at N = 5K, and its distillation rates.
    assert book.finetune_points("mine")[5000].usd == pytest.approx((67.5 + 60 + 22.5 + 32.5 + 45 + 30) / 6, abs=1e-4)
    assert book.distill_per_1k("mine", 80).usd == pytest.approx((4.35 + 2.25 + 0.78 + 1.23 + 1.63 + 0.86) / 6)
    assert book.distill_per_1k("mine", 80).provenance == "assumption"


@pytest.mark.parametrize(("n_train", "n_pool", "label_usd"), [(160, 300, 0.1), (20, 20, 0.01), (5000, 10**5, 2.0)])
def test_a_study_s_budgets_start_at_nothing_and_pay_for_a_teacher(n_train, n_pool, label_usd):
    import datetime

    book = prices.book("mine", label_usd, datetime.date(2026, 1, 2))
    plan = study.plan(book, "mine", n_train, n_pool)
    assert plan.additional_usd[0] == 0 and list(plan.additional_usd) == sorted({*plan.additional_usd})
    for usd in plan.additional_usd[1:]:
        assert cost_cell(book, "mine", plan.n_labels, usd).n_unlabeled > 0
