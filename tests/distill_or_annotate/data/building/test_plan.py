"""Which split a file goes to: what was said, else what its name and content tell, else an error."""

import pytest

from distill_or_annotate.data.building.plan import PlanError, expand, plan, split_in_name
from distill_or_annotate.preprocess.official.forms import FormError

KILT = '{"id": "1", "input": "Spoons sink.", "output": [{"answer": "SUPPORTS"}]}\n'
VITAMINC = '{"unique_id": "1", "case_id": "1", "claim": "It rains.", "evidence": "e", "label": "REFUTES"}\n'


@pytest.fixture
def make(tmp_path):
    def make(name, content=KILT):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    return make


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("fever-dev-kilt.jsonl", "validation"),
        ("a/expert_val.csv", "validation"),
        ("NQ-open.train.jsonl", "train"),
        ("wlp_test_all.part60.json", "test"),
        ("wlp_unlabeled_1.txt", "unlabeled"),
        ("english/train/Invented/spoons.json", "train"),
        ("wlp/dev/protocol_7.txt", "validation"),
        ("wlp/train_data/Conll_Format/protocol_7.txt", "train"),
        ("testing/protocol_7.txt", None),
        ("test/a/b/c/d.json", None),
        ("contest_training_day.json", "train"),
        ("latest.json", None),
        ("devices.csv", None),
    ],
)
def test_names_tell_the_split(path, split):
    assert split_in_name(path) == split


def test_a_claim_called_test_does_not_leave_its_folder():
    assert split_in_name("train/Invented/pcr_test.json", folders_first=True) == "train"
    assert split_in_name("train/Invented/pcr_test.json") == "test"


def test_folders_are_walked_in_order_without_hidden_files_and_annotations_of_a_text(make, tmp_path):
    for name in ("p/b.txt", "p/a.txt", "p/a.ann", "p/.hidden", "p/lonely.ann"):
        make(name)
    assert [path.name for path in expand([tmp_path / "p"])] == ["a.txt", "b.txt", "lonely.ann"]


def test_a_pool_is_a_pool_whatever_its_name_says(make):
    planned = plan("fever", [make("fever-train.jsonl"), make("vitaminc_train.jsonl", VITAMINC)], {})
    assert [(one.split, one.form.name, one.role) for one in planned] == [
        ("train", "kilt", "labelled"),
        ("unlabeled", "vitaminc", "pool"),
    ]


def test_what_is_said_stands_above_names(make):
    planned = plan("fever", [], {"test": [make("fever-dev.jsonl")]})
    assert [one.split for one in planned] == ["test"]
    planned = plan("fever", [make("fever-train.jsonl")], {}, ignore_names=True)
    assert [one.split for one in planned] == [None]


def test_what_cannot_be_planned_says_the_way_out(make, tmp_path):
    train, plain = make("train.jsonl"), make("claims.jsonl")
    with pytest.raises(PlanError, match="no files: give them with --from"):
        plan("fever", [], {})
    with pytest.raises(PlanError, match=r"nowhere\.jsonl does not exist"):
        plan("fever", [tmp_path / "nowhere.jsonl"], {})
    with pytest.raises(PlanError, match=r"train\.jsonl is given twice"):
        plan("fever", [train], {"test": [train]})
    with pytest.raises(PlanError, match=r"1 of the files say no split in their names \(claims\.jsonl\)"):
        plan("fever", [train, plain], {})
    with pytest.raises(FormError, match=r"no form of 'fever' fits as pool data\. vitaminc: .* --form"):
        plan("fever", [], {"unlabeled": [plain]})
    with pytest.raises(FormError, match=r"labelled form 'vitaminc' is none of 'fever'"):
        plan("fever", [plain], {}, form="vitaminc")
