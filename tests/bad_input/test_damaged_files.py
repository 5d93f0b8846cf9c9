"""A thousand damaged files, in every form that the project reads: each is read rightly or refused in one plain line."""

import re

import pytest
from damage import WAYS, damaged
from valid_files import ALL, ValidFile

N_FILES = 1000
LONGEST_MESSAGE = 2000
# Which file of which form a number stands for; forms take turns, and so do ways of damage.
CASES = [(ALL[i % len(ALL)], i) for i in range(N_FILES)]


class BareErrorError(AssertionError):
    """A damaged file was answered with what a programmer could use, and nobody else."""


def check(file: ValidFile, folder, content: bytes, on_bad_row: str):
    """Reads a file as its user would; returns the rows, or the message."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file.name
    path.write_bytes(content)
    for name, beside in file.beside:
        (folder / name).write_bytes(beside)
    try:
        rows = file.read(path, on_bad_row)
    except Exception as error:
        _check_error(file, error)
        return str(error)
    for row in rows:
        _check_row(file, *row)
    return rows


def _check_error(file: ValidFile, error: Exception) -> None:
    message, kind = str(error), type(error)
    if not (isinstance(error, ValueError | OSError) and kind.__module__.startswith("distill_or_annotate.")):
        raise BareErrorError(f"{file.form}: a bare {kind.__name__}: {message[:300]}") from error
    names = [file.name, *(name for name, _ in file.beside)]
    # What is wrong with the rows of a file taken together is said of the split.
    of_split = message.startswith(("labels:", "train:", "validation:", "test:", "unlabeled:"))
    if not of_split and not any(name in message for name in names):
        raise BareErrorError(f"{file.form}: the message names no file: {message[:300]}") from error
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\ud800-\udfff]", message) or len(message) > LONGEST_MESSAGE:
        raise BareErrorError(f"{file.form}: no plain line ({len(message)} characters): {message[:300]!r}") from error


def _check_row(file: ValidFile, source: str, target: str, targets: tuple[str, ...]) -> None:
    for text in (source, target, *targets):
        assert isinstance(text, str) and "\0" not in text, f"{file.form}: {text[:80]!r}"
        text.encode("utf-8")
    assert source.strip() and (target.strip() or file.may_be_empty), (file.form, source[:80], target[:80])
    assert not file.labels or target in file.labels or (file.may_be_empty and not target), (file.form, target[:80])
    assert not targets or (targets[0] == target and all(answer.strip() for answer in targets)), file.form


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.form)
def test_each_form_is_read_while_it_is_whole(file, tmp_path):
    for on_bad_row in ("stop", "skip"):
        rows = check(file, tmp_path, file.content, on_bad_row)
        assert isinstance(rows, list) and len(rows) >= 3, rows


@pytest.mark.parametrize("part", range(10))
def test_damaged_files_are_read_rightly_or_refused_in_one_plain_line(part, tmp_path):
    outcomes = {"stop": [], "skip": []}
    for file, seed in CASES[part::10]:
        content = damaged(file.content, seed)
        for on_bad_row, found in outcomes.items():
            try:
                found.append(check(file, tmp_path / f"{seed}", content, on_bad_row))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, on_bad_row={on_bad_row!r}: {error}") from error
    refused = [message for message in outcomes["stop"] if isinstance(message, str)]
    # The damage is real, and not so great that no row is ever looked at.
    assert 30 <= len(refused) <= 90
    # What is skipped is a row, so far fewer files are refused.
    assert sum(isinstance(found, str) for found in outcomes["skip"]) < len(refused)


def test_there_are_a_thousand_files_of_every_form_damaged_in_every_way():
    assert len(CASES) == N_FILES
    met = {(file.form, WAYS[seed % len(WAYS)].__name__) for file, seed in CASES}
    assert len(met) == len(ALL) * len(WAYS)
    changed = [damaged(file.content, seed) != file.content for file, seed in CASES]
    assert sum(changed) > 0.95 * N_FILES


@pytest.mark.parametrize(
    "error",
    [
        KeyError("label"),
        ValueError("bad"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
        RecursionError("deep"),
        FileNotFoundError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_check_sees_a_bare_error(error, tmp_path):
    def read(path, on_bad_row):
        raise error

    with pytest.raises(BareErrorError, match=f"a bare {type(error).__name__}"):
        check(ValidFile("fake", "x.json", b"", read), tmp_path, b"", "stop")


@pytest.mark.parametrize("row", [("a\0b", "c", ()), (" ", "c", ()), ("a", "", ()), ("a", "c", ("d",))])
def test_the_check_sees_a_spoilt_row(row, tmp_path):
    with pytest.raises(AssertionError):
        check(ValidFile("fake", "x.json", b"", lambda path, on_bad_row: [row]), tmp_path, b"", "stop")
