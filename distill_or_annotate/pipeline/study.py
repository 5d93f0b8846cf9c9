"""Reading a scenario from gin."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib.util  # gin looks a package up with it, and imports `importlib` alone
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from distill_or_annotate.pipeline.gin_files import find, forms, locate, search_paths
from distill_or_annotate.prices import PriceBook, load_book
from distill_or_annotate.scenarios import LLM_LABELS_GIN, Scenario
from distill_or_annotate.scenarios.cells import LLM
from distill_or_annotate.scenarios.scenario import GIN_KINDS

if TYPE_CHECKING:
    from distill_or_annotate.tasks.spec import TaskSpec

_FIELDS = tuple(field.name for field in dataclasses.fields(Scenario))


@cache
def _configurable() -> Any:
    import gin

    # Registered under the class itself, so that `scenarios.Scenario` in a gin file means this object.
    return gin.external_configurable(Scenario, module="distill_or_annotate.scenarios")


@contextmanager
def _misses_unsaid() -> Iterator[None]:
    """Gin logs an error for each folder of its search path that lacks an included file, then finds it in the next."""
    root = logging.getLogger()

    def keep(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Path not found")

    root.addFilter(keep)
    try:
        yield
    finally:
        root.removeFilter(keep)


def read(name: str, overrides: Sequence[str] = ()) -> tuple[Scenario, str]:
    """The scenario of a gin file.

    A file that binds the macros FORM and TASK is read after `gin/forms/{FORM}.gin` and `gin/forms/{FORM}_{TASK}.gin`,
    which bind what depends on the form: models, stages, prices. Both are part of the scenario's name then, since each
    form and task is a study of its own.

    Args:
      name: a path, or the bare name of a packaged scenario.
      overrides: `FIELD=VALUE` or `MACRO=VALUE` pairs, values as Python literals (a bare word is a string).

    Returns:
      The scenario, and its resolved configuration as gin text.

    Raises:
      ValueError: if the file cannot be read or binds no scenario, or an override names nothing that it has.
      FileNotFoundError: if there is no such file, or none of that form.
    """
    import gin

    pairs = dict(_override(pair) for pair in overrides)
    fields = {key: value for key, value in pairs.items() if key in _FIELDS}
    macros = {key: value for key, value in pairs.items() if key not in _FIELDS}
    with _parsed(name, macros, fields.get("mode")) as suffix:
        try:
            scenario = _configurable()()
        except TypeError as error:
            raise ValueError(
                f"{name} is no scenario: {error}. Fix: bind scenarios.Scenario.name, task, ... in it."
            ) from error
        text = gin.operative_config_str()
    if suffix:
        scenario = dataclasses.replace(scenario, name=f"{scenario.name}_{suffix}")
    if fields:
        scenario = dataclasses.replace(scenario, **fields)
        text += "\n# From the command line:\n" + "".join(f"# {key} = {value!r}\n" for key, value in fields.items())
    return scenario, text


def form_and_task(name: str, overrides: Sequence[str] = ()) -> tuple[str, str] | None:
    """The macros FORM and TASK of a scenario; None where it has no forms.

    Args:
      name: as `read` takes it.
      overrides: as `read` takes them.
    """
    macros = {key: value for key, value in map(_override, overrides) if key not in _FIELDS}
    with _parsed(name, macros) as suffix:
        return tuple(_values("FORM", "TASK").values()) if suffix else None


def gin_files_of(scenario: Scenario) -> list[str]:
    """The gin files of a scenario's stages, each once; what is in them is in the stages' names.

    Args:
      scenario: the study.
    """
    used = [scenario.task_gin, *(scenario.gin_file(kind) for kind in GIN_KINDS)]
    used += [name for by_kind in scenario.student_gin.values() for name in by_kind.values()]
    used += [LLM_LABELS_GIN] if set(LLM) & set(scenario.strategies) else []
    return list(dict.fromkeys(name for name in used if name))


def unread_macros(name: str, macros: Mapping[str, Any]) -> list[str]:
    """Macros that a scenario's file or its form binds and nothing reads: most often a misspelt name.

    Args:
      name: as `read` takes it.
      macros: macro -> value, set over the file's.

    Returns:
      Their names, sorted.
    """
    import gin

    with _parsed(name, macros):
        references = gin.config.iterate_references(gin.config._CONFIG)
        read_ones = {"/".join(reference.scopes) for reference in references if reference.selector == "gin.macro"}
        return sorted(_bound_macros() - read_ones - {"FORM", "TASK"})


@contextmanager
def _parsed(name: str, macros: Mapping[str, Any], mode: Any = None) -> Iterator[str]:
    """Gin, holding a scenario's configuration while the block runs; yields what form and task add to its name.

    `mode` is the macro MODE, too, of a form in which more than the scenario's field hangs on it.
    """
    import gin

    # A configuration that somebody left locked takes no new names.
    gin.clear_config()
    _configurable()
    for folder in search_paths():
        gin.add_config_file_search_path(folder)
    try:
        with _misses_unsaid():
            gin.parse_config_file(str(locate(name)))
            bound, suffix = _bound_macros(), ""
            if {"FORM", "TASK"} <= bound:
                form, task = ({**_values("FORM", "TASK"), **macros}[key] for key in ("FORM", "TASK"))
                suffix = f"{form}_{task}"
                gin.clear_config()
                # The scenario after its form, so that what it says of its own axes stands.
                for path in [*forms(form, task), locate(name)]:
                    gin.parse_config_file(str(path))
            bound = _bound_macros()
            _set({**({"MODE": mode} if mode is not None and "MODE" in bound else {}), **macros}, bound)
        gin.finalize()
        yield suffix
    except (AttributeError, ImportError, NameError, SyntaxError) as error:
        raise ValueError(
            f"{name} cannot be read as a scenario: {str(error).strip()}\n"
            "Fix: mend the line named above. A T5X experiment is run with `python -m t5x.train --gin_file=...`."
        ) from error
    except ValueError as error:
        # What gin adds to a message of ours names an address in memory.
        raise ValueError(str(error).split("\n  In call to configurable")[0]) from error
    finally:
        gin.clear_config()


def _bound_macros() -> set[str]:
    import gin

    return {scope for scope, selector in gin.config._CONFIG if selector == "gin.macro"}


def _values(*macros: str) -> dict[str, Any]:
    import gin

    return {macro: gin.query_parameter(f"%{macro}") for macro in macros}


def _set(macros: Mapping[str, Any], known: set[str]) -> None:
    """Bind macros of the command line, which the files must have."""
    import gin

    for macro, value in macros.items():
        if macro not in known:
            names = [*_FIELDS, *sorted(known)]
            near = difflib.get_close_matches(macro, names, n=3) or names
            raise ValueError(
                f"--set {macro}={value!r}: must be FIELD=VALUE with a field of Scenario, or a macro of the file; near: "
                f"{', '.join(near)}."
            )
        gin.parse_config(f"{macro} = {value!r}")


def prices(scenario: Scenario) -> PriceBook:
    """The price book of a scenario; a file of one's own is looked for where gin files are.

    Args:
      scenario: the study.

    Returns:
      Its prices.

    Raises:
      FileNotFoundError: if the file that it names is nowhere.
      PriceBookError: if the book is not in it, or is malformed.
    """
    if not scenario.prices:
        return load_book(scenario.price_book)
    path = find(scenario.prices)
    if path is None:
        raise FileNotFoundError(
            f"Scenario.prices: there is no {scenario.prices!r} in {', '.join(search_paths())}. "
            "Fix: run from the folder that its path starts from."
        )
    return load_book(scenario.price_book, path.absolute())


def import_task(scenario: Scenario) -> TaskSpec:
    """Import what registers the scenario's task.

    Args:
      scenario: the study.

    Returns:
      The task's description.

    Raises:
      ValueError: if its module cannot be imported or does not register the task.
    """
    from distill_or_annotate.tasks import registry

    if scenario.task_module:
        try:
            importlib.import_module(scenario.task_module)
        except Exception as error:  # a user's file may raise anything
            raise ValueError(
                f"Scenario.task_module: {scenario.task_module!r} cannot be imported "
                f"({type(error).__name__}: {error}). Fix: mend that file, or run from the folder its name starts from."
            ) from error
    try:
        return registry.get(scenario.reads)
    except registry.UnknownTask as error:
        field = "task" if scenario.reads == scenario.task else "paper_task"
        raise ValueError(f"Scenario.{field}: {error}") from error


def _override(pair: str) -> tuple[str, Any]:
    name, separator, value = pair.partition("=")
    if not separator or not name:
        raise ValueError(f"--set {pair!r}: must be FIELD=VALUE, such as data_seed=1.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
