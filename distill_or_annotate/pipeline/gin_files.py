"""Finding gin files, in a checkout or an installed package, and telling whether one has changed."""

from __future__ import annotations

import difflib
import hashlib
import re
from pathlib import Path

import distill_or_annotate

_INCLUDE = re.compile(r"""^include\s+['"]([^'"]+)['"]""", re.MULTILINE)


def search_paths() -> list[str]:
    """Folders that gin looks in: the working directory, and the one that holds the `gin/` folder of this installation.

    Returns:
      In a checkout the second is its root; installed from a wheel it is the package's own folder.
    """
    package = Path(distill_or_annotate.__file__).parent
    home = package if (package / "gin").is_dir() else package.parent
    return [".", str(home)]


def locate(name: str) -> Path:
    """The file that a name means: a path, or the bare name of a packaged experiment.

    Args:
      name: `my/study.gin`, `gin/experiments/quickstart.gin` or `quickstart`.

    Returns:
      An existing file.

    Raises:
      FileNotFoundError: naming near experiments.
    """
    candidates = [name] if name.endswith(".gin") else [name, f"gin/experiments/{name}.gin"]
    for candidate in candidates:
        for folder in search_paths():
            path = Path(folder) / candidate
            if path.is_file():
                return path
    known = sorted(path.stem for path in (Path(search_paths()[1]) / "gin" / "experiments").glob("*.gin"))
    near = difflib.get_close_matches(Path(name).stem, known, n=3) or known
    raise FileNotFoundError(f"no gin file {name!r}; near: {', '.join(near)}. Fix: give a path, or one of these names.")


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
