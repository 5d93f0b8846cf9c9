"""Train states: what a run checkpoints and what its step updates.

A state dictionary reads `{'target': parameters, 'state': {'step': ..., 'param_states': ...}}`, with `'flax_mutables'`
beside them when there are any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.core
import flax.serialization
import flax.struct
import jax.numpy as jnp
from flax.core import FrozenDict
from flax.linen import partitioning as flax_partitioning
from flax.traverse_util import flatten_dict

from t5x import optimizers

EMPTY_DICT: FrozenDict = flax.core.freeze({})
FlaxVariables = Mapping[str, Any]
_AXES_SUFFIX = "_axes"


def _split_variables(model_variables: FlaxVariables) -> tuple[FrozenDict, dict[str, Any]]:
    """Splits initial variables into parameters and a state's other fields; each parameter must have logical axes."""
    variables = dict(flax.core.unfreeze(model_variables))
    if "params" not in variables:
        raise ValueError(f"model_variables lacks the collection 'params'; it holds {sorted(variables)}.")
    params = variables.pop("params")
    params_axes = variables.pop("params_axes", None)
    if params_axes is not None:
        with_axes = flatten_dict(flax.core.unfreeze(flax_partitioning.get_axis_names(params_axes)), sep="/")
        missing = sorted(flatten_dict(params, sep="/").keys() - with_axes.keys())
        if missing:
            raise ValueError(
                f"params_axes: no logical axes for {missing[:5]} ({len(missing)} parameters). Create them with "
                f"flax.linen.partitioning.param_with_axes(..., axes=(...))."
            )
    mutables_axes = {k: variables.pop(k) for k in sorted(variables) if k.endswith(_AXES_SUFFIX)}
    return flax.core.freeze(params), {
        "params_axes": None if params_axes is None else flax.core.freeze(params_axes),
        "flax_mutables": flax.core.freeze(variables),
        "flax_mutables_axes": flax.core.freeze(mutables_axes) if mutables_axes else None,
    }


def _mutables_as_logical_axes(flax_mutables: FrozenDict, flax_mutables_axes: FrozenDict | None) -> FrozenDict:
    """Returns axis names per mutable leaf, None where the collection has no axes."""
    axes = dict(flax.core.unfreeze(flax_mutables_axes or {}))
    result: dict[str, Any] = {}
    for name, collection in flax.core.unfreeze(flax_mutables).items():
        if name + _AXES_SUFFIX in axes:
            result[name] = flax.core.unfreeze(flax_partitioning.get_axis_names(axes[name + _AXES_SUFFIX]))
        else:
            result[name] = _none_tree(collection)
    return flax.core.freeze(result)


def _none_tree(tree: Any) -> Any:
    return {k: _none_tree(v) for k, v in tree.items()} if isinstance(tree, Mapping) else None


def _restore_mutables(current: FlaxVariables, restored: Mapping[str, Any] | None) -> FlaxVariables:
    if not current:
        return EMPTY_DICT if restored is None else flax.core.freeze(dict(restored))
    if restored is None:
        raise ValueError(
            f"flax_mutables: the model has collections {sorted(current)} and the restored state has none. Restore a "
            f"checkpoint of this model, or allow fallback_to_scratch."
        )
    return flax.serialization.from_state_dict(current, restored)


class TrainState:
    """What trainers, checkpoints and evaluators rely on; both states below are one.

    Attributes:
        step: number of optimizer steps taken, int32 scalar.
        params: parameters.
        param_states: optimizer state of the parameters.
        params_axes: collection of logical axes beside the parameters, or None.
        flax_mutables: variables other than parameters, empty if there are none.
        flax_mutables_axes: logical axes of the mutables, or None.
    """

    def state_dict(self) -> dict[str, Any]:
        """Returns nested plain dictionaries in checkpoint layout."""
        mutables = {"flax_mutables": flax.core.unfreeze(self.flax_mutables)} if self.flax_mutables else {}
        return {**self._state_dict(), **mutables}

    def restore_state(self, state_dict: Mapping[str, Any]) -> TrainState:
        """Returns a copy with the values of `state_dict` (as `state_dict()` writes them).

        Raises:
            ValueError: the state has mutables and `state_dict` lacks them, or a leaf is missing.
        """
        mutables = _restore_mutables(self.flax_mutables, state_dict.get("flax_mutables"))
        return self._restore_state(state_dict).replace(flax_mutables=mutables)

    def replace_params(self, params: Any) -> TrainState:
        """Returns a copy with other parameters."""
        return self.replace(params=params)

    def replace_flax_mutables(self, flax_mutables: Any) -> TrainState:
        """Returns a copy with other mutables."""
        return self.replace(flax_mutables=flax_mutables)

    def replace_step(self, step: Any) -> TrainState:
        """Returns a copy with another step."""
        return self.replace(step=step)

    def as_logical_axes(self) -> TrainState:
        """Returns the state with logical axis names (or None) in place of arrays.

        Raises:
            ValueError: the optimizer cannot derive axes for its state.
        """
        if self.params_axes is None:
            axes = flax.core.freeze(_none_tree(flax.core.unfreeze(self.params)))
        else:
            axes = flax_partitioning.get_axis_names(self.params_axes)
        mutables_axes = _mutables_as_logical_axes(self.flax_mutables, self.flax_mutables_axes)
        return self._with_logical_axes(axes).replace(flax_mutables=mutables_axes)


