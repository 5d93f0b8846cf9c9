"""What the doctor finds out without importing anything heavy."""

import functools
import http.server
import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.doctor import data, machine, packages, probe
from distill_or_annotate.preprocess import rows
from distill_or_annotate.tasks import mini

_SECRET = st.text(alphabet=st.characters(categories=("L", "N")), min_size=8, max_size=20)


def _by_name(findings):
    return {finding.name: finding for finding in findings}


# Secrets


@given(
    secret=_SECRET, name=st.sampled_from(["OPENAI_API_KEY", "HF_TOKEN", "DOA_API_KEY", "DOA_SECRET_TOKEN", "MY_KEY"])
)
def test_the_report_is_the_same_whatever_the_value_of_a_key(secret, name):
    assert list(machine.environment({name: secret})) == list(machine.environment({name: "another value"}))


@given(secret=_SECRET, form=st.sampled_from(["http://me:{}@proxy:3128", "me:{}@proxy:3128", "https://{}@proxy"]))
def test_the_password_of_a_proxy_is_hidden_and_its_host_shown(secret, form):
    value = _by_name(machine.environment({"https_proxy": form.format(secret)}))["https_proxy"].value
    assert secret not in value and "***@proxy" in value


def test_a_misspelt_variable_of_ours_is_a_problem_with_the_near_name():
    finding = _by_name(machine.environment({"DOA_DATADIR": "/data"}))["DOA_DATADIR"]
    assert (finding.state, finding.fix) == ("problem", "did you mean DOA_DATA_DIR?")


# Machine


@pytest.mark.parametrize(
    ("given", "variables", "state"),
    [
        ("always [madvise] never", {}, "note"),
        ("always [madvise] never", {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}, "ok"),
        ("[always] madvise never", {}, None),
        ("always madvise [never]", {}, None),
    ],
)
def test_huge_pages_are_advised_where_glibc_has_to_ask_for_them(given, variables, state, tmp_path, monkeypatch):
    monkeypatch.setattr(machine.platform, "libc_ver", lambda: ("glibc", "2.36"))
    (tmp_path / "enabled").write_text(given, encoding="ascii")
    found = _by_name(machine.pages(variables, tmp_path / "enabled"))
    assert (found["huge pages"].state if found else None) == state


def test_huge_pages_are_not_spoken_of_where_no_glibc_gives_them(tmp_path, monkeypatch):
    (tmp_path / "enabled").write_text("always [madvise] never", encoding="ascii")
    for library in (("", ""), ("glibc", "2.31")):
        monkeypatch.setattr(machine.platform, "libc_ver", lambda library=library: library)
        assert not list(machine.pages({}, tmp_path / "enabled"))


def test_a_cache_that_cannot_be_written_is_broken(tmp_path):
    (tmp_path / "file").write_text("")
    finding = _by_name(machine.resources(tmp_path / "file" / "cache"))["cache folder"]
    assert finding.state == "broken" and "DOA_CACHE_DIR" in finding.fix
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "x").write_bytes(b"0" * 3_000_000)
    finding = _by_name(machine.resources(tmp_path / "cache"))["cache folder"]
    assert finding.state == "ok" and "3.0 MB used" in finding.value


# Packages


def test_upstream_t5x_is_told_from_ours_by_its_marker(tmp_path, monkeypatch):
    assert "this project's runtime" in _by_name(packages.t5x())["active t5x"].value
    (tmp_path / "t5x").mkdir()
    (tmp_path / "t5x" / "__init__.py").write_text('"""Upstream."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "t5x", raising=False)
    assert _by_name(packages.t5x())["active t5x"].value == f"upstream T5X, {tmp_path / 't5x'}"


def test_a_gin_folder_with_python_in_the_working_directory_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "folder ./gin" not in _by_name(packages.gin())
    (tmp_path / "gin" / "experiments").mkdir(parents=True)
    (tmp_path / "gin" / "experiments" / "mine.gin").write_text("")
    assert "folder ./gin" not in _by_name(packages.gin())
    (tmp_path / "gin" / "experiments" / "quickstart.gin").write_text("")
    assert "stands before the packaged file" in _by_name(packages.gin())["folder ./gin"].value
    (tmp_path / "gin" / "__init__.py").write_text("")
    assert _by_name(packages.gin())["folder ./gin"].fix.startswith("rename")


def test_a_package_out_of_its_range_is_a_problem_and_an_absent_one_is_broken(monkeypatch):
    monkeypatch.setattr(packages, "_required", lambda: {"numpy": ">=99", "no-such-thing": ">=1"})
    findings = _by_name(packages.versions())
    assert findings["numpy"].state == "problem" and "outside >=99" in findings["numpy"].value
    assert findings["no-such-thing"].state == "broken"


# Data


def test_released_and_built_splits_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path))
    for name in ("wlp_train_all.json", "nq_dev_all.part60.json", "multipit_test_all.json"):
        (tmp_path / name).write_text("{}")
    made = tmp_path / "built" / "fever" / "1.0.0"
    made.mkdir(parents=True)
    (made / "dataset_info.json").write_text(json.dumps({"splits": [{"name": "test"}, {"name": "train"}]}))
    findings = _by_name(data.data_folders())
    values = {name: findings[name].value for name in rows.RELEASED_PREFIXES}
    assert values == {
        "wlp": "released: train",
        "natural_questions": "released: validation",
        "multipit_gen": "released: test",
        "fever": "built: train, test",
        "multipit_id": "no files",
        "stanceosaurus": "no files",
    }
    assert findings["stanceosaurus"].fix.startswith("doa data fetch stanceosaurus")
    (made / "dataset_info.json").write_text("{")
    assert _by_name(data.data_folders())["fever"].state == "problem"


