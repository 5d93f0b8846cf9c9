"""Low-rank adapters (LoRA) on chosen kernels of any T5X encoder-decoder: W + (alpha / rank) A B, with W frozen.

The network is left as it is: the step merges the chosen kernels and applies the network to the merged parameters, so
scanned layers, decoding and every other part need no change. The train state holds the adapters as its parameters
(gradients and optimizer see nothing else) and the base as its mutables, which the step hands back as they came: XLA
gives the donated buffers back, so there is one base, in `base_dtype`.

A kernel in bfloat16 is merged in float32 and rounded once. So the network that is trained is bit by bit the one that
is saved; the price is that the part of an update below half a unit in a weight's last place has no effect until it
has grown.

Every checkpoint of such a run is an ordinary one: `target` holds the merged parameters, and all other stages read it
as they read any teacher's. Beside it lies what the run itself goes on from: the adapters, and the base's own values
where `target` has merged ones (merging cannot be undone exactly). In gin: gin/runs/lora.gin.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Mapping
from typing import Any

import flax.core
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from flax.linen import partitioning as flax_partitioning

from t5x import models

PyTree = Any
QUERY_AND_VALUE = r".*attention/(query|value)/kernel"
# Collections of the train state: the frozen parameters, and the one number that merging needs besides the adapters.
_BASE, _SCALE = "base", "lora_scale"
# Where a checkpoint keeps what its own run resumes from.
_KEPT = "lora"


def init_adapters(rng: jax.Array, params: PyTree, kernels: str = QUERY_AND_VALUE, rank: int = 8) -> dict[str, Any]:
    """Fresh adapters: A from a normal distribution with variance 1 / in, B zero, so that nothing is changed at first.

    Args:
      rng: key; each kernel's own is derived from its name.
      params: nested parameters, arrays or shapes.
      kernels: regular expression that matches the whole slash-joined name of each kernel to adapt.
      rank: r, at least 1 and at most the smaller side of each kernel.

    Returns:
      `{..., 'kernel': {'a': [..., in, r], 'b': [..., r, out]}}` in float32; a scanned kernel's leading axis stays.

    Raises:
      ValueError: if nothing matches, or a match is no matrix or too small for the rank.
    """
    flat = _flatten(params)
    chosen = {name: tuple(leaf.shape) for name, leaf in flat.items() if re.fullmatch(kernels, name)}
    if not chosen:
        matrices = sorted(name for name, leaf in flat.items() if len(leaf.shape) > 1)
        raise ValueError(
            f"lora.LoraModel.kernels is {kernels!r}, which matches no parameter; it must match whole names such as "
            f"{matrices[:3]}. Fix: lora.LoraModel.kernels = {QUERY_AND_VALUE!r}."
        )
    adapters = {}
    for name, shape in chosen.items():
        if len(shape) != (3 if _is_stacked(name) else 2):
            raise ValueError(
                f"lora.LoraModel.kernels matches {name} of shape {shape}, which is no matrix. Fix: an expression that "
                f"matches kernels alone, such as {QUERY_AND_VALUE!r}."
            )
        if not 1 <= rank <= min(shape[-2:]):
            raise ValueError(
                f"lora.LoraModel.rank is {rank}; allowed for {name} of shape {shape}: 1 to {min(shape[-2:])}. "
                "Fix: set LORA_RANK within it."
            )
        *stack, size_in, size_out = shape
        key = jax.random.fold_in(rng, zlib.crc32(name.encode()) & 0x7FFFFFFF)
        adapters[f"{name}/a"] = jax.random.normal(key, (*stack, size_in, rank)) / np.float32(np.sqrt(size_in))
        adapters[f"{name}/b"] = jnp.zeros((*stack, rank, size_out))
    return _unflatten(adapters)


def merge(base: PyTree, adapters: PyTree, scale: jax.Array | float) -> dict[str, Any]:
    """Parameters with their adapters added: W + scale A B, in float32, rounded once to the dtype of W.

    Args:
      base: nested parameters.
      adapters: as `init_adapters` makes them.
      scale: alpha / rank.

    Returns:
      The nested merged parameters; leaves without an adapter are the same objects.

    Raises:
      ValueError: if an adapter's kernel is not in the base.
    """
    merged, parts = _flatten(base), _flatten(adapters)
    for name in _adapted(parts):
        if name not in merged:
            raise ValueError(f"The base lacks {name}, for which there is an adapter. Fix: adapters of this model.")
        kernel = merged[name]
        change = jnp.einsum("...ir,...ro->...io", parts[f"{name}/a"], parts[f"{name}/b"])
        merged[name] = (kernel.astype(jnp.float32) + scale * change).astype(kernel.dtype)
    return _unflatten(merged)


class LoraModel(models.BaseTransformerModel):
    """A model whose parameters are the adapters; its base comes in the train state's mutables.

    Args:
      model: the encoder-decoder model whose kernels are adapted.
      optimizer_def: optimizer of the adapters; None takes the model's.
      kernels: regular expression that matches the whole slash-joined name of each kernel to adapt.
      rank: r, at least 1.
      alpha: the product A B is scaled by alpha / rank; a run keeps the value it began with.
      base_dtype: dtype of the frozen parameters, such as 'bfloat16'; None keeps the model's.

    Raises:
      ValueError: if rank or alpha is out of range.
    """

    def __init__(
        self,
        model: models.EncoderDecoderModel,
        optimizer_def: Any | None = None,
        kernels: str = QUERY_AND_VALUE,
        rank: int = 8,
        alpha: float = 16.0,
        base_dtype: str | None = "bfloat16",
    ):
        for name, value in (("rank", rank), ("alpha", alpha)):
            if not value > 0:
                raise ValueError(f"lora.LoraModel.{name} is {value}; it must be above 0. Fix: LORA_{name.upper()} = 8.")
        super().__init__(
            model.module, model.input_vocabulary, model.output_vocabulary, optimizer_def or model.optimizer_def
        )
        self._model = model
        self._kernels = kernels
        self._rank = rank
        self._alpha = alpha
        self._base_dtype = base_dtype and jnp.dtype(base_dtype)

    @property
    def FEATURE_CONVERTER_CLS(self) -> Any:
        """The adapted model's."""
        return self._model.FEATURE_CONVERTER_CLS

    def get_initial_variables(
        self, rng: jax.Array, input_shapes: Mapping[str, Any], input_types: Mapping[str, Any] | None = None
    ) -> flax.core.FrozenDict:
        """Fresh adapters, and the model's fresh parameters as their base.

        Args:
          rng: key.
          input_shapes: shape by feature name.
          input_types: dtype by feature name.

        Returns:
          Collections `params`, `base` and `lora_scale`, each with its logical axes.

        Raises:
          ValueError: see `init_adapters`.
        """
        base_rng, adapter_rng = jax.random.split(rng)
        variables = self._model.get_initial_variables(base_rng, input_shapes, input_types)
        base = flax.core.unfreeze(variables["params"])
        adapters = init_adapters(adapter_rng, base, self._kernels, self._rank)
        if self._base_dtype is not None:
            base = jax.tree.map(self._as_base, base)
        collections = {"params": adapters, _BASE: base, _SCALE: {"value": jnp.float32(self._alpha / self._rank)}}
        if "params_axes" in variables:
            axes = flax.core.unfreeze(variables["params_axes"])
            collections |= {"params_axes": _adapter_axes(axes, adapters), f"{_BASE}_axes": axes}
        return flax.core.freeze(collections)

    def _as_base(self, leaf: jax.Array) -> jax.Array:
        return leaf.astype(self._base_dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    def merged(self, params: PyTree, flax_mutables: Mapping[str, Any]) -> dict[str, Any]:
        """The adapted model's parameters.

        Args:
          params: the adapters.
          flax_mutables: the train state's mutables.

        Returns:
          Nested parameters, as `merge` makes them.
        """
        return merge(flax_mutables[_BASE], params, flax_mutables[_SCALE]["value"])

    def loss_fn(
        self, params: PyTree, batch: models.Batch, dropout_rng: jax.Array | None, flax_mutables: Any = None
    ) -> Any:
        """The adapted model's loss, as a function of the adapters.

        Args:
          params: the adapters.
          batch: as the adapted model takes it.
          dropout_rng: key, or None for no dropout.
          flax_mutables: the train state's mutables.

        Returns:
          (scalar loss, (metrics, the same mutables)).
        """
        loss, metrics = self._model.loss_fn(self.merged(params, flax_mutables), batch, dropout_rng)
        return loss, (metrics, flax_mutables)

    def eval_fn(self, params: PyTree, batch: models.Batch, flax_mutables: Any = None) -> Any:
        """The adapted model's loss and metrics for `params`, `batch` and `flax_mutables`, without dropout."""
        return self._model.eval_fn(self.merged(params, flax_mutables), batch)

    def predict_batch(
        self, params: PyTree, batch: models.Batch, rng: jax.Array | None = None, flax_mutables: Any = None
    ) -> jax.Array:
        """Returns predictions alone; `params`, `batch`, `rng` and `flax_mutables` as in `predict_batch_with_aux`."""
        return self.predict_batch_with_aux(params, batch, rng, flax_mutables)[0]

    def predict_batch_with_aux(
        self,
        params: PyTree,
        batch: models.Batch,
        rng: jax.Array | None = None,
        flax_mutables: Any = None,
        **options: Any,
    ) -> Any:
        """Generates with the adapted model.

        Args:
          params: the adapters.
          batch: as the adapted model takes it.
          rng: key for decoding that samples.
          flax_mutables: the train state's mutables.
          **options: further arguments of the adapted model's method.

        Returns:
          Predictions and auxiliary values.
        """
        return self._model.predict_batch_with_aux(self.merged(params, flax_mutables), batch, rng=rng, **options)

    def score_batch(
        self,
        params: PyTree,
        batch: models.Batch,
        return_intermediates: bool = False,
        flax_mutables: Any = None,
    ) -> Any:
        """Scores targets with the adapted model.

        Args:
          params: the adapters.
          batch: as the adapted model takes it.
          return_intermediates: also return what the network sowed.
          flax_mutables: the train state's mutables.

        Returns:
          What the adapted model returns.
        """
        return self._model.score_batch(self.merged(params, flax_mutables), batch, return_intermediates)

    def with_normalizing_factor(self, batch: models.Batch) -> models.Batch:
        """Returns `batch` with the adapted model's normalising factor."""
        return self._model.with_normalizing_factor(batch)

    def _compute_logits(self, params: PyTree, batch: models.Batch, dropout_rng: jax.Array | None = None) -> jax.Array:
        """Returns the adapted model's logits for merged parameters."""
        return self._model._compute_logits(params, batch, dropout_rng)


def merge_on_save(state_dict: Mapping[str, Any], parameter_infos: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Makes a checkpoint's `target` the merged parameters; a transformation for `SaveCheckpointConfig`.

    Args:
      state_dict: nested state of a run; one without adapters is left as it is.
      parameter_infos: what the checkpointer knows of each leaf, nested like the state.

    Returns:
      State and infos, nested as on disk.
    """
    mutables = state_dict.get("flax_mutables", {})
    if _SCALE not in mutables:
        return dict(state_dict), parameter_infos
    base, adapters, scale = mutables[_BASE], state_dict["target"], mutables[_SCALE]["value"]
    flat_base = _flatten(base)
    kernels = {name: flat_base[name] for name in _adapted(_flatten(adapters))}
    placed = _unflatten({name: leaf.sharding for name, leaf in kernels.items()})
    changed = _flatten(jax.jit(merge, out_shardings=placed)(_unflatten(kernels), adapters, scale))
    state = {
        "target": _unflatten({**flat_base, **changed}),
        "state": state_dict["state"],
        _KEPT: {"adapters": adapters, "base": _unflatten(kernels), "scale": scale},
    }
    return state, _unflatten(dict.fromkeys(_flatten(state)))


def base_on_restore(
    state_dict: Mapping[str, Any], target_state_dict: Mapping[str, Any], *, is_resuming: bool = False
) -> dict[str, Any]:
    """Reads any checkpoint's parameters as the base, or a run's own with its adapters and optimizer.

    A transformation for `RestoreCheckpointConfig`, with `fallback_to_scratch` and without an assignment map: adapters,
    optimizer and count of steps start anew, unless the run resumes. Nothing is read here.

    Args:
      state_dict: nested state of the checkpoint: arrays, or what stands for them.
      target_state_dict: nested state of the model; one without adapters gets the checkpoint's as it is.
      is_resuming: True for a run's own checkpoint.

    Returns:
      The nested state by the model's names.

    Raises:
      ValueError: if a run resumes from a checkpoint that holds no adapters.
    """
    if _SCALE not in target_state_dict.get("flax_mutables", {}):
        return dict(state_dict)
    found, wanted = _flatten(state_dict), _flatten(target_state_dict)
    base = _below("target/", found)
    result: dict[str, Any] = {}
    if is_resuming:
        kept = _below(f"{_KEPT}/", found)
        if "scale" not in kept:
            raise ValueError(
                "it holds no adapters, so its run had none. Fix: another MODEL_DIR, or leave gin/runs/lora.gin out."
            )
        base |= _below("base/", kept)
        result = {name: leaf for name, leaf in found.items() if name.startswith("state/")}
        result |= {f"target/{name}": leaf for name, leaf in _below("adapters/", kept).items()}
        result[f"flax_mutables/{_SCALE}/value"] = kept["scale"]
    for name, leaf in base.items():
        full = f"flax_mutables/{_BASE}/{name}"
        result[full] = _Cast(leaf, wanted[full].dtype) if full in wanted and wanted[full].dtype != leaf.dtype else leaf
    return _unflatten(result)


# Read by the runtime: values are not looked at, so that it need not read the checkpoint first.
base_on_restore.only_renames = True


@dataclasses.dataclass(frozen=True)
class _Cast:
    """A leaf of a checkpoint in another dtype, cast on the host when its turn comes."""

    leaf: Any
    dtype: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.leaf.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        del copy  # it is always a new array
        return _read(self.leaf).astype(self.dtype).astype(dtype or self.dtype, copy=False)


def _read(leaf: Any) -> np.ndarray:
    if not hasattr(leaf, "checkpoint_dir"):
        return np.asarray(leaf)
    import orbax.checkpoint as ocp  # here, because the step needs no checkpoints

    from t5x import restoring

    args, like = {leaf.name: ocp.RestoreArgs(restore_type=np.ndarray)}, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return restoring.read_arrays(leaf.checkpoint_dir, args, {leaf.name: like})[leaf.name]


def _adapter_axes(params_axes: Mapping[str, Any], adapters: PyTree) -> dict[str, Any]:
    """Logical axes of the adapters: a kernel's own on the side that they share with it, none on the other."""
    kernels = _flatten(params_axes)
    axes = {}
    for name in _adapted(_flatten(adapters)):
        *stack, size_in, size_out = kernels[f"{name}_axes"].names
        axes[f"{name}/a_axes"] = flax_partitioning.AxisMetadata((*stack, size_in, None))
        axes[f"{name}/b_axes"] = flax_partitioning.AxisMetadata((*stack, None, size_out))
    return _unflatten(axes)


def _adapted(flat_adapters: Mapping[str, Any]) -> list[str]:
    """Names of the kernels that have an adapter."""
    return sorted({name.rpartition("/")[0] for name in flat_adapters})


def _is_stacked(name: str) -> bool:
    return "layers" in name.split("/")


def _below(prefix: str, flat: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): leaf for name, leaf in flat.items() if name.startswith(prefix)}


def _flatten(tree: Any) -> dict[str, Any]:
    return traverse_util.flatten_dict(_plain(tree), sep="/")


def _plain(tree: Any) -> Any:
    return {str(key): _plain(value) for key, value in tree.items()} if isinstance(tree, Mapping) else tree


def _unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.unflatten_dict(dict(flat), sep="/")
