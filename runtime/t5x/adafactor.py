"""Adafactor: a second moment kept as row and column means where a parameter is large enough.

Source: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost" (2018), sections 4 to 8, with
the parameter scale taken per parameter. All arithmetic is float32; parameters keep their dtype.

Factoring: without its `BATCH` dimensions, a parameter of at most two dimensions is factored when both are at least
`min_dim_size_to_factor`: the row statistic averages over the larger one. Beyond two dimensions the logical factor rules
say which dimensions are rows and which are columns.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from t5x.optimizers import Optimizer, OptimizerDef, OptimizerState
from t5x.state_utils import flatten_state_dict, unflatten_state_dict

PyTree = Any


class FactorDim(enum.Enum):
    """Role of one dimension of a parameter.

    `BATCH` dimensions (stacked layers) are treated as separate parameters; `NONE` dimensions keep full statistics.
    """

    NONE = None
    BATCH = "b"
    ROW = "r"
    COLUMN = "c"


HEURISTIC_RULE = "heuristic"
FactorRule = Sequence[FactorDim] | str | None


class HParamMap:
    """Ordered regular expressions that give parameters their own hyperparameter.

    Args:
        rules: (pattern, value) pairs; the first pattern found anywhere in a slash-joined parameter name decides.
    """

    def __init__(self, rules: Sequence[tuple[str, Any]]):
        """Compiles the patterns."""
        self._rules = [(re.compile(pattern), value) for pattern, value in rules]

    def __getitem__(self, key: str) -> Any:
        """Returns the value for a parameter name; raises KeyError when no pattern is found in it."""
        for pattern, value in self._rules:
            if pattern.search(key):
                return value
        raise KeyError(f"No rule for parameter {key!r}; add a last rule ('.*', default).")

    def __call__(self, params: PyTree) -> PyTree:
        """Returns the values for a whole tree of parameters, nested like it."""
        return unflatten_state_dict({name: self[name] for name in flatten_state_dict(params)})


def standard_logical_factor_rules(rules: Mapping[str, FactorDim] | None = None) -> dict[str, FactorDim]:
    """Returns the role of each logical axis of T5-like models.

    Args:
        rules: additions and replacements.
    """
    columns = ("vocab", "mlp", "heads", "kv", "joined_kv", "q_wi_fused", "o_wo_fused", "multiquery_heads", "kv_fused")
    table = dict.fromkeys((*columns, "mlp_activations"), FactorDim.COLUMN)
    table |= {"embed": FactorDim.ROW, "relpos_buckets": FactorDim.NONE, "layer_norm_scale": FactorDim.NONE}
    table |= {"layers": FactorDim.BATCH, "stack": FactorDim.BATCH}
    return {**table, **(rules or {})}


@flax.struct.dataclass
class _AdafactorHyperParams:
    """Hyperparameters; see `Adafactor`."""

    learning_rate: Any = None
    factored: bool = True
    multiply_by_parameter_scale: bool | HParamMap = flax.struct.field(pytree_node=False, default=True)
    beta1: float | None = None
    decay_rate: float = 0.8
    step_offset: int = 0
    clipping_threshold: float | None = 1.0
    weight_decay_rate: float | None = None
    min_dim_size_to_factor: int = 128
    epsilon1: float = 1e-30
    epsilon2: float = 1e-3
    factor_map: HParamMap | None = flax.struct.field(pytree_node=False, default=None)
    logical_factor_rules: Mapping[str, FactorDim] | None = flax.struct.field(pytree_node=False, default=None)
    weight_decay_rate_lr_exponent: float | None = None
    global_norm_clip_threshold: float | None = None
    max_parameter_scale: float | None = None
    skip_nan_updates: bool = False


@flax.struct.dataclass
class _AdafactorParamState:
    """State of one parameter; unused parts are zeros of shape (1,)."""

    v_row: Any  # second moment, mean over the columns; shape of the parameter without them
    v_col: Any  # second moment, mean over the rows; shape of the parameter without them
    v: Any  # full second moment
    m: Any  # momentum


class Adafactor(OptimizerDef):
    """Adafactor as T5 uses it.

    Args:
        learning_rate: step size; the trainer passes its own at each step.
        factored: keep row and column means instead of the full second moment where possible.
        multiply_by_parameter_scale: scale the step by max(rms(parameter), epsilon2); per parameter with an HParamMap.
        beta1: momentum on the scaled update, in [0, 1); None keeps none.
        decay_rate: exponent of the schedule beta2 = 1 - (step + 1 - step_offset) ** -decay_rate, in (0, 1).
        step_offset: subtracted from the step in that schedule, for fine-tuning with a fresh second moment.
        clipping_threshold: largest rms of an update before scaling; None does not clip.
        weight_decay_rate: parameters are multiplied by 1 - rate at each step.
        min_dim_size_to_factor: smallest size of both dimensions for factoring.
        epsilon1: added to squared gradients.
        epsilon2: least parameter scale.
        dtype_momentum: dtype in which momentum is kept.
        factor_map: explicit rule (HEURISTIC_RULE, FactorDims per dimension, or None) per parameter name.
        logical_factor_rules: role of each logical axis; used for parameters that `factor_map` does not cover.
        weight_decay_rate_lr_exponent: the rate becomes weight_decay_rate * learning_rate ** exponent.
        global_norm_clip_threshold: largest global norm of the gradients.
        max_parameter_scale: largest parameter scale.
        skip_nan_updates: leave parameters and moments alone when a gradient is not finite; the step still counts.
    """

    def __init__(
        self,
        learning_rate: float | None = None,
        factored: bool = True,
        multiply_by_parameter_scale: bool | HParamMap = True,
        beta1: float | None = None,
        decay_rate: float = 0.8,
        step_offset: int = 0,
        clipping_threshold: float | None = 1.0,
        weight_decay_rate: float | None = None,
        min_dim_size_to_factor: int = 128,
        epsilon1: float = 1e-30,
        epsilon2: float = 1e-3,
        dtype_momentum: Any = jnp.float32,
        factor_map: HParamMap | None = None,
        logical_factor_rules: Mapping[str, FactorDim] | None = None,
        weight_decay_rate_lr_exponent: float | None = None,
        global_norm_clip_threshold: float | None = None,
        max_parameter_scale: float | None = None,
        skip_nan_updates: bool = False,
    ):
        """Keeps the hyperparameters; axes arrive through `set_param_axes`."""
        given = locals()
        names = (field.name for field in dataclasses.fields(_AdafactorHyperParams))
        super().__init__(_AdafactorHyperParams(**{name: given[name] for name in names}))
        self.dtype_momentum = jnp.dtype(dtype_momentum)
        self._dims_from_axes: dict[str, tuple[FactorDim, ...]] = {}

    def set_param_axes(self, param_logical_axes: PyTree) -> None:
        """Derives the role of each dimension from logical axis names.

        Args:
            param_logical_axes: axis names nested like the parameters.

        Raises:
            KeyError: an axis has no rule.
            ValueError: one parameter has ROW, COLUMN and NONE dimensions at once.
        """
        rules = self.hyper_params.logical_factor_rules
        if rules is None:
            return
        self._dims_from_axes = {}
        for name, axes in flatten_state_dict(param_logical_axes).items():
            missing = [axis for axis in axes if axis not in rules]
            if missing:
                raise KeyError(f"logical_factor_rules lacks {missing} of parameter {name}; it has {sorted(rules)}.")
            dims = tuple(FactorDim(rules[axis]) for axis in axes)
            if {FactorDim.NONE, FactorDim.ROW, FactorDim.COLUMN} <= set(dims):
                raise ValueError(
                    f"Parameter {name} with axes {tuple(axes)} mixes ROW, COLUMN and NONE dimensions {dims}: mark the "
                    f"NONE ones as BATCH, ROW or COLUMN."
                )
            self._dims_from_axes[name] = dims

    def init_state(self, params: PyTree) -> OptimizerState:
        """Returns zero moments at step 0."""
        states = self._map_with_names(lambda name, param: self._init_param_state(name, param), params)
        return OptimizerState(step=jnp.zeros((), jnp.int32), param_states=states)

    def _init_param_state(self, name: str, param: Any) -> _AdafactorParamState:
        row_dims, column_dims, _ = self._factored_dims(name, param.shape)
        empty = jnp.zeros((1,), jnp.float32)
        v_row = v_col = v = m = empty
        if row_dims:
            v_row = jnp.zeros(_without(param.shape, column_dims), jnp.float32)
            v_col = jnp.zeros(_without(param.shape, row_dims), jnp.float32)
        else:
            v = jnp.zeros(param.shape, jnp.float32)
        m = jnp.zeros(param.shape if self.hyper_params.beta1 is not None else (1,), self.dtype_momentum)
        return _AdafactorParamState(v_row=v_row, v_col=v_col, v=v, m=m)

    def _factored_dims(
        self, name: str, shape: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Returns (row dims, column dims, dims that are not batch); no row dims means unfactored."""
        hp = self.hyper_params
        rule: FactorRule = self._dims_from_axes.get(name, HEURISTIC_RULE)
        explicit = False
        if hp.factor_map is not None:
            rule = hp.factor_map[name]
            explicit = rule != HEURISTIC_RULE
        everything = tuple(range(len(shape)))
        if rule is None or not hp.factored:
            batch = self._batch_dims(name, shape) if rule is not None else ()
            return (), (), tuple(d for d in everything if d not in batch)
        if isinstance(rule, str):
            if rule != HEURISTIC_RULE:
                raise ValueError(f"Factor rule of {name} is {rule!r}; allowed: HEURISTIC_RULE, FactorDims, or None.")
            if len(shape) > 2:
                raise ValueError(
                    f"Parameter {name} of shape {shape} needs an explicit factor rule: more than two dimensions cannot "
                    f"be ranked by size. Set Adafactor.logical_factor_rules or .factor_map."
                )
            return (*self._dims_by_size(shape, everything), everything)
        dims = tuple(FactorDim(dim) for dim in rule)
        if len(dims) != len(shape):
            raise ValueError(f"Factor rule of {name} has {len(dims)} dimensions for shape {shape}.")
        inner = tuple(d for d in everything if dims[d] != FactorDim.BATCH)
        if not explicit and len(inner) <= 2:
            return (*self._dims_by_size(shape, inner), inner)
        rows = tuple(d for d in inner if dims[d] == FactorDim.ROW)
        columns = tuple(d for d in inner if dims[d] == FactorDim.COLUMN)
        return (rows, columns, inner) if rows and columns else ((), (), inner)

    def _batch_dims(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        dims = self._dims_from_axes.get(name, ())
        return tuple(d for d in range(len(shape)) if d < len(dims) and dims[d] == FactorDim.BATCH)

    def _dims_by_size(self, shape: tuple[int, ...], dims: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns (row, column): the column is the larger dimension, the later one on a tie."""
        if len(dims) < 2:
            return (), ()
        row, column = (dims[i] for i in np.argsort([shape[d] for d in dims], kind="stable")[-2:])
        if shape[row] < self.hyper_params.min_dim_size_to_factor:
            return (), ()
        return (row,), (column,)

    def apply_gradient(
        self, hyper_params: Any, params: PyTree, state: OptimizerState, grads: PyTree
    ) -> tuple[PyTree, OptimizerState]:
        """Returns new parameters and state after one update.

        Args:
            hyper_params: hyperparameters with `learning_rate` set.
            params: parameters.
            state: state of the previous step.
            grads: gradients, nested like the parameters.

        Raises:
            ValueError: no learning rate.
        """
        if hyper_params.learning_rate is None:
            raise ValueError("learning_rate is None: set Adafactor.learning_rate or trainer.Trainer.learning_rate_fn.")
        step = state.step
        is_finite = jnp.array(True)
        if hyper_params.global_norm_clip_threshold is not None or hyper_params.skip_nan_updates:
            squares = [jnp.sum(jnp.square(grad.astype(jnp.float32))) for grad in jax.tree.leaves(grads)]
            norm = jnp.sqrt(sum(squares))
            is_finite = jnp.isfinite(norm)
            if hyper_params.global_norm_clip_threshold is not None:
                factor = jnp.minimum(1.0, hyper_params.global_norm_clip_threshold / norm)
                grads = jax.tree.map(lambda grad: (grad * factor).astype(grad.dtype), grads)

        # Walked leaf by leaf: a pair per parameter would otherwise have to be told apart from the tree's own tuples.
        is_state = lambda node: isinstance(node, _AdafactorParamState)  # noqa: E731
        param_leaves, treedef = jax.tree.flatten(params)
        names = jax.tree.leaves(self._map_with_names(lambda name, _: name, params))
        grad_leaves = treedef.flatten_up_to(grads)
        state_leaves = jax.tree.leaves(state.param_states, is_leaf=is_state)
        before = (param_leaves, state_leaves)
        updated = [
            self._apply_param_gradient(hyper_params, step, name, param, param_state, grad)
            for name, param, param_state, grad in zip(names, *before, grad_leaves, strict=True)
        ]
        after = ([param for param, _ in updated], [param_state for _, param_state in updated])
        if hyper_params.skip_nan_updates:
            after = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), after, before)
        new_params, new_states = map(treedef.unflatten, after)
        return new_params, OptimizerState(step + 1, new_states)

    def _apply_param_gradient(
        self, hp: Any, step: Any, name: str, param: Any, state: _AdafactorParamState, grad: Any
    ) -> tuple[Any, _AdafactorParamState]:
        rows, columns, inner = self._factored_dims(name, param.shape)
        grad = grad.astype(jnp.float32)
        value = param.astype(jnp.float32)
        age = step.astype(jnp.float32) + 1.0 - hp.step_offset
        beta2 = 1.0 - age**-hp.decay_rate
        squared = jnp.square(grad) + hp.epsilon1
        if rows:
            v_row = beta2 * state.v_row + (1.0 - beta2) * jnp.mean(squared, axis=columns)
            v_col = beta2 * state.v_col + (1.0 - beta2) * jnp.mean(squared, axis=rows)
            # Kept as two vectors up to the product with the gradient: their outer product is never stored.
            row = jnp.expand_dims(v_row, columns)
            row = jax.lax.rsqrt(row / jnp.mean(row, axis=rows, keepdims=True))
            update = grad * row * jax.lax.rsqrt(jnp.expand_dims(v_col, rows))
            state = state.replace(v_row=v_row, v_col=v_col)
        else:
            v = beta2 * state.v + (1.0 - beta2) * squared
            update = grad * jax.lax.rsqrt(v)
            state = state.replace(v=v)

        def rms(x: Any) -> Any:
            return jnp.sqrt(jnp.mean(jnp.square(x), axis=inner, keepdims=True))

        if hp.clipping_threshold is not None:
            update = update / jnp.maximum(1.0, rms(update) / hp.clipping_threshold)
        scale = hp.learning_rate
        by_scale = hp.multiply_by_parameter_scale
        if by_scale[name] if isinstance(by_scale, HParamMap) else by_scale:
            parameter_scale = jnp.maximum(rms(value), hp.epsilon2)
            if hp.max_parameter_scale is not None:
                parameter_scale = jnp.minimum(parameter_scale, hp.max_parameter_scale)
            scale = scale * parameter_scale
        update = update * scale
        if hp.beta1 is not None:
            update = hp.beta1 * state.m.astype(jnp.float32) + (1.0 - hp.beta1) * update
            state = state.replace(m=update.astype(state.m.dtype))
        if hp.weight_decay_rate is not None:
            rate = hp.weight_decay_rate
            if hp.weight_decay_rate_lr_exponent is not None:
                rate = rate * hp.learning_rate**hp.weight_decay_rate_lr_exponent
            value = value * (1.0 - rate)
        return (value - update).astype(param.dtype), state

    def derive_logical_axes(self, optimizer: Optimizer, param_logical_axes: PyTree) -> Optimizer:
        """Returns the optimizer with logical axis names in place of arrays.

        Full moments are laid out like their parameter; row and column means and fillers are replicated (None).

        Args:
            optimizer: optimizer whose state has the final shapes (arrays or shape structs).
            param_logical_axes: axis names nested like the parameters.
        """
        axes = flatten_state_dict(param_logical_axes)

        def state_axes(name: str, param: Any) -> _AdafactorParamState:
            is_factored = bool(self._factored_dims(name, param.shape)[0])
            m = axes[name] if self.hyper_params.beta1 is not None else None
            return _AdafactorParamState(v_row=None, v_col=None, v=None if is_factored else axes[name], m=m)

        param_states = self._map_with_names(state_axes, optimizer.target)
        return optimizer.replace(state=OptimizerState(None, param_states), target=param_logical_axes)

    @staticmethod
    def _map_with_names(fn: Any, params: PyTree) -> PyTree:
        def call(path: tuple[Any, ...], leaf: Any) -> Any:
            return fn("/".join(str(getattr(entry, "key", getattr(entry, "name", entry))) for entry in path), leaf)

        return jax.tree_util.tree_map_with_path(call, params)


def _without(shape: tuple[int, ...], dims: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for dim, size in enumerate(shape) if dim not in dims)
