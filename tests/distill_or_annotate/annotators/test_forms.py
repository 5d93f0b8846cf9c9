"""What counts as a label: the task's own, in its own spelling, and nothing else."""

import subprocess
import sys

import pytest

from distill_or_annotate.annotators import forms

FEVER, WLP, NQ = (forms.of_task(task) for task in ("fever", "wlp", "natural_questions"))
SOURCE = "Assemble the thin-walled PCR tube [6.2] at pH 7 ."


@pytest.mark.parametrize("answer", ["SUPPORTS", "supports", " Supports.\n", '"SUPPORTS"', "`supports`."])
def test_a_label_word_is_read_in_any_case_and_stored_in_the_tasks_own(answer):
    assert FEVER.read(answer, "a claim") == "SUPPORTS"


@pytest.mark.parametrize("answer", ["TRUE", "SUPPORTS because it is so", "SUPPORTS REFUTES", "1"])
def test_a_word_outside_the_labels_is_rejected(answer):
    with pytest.raises(forms.Rejected, match="not among the labels REFUTES, SUPPORTS") as caught:
        FEVER.read(answer, "a claim")
    assert caught.value.reason == "outside"


@pytest.mark.parametrize("form", [FEVER, WLP, NQ])
@pytest.mark.parametrize("answer", ["", " \n\t"])
def test_an_empty_answer_is_no_label(form, answer):
    with pytest.raises(forms.Rejected) as caught:
        form.read(answer, SOURCE)
    assert caught.value.reason == "empty"


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Assemble [action] thin-walled PCR tube [LOCATION]", "Assemble [Action] thin-walled PCR tube [Location]"),
        ("Assemble  [Action]\nPCR tube [Location]", "Assemble [Action] PCR tube [Location]"),
        ("tube [6.2] [Location]", "tube [6.2] [Location]"),
        ("PCR tube[6.2] [Location] pH 7. [pH]", "PCR tube[6.2] [Location] pH 7. [pH]"),
        ("(none)", ""),
    ],
)
def test_entities_are_read_with_types_in_the_tasks_spelling(answer, label):
    assert WLP.read(answer, SOURCE) == label


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("Assemble [Verb]", "outside"),
        ("Assemble [Action] and then", "malformed"),
        ("[Action]", "malformed"),
        ("Sure! Here they are: Assemble [Action]", "invented"),
        ("Disassemble [Action]", "invented"),
        ("There is no entity.", "malformed"),
    ],
)
def test_what_is_no_entity_of_the_text_is_rejected(answer, reason):
    with pytest.raises(forms.Rejected) as caught:
        WLP.read(answer, SOURCE)
    assert caught.value.reason == reason


def test_free_text_becomes_one_line():
    assert NQ.read(" in\n1969 ", "when?") == "in 1969"


def test_modes_of_a_task_have_its_form_under_their_own_name():
    assert forms.of_task("fever_paper").labels == FEVER.labels and forms.of_task("fever_paper").task == "fever_paper"


def test_our_tasks_have_their_labels_without_importing_seqio():
    assert WLP.labels[:2] == ("Amount", "Reagent") and NQ.kind == forms.TEXT and NQ.labels == ()
    program = "import sys; from distill_or_annotate.annotators import forms; forms.of_task('wlp_n100_s0')\n"
    program += "print('seqio' in sys.modules, 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_task_of_other_labels_gets_an_instruction_in_general():
    form = forms.of_task("mini_cls")
    assert form.kind == forms.CLASSES and form.labels and "labels" in form.about
    assert forms.of_task("mini").kind == forms.ENTITIES
    assert "supports or refutes" in forms.of_task("fever_mini").about


def test_an_unknown_task_is_refused_with_near_names():
    with pytest.raises(forms.FormError, match="stanceosaurus"):
        forms.of_task("stanceosaurs")


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(forms.FormError, match="no_such_module"):
        forms.of_task("mine", "no_such_module")
