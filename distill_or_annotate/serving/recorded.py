"""What the `config.gin` beside a checkpoint says of its model, read as text: nothing that it names is imported."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_or_annotate.interop.naming import Sizes


class RecordedError(ValueError):
    """A `config.gin` cannot be read, or describes another model."""


@dataclasses.dataclass(frozen=True)
class _Reference:
    name: str


@dataclasses.dataclass(frozen=True)
class _Macro:
    name: str


@dataclasses.dataclass(frozen=True)
class Called:
    """A function that gin calls for a value.

    Attributes:
      name: module and function, such as `folders.minilm`.
      arguments: what is bound to it.
    """

    name: str
    arguments: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Recorded:
    """How a model was trained.

    Attributes:
      task: the base task, such as `fever`; None where the file names none.
      task_module: the module that registers it; None where the file names none.
      lengths: tokens of `inputs` and `targets`, ends of sequence included; None where the file has none.
      network: arguments of the network's `T5Config` that the tensors' shapes do not tell.
      encoder: the Hugging Face folder of an encoder classifier, a path or what gives one; None for a T5.
      head: the encoder classifier's; None for that of its family.
    """

    task: str | None
    task_module: str | None
    lengths: Mapping[str, int] | None
    network: Mapping[str, Any]
    encoder: str | Called | None = None
    head: str | None = None


# What `interop.naming.Sizes` and T5Config call the same thing.
_SIZES = ("emb_dim", "num_heads", "head_dim", "mlp_dim", "num_encoder_layers", "num_decoder_layers")
_UNTOLD = ("dtype", "mlp_activations", "float32_attention_logits")


def read(path: Path, sizes: Sizes | None) -> Recorded:
    """Reads a `config.gin` that `t5x.train` left.

    Args:
      path: the file.
      sizes: the sizes of the model beside it, which tell its network from a teacher's; None for an encoder.

    Returns:
      What it says; an absent macro stays None.

    Raises:
      RecordedError: it is no gin, or none of its networks has these sizes.
    """
    bindings = _bindings(path)
    macros = {selector: value for (scope, selector, arg), value in bindings.items() if not (scope or arg)}

    def followed(value: Any) -> Any:
        while isinstance(value, _Macro):
            value = macros.get(value.name)
        return value

    def resolved(value: Any) -> Any:
        return None if isinstance(value := followed(value), _Reference) else value

    def called(value: Any) -> Any:
        if not isinstance(value := followed(value), _Reference):
            return value
        bound = {arg: called(given) for (_, selector, arg), given in bindings.items() if selector == value.name and arg}
        return Called(value.name, bound)

    classifier = {
        arg: value for (_, selector, arg), value in bindings.items() if selector == "classifier.from_folder" and arg
    }

    networks: dict[str, dict[str, Any]] = {}
    for (scope, selector, arg), value in bindings.items():
        if selector.split(".")[-1] == "T5Config" and arg:
            networks.setdefault(scope, {})[arg] = resolved(value)
    fitting = [
        network
        for network in networks.values()
        if sizes and all(network.get(name) in (None, getattr(sizes, name)) for name in _SIZES)
    ]
    if sizes and networks and not fitting:
        raise RecordedError(f"{path} configures no network of {sizes}. Fix: it belongs to another checkpoint; move it.")
    network = fitting[0] if fitting else {}
    lengths, task, module = (
        resolved(_Macro(name)) for name in ("TASK_FEATURE_LENGTHS", "TASK", "MIXTURE_OR_TASK_MODULE")
    )
    task = task or resolved(_Macro("MIXTURE_OR_TASK_NAME"))
    return Recorded(
        task if isinstance(task, str) else None,
        module if isinstance(module, str) else None,
        lengths if isinstance(lengths, dict) and {"inputs", "targets"} <= set(lengths) else None,
        {
            name: tuple(value) if isinstance(value, list) else value
            for name in _UNTOLD
            if (value := network.get(name)) is not None
        },
        called(classifier.get("folder")),
        resolved(classifier.get("head")),
    )


def _bindings(path: Path) -> dict[tuple[str, str, str], Any]:
    """Bound values by (scope, selector, argument); macros have no argument."""
    from gin import config_parser

    class Delegate(config_parser.ParserDelegate):
        def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> _Reference:
            return _Reference(scoped_configurable_name)

        def macro(self, macro_name: str) -> _Macro:
            return _Macro(macro_name)

    try:
        statements = list(config_parser.ConfigParser(path.read_text(encoding="utf-8"), Delegate()))
    except (SyntaxError, ValueError) as error:
        raise RecordedError(
            f"{path} is no gin file: {str(error).splitlines()[0]}. Fix: restore or remove it."
        ) from error
    found = {}
    for statement in statements:
        if isinstance(statement, config_parser.BindingStatement):
            found[statement.scope or "", statement.selector, statement.arg_name or ""] = statement.value
    return found
