"""Train states: what a run checkpoints and what its step updates.

A state dictionary reads `{'target': parameters, 'state': {'step': ..., 'param_states': ...}}`, with `'flax_mutables'`
beside them when there are any.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol, runtime_checkable

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


@runtime_checkable
class TrainState(Protocol):
    """What trainers, checkpoints and evaluators rely on."""

    @property
    def step(self) -> Any:
        """Number of optimizer steps taken, int32 scalar."""

    @property
    def params(self) -> Any:
        """Parameters."""

    @property
    def param_states(self) -> Any:
        """Optimizer state of the parameters."""

    @property
    def flax_mutables(self) -> Any:
        """Variables other than parameters, empty if there are none."""

    def state_dict(self) -> MutableMapping[str, Any]:
        """Returns nested plain dictionaries in checkpoint layout."""

    def restore_state(self, state_dict: Mapping[str, Any]) -> TrainState:
        """Returns a copy with the values of `state_dict`."""

    def replace_params(self, params: Any) -> TrainState:
        """Returns a copy with other parameters."""

    def replace_flax_mutables(self, flax_mutables: Any) -> TrainState:
        """Returns a copy with other mutables."""

    def replace_step(self, step: Any) -> TrainState:
        """Returns a copy with another step."""

    def apply_gradient(self, grads: Any, learning_rate: Any, flax_mutables: Any = EMPTY_DICT) -> TrainState:
        """Returns the state after one optimizer step."""

    def as_logical_axes(self) -> TrainState:
        """Returns the state with logical axis names (or None) in place of arrays."""


def _split_variables(model_variables: FlaxVariables) -> tuple[FrozenDict, FrozenDict | None, FrozenDict, FrozenDict]:
    """Splits initial variables into params, params_axes, mutables and their axes."""
    variables = dict(flax.core.unfreeze(model_variables))
    if "params" not in variables:
        raise ValueError(f"model_variables lacks the collection 'params'; it holds {sorted(variables)}.")
    params = flax.core.freeze(variables.pop("params"))
    params_axes = variables.pop("params_axes", None)
    mutables_axes = {k: variables.pop(k) for k in sorted(variables) if k.endswith(_AXES_SUFFIX)}
    frozen_axes = None if params_axes is None else flax.core.freeze(params_axes)
    return params, frozen_axes, flax.core.freeze(variables), flax.core.freeze(mutables_axes)


def _validate_params_axes(params_axes: FrozenDict, params: FrozenDict) -> None:
    """Raises ValueError when a parameter has no logical axes."""
    with_axes = set(flatten_dict(flax.core.unfreeze(flax_partitioning.get_axis_names(params_axes)), sep="/"))
    missing = sorted(set(flatten_dict(flax.core.unfreeze(params), sep="/")) - with_axes)
    if missing:
        raise ValueError(
            f"params_axes: no logical axes for {missing[:5]} ({len(missing)} parameters). Create them with "
            f"flax.linen.partitioning.param_with_axes(..., axes=(...))."
        )


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


class FlaxOptimTrainState(flax.struct.PyTreeNode):
    """Parameters and optimizer state, held in a `t5x.optimizers.Optimizer`.

    Args:
        _optimizer: optimizer definition, its state and the parameters.
        params_axes: collection of logical axes beside the parameters, or None.
        flax_mutables: variables other than parameters.
        flax_mutables_axes: logical axes of the mutables, or None.
    """

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
        params, params_axes, mutables, mutables_axes = _split_variables(model_variables)
        if params_axes is not None:
            _validate_params_axes(params_axes, params)
        if hasattr(optimizer_def, "set_param_axes"):
            if params_axes is None:
                raise ValueError(
                    f"{type(optimizer_def).__name__} needs logical axes: the model variables lack the collection "
                    f"'params_axes'. Create parameters with flax.linen.partitioning.param_with_axes."
                )
            optimizer_def.set_param_axes(flax_partitioning.get_axis_names(params_axes))
        return cls(
            optimizer_def.create(params),
            params_axes=params_axes,
            flax_mutables=mutables,
            flax_mutables_axes=mutables_axes or None,
        )

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

    def state_dict(self) -> MutableMapping[str, Any]:
        """Returns nested plain dictionaries in checkpoint layout."""
        state_dict = self._optimizer.state_dict()
        if self.flax_mutables:
            state_dict["flax_mutables"] = flax.core.unfreeze(self.flax_mutables)
        return state_dict

    def restore_state(self, state_dict: Mapping[str, Any]) -> FlaxOptimTrainState:
        """Returns a copy with the values of `state_dict` (as `state_dict()` writes them).

        Raises:
            ValueError: the state has mutables and `state_dict` lacks them, or a leaf is missing.
        """
        values = dict(state_dict)
        mutables = values.pop("flax_mutables", None)
        new = self.replace(_optimizer=self._optimizer.restore_state(values))
        return new.replace(flax_mutables=_restore_mutables(self.flax_mutables, mutables))

    def replace_params(self, params: Any) -> FlaxOptimTrainState:
        """Returns a copy with other parameters."""
        return self.replace(_optimizer=self._optimizer.replace(target=params))

    def replace_flax_mutables(self, flax_mutables: Any) -> FlaxOptimTrainState:
        """Returns a copy with other mutables."""
        return self.replace(flax_mutables=flax_mutables)

    def replace_step(self, step: Any) -> FlaxOptimTrainState:
        """Returns a copy with another step."""
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

    def as_logical_axes(self) -> FlaxOptimTrainState:
        """Returns the state with logical axis names (or None) in place of arrays.

        Raises:
            ValueError: the optimizer cannot derive axes for its state.
        """
        if not hasattr(self._optimizer.optimizer_def, "derive_logical_axes"):
            raise ValueError(
                f"{type(self._optimizer.optimizer_def).__name__} has no derive_logical_axes(optimizer, axes), so its "
                f"state cannot be partitioned. Use t5x.adafactor.Adafactor or t5x.optimizers.OptaxWrapper."
            )
        if self.params_axes is None:
            axes = flax.core.freeze(_none_tree(flax.core.unfreeze(self.params)))
        else:
            axes = flax_partitioning.get_axis_names(self.params_axes)
        optimizer_axes = self._optimizer.optimizer_def.derive_logical_axes(self._optimizer, axes)
        mutables_axes = _mutables_as_logical_axes(self.flax_mutables, self.flax_mutables_axes)
        return self.replace(_optimizer=optimizer_axes, flax_mutables=mutables_axes)


class InferenceState(flax.struct.PyTreeNode):
    """Parameters without an optimizer.

    Args:
        step: number of steps the parameters were trained for, int32 scalar.
        params: parameters.
        params_axes: collection of logical axes beside the parameters, or None.
        flax_mutables: variables other than parameters.
        flax_mutables_axes: logical axes of the mutables, or None.
    """

    step: Any
    params: Any
    params_axes: FlaxVariables | None = flax.struct.field(pytree_node=False, default=None)
    flax_mutables: FlaxVariables = EMPTY_DICT
    flax_mutables_axes: FlaxVariables | None = flax.struct.field(pytree_node=False, default=None)

    @classmethod
    def create(cls, model_variables: FlaxVariables) -> InferenceState:
        """Builds the state at step 0 from `params`, `params_axes` and any mutables with their `*_axes`."""
        params, params_axes, mutables, mutables_axes = _split_variables(model_variables)
        if params_axes is not None:
            _validate_params_axes(params_axes, params)
        return cls(
            step=jnp.array(0, dtype=jnp.int32),
            params=params,
            params_axes=params_axes,
            flax_mutables=mutables,
            flax_mutables_axes=mutables_axes or None,
        )

    @property
    def param_states(self) -> Any:
        """Not available: there is no optimizer."""
        raise NotImplementedError("InferenceState has no optimizer state.")

    def apply_gradient(self, grads: Any, learning_rate: Any, flax_mutables: Any = EMPTY_DICT) -> InferenceState:
        """Not available, whatever `grads`, `learning_rate` and `flax_mutables` are: there is no optimizer."""
        raise NotImplementedError("InferenceState has no optimizer to apply gradients with.")

    def state_dict(self) -> MutableMapping[str, Any]:
        """Returns nested plain dictionaries in checkpoint layout, without optimizer state."""
        state_dict = {"target": flax.serialization.to_state_dict(self.params), "state": {"step": self.step}}
        if self.flax_mutables:
            state_dict["flax_mutables"] = flax.core.unfreeze(self.flax_mutables)
        return state_dict

    def restore_state(self, state_dict: Mapping[str, Any]) -> InferenceState:
        """Returns a copy with the values of `state_dict`; optimizer state in it is ignored.

        Raises:
            ValueError: the state has mutables and `state_dict` lacks them, or a leaf is missing.
        """
        return self.replace(
            params=flax.serialization.from_state_dict(self.params, state_dict["target"]),
            step=state_dict["state"]["step"],
            flax_mutables=_restore_mutables(self.flax_mutables, state_dict.get("flax_mutables")),
        )

    def replace_params(self, params: Any) -> InferenceState:
        """Returns a copy with other parameters."""
        return self.replace(params=params)

    def replace_flax_mutables(self, flax_mutables: Any) -> InferenceState:
        """Returns a copy with other mutables."""
        return self.replace(flax_mutables=flax_mutables)

    def replace_step(self, step: Any) -> InferenceState:
        """Returns a copy with another step."""
        return self.replace(step=step)

    def as_logical_axes(self) -> InferenceState:
        """Returns the state with logical axis names (or None) in place of arrays."""
        if self.params_axes is None:
            axes = flax.core.freeze(_none_tree(flax.core.unfreeze(self.params)))
        else:
            axes = flax_partitioning.get_axis_names(self.params_axes)
        mutables_axes = _mutables_as_logical_axes(self.flax_mutables, self.flax_mutables_axes)
        return self.replace(step=None, params=axes, flax_mutables=mutables_axes)


def _restore_mutables(current: FlaxVariables, restored: Mapping[str, Any] | None) -> FlaxVariables:
    if not current:
        return EMPTY_DICT if restored is None else flax.core.freeze(dict(restored))
    if restored is None:
        raise ValueError(
            f"flax_mutables: the model has collections {sorted(current)} and the restored state has none. Restore a "
            f"checkpoint of this model, or allow fallback_to_scratch."
        )
    return flax.serialization.from_state_dict(current, restored)
