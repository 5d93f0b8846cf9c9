"""A file's form is told from its content; no damage to a file gives anything but a named error."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_or_annotate.preprocess.official import forms, recognising
from distill_or_annotate.preprocess.rows import RowError

# Written by hand from the documented fields; the text is invented.
TWEET = {"id": 1, "text": "t", "stance": "Querying", "leaning": "", "children": []}
VITAMINC = {"unique_id": "1", "case_id": "1", "claim": "It rains.", "evidence": "e", "label": "REFUTES"}
FEVER_AI = {"id": 1, "verifiable": "VERIFIABLE", "label": "REFUTES", "claim": "Spoons fly.", "evidence": []}
WLP = {"source": "Warm milk.", "target": "Warm [Action] milk [Reagent]"}


def _line(**row):
    return json.dumps(row) + "\n"


SAMPLES = [
    ("wlp", "wlp_conll", "a.txt", "Warm\tB-Action\nmilk\tB-Reagent\n\nWait\tO\n", "labelled"),
    ("wlp", "text", "chemsyn.txt", "The flask was warmed .\nIt was cooled .\n", "pool"),
    ("wlp", "json_text", "a.jsonl", _line(text="The flask was warmed ."), "pool"),
    ("wlp", "released", "a.json", _line(**WLP), "labelled"),
    ("stanceosaurus", "threads", "a.json", json.dumps([{"claim": "c", "id": 1, "root_tweet": TWEET}]), "labelled"),
    ("stanceosaurus", "released", "a.json", _line(source="claim: c tweet: t", target="Querying"), "labelled"),
    ("fever", "kilt", "a.jsonl", _line(id="1", input="Spoons sink.", output=[{"answer": "SUPPORTS"}]), "labelled"),
    ("fever", "fever_ai", "a.jsonl", _line(**FEVER_AI), "labelled"),
    ("fever", "vitaminc", "train.jsonl", _line(**VITAMINC), "pool"),
    ("natural_questions", "kilt", "a.jsonl", _line(id="1", input="who", output=[{"answer": "Ada"}]), "labelled"),
    ("natural_questions", "nq_open", "a.jsonl", _line(question="who bent it", answer=["Ada"]), "labelled"),
    ("natural_questions", "msmarco", "queries.train.tsv", "121\tdefine spoon\n7\twhy bend it?\n", "pool"),
    ("multipit_id", "multipit", "a.csv", "sentence1,sentence2,label\na,b,1\n", "labelled"),
    ("multipit_gen", "multipit_auto", "a.csv", "sentence1,sentence2\na,b\n", "pool"),
]


@pytest.mark.parametrize(("task", "name", "file", "content", "role"), SAMPLES)
def test_each_form_is_recognised_by_its_content_and_read(write, task, name, file, content, role):
    path = write(file, content)
    form = forms.detect(task, path)
    assert form.name == name and form.is_pool == (role == "pool")
    reading = forms.read(form, role, [path])
    assert reading.rows and not reading.skipped
    assert any(row.target for row in reading.rows) == (role == "labelled")
    assert forms.named(task, name, role) == form


def test_brat_is_recognised_by_the_file_beside(write):
    path = write("p.txt", "Warm milk.\n")
    assert forms.detect("wlp", path).name == "text"
    write("p.ann", "T1\tAction 0 4\tWarm\n")
    assert forms.detect("wlp", path).name == "wlp_brat"
    assert forms.with_annotations(forms.detect("wlp", path), [path]) == [path, path.with_suffix(".ann")]


def test_a_file_that_no_form_fits_says_why_for_each(write):
    with pytest.raises(forms.FormError) as error:
        forms.detect("natural_questions", write("a.jsonl", '{"query": "who"}\n'))
    for reason in ("kilt: its first row lacks id, input (it has query)", "nq_open: ", "msmarco: ", "--form"):
        assert reason in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x1f\x8b\x08rest", "is compressed .gzip.; unpack it"),
        (b"PK\x03\x04rest", "is an archive .zip.; unpack it"),
        (b"PAR1rest", "is Parquet; .*doa task add"),
        ("{}".encode("utf-16"), "is in UTF-16; convert it"),
    ],
)
def test_what_is_no_plain_text_is_said_with_the_way_to_make_it_one(write, content, said):
    with pytest.raises(recognising.NotPlainError, match=said):
        forms.detect("fever", write("a.jsonl", content))


def test_a_long_first_line_is_seen_whole(write):
    row = {"id": "1", "output": [{"answer": "SUPPORTS", "provenance": ["p" * 100_000]}], "input": "Spoons sink."}
    assert forms.detect("fever", write("a.jsonl", json.dumps(row) + "\n")).name == "kilt"


def test_questions_of_the_pool_end_as_released_questions_do(write):
    path = write("queries.tsv", SAMPLES[11][3])
    rows = forms.read(forms.detect("natural_questions", path), "pool", [path]).rows
    assert [row.source for row in rows] == ["define spoon?", "why bend it?"]


def test_unknown_tasks_and_forms_are_met_with_near_names():
    with pytest.raises(forms.FormError, match="did you mean fever"):
        forms.of_task("feever")
    with pytest.raises(forms.FormError, match="did you mean kilt"):
        forms.named("fever", "klit")
    with pytest.raises(forms.FormError, match="pool form 'kilt' is none of 'fever'"):
        forms.named("fever", "kilt", "pool")


def test_a_released_label_that_is_unknown_has_file_line_and_nearest(write):
    path = write("a.json", '{"source": "a", "target": "SUPPORTS"}\n{"source": "b", "target": "supports"}\n')
    with pytest.raises(RowError, match=r"line 2, field 'target': unknown label 'supports'.*did you mean 'SUPPORTS'"):
        forms.read(forms.detect("fever", path), "labelled", [path])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sample=st.sampled_from(SAMPLES), data=st.data())
def test_no_damage_gives_anything_but_a_named_error(write, sample, data):
    task, name, file, content, role = sample
    raw = content.encode() * 3
    place = data.draw(st.integers(0, len(raw)))
    cut = data.draw(st.integers(0, 12))
    junk = data.draw(
        st.one_of(st.binary(max_size=6), st.sampled_from([b'"', b"\n", b"\t", b"{", b"\x00", b"\r", b"null"]))
    )
    path = write(file, raw[:place] + junk + raw[place + cut :])
    form = forms.named(task, name)
    skipping = None
    try:
        skipping = forms.read(form, role, [path], "skip")
        forms.detect(task, path)
    except (RowError, forms.FormError, recognising.NotPlainError):
        pass
    try:
        stopping = forms.read(form, role, [path])
    except RowError as error:
        assert error.path.startswith(str(path.parent)) and (skipping is None or skipping.skipped)
    else:
        assert skipping is not None and not skipping.skipped and stopping.rows == skipping.rows
