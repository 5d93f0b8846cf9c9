"""Optimizer interface of the train state, and wrappers that put Optax optimizers behind it.

An `OptimizerDef` is a definition without arrays; an `Optimizer` joins it with its state and the parameters. Left out:
upstream's legacy `MultiOptimizer` (several definitions on disjoint parameters); `optax.multi_transform` inside `chain`
does the same and can be checkpointed. `amos`, which no registry package of Optax offers, is left out too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.serialization
import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

PyTree = Any


@flax.struct.dataclass
class OptimizerState:
    """Step counter and per-parameter state.

    Args:
        step: number of updates made, int32 scalar.
        param_states: whatever the optimizer keeps per parameter.
    """

    step: jax.Array
    param_states: Any


class OptimizerDef:
    """Definition of an optimizer; subclasses implement `init_state` and `apply_gradient`.

    Args:
        hyper_params: a flax dataclass of hyperparameters.
    """

    def __init__(self, hyper_params: Any):
        """Keeps the hyperparameters."""
        self.hyper_params = hyper_params

    def apply_gradient(
        self, hyper_params: Any, params: PyTree, state: OptimizerState, grads: PyTree
    ) -> tuple[PyTree, OptimizerState]:
        """Returns new parameters and new state, from `params`, `state`, gradients `grads` and `hyper_params`."""
        raise NotImplementedError

    def init_state(self, params: PyTree) -> OptimizerState:
        """Returns the state before the first update."""
        raise NotImplementedError

    def update_hyper_params(self, **hyper_param_overrides: Any) -> Any:
        """Returns the hyperparameters with some replaced, such as `learning_rate`.

        Raises:
            ValueError: a name is not a hyperparameter of this optimizer.
        """
        hyper_params = hyper_param_overrides.pop("hyper_params", self.hyper_params)
        unknown = [name for name in hyper_param_overrides if not hasattr(hyper_params, name)]
        if unknown:
            known = sorted(vars(hyper_params))
            raise ValueError(f"{type(self).__name__} has no hyperparameter {unknown}; it has {known}.")
        return hyper_params.replace(**hyper_param_overrides) if hyper_param_overrides else hyper_params

    def create(self, target: PyTree) -> Optimizer:
        """Returns an optimizer at step 0 for the parameters `target`."""
        return Optimizer(optimizer_def=self, state=self.init_state(target), target=target)

    def state_dict(self, target: PyTree, state: OptimizerState) -> dict[str, Any]:
        """Returns `{'target': ..., 'state': {'step': ..., 'param_states': ...}}` as nested dictionaries."""
        return {
            "target": flax.serialization.to_state_dict(target),
            "state": flax.serialization.to_state_dict(state),
        }

    def restore_state(
        self, opt_target: PyTree, opt_state: OptimizerState, state_dict: Mapping[str, Any]
    ) -> tuple[PyTree, OptimizerState]:
        """Returns parameters and state shaped like `opt_target` and `opt_state`, with the values of `state_dict`."""
        target = flax.serialization.from_state_dict(opt_target, state_dict["target"])
        state = flax.serialization.from_state_dict(opt_state, state_dict["state"])
        return target, state


class Optimizer(flax.struct.PyTreeNode):
    """An optimizer definition joined with its state and the parameters it updates."""

    optimizer_def: OptimizerDef = flax.struct.field(pytree_node=False)
    state: OptimizerState
    target: Any

    def apply_gradient(self, grads: PyTree, **hyper_param_overrides: Any) -> Optimizer:
        """Returns the optimizer after one update.

        Args:
            grads: gradients, nested like the parameters.
            **hyper_param_overrides: hyperparameters for this update, such as `learning_rate`.
        """
        hyper_params = self.optimizer_def.update_hyper_params(**hyper_param_overrides)
        target, state = self.optimizer_def.apply_gradient(hyper_params, self.target, self.state, grads)
        return self.replace(target=target, state=state)

    def state_dict(self) -> dict[str, Any]:
        """Returns parameters and state as nested dictionaries."""
        return self.optimizer_def.state_dict(self.target, self.state)

    def restore_state(self, state_dict: Mapping[str, Any]) -> Optimizer:
        """Returns a copy with the values of `state_dict`."""
        target, state = self.optimizer_def.restore_state(self.target, self.state, state_dict)
        return self.replace(target=target, state=state)


OptimizerType = Optimizer
OptimizerStateType = OptimizerState
OptimizerDefType = OptimizerDef


@flax.struct.dataclass
class _OptaxHyperParams:
    """What an Optax optimizer lets the trainer override: a learning rate, which it ignores."""

    learning_rate: Any = None


class OptaxWrapper(OptimizerDef):
    """Puts an Optax optimizer behind `OptimizerDef`.

    The learning rate lives inside the Optax optimizer (a number or a schedule). The trainer's learning rate is ignored
    by the update, although the `learning_rate` metric still reports it.

    Args:
        optax_optimizer: a gradient transformation, complete with its step size.
    """

    def __init__(self, optax_optimizer: optax.GradientTransformation):
        """Keeps the transformation."""
        super().__init__(hyper_params=_OptaxHyperParams())
        self.optax_optimizer = optax_optimizer

    def init_state(self, params: PyTree) -> OptimizerState:
        """Returns the Optax state at step 0."""
        return OptimizerState(step=jnp.zeros((), jnp.int32), param_states=self.optax_optimizer.init(params))

    def apply_gradient(
        self, hyper_params: Any, params: PyTree, state: OptimizerState, grads: PyTree
    ) -> tuple[PyTree, OptimizerState]:
        """Returns new parameters and state after one Optax update."""
        del hyper_params
        updates, param_states = self.optax_optimizer.update(grads, state.param_states, params)
        return optax.apply_updates(params, updates), OptimizerState(state.step + 1, param_states)

    def derive_logical_axes(self, optimizer: Optimizer, param_logical_axes: PyTree) -> Optimizer:
        """Returns the optimizer with logical axis names in place of arrays.

        A leaf of the Optax state belongs to a parameter when its path ends in the parameter's path and it has the
        parameter's shape; it then gets the parameter's axes. Others (counters, factored moments) are replicated. This
        also covers states inside masks, chains and injected hyperparameters.

        Args:
            optimizer: optimizer whose state has the final shapes (arrays or shape structs).
            param_logical_axes: axis names nested like the parameters.
        """
        shapes = _flat_state_dict(optimizer.target)
        axes = _flat_state_dict(param_logical_axes)

        def leaf_axes(path: tuple[Any, ...], leaf: Any) -> Any:
            keys = tuple(_key_name(entry) for entry in path)
            for start in range(len(keys)):
                suffix = keys[start:]
                if suffix in shapes:
                    return axes.get(suffix) if shapes[suffix].shape == leaf.shape else None
            return None

        return optimizer.replace(
            state=OptimizerState(
                step=None,
                param_states=jax.tree_util.tree_map_with_path(leaf_axes, optimizer.state.param_states),
            ),
            target=param_logical_axes,
        )

    def state_dict(self, target: PyTree, state: OptimizerState) -> dict[str, Any]:
        """Returns parameters and state; parts of the Optax state without arrays are dropped."""
        full = super().state_dict(target, state)
        leaves = traverse_util.flatten_dict({"state": full["state"]["param_states"]})
        kept = {path: leaf for path, leaf in leaves.items() if leaf is not None}
        full["state"]["param_states"] = traverse_util.unflatten_dict(kept).get("state", {})
        return full

    def restore_state(
        self, opt_target: PyTree, opt_state: OptimizerState, state_dict: Mapping[str, Any]
    ) -> tuple[PyTree, OptimizerState]:
        """Returns parameters and state with the values of `state_dict`, empty parts put back."""
        template = {"state": flax.serialization.to_state_dict(opt_state.param_states)}
        leaves = traverse_util.flatten_dict(template, keep_empty_nodes=True)
        empty = (None, traverse_util.empty_node)
        leaves = {path: leaf for path, leaf in leaves.items() if any(leaf is nothing for nothing in empty)}
        leaves |= traverse_util.flatten_dict({"state": state_dict["state"].get("param_states", {})})
        state = {**state_dict["state"], "param_states": traverse_util.unflatten_dict(leaves)["state"]}
        return super().restore_state(opt_target, opt_state, {**state_dict, "state": state})


def _flat_state_dict(tree: PyTree) -> dict[tuple[str, ...], Any]:
    return traverse_util.flatten_dict(flax.serialization.to_state_dict(tree))


def _key_name(entry: Any) -> str:
    """Returns the name of one step of a tree path: dictionary key, attribute or index."""
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)


def wrap_optax_optimizer(optax_optimizer: Callable[..., optax.GradientTransformation]) -> Callable[..., OptaxWrapper]:
    """Turns a constructor of Optax optimizers into one of `OptimizerDef`s with the same arguments.

    Args:
        optax_optimizer: such as `optax.adamw`.
    """

    @functools.wraps(optax_optimizer)
    def wrapped(*args: Any, **kwargs: Any) -> OptaxWrapper:
        return OptaxWrapper(optax_optimizer(*args, **kwargs))

    return wrapped


def chain(transformations: Sequence[optax.GradientTransformation]) -> OptaxWrapper:
    """Chains gradient transformations, the last of which usually scales by the step size.

    Args:
        transformations: applied in order, such as `[optax.clip_by_global_norm(1.0), optax.adamw(1e-3)]`.
    """
    return OptaxWrapper(optax.chain(*transformations))


def dpsgd(*args: Any, **kwargs: Any) -> OptaxWrapper:
    """Differentially private SGD of `optax.contrib`; `args` and `kwargs` are its own."""
    from optax import contrib

    return OptaxWrapper(contrib.dpsgd(*args, **kwargs))


adabelief = wrap_optax_optimizer(optax.adabelief)
adagrad = wrap_optax_optimizer(optax.adagrad)
adam = wrap_optax_optimizer(optax.adam)
adamw = wrap_optax_optimizer(optax.adamw)
fromage = wrap_optax_optimizer(optax.fromage)
lamb = wrap_optax_optimizer(optax.lamb)
lars = wrap_optax_optimizer(optax.lars)
lion = wrap_optax_optimizer(optax.lion)
noisy_sgd = wrap_optax_optimizer(optax.noisy_sgd)
radam = wrap_optax_optimizer(optax.radam)
rmsprop = wrap_optax_optimizer(optax.rmsprop)
sgd = wrap_optax_optimizer(optax.sgd)
yogi = wrap_optax_optimizer(optax.yogi)
