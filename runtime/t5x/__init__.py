"""A small clean-room runtime with T5X's public interface. Submodules load on first use, so `import t5x` is cheap."""

import importlib
import pkgutil
from typing import Any

__version__ = "0.0.0"
__runtime__ = "doa"

_ALIASES = {"checkpointing": "checkpoints"}


def __getattr__(name: str) -> Any:
    if name in __dir__():
        return importlib.import_module(f"t5x.{_ALIASES.get(name, name)}")
    raise AttributeError(f"module 't5x' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ALIASES, *(module.name for module in pkgutil.iter_modules(__path__))})
