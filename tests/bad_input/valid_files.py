"""One small valid file of each form that the project reads, invented, and how it is read."""

import dataclasses
import datetime
import io
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from distill_or_annotate.own_tasks import labels, prices, splits, tables
from distill_or_annotate.preprocess import rows as rows_lib
from distill_or_annotate.preprocess.official import forms
from distill_or_annotate.prices.books import load_books

Row = tuple[str, str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class ValidFile:
    """A valid file.

    Args:
      form: what it is, in words.
      name: its name, which is damaged.
      content: its bytes.
      read: (file, on_bad_row) to (source, target, accepted targets) of each row.
      beside: further files that reading needs, by name; left whole.
      may_be_empty: whether an empty target is one.
      labels: all targets that there can be; () for free text.
    """

    form: str
    name: str
    content: bytes
    read: Callable[[Path, str], list[Row]]
    beside: tuple[tuple[str, bytes], ...] = ()
    may_be_empty: bool = False
    labels: tuple[str, ...] = ()


def _json_lines(values: Iterable[object]) -> bytes:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()


def _official(task: str, name: str, role: str, path: Path, on_bad_row: str) -> list[Row]:
    """Recognises the file as the command does, then reads it as the form it was made in, as --form makes it do."""
    form = forms.named(task, name, role)
    try:
        detected = forms.detect(task, path, role)
    except forms.FormError as error:
        _keep(error)
    else:
        form = detected
    for each in dict.fromkeys((forms.named(task, name, role), form)):
        reading = forms.read(each, role, [path], on_bad_row)
    return [(row.source, row.target, row.targets) for row in reading.rows]


def _keep(error: Exception) -> None:
    # A file that is not recognised can still be read under its form's name; the message must be fit to print.
    if "\n" in str(error) or len(str(error)) > 3000:
        raise AssertionError(f"message of {len(str(error))} characters: {str(error)[:200]!r}") from error


def _released(path: Path, on_bad_row: str) -> list[Row]:
    read = rows_lib.read_rows(path, on_bad_row)
    return [(row["source"], row["target"], tuple(row.get("targets", ()))) for row in read.rows]


def _own(path: Path, on_bad_row: str) -> list[Row]:
    """What `doa task add` does with a table before anything is written."""
    table = tables.read_table(path, ["text", "label"])
    rows, _ = splits.rows_of(table, ["text"], "label", on_bad_row=on_bad_row)
    metric = labels.choose_metric([row["target"] for row in rows])
    labels.check_several(metric, rows)
    labels.label_words(metric, rows)
    parts, _ = splits.hold_out({"train": rows})
    splits.pool(parts, None)
    return [(row["source"], row["target"], tuple(row.get("targets", ()))) for row in rows]


def _own_pool(path: Path, on_bad_row: str) -> list[Row]:
    rows, _ = splits.rows_of(tables.read_table(path, ["text"]), ["text"], None, on_bad_row=on_bad_row)
    return [(row["source"], "", ()) for row in rows]


def _prices(path: Path, on_bad_row: str) -> list[Row]:
    return [(entry.id, entry.unit, ()) for book in load_books(path).values() for entry in book.entries.values()]


_REVIEWS = [(f"the {word} number {i} was fine, “mostly”", ("good", "bad")[i % 2]) for i in range(30)
            for word in ("soup", "bread")]  # fmt: skip


def _csv(delimiter: str) -> bytes:
    lines = [delimiter.join(("id", "text", "label"))]
    lines += [delimiter.join((str(i), f'"{text}"', label)) for i, (text, label) in enumerate(_REVIEWS)]
    return ("\n".join(lines) + "\n").encode()


def _parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    columns = {"text": [text for text, _ in _REVIEWS], "label": [label for _, label in _REVIEWS]}
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


_CONLL = (
    "Mix\tB-Action\nthe\tO\nbuffer\tB-Reagent\n.\tO\n\nSpin\tB-Action\nfor\tO\n5\tB-Time\nmin\tI-Time\n.\tO\n\n" * 3
)
_BRAT_TEXT = "Mix the µ buffer.\nSpin it for 5 min, then rest.\nStop.\nNote\n"
_BRAT = (
    "T1\tAction 0 3\tMix\nE1\tAction:T1 Acts-on:T2\nT2\tReagent 10 16\tbuffer\nT3\tAction 18 22\tSpin\n"
    "T4\tTime 30 35\t5 min\nT5\tMethod 18 22;42 46\tSpin rest\n*\tEquiv T1 T3\n#1\tAnnotatorNotes T1\tx\n"
)
_THREAD = {
    "claim": "Tea cures colds", "id": 3, "source": "a page",
    "root_tweet": {"id": 1, "text": "Help? @ann https://x.y/z", "stance": "Querying", "leaning": "", "children": [
        {"id": 2, "text": "It doesn’t.", "stance": "Refuting", "leaning": "", "children": [
            {"id": 4, "text": "", "stance": "Discussing", "leaning": "", "children": []}]},
        {"id": 3, "text": "It did for me", "stance": "Supporting", "leaning": "", "children": []}]},
}  # fmt: skip
_THREADS = "[" + ",\n".join(json.dumps(_THREAD | {"id": i}, ensure_ascii=False) for i in range(3)) + "]\n"
_KILT_FEVER = [
    {"id": str(i), "input": f"Tea nº {i} is a drink.", "output": [{"answer": ("SUPPORTS", "REFUTES")[i % 2],
     "provenance": [{"wikipedia_id": "7", "title": "Tea"}]}, {"provenance": []}], "meta": {}}
    for i in range(6)
]  # fmt: skip
_KILT_QUESTIONS = [
    {"id": str(i), "input": f"who drank tea nº {i}",
     "output": [{"answer": "Ann"}, {"answer": "Ann Lee"}, {"provenance": []}]}
    for i in range(6)
]  # fmt: skip
_FEVER_AI = [
    {"id": i, "verifiable": "VERIFIABLE", "label": ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO")[i % 3],
     "claim": f"Tea {i} is hot.", "evidence": [[[1, 2, "Tea", 0]]]}
    for i in range(6)
]  # fmt: skip
_VITAMINC = [
    {"unique_id": str(i), "case_id": str(i), "claim": f"Tea {i} is hot.", "evidence": "Tea.", "label": "SUPPORTS"}
    for i in range(6)
]
_PAIRS = (
    'sentence1,sentence2,label\n"Rain, at last .",It rained .,1\nThe cat sat .,"A ""cat"" slept — .",0\n'
    + "".join(f"Shop {i} shut .,It closed {i} .,{i % 2}\n" for i in range(5))
)
_AUTOMATIC = "sentence1,sentence2\n" + "".join(f'"Shop {i}, old , shut .",It closed {i} .\n' for i in range(6))
_FEVER, _STANCES, _YES_NO = (
    ("SUPPORTS", "REFUTES"), ("Supporting", "Refuting", "Irrelevant", "Discussing", "Querying"), ("NO", "YES"),
)  # fmt: skip
_WLP_ROWS = [{"source": f"Mix the “buffer” {i}.", "target": "Mix [Action]"} for i in range(5)]
_WLP_ROWS += [{"source": "Notes:", "target": ""}]
_NQ_ROWS = [{"source": f"who is nº {i}?", "target": "Ann", "targets": ["Ann", "Ann Lee"]} for i in range(5)]
_FEVER_ROWS = [{"source": f"Tea {i} is hot.", "target": _FEVER[i % 2]} for i in range(5)]
_QUERIES = "".join(f"{1000 + i}\tdefine extrême {i}\n" for i in range(6)).encode()
_PRICES = prices.toml_of(prices.book("reviews", 0.1, datetime.date(2023, 7, 9))).encode()
_TEXT = "".join(f"Stir the flask at {i} °C.\n" for i in range(6)).encode()


def _of(task, name, file, content, role="labelled", **further) -> ValidFile:
    content = content if isinstance(content, bytes) else content.encode()
    return ValidFile(f"{name} of {task}, {role}", file, content, partial(_official, task, name, role), **further)


ALL = (
    ValidFile("released wlp", "wlp_train_all.json", _json_lines(_WLP_ROWS), _released, may_be_empty=True),
    ValidFile("released nq", "nq_train_all.json", _json_lines(_NQ_ROWS), _released, may_be_empty=True),
    _of("wlp", "released", "wlp.json", _json_lines(_WLP_ROWS), may_be_empty=True),
    _of("fever", "released", "fever.json", _json_lines(_FEVER_ROWS), labels=_FEVER),
    _of("natural_questions", "released", "nq.json", _json_lines(_NQ_ROWS)),
    _of("wlp", "wlp_conll", "protocol_1_conll.txt", _CONLL, may_be_empty=True),
    _of("wlp", "wlp_brat", "p.txt", _BRAT_TEXT, beside=(("p.ann", _BRAT.encode()),), may_be_empty=True),
    ValidFile(
        "brat annotations", "p.ann", _BRAT.encode(), lambda path, on_bad_row:
        _official("wlp", "wlp_brat", "labelled", path.with_suffix(".txt"), on_bad_row),
        beside=(("p.txt", _BRAT_TEXT.encode()),), may_be_empty=True,
    ),
    _of("wlp", "text", "chemsyn.txt", _TEXT, "pool", may_be_empty=True),
    _of("stanceosaurus", "threads", "tea.json", _THREADS, labels=_STANCES),
    _of("stanceosaurus", "threads", "tea.json", _THREADS, "pool", may_be_empty=True),
    _of("fever", "kilt", "fever-train-kilt.jsonl", _json_lines(_KILT_FEVER), labels=_FEVER),
    _of("fever", "fever_ai", "train.jsonl", _json_lines(_FEVER_AI), labels=_FEVER),
    _of("fever", "vitaminc", "vitaminc.jsonl", _json_lines(_VITAMINC), "pool", may_be_empty=True),
    _of("fever", "json_text", "claims.jsonl", _json_lines([{"text": f"Tea {i}."} for i in range(5)]), "pool",
        may_be_empty=True),
    _of("natural_questions", "kilt", "nq-train-kilt.jsonl", _json_lines(_KILT_QUESTIONS)),
    _of("natural_questions", "nq_open", "NQ-open.jsonl", _json_lines(
        [{"question": f"who is nº {i}", "answer": ["Ann", "Ann Lee"]} for i in range(5)])),
    _of("natural_questions", "msmarco", "queries.tsv", _QUERIES, "pool", may_be_empty=True),
    _of("multipit_id", "multipit", "crowd.csv", _PAIRS, labels=_YES_NO),
    _of("multipit_gen", "multipit", "expert.csv", _PAIRS),
    _of("multipit_gen", "multipit_auto", "auto.csv", _AUTOMATIC, "pool", may_be_empty=True),
    ValidFile("own CSV", "reviews.csv", _csv(","), _own),
    ValidFile("own TSV", "reviews.tsv", _csv("\t"), _own),
    ValidFile("own JSON lines", "reviews.jsonl",
              _json_lines([{"text": text, "label": label} for text, label in _REVIEWS]), _own),
    ValidFile("own questions", "questions.jsonl",
              _json_lines([{"text": f"who is {i}?", "label": [f"Ann {i}", "Ann"]} for i in range(60)]), _own),
    ValidFile("own Parquet", "reviews.parquet", _parquet(), _own),
    ValidFile("own text pool", "pool.txt", _TEXT, _own_pool, may_be_empty=True),
    ValidFile("own prices", "reviews_prices.toml", _PRICES, _prices),
)  # fmt: skip
