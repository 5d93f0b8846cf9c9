"""The catalogue of downloads: safe names, safe addresses, and an entry for each of the six tasks."""

import argparse
import shlex

import pytest

from distill_or_annotate.data.building import command as build_command
from distill_or_annotate.data.fetching import catalogue as fetch_catalogue
from distill_or_annotate.data.fetching.catalogue import CatalogueError, RemoteFile

_TASKS = ["fever", "multipit_gen", "multipit_id", "natural_questions", "stanceosaurus", "wlp"]


def test_every_task_says_what_to_download_under_which_licence_and_what_to_run_next():
    catalogue = fetch_catalogue.load()
    assert sorted(catalogue) == _TASKS
    for entry in catalogue.values():
        assert entry.chosen([]) and entry.licence and entry.citation.startswith("https://"), entry.task
        assert f"doa data build {entry.task} --from" in entry.next
        assert len({file.name for file in entry.files}) == len(entry.files)
        assert all(file.url.startswith("https://") for file in entry.files)


@pytest.mark.parametrize("task", _TASKS)
def test_the_next_commands_are_ones_that_exist(task):
    lines = [line.split("#")[0] for line in fetch_catalogue.downloads(task).next.splitlines()]
    (build,) = (shlex.split(line) for line in lines if line.startswith("doa "))
    parser = argparse.ArgumentParser()
    build_command.add_arguments(parser)
    assert build[:3] == ["doa", "data", "build"] and parser.parse_args(build[3:]).task == task
    unpacked = {name for line in lines if not line.startswith("doa ") for name in shlex.split(line)}
    fetched = {file.name for file in fetch_catalogue.downloads(task).chosen([])}
    assert fetched <= unpacked | set(build)


def test_a_hash_says_which_record_it_comes_from():
    files = [file for entry in fetch_catalogue.load().values() for file in entry.files]
    assert len([file for file in files if file.sha256]) >= 8
    assert all(bool(file.checked_by) == bool(file.sha256 or file.md5) for file in files)


def test_stanceosaurus_explains_how_to_ask_for_the_texts():
    (item,) = fetch_catalogue.downloads("stanceosaurus").by_hand
    assert "authors" in item.how and item.url.startswith("https://github.com/")


def test_optional_files_are_fetched_only_by_name():
    entry = fetch_catalogue.downloads("fever")
    assert "fever_train.jsonl" not in [file.name for file in entry.chosen([])]
    assert [file.name for file in entry.chosen(["fever_train.jsonl"])] == ["fever_train.jsonl"]


def test_a_misspelt_task_or_file_gets_near_names():
    with pytest.raises(CatalogueError, match=r"'fevr' has no downloads. Near names: fever"):
        fetch_catalogue.downloads("fevr")
    with pytest.raises(CatalogueError, match=r"no file 'fever-train.jsonl'; near: fever_train.jsonl"):
        fetch_catalogue.downloads("fever").chosen(["fever-train.jsonl"])


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", "..", ".hidden", "", "a\\b", "x.part", "a\n", "a b"])
def test_a_name_that_could_leave_the_folder_is_refused(name):
    with pytest.raises(CatalogueError, match="name may hold"):
        RemoteFile(name=name, url="https://example.org/x", what="")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "https:///x", "example.org/x", ""])
def test_an_address_that_is_not_http_is_refused(url):
    with pytest.raises(CatalogueError, match="an http:// or https:// address"):
        RemoteFile(name="x", url=url, what="")


@pytest.mark.parametrize(
    ("field", "value"),
    [("size_bytes", 0), ("size_bytes", "3"), ("sha256", "ab"), ("sha256", "G" * 64), ("md5", "0" * 31)],
)
def test_a_size_or_hash_that_is_none_is_refused(field, value):
    with pytest.raises(CatalogueError, match=f"{field} is"):
        RemoteFile(name="x", url="https://example.org/x", what="", **{field: value})


def test_a_malformed_catalogue_names_the_entry(tmp_path):
    path = tmp_path / "downloads.toml"
    path.write_text('[wlp]\ntitle = "x"\ncitatoin = "y"\nlicence = "z"\n')
    with pytest.raises(CatalogueError, match=r"catalogue entry 'wlp'.*citatoin"):
        fetch_catalogue.load(path)
    path.write_text("[wlp\n")
    with pytest.raises(CatalogueError, match="is not TOML"):
        fetch_catalogue.load(path)
