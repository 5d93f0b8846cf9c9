"""One stage's program: a T5X entry point with its gin files, run in this process or spelt as a command.

`python -m t5x.train --gin_file=F --gin.MACRO=VALUE` and `Program.run()` do the same thing; the second saves the 5 to 11
seconds that importing SeqIO with TensorFlow takes in every new process. The gin files bind `import __main__ as
train_script`, as T5X's own do, so the entry point's module stands in for `__main__` while they are parsed.
"""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from distill_or_annotate.pipeline.gin_files import home, search_paths

_FUNCTIONS = {"t5x.train": "train", "t5x.infer": "infer", "t5x.eval": "evaluate"}


@dataclass(frozen=True)
class Program:
    """A T5X entry point and its configuration.

    Attributes:
      module: `t5x.train`, `t5x.infer` or `t5x.eval`.
      gin_files: the experiment's file, and the task's after it if there is one.
      macros: values of gin macros, as on the command line.
    """

    module: str
    gin_files: tuple[str, ...]
    macros: Mapping[str, Any] = field(default_factory=dict)

    def bindings(self) -> list[str]:
        """The macros as gin bindings, `NAME = literal`."""
        return [f"{name} = {_literal(value)}" for name, value in self.macros.items()]

    def command(self) -> str:
        """The shell command that does the same in a process of its own."""
        words = [f"python -m {self.module}", *(f"--gin_file={shlex.quote(name)}" for name in self.gin_files)]
        if folders := self._folders_to_name():
            words.insert(1, f"--gin_search_paths={shlex.quote(','.join(['.', *folders]))}")
        for name, value in self.macros.items():
            literal = _literal(value)
            # gin's own quotes are single ones; double ones around them are what a person would type.
            plain = not any(character in literal for character in '"$`\\')
            words.append(f"--gin.{name}=" + (f'"{literal}"' if "'" in literal and plain else shlex.quote(literal)))
        return " ".join(words)

    def _folders_to_name(self) -> list[str]:
        """Folders with gin files that a plain T5X command would not look in by itself."""
        import t5x

        # Our runtime looks in what installed packages offer; upstream T5X has to be told.
        offers = importlib.metadata.entry_points(group="t5x.gin_search_paths", name="distill_or_annotate")
        packaged = [] if offers and getattr(t5x, "__runtime__", None) == "doa" else [str(home())]
        near = [Path.cwd(), home()]
        found = all(any((folder / name).is_file() for folder in near) for name in self.gin_files)
        wanted = packaged if found else [*search_paths()[1:-1], *packaged]
        return [folder for folder in wanted if folder != str(Path.cwd())]

    def macro(self, name: str, *default: Any) -> Any:
        """What a macro of the configuration stands for, made anew; nothing is run.

        Args:
          name: the macro, such as `MODEL`.
          *default: what to give where it is not bound; left out, that is an error.

        Returns:
          Its value; of a reference to something configurable, what that makes.
        """
        import gin

        with self._parsed():
            try:
                found = gin.query_parameter(f"%{name}")
            except ValueError:
                if default:
                    return default[0]
                raise
            # A reference is evaluated by copying it: that is how gin itself hands values over.
            return copy.deepcopy(found)

    @contextmanager
    def _parsed(self) -> Iterator[None]:
        """The configuration in force while the block runs, and none after it."""
        import gin
        from t5x import gin_utils

        gin.clear_config()
        module, _ = _entry_point(self.module)
        # What parsing has to say stands in the log of the stage itself, once it runs.
        with _logging_to(Path(os.devnull)), _standing_in_for_main(module):
            try:
                gin_utils.parse_gin_flags(search_paths(), list(self.gin_files), self.bindings())
                yield
            finally:
                gin.clear_config()

    def run(self, log_file: Path) -> None:
        """Run in this process, from a cleared gin configuration.

        Args:
          log_file: receives the program's log records; appended to.

        Raises:
          Exception: whatever the program raises, unchanged.
        """
        import gin
        from t5x import gin_utils

        gin.clear_config()  # first: gin registers nothing while an earlier configuration is locked
        module, function = _entry_point(self.module)
        with _logging_to(log_file), _standing_in_for_main(module):
            gin_utils.parse_gin_flags(search_paths(), list(self.gin_files), self.bindings())
            function()


def _literal(value: Any) -> str:
    """A gin literal: strings quoted, references (`@name()`, `%MACRO`) as they are."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str) and value[:1] in ("@", "%"):
        return value
    return repr(value)


@cache
def _entry_point(name: str) -> tuple[ModuleType, Callable[[], Any]]:
    """The module and its gin-wrapped function; wrapped once, since gin refuses a second registration."""
    import gin

    module = importlib.import_module(name)
    return module, gin.configurable(getattr(module, _FUNCTIONS[name]))


# Our runtime's gin_utils offers these two as well; upstream's does not, and stages are to run on either.
@contextmanager
def _standing_in_for_main(module: ModuleType) -> Iterator[None]:
    real = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        yield
    finally:
        sys.modules["__main__"] = real


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Send log records to a file and nowhere else: the terminal belongs to the progress display."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.handlers, root.level = [handler], logging.INFO
    try:
        yield
    finally:
        root.handlers, root.level = before, level
        handler.close()
