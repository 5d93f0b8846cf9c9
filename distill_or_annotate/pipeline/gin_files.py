"""Finding gin files, the user's and the packaged ones, and telling whether one has changed."""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import distill_or_annotate

_INCLUDE = re.compile(r"""^include\s+['"]([^'"]+)['"]""", re.MULTILINE)

# Where bare names of scenarios are looked for.
_EXPERIMENTS = ("gin/experiments", "gin/experiments/paper")
_FORMS = "gin/forms"
_ENCODER = re.compile(r"""^ENCODER\s*=\s*['"]([^'"]+)['"]""", re.MULTILINE)

# Folders of the scenario that is being run, see `user_files`.
_user_folders: list[str] = []


def home() -> Path:
    """The folder that holds the `gin/` folder of this installation.

    Returns:
      In a checkout its root; installed from a wheel the package's own folder.
    """
    package = Path(distill_or_annotate.__file__).parent
    return package if (package / "gin").is_dir() else package.parent


def search_paths() -> list[str]:
    """Folders that gin looks in: the working directory, the scenario's while one is run, and `home`."""
    return [".", *_user_folders, str(home())]


@contextmanager
def user_files(scenario_file: Path) -> Iterator[None]:
    """Let a scenario's own gin files, prices and Python modules be found while the block runs, from any folder.

    They are looked for in the working directory, beside the scenario and in the folder above it, after everything that
    is installed: a task named like a library takes nothing away from it.

    Args:
      scenario_file: the scenario's gin file.
    """
    folder = scenario_file.resolve().parent
    packaged = folder.is_relative_to(home().resolve() / "gin")
    folders = [] if packaged else [str(path) for path in (folder, folder.parent) if path != Path.cwd()]
    before, path_before = _user_folders[:], sys.path[:]
    _user_folders[:] = folders
    sys.path += [path for path in [str(Path.cwd()), *folders] if path not in sys.path]
    try:
        yield
    finally:
        _user_folders[:] = before
        sys.path[:] = path_before


def find(name: str) -> Path | None:
    """The file of this name in the first of `search_paths` that holds it; None where none does.

    Args:
      name: a path, absolute or relative to one of the folders.
    """
    return next((path for folder in search_paths() if (path := Path(folder) / name).is_file()), None)


def find_folder(name: str) -> Path | None:
    """The folder of this name in the first of `search_paths` that holds it; None where none does.

    Args:
      name: a path, absolute or relative to one of the folders.
    """
    return next((path for folder in search_paths() if (path := Path(folder) / name).is_dir()), None)


def encoder_folder(model: str) -> str | None:
    """The folder that an encoder's gin file in `gin/models` names; None where it names none, as for packaged ones.

    Args:
      model: such as bert_base.
    """
    path = find(f"gin/models/{model}.gin")
    named = path and _ENCODER.search(path.read_text(encoding="utf-8"))
    return named[1] if named else None


def locate(name: str) -> Path:
    """The file that a name means: a path, or the bare name of a packaged experiment.

    Args:
      name: `my/study.gin`, `gin/experiments/quickstart.gin`, `quickstart` or `table2`.

    Returns:
      An existing file.

    Raises:
      FileNotFoundError: naming near experiments.
    """
    candidates = [name] if name.endswith(".gin") else [name, *(f"{folder}/{name}.gin" for folder in _EXPERIMENTS)]
    for candidate in candidates:
        if path := find(candidate):
            return path
    known = sorted(path.stem for path in (home() / "gin" / "experiments").rglob("*.gin"))
    near = difflib.get_close_matches(Path(name).stem, known, n=3) or known
    raise FileNotFoundError(f"no gin file {name!r}; near: {', '.join(near)}. Fix: give a path, or one of these names.")


def forms(form: str, task: str) -> list[Path]:
    """The gin files of a form of a study: `gin/forms/{form}.gin`, and `gin/forms/{form}_{task}.gin` where there is one.

    Args:
      form: such as xxl or mini.
      task: the study's macro TASK.

    Returns:
      One file or two. A form that has a file for some task has one for each that it serves.

    Raises:
      FileNotFoundError: there is no such form, or it does not serve the task.
    """
    base = find(f"{_FORMS}/{form}.gin")
    if base is None:
        known = sorted({path.stem for folder in search_paths() for path in (Path(folder) / _FORMS).glob("*.gin")})
        whole = [name for name in known if name.split("_")[0] == name]
        raise FileNotFoundError(f"FORM: there is no form {form!r}; allowed: {', '.join(whole)}.")
    if overlay := find(f"{_FORMS}/{form}_{task}.gin"):
        return [base, overlay]
    overlays = {path.stem for folder in search_paths() for path in (Path(folder) / _FORMS).glob(f"{form}_*.gin")}
    tasks = sorted(name.removeprefix(f"{form}_") for name in overlays)
    if tasks:
        raise FileNotFoundError(f"TASK: form {form!r} does not serve {task!r}; allowed: {', '.join(tasks)}.")
    return [base]


def includes(name: str, wanted: str) -> bool:
    """Whether a gin file includes another, directly or through others.

    Args:
      name: as `locate` takes it.
      wanted: the other's name, as it is written after `include`.
    """
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current == wanted:
            return True
        path = find(current)
        if current not in seen and path is not None:
            waiting += _INCLUDE.findall(path.read_text(encoding="utf-8"))
        seen.add(current)
    return False


def digest(name: str) -> str:
    """SHA-256 of a gin file together with all it includes; included files that are not ours count by name alone.

    Args:
      name: as `locate` takes it.

    Returns:
      Hexadecimal; changes when a setting of the experiment does.
    """
    seen: dict[str, str] = {}

    def visit(included: str) -> None:
        if included in seen:
            return
        seen[included] = ""
        try:
            text = locate(included).read_text(encoding="utf-8")
        except FileNotFoundError:
            return  # lies beside the t5x package; its version stands in the manifest
        # Comments and layout may change without making a new stage.
        seen[included] = "\n".join(line for raw in text.splitlines() if (line := raw.split("#")[0].rstrip()))
        for child in _INCLUDE.findall(text):
            visit(child)

    visit(name)
    return hashlib.sha256(repr(sorted(seen.items())).encode()).hexdigest()