def test_a_data_folder_that_is_none_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path / "none"))
    (finding,) = data.data_folders()
    assert finding.state == "problem" and "is not a folder" in finding.value
    monkeypatch.delenv("DOA_DATA_DIR")
    (finding,) = data.data_folders()
    assert finding.state == "note"


# Weights and vocabularies


def test_shipped_weights_are_whole_and_a_cut_or_replaced_file_is_not(tmp_path):
    assert [finding.state for finding in data.weights()] == ["ok", "ok"]
    whole = (Path(mini.__file__).parent / "mini_student.safetensors").read_bytes()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(whole[:-1])
    assert data.safetensors_problem(path).startswith("cut off")
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert data.safetensors_problem(path).startswith("not a safetensors file")
    assert data.safetensors_problem(tmp_path / "none") == "missing"


@given(content=st.binary(max_size=200), n_header=st.integers(min_value=0, max_value=250))
def test_no_content_of_a_weights_file_fails_the_doctor(content, n_header, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(n_header.to_bytes(8, "little") + content)
    assert data.safetensors_problem(path)


def test_a_vocabulary_is_loaded_to_see_that_it_is_one(tmp_path, monkeypatch):
    good = Path(mini.__file__).parent / "vocab.model"
    monkeypatch.setenv("DOA_T5_VOCAB", str(good))
    assert _by_name(data.vocabularies(tmp_path))["T5 (the six tasks)"].state == "ok"
    (tmp_path / "page.model").write_text("<html>")
    monkeypatch.setenv("DOA_T5_VOCAB", str(tmp_path / "page.model"))
    findings = _by_name(data.vocabularies(tmp_path))
    assert findings["T5 (the six tasks)"].state == "problem" and findings["wlp_mini"].state == "note"
    assert "not a sentencepiece model" in findings["T5 (the six tasks)"].fix


def test_a_vocabulary_that_the_tasks_have_copied_needs_no_network(tmp_path, monkeypatch):
    from distill_or_annotate.tasks import vocabularies

    assert data.T5_VOCABULARY == vocabularies.T5_VOCABULARY
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=Path(mini.__file__).parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/vocab.model"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path))
        monkeypatch.setenv("DOA_T5_VOCAB", address)
        assert _by_name(data.vocabularies(tmp_path))["T5 (the six tasks)"].value == address
        copy = vocabularies.local_copy(address)
        server.shutdown()
    finding = _by_name(data.vocabularies(tmp_path))["T5 (the six tasks)"]
    assert (finding.state, finding.value) == ("ok", f"{address}, copied to {copy}")
    copy.unlink()
    finding = _by_name(data.vocabularies(tmp_path))["T5 (the six tasks)"]
    assert finding.state == "problem" and "not reachable" in finding.fix


def test_a_server_that_never_answers_costs_no_more_than_the_timeout(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("DOA_T5_VOCAB", f"http://127.0.0.1:{silent.getsockname()[1]}/x")
        start = time.monotonic()
        finding = _by_name(data.vocabularies(tmp_path, timeout_seconds=0.2))["T5 (the six tasks)"]
    assert finding.state == "problem" and time.monotonic() - start < 3


# Probes


def test_a_probe_that_hangs_or_crashes_is_a_finding():
    running = probe.Probe("devices")
    assert running.result(0.001) == {"error": "no answer within 0.001 s"}
    crashed = probe.Probe("no_such_probe").result(60)
    assert "ended with status 1" in crashed["error"] and "no_such_probe" in crashed["error"]
    assert [finding.state for finding in probe.device_findings(crashed)] == ["broken"]
    assert [finding.state for finding in probe.import_findings(crashed)] == ["broken"]


def test_devices_of_a_kind_are_counted_together():
    devices = [{"kind": "TPU v4", "memory_bytes": 34_000_000_000}] * 4
    (finding,) = probe.device_findings({"platform": "tpu", "devices": devices})
    assert (finding.name, finding.value) == ("tpu", "4 x TPU v4, 34 GB each")


def test_slow_imports_are_explained():
    (finding,) = probe.import_findings({"numpy": 1.0, "tensorflow": 40.0})
    assert finding.state == "note" and "41.0 s" in finding.value and "bytecode" in finding.fix


@pytest.mark.parametrize("task", rows.RELEASED_PREFIXES)
def test_each_task_that_the_doctor_sends_to_fetch_can_be_fetched(task):
    from distill_or_annotate.data.fetching import catalogue as fetch_catalogue

    assert task in fetch_catalogue.load()