class FlaxOptimTrainState(TrainState, flax.struct.PyTreeNode):
    """Parameters and optimizer state, held in a `t5x.optimizers.Optimizer`."""

    _optimizer: optimizers.OptimizerType
    # Axes are metadata: they are no arrays, and two states with the same axes must be one jit key.
    params_axes: FlaxVariables | None = flax.struct.field(pytree_node=False, default=None)
    flax_mutables: FlaxVariables = EMPTY_DICT
    flax_mutables_axes: FlaxVariables | None = flax.struct.field(pytree_node=False, default=None)

    @classmethod
    def create(cls, optimizer_def: optimizers.OptimizerDefType, model_variables: FlaxVariables) -> FlaxOptimTrainState:
        """Builds the state at step 0.

        Args:
            optimizer_def: definition of the optimizer.
            model_variables: collections `params` and `params_axes`, and any mutables with their `*_axes`.

        Raises:
            ValueError: a parameter has no logical axes, or the optimizer needs axes and there are none.
        """
        params, axes = _split_variables(model_variables)
        if hasattr(optimizer_def, "set_param_axes"):
            if axes["params_axes"] is None:
                raise ValueError(
                    f"{type(optimizer_def).__name__} needs logical axes: the model variables lack the collection "
                    f"'params_axes'. Create parameters with flax.linen.partitioning.param_with_axes."
                )
            optimizer_def.set_param_axes(flax_partitioning.get_axis_names(axes["params_axes"]))
        return cls(optimizer_def.create(params), **axes)

    @property
    def step(self) -> Any:
        """Number of optimizer steps taken, int32 scalar."""
        return self._optimizer.state.step

    @property
    def params(self) -> Any:
        """Parameters."""
        return self._optimizer.target

    @property
    def param_states(self) -> Any:
        """Optimizer state of the parameters."""
        return self._optimizer.state.param_states

    def _state_dict(self) -> dict[str, Any]:
        return self._optimizer.state_dict()

    def _restore_state(self, state_dict: Mapping[str, Any]) -> FlaxOptimTrainState:
        return self.replace(_optimizer=self._optimizer.restore_state(state_dict))

    def replace_params(self, params: Any) -> FlaxOptimTrainState:
        return self.replace(_optimizer=self._optimizer.replace(target=params))

    def replace_step(self, step: Any) -> FlaxOptimTrainState:
        return self.replace(_optimizer=self._optimizer.replace(state=self._optimizer.state.replace(step=step)))

    def apply_gradient(self, grads: Any, learning_rate: Any, flax_mutables: Any = EMPTY_DICT) -> FlaxOptimTrainState:
        """Returns the state after one optimizer step.

        Args:
            grads: gradients, nested like the parameters.
            learning_rate: step size; optimizers that hold their own schedule ignore it.
            flax_mutables: mutables after the step.
        """
        optimizer = self._optimizer.apply_gradient(grads, learning_rate=learning_rate)
        return self.replace(_optimizer=optimizer, flax_mutables=flax_mutables)

    def _with_logical_axes(self, axes: Any) -> FlaxOptimTrainState:
        definition = self._optimizer.optimizer_def
        if not hasattr(definition, "derive_logical_axes"):
            raise ValueError(
                f"{type(definition).__name__} has no derive_logical_axes(optimizer, axes), so its state cannot be "
                f"partitioned. Use t5x.adafactor.Adafactor or t5x.optimizers.OptaxWrapper."
            )
        return self.replace(_optimizer=definition.derive_logical_axes(self._optimizer, axes))


class InferenceState(TrainState, flax.struct.PyTreeNode):
    """Parameters without an optimizer; `param_states` and `apply_gradient` say so."""

    step: Any
    params: Any
    params_axes: FlaxVariables | None = flax.struct.field(pytree_node=False, default=None)
    flax_mutables: FlaxVariables = EMPTY_DICT
    flax_mutables_axes: FlaxVariables | None = flax.struct.field(pytree_node=False, default=None)

    @classmethod
    def create(cls, model_variables: FlaxVariables) -> InferenceState:
        """Builds the state at step 0 from `params`, `params_axes` and any mutables with their `*_axes`."""
        params, axes = _split_variables(model_variables)
        return cls(jnp.array(0, dtype=jnp.int32), params, **axes)

    @property
    def param_states(self) -> Any:
        """Not available: there is no optimizer."""
        raise NotImplementedError("InferenceState has no optimizer state.")

    def apply_gradient(self, grads: Any, learning_rate: Any, flax_mutables: Any = EMPTY_DICT) -> InferenceState:
        """Not available, whatever `grads`, `learning_rate` and `flax_mutables` are: there is no optimizer."""
        raise NotImplementedError("InferenceState has no optimizer to apply gradients with.")

    def _state_dict(self) -> dict[str, Any]:
        return {"target": flax.serialization.to_state_dict(self.params), "state": {"step": self.step}}

    def _restore_state(self, state_dict: Mapping[str, Any]) -> InferenceState:
        params = flax.serialization.from_state_dict(self.params, state_dict["target"])
        return self.replace(params=params, step=state_dict["state"]["step"])

    def _with_logical_axes(self, axes: Any) -> InferenceState:
        return self.replace(step=None, params=axes)
