"""Reading a scenario from gin."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib.util  # gin looks a package up with it, and imports `importlib` alone
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from distill_or_annotate.pipeline.gin_files import find, locate, search_paths
from distill_or_annotate.prices import PriceBook, load_book
from distill_or_annotate.scenarios import Scenario

if TYPE_CHECKING:
    from distill_or_annotate.tasks.spec import TaskSpec


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

    Args:
      name: a path, or the bare name of a packaged scenario.
      overrides: `FIELD=VALUE` pairs, values as Python literals (a bare word is a string).

    Returns:
      The scenario, and its resolved configuration as gin text.

    Raises:
      ValueError: if the file cannot be read or binds no scenario, or an override names no field of it.
      FileNotFoundError: if there is no such file.
    """
    import gin

    configurable = _configurable()
    gin.clear_config()
    for folder in search_paths():
        gin.add_config_file_search_path(folder)
    try:
        with _misses_unsaid():
            gin.parse_config_file(str(locate(name)))
    except (AttributeError, ImportError, NameError, SyntaxError) as error:
        raise ValueError(
            f"{name} cannot be read as a scenario: {str(error).strip()}\n"
            "Fix: mend the line named above. A T5X experiment is run with `python -m t5x.train --gin_file=...`."
        ) from error
    gin.finalize()
    try:
        scenario = configurable()
    except TypeError as error:
        raise ValueError(
            f"{name} is no scenario: {error}. Fix: bind scenarios.Scenario.name, task, ... in it."
        ) from error
    text = gin.operative_config_str()
    gin.clear_config()
    if overrides:
        changes = dict(_override(pair) for pair in overrides)
        scenario = dataclasses.replace(scenario, **changes)
        text += "\n# From the command line:\n" + "".join(f"# {name} = {value!r}\n" for name, value in changes.items())
    return scenario, text


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
        return registry.get(scenario.task)
    except registry.UnknownTask as error:
        raise ValueError(f"Scenario.task: {error}") from error


def _override(pair: str) -> tuple[str, Any]:
    name, separator, value = pair.partition("=")
    fields = [field.name for field in dataclasses.fields(Scenario)]
    if not separator or name not in fields:
        near = difflib.get_close_matches(name, fields, n=3) or fields
        raise ValueError(f"--set {pair!r}: must be FIELD=VALUE with a field of Scenario; near: {', '.join(near)}.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
