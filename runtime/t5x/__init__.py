"""A small clean-room runtime with T5X's public interface. Submodules load on first use, so `import t5x` is cheap."""

import importlib
from typing import Any

__version__ = "0.0.0"
__runtime__ = "doa"

_SUBMODULES = frozenset(
    {
        "adafactor",
        "binary_search",
        "checkpoint_utils",
        "checkpoints",
        "decoding",
        "eval",
        "examples",
        "gin_utils",
        "infer",
        "losses",
        "metrics",
        "models",
        "optimizers",
        "partitioning",
        "state_utils",
        "train",
        "train_state",
        "trainer",
        "utils",
    }
)
_ALIASES = {"checkpointing": "checkpoints"}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES or name in _ALIASES:
        return importlib.import_module(f"t5x.{_ALIASES.get(name, name)}")
    raise AttributeError(f"module 't5x' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_ALIASES})
