"""Versions, which `t5x` is the active one, and gin with its files: all without importing anything heavy."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from distill_or_annotate import __version__
from distill_or_annotate.doctor.finding import BROKEN, NOTE, PROBLEM, Finding
from distill_or_annotate.pipeline import gin_files

_INSTALL = "run `make install` in the checkout, or `pip install -r requirements.lock`"
_SHOWN_ALWAYS = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "seqio", "tensorflow", "tensorflow-datasets")
# Distribution: the module to look for, what it is for, and how to get it.
_EXTRAS = {
    "apache-beam": ("apache_beam", "preparing large pools with seqio_cache_tasks", "pip install 'apache-beam>=2.60'"),
    "torch": ("torch", "`make test-parity`", "make test-parity installs it"),
    "transformers": ("transformers", "`make test-parity`", "make test-parity installs it"),
}


def versions() -> Iterator[Finding]:
    """Python, this package and what it requires, each held against the declared range.

    Yields:
      One finding a package; `broken` where a required one is absent, `problem` where it is out of range.
    """
    in_range = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield Finding(
        "versions",
        "python",
        f"{platform.python_version()}, {sys.executable}",
        *(() if in_range else (BROKEN, "use Python 3.11 to 3.13")),
    )
    yield Finding("versions", "distill-or-annotate", f"{__version__}, {Path(__file__).parents[1]}")
    required = _required()
    for name in dict.fromkeys([*_SHOWN_ALWAYS, *required]):
        version = _version(name)
        bounds = required.get(name, "")
        if version is None:
            if name in required:
                yield Finding("versions", name, f"not installed (needed: {bounds or 'any'})", BROKEN, _INSTALL)
        elif not _fits(version, bounds):
            yield Finding("versions", name, f"{version}, outside {bounds}", PROBLEM, _INSTALL)
        elif name in _SHOWN_ALWAYS:
            yield Finding("versions", name, version)
    for name, (module, purpose, fix) in _EXTRAS.items():
        version = _version(name) if _origin(module) else None
        value = version or f"absent; only for {purpose}"
        yield Finding("versions", name, value, *(() if version else (NOTE, fix)))


def t5x() -> Iterator[Finding]:
    """Whether the active `t5x` is this project's runtime or upstream's, and where it stands.

    Yields:
      `broken` where there is none, `problem` where two distributions bring one.
    """
    origin = _origin("t5x")
    if origin is None:
        fix = "install the runtime (`pip install ./runtime` in the checkout, or the doa-t5x wheel), or upstream T5X"
        yield Finding("t5x", "t5x", "not installed", BROKEN, fix)
        return
    ours = re.search(r"^__runtime__\s*=\s*[\"']doa[\"']", origin.read_text(encoding="utf-8"), re.MULTILINE)
    which = "this project's runtime (doa-t5x)" if ours else "upstream T5X"
    yield Finding("t5x", "active t5x", f"{which}, {origin.parent}")
    providers = [name for name in ("doa-t5x", "t5x") if _version(name)]
    if len(providers) > 1:
        fix = "pip uninstall the one that you do not want, and install the other again"
        yield Finding("t5x", "distributions", f"both {' and '.join(providers)} bring a `t5x`", PROBLEM, fix)


def gin() -> Iterator[Finding]:
    """Whether `import gin` finds gin-config, and whether the packaged gin files are found.

    Yields:
      `broken` where either is not so, `problem` where a folder of the working directory stands before the package's.
    """
    origin = _origin("gin")
    if origin is None or not (origin.parent / "config.py").exists():
        value = "not gin-config" if origin else "not installed"
        fix = f"remove or rename {origin.parent}" if origin else _INSTALL
        yield Finding("gin", "import gin", f"{value}{f', {origin.parent}' if origin else ''}", BROKEN, fix)
    else:
        yield Finding("gin", "import gin", f"gin-config {_version('gin-config')}, {origin.parent}")
    home = gin_files.home() / "gin"
    count = len(list(home.rglob("*.gin")))
    if (home / "experiments" / "quickstart.gin").exists():
        yield Finding("gin", "packaged gin files", f"{count} in {home}")
    else:
        yield Finding("gin", "packaged gin files", f"no experiments/quickstart.gin in {home}", BROKEN, _INSTALL)
    here = Path.cwd() / "gin"
    if (here / "__init__.py").exists():
        fix = f"rename {here}: `python -m t5x.train` from here would import it in place of gin-config"
        yield Finding("gin", "folder ./gin", "holds an __init__.py", PROBLEM, fix)
    elif here.is_dir() and here.resolve() != home.resolve():
        same = sorted(
            path.relative_to(here) for path in here.rglob("*.gin") if (home / path.relative_to(here)).exists()
        )
        if same:
            fix = "rename yours, unless it is meant to stand in for the packaged one"
            yield Finding("gin", "folder ./gin", f"{same[0]} stands before the packaged file", PROBLEM, fix)


def _required() -> dict[str, str]:
    """Distribution to version bounds, as this installation declares them; extras left out."""
    try:
        lines = importlib.metadata.requires("distill-or-annotate") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = (re.match(r"([A-Za-z0-9._-]+)\s*([^;]*)", line) for line in lines if "extra ==" not in line)
    return {match[1]: match[2].strip() for match in found if match}


def _fits(version: str, bounds: str) -> bool:
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:  # not ours to require; pip held the bounds when it installed
        return True
    return SpecifierSet(bounds).contains(version, prereleases=True)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _origin(module: str) -> Path | None:
    """File of a package's `__init__`, found without importing it; the folder's for one that has none."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.origin:
        return Path(spec.origin)
    places = list(spec.submodule_search_locations or ())
    return Path(places[0]) / "__init__.py" if places else None
