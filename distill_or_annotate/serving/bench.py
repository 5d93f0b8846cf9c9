"""How fast models predict on this machine, and how fast a machine that does nothing else could serve.

Runs of several models alternate, so that what else the machine does meets all of them. Every prediction decodes as many
tokens as every other: ends of sequence end nothing, since how early a model ends depends on its task.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from distill_or_annotate.forecast import flops
from distill_or_annotate.serving.models import LoadedModel

_NO_TOKEN = -1
_WARM_UP_RUNS = 3
_FEWEST_RUNS = 3
_BATCH_FACTOR = 4
_RISE = 1.05
_FLAT_BATCHES = 2
_FREE_SHARE = 0.8


class TooLarge(ValueError):
    """A batch does not fit into the memory that is free."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
      input_tokens: length of each input, no padding, at least 1.
      output_tokens: tokens of each prediction, at least 1.
      runs: timed runs at batch 1, at least 1.
      max_batch: largest batch of the sweep, at least 1.
      latency_seconds: time after which a model gets no more runs at batch 1, three excepted.
      batch_seconds: least time that is measured at each larger batch.
    """

    input_tokens: int = 64
    output_tokens: int = 32
    runs: int = 50
    max_batch: int = 4096
    latency_seconds: float = 60.0
    batch_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name in ("input_tokens", "output_tokens", "runs", "max_batch"):
            if getattr(self, name) < 1:
                flag = f"--{name.replace('_', '-')}"
                raise ValueError(f"{flag} is {getattr(self, name)}; it must be at least 1.")


@dataclasses.dataclass
class Measured:
    """What was measured of one model.

    Attributes:
      name: the model's name in the report.
      loaded: the model.
      flops: operations of one prediction, counted in the program.
      compile_seconds: tracing and compiling at batch 1, without the compilation cache.
      latencies_seconds: of each run at batch 1, in order.
      rates: predictions a second by batch size, in the order of measuring.
      stopped: why the sweep ended: `no longer rises`, `memory` or `max_batch`.
    """

    name: str
    loaded: LoadedModel
    flops: int
    compile_seconds: float = 0.0
    latencies_seconds: list[float] = dataclasses.field(default_factory=list)
    rates: dict[int, float] = dataclasses.field(default_factory=dict)
    stopped: str = ""

    @property
    def best_batch(self) -> int:
        """The batch size with the highest rate."""
        return max(self.rates, key=lambda batch: self.rates[batch])

    def quantile(self, share: float) -> float:
        """The latency in seconds below which a `share` of the runs stayed, in [0, 1]."""
        return float(np.quantile(self.latencies_seconds, share))

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.loaded.params))

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the parameters in memory."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.loaded.params))


def measure(
    contestants: Sequence[tuple[str, LoadedModel]],
    settings: Settings,
    advance: Callable[[str, int, int], Any] | None = None,
) -> list[Measured]:
    """Measures latency at batch 1, then the rate at growing batches.

    Args:
      contestants: a name and a model each.
      settings: what to measure.
      advance: called with (what is being done, done, total) as the work goes on; None does nothing.

    Returns:
      What was measured of each, in order.

    Raises:
      TooLarge: when a model can't predict one text in the memory that is free.
    """
    tell = advance or (lambda *_: None)
    with _no_compilation_cache():
        measured = [Measured(name, loaded, _flops(loaded, settings)) for name, loaded in contestants]
        _measure_latency(measured, settings, tell)
        rising, batch = list(measured), _BATCH_FACTOR
        while rising and batch <= settings.max_batch:
            tell(f"batch {batch}", 0, 1)
            rising = _measure_rates(rising, batch, settings)
            tell(f"batch {batch}", 1, 1)
            batch *= _BATCH_FACTOR
        for model in rising:
            model.stopped = "max_batch"
    return measured


def _measure_latency(measured: Sequence[Measured], settings: Settings, tell: Callable[..., Any]) -> None:
    runs = []
    for number, model in enumerate(measured):
        tell("compiling", number, len(measured))
        start = time.perf_counter()
        runs.append(_compiled(model.loaded, 1, settings))
        model.compile_seconds = time.perf_counter() - start
    tell("compiling", len(measured), len(measured))
    inputs = _inputs(measured, 1, settings)
    for _ in range(_WARM_UP_RUNS):
        for run, tokens in zip(runs, inputs, strict=True):
            jax.block_until_ready(run(tokens))
    for done in range(settings.runs):
        tell("batch 1", done, settings.runs)
        for model, run, tokens in _rotated(list(zip(measured, runs, inputs, strict=True)), done):
            if done < _FEWEST_RUNS or sum(model.latencies_seconds) < settings.latency_seconds:
                model.latencies_seconds.append(_timed(run, tokens))
    tell("batch 1", settings.runs, settings.runs)
    for model in measured:
        model.rates[1] = 1 / model.quantile(0.5)


def _measure_rates(rising: Sequence[Measured], batch: int, settings: Settings) -> list[Measured]:
    """Measures one batch size; returns the models whose rate may rise further."""
    runs: list[tuple[Measured, Callable[..., Any], np.ndarray]] = []
    for model, tokens in zip(rising, _inputs(rising, batch, settings), strict=True):
        try:
            run = _compiled(model.loaded, batch, settings)
            jax.block_until_ready(run(tokens))  # the warm-up
        except (TooLarge, jax.errors.JaxRuntimeError) as error:
            if not isinstance(error, TooLarge) and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            model.stopped = "memory"
            continue
        runs.append((model, run, tokens))
    seconds: dict[int, list[float]] = {number: [] for number in range(len(runs))}
    done = 0
    while any(len(s) < _FEWEST_RUNS or sum(s) < settings.batch_seconds for s in seconds.values()):
        for number, (_, run, tokens) in _rotated(list(enumerate(runs)), done):
            seconds[number].append(_timed(run, tokens))
        done += 1
    for number, (model, _, _) in enumerate(runs):
        model.rates[batch] = batch / float(np.median(seconds[number]))
        if _is_flat(list(model.rates.values())):
            model.stopped = "no longer rises"
    return [model for model in rising if not model.stopped]


def _is_flat(rates: Sequence[float]) -> bool:
    """Whether the last two rates are hardly above the best before them; one alone may be a disturbance."""
    before = rates[:-_FLAT_BATCHES]
    return bool(before) and max(rates[-_FLAT_BATCHES:]) < _RISE * max(before)


def _timed(run: Callable[..., Any], tokens: np.ndarray) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run(tokens))
    return time.perf_counter() - start


def _rotated(items: list[Any], by: int) -> list[Any]:
    """Who comes first changes from round to round."""
    by %= max(1, len(items))
    return items[by:] + items[:by]


def _predict(loaded: LoadedModel, output_tokens: int) -> Callable[..., Any]:
    if loaded.labels:
        return lambda params, inputs: loaded.model.label_logits(params, {"encoder_input_tokens": inputs})

    def predict(params: Any, inputs: Any) -> Any:
        room = jax.numpy.zeros((inputs.shape[0], output_tokens), np.int32)
        batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": room}
        return loaded.model.predict_batch_with_aux(params, batch, decoder_params={"eos_id": _NO_TOKEN})

    return predict


def _compiled(loaded: LoadedModel, batch: int, settings: Settings) -> Callable[[np.ndarray], Any]:
    shape = jax.ShapeDtypeStruct((batch, settings.input_tokens), np.int32)
    program = jax.jit(_predict(loaded, settings.output_tokens)).lower(loaded.params, shape).compile()
    memory = program.memory_analysis()
    # The parameters are there already.
    needed = memory.temp_size_in_bytes + memory.output_size_in_bytes if memory else 0
    free = _free_bytes()
    if needed > _FREE_SHARE * free:
        raise TooLarge(
            f"{loaded.path}: a batch of {batch} needs {needed:,} bytes, and {free:,.0f} are free. Fix: fewer "
            "--input-tokens or --output-tokens, or a larger machine."
        )
    return lambda tokens: program(loaded.params, tokens)


def _flops(loaded: LoadedModel, settings: Settings) -> int:
    shape = jax.ShapeDtypeStruct((1, settings.input_tokens), np.int32)
    predict = _predict(loaded, settings.output_tokens)
    return flops.count_flops(predict, loaded.params, shape, while_trip_count=settings.output_tokens).total


def _inputs(measured: Sequence[Measured], batch: int, settings: Settings) -> list[np.ndarray]:
    """Random ids without padding [batch, input_tokens] for each model, from its vocabulary."""
    shape = (batch, settings.input_tokens)
    return [
        np.random.default_rng(batch).integers(2, _rows(model.loaded.config), shape).astype(np.int32)
        for model in measured
    ]


def _rows(config: Any) -> int:
    return getattr(config, "n_pieces", None) or config.vocab_size


def _free_bytes() -> float:
    device = jax.devices()[0]
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    # What could be had without swapping; Linux only.
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return float("inf")


@contextlib.contextmanager
def _no_compilation_cache() -> Iterator[None]:
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
