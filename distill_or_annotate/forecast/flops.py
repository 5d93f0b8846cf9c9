"""Floating-point operations of a JAX function, counted by walking its jaxpr.

XLA's own cost analysis counts the body of a loop once, so 24 scanned layers read as one and a decoded sentence as one
token. Here a body counts as often as it runs. Counted are matrix products and convolutions, a multiplication and an
addition being two operations: the convention behind a chip's peak and behind published model-FLOP utilisation.
Elementwise operations, reductions and data movement are left out.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.extend import core, source_info_util
from jax.interpreters import partial_eval

TripCounts = int | Mapping[str, int] | None

# What computes something that no jaxpr shows, or shows in another form than the one that runs.
_KERNELS = ("pallas_call", "ffi_call", "pure_callback", "io_callback", "ragged_dot", "ragged_dot_general")
_SOLVERS = ("custom_linear_solve", "linear_call", "triangular_solve", "cholesky", "tridiagonal_solve")
_FACTORS = ("eig", "eigh", "svd", "qr", "lu", "householder_product", "fft")
_OPAQUE = frozenset((*_KERNELS, *_SOLVERS, *_FACTORS))
_OPAQUE_PREFIXES = ("dot_product_attention_", "scaled_matmul")


@dataclasses.dataclass(frozen=True)
class FlopCount:
    """Operations of one call.

    Attributes:
      by_primitive: operations by name of the JAX primitive (`dot_general`, `conv_general_dilated`).
      uncounted: how often primitives ran whose work can't be seen (hand-written kernels, factorisations), by name.
    """

    by_primitive: Mapping[str, int] = dataclasses.field(default_factory=dict)
    uncounted: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def total(self) -> int:
        """Operations of all primitives together."""
        return sum(self.by_primitive.values())

    def __add__(self, other: FlopCount) -> FlopCount:
        """The work of both, one after the other."""
        return FlopCount(
            dict(Counter(self.by_primitive) + Counter(other.by_primitive)),
            dict(Counter(self.uncounted) + Counter(other.uncounted)),
        )

    def __mul__(self, times: int) -> FlopCount:
        """The work of so many repetitions."""
        return FlopCount(
            {name: count * times for name, count in self.by_primitive.items() if times},
            {name: count * times for name, count in self.uncounted.items() if times},
        )


def count_flops(fn: Callable[..., Any], *args: Any, while_trip_count: TripCounts = None, **kwargs: Any) -> FlopCount:
    """Counts the operations of one call, without running it.

    Args:
      fn: the function, jitted or not.
      *args: its arguments: arrays, or `jax.ShapeDtypeStruct`s in their place.
      while_trip_count: see `count_jaxpr`.
      **kwargs: further arguments by name.

    Returns:
      The operations on all devices together.

    Raises:
      ValueError: see `count_jaxpr`.
    """
    jaxpr = fn.trace(*args, **kwargs).jaxpr if hasattr(fn, "trace") else jax.make_jaxpr(fn)(*args, **kwargs)
    return count_jaxpr(jaxpr, while_trip_count)


def count_jaxpr(jaxpr: core.ClosedJaxpr, while_trip_count: TripCounts = None) -> FlopCount:
    """Counts the operations of a jaxpr.

    Code whose result nobody uses counts nothing. A `scan` counts its body times its length; of a `cond` the costliest
    branch counts; what `shard_map` runs counts once per device; rematerialised layers count again where they run
    again. A `while` with a counter from one known number to another counts its own trips (`fori_loop` does that).

    Args:
      jaxpr: what `jax.make_jaxpr` gives.
      while_trip_count: how often the body of every other `while` runs (at least 0), or a mapping from a part of the
        loop's place (`file:line (function)`, or a `jax.named_scope` around it) to that number.

    Returns:
      The operations of one run, on all devices together.

    Raises:
      ValueError: if a loop's trips are neither known nor declared, or a declaration is negative or fits no loop.
    """
    live, _ = partial_eval.dce_jaxpr(jaxpr.jaxpr, [True] * len(jaxpr.jaxpr.outvars), instantiate=True)
    walk = _Walk(while_trip_count)
    known = dict(zip(live.constvars, map(_integer, jaxpr.consts), strict=True))
    count = walk.jaxpr(live, known)
    walk.check_all_used()
    return count


class _Walk:
    """One pass over a jaxpr and all that it calls."""

    def __init__(self, declared: TripCounts):
        self._declared = declared
        self._used: set[str] = set()
        self._places: list[str] = []
        for count in declared.values() if isinstance(declared, Mapping) else [declared]:
            if count is not None and count < 0:
                raise ValueError(f"while_trip_count is {declared}; allowed: whole numbers of at least 0.")

    def jaxpr(self, jaxpr: core.Jaxpr, known: Mapping[core.Var, int | None]) -> FlopCount:
        """Adds up the equations; `known` holds the variables whose integer value is known."""
        known, total = dict(known), FlopCount()
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "convert_element_type":
                known[eqn.outvars[0]] = _value(eqn.invars[0], known)
            total += self._equation(eqn, known)
        return total

    def _equation(self, eqn: core.JaxprEqn, known: Mapping[core.Var, int | None]) -> FlopCount:
        name, params = eqn.primitive.name, eqn.params
        if name in _OPAQUE or name.startswith(_OPAQUE_PREFIXES):
            return FlopCount(uncounted={name: 1})
        if name in _COUNTED:
            return FlopCount({name: _COUNTED[name](eqn)})
        if name == "scan":
            return self.jaxpr(params["jaxpr"].jaxpr, {}) * params["length"]
        if name == "while":
            trips = _known_trips(eqn, known)
            trips = self._declared_trips(eqn) if trips is None else trips
            body, condition = (self.jaxpr(params[key].jaxpr, {}) for key in ("body_jaxpr", "cond_jaxpr"))
            return body * trips + condition * (trips + 1)
        if name == "cond":
            branches = [self.jaxpr(branch.jaxpr, {}) for branch in params["branches"]]
            return max(branches, key=lambda count: count.total)
        inner = [self._called(called, eqn, known) for called in core.jaxprs_in_params(params)]
        return sum(inner, FlopCount()) * (_manual_devices(params) if name == "shard_map" else 1)

    def _called(self, called: core.Jaxpr, eqn: core.JaxprEqn, known: Mapping[core.Var, int | None]) -> FlopCount:
        inside = {}
        if len(called.invars) == len(eqn.invars):
            inside = {inner: _value(outer, known) for inner, outer in zip(called.invars, eqn.invars, strict=True)}
        return self.jaxpr(called, inside)

    def _declared_trips(self, eqn: core.JaxprEqn) -> int:
        place = f"{source_info_util.summarize(eqn.source_info)} {eqn.source_info.name_stack}".strip()
        self._places.append(place)
        if isinstance(self._declared, Mapping):
            fitting = [part for part in self._declared if part in place]
            self._used.update(fitting)
            if fitting:
                return self._declared[max(fitting, key=len)]
        elif self._declared is not None:
            return self._declared
        raise ValueError(
            f"The loop at {place} ends on a condition that depends on its data, so its trips can't be counted. Declare "
            "them: while_trip_count=114 for every such loop, or while_trip_count={'part of that place': 114}."
        )

    def check_all_used(self) -> None:
        """Refuses declarations that fit no loop: they are most likely misspelt."""
        unused = sorted(set(self._declared) - self._used) if isinstance(self._declared, Mapping) else []
        if unused:
            near = difflib.get_close_matches(unused[0], self._places, n=3, cutoff=0.2) or self._places[:3]
            raise ValueError(
                f"while_trip_count names {unused}, which fit no loop whose trips are unknown; such loops stand at "
                f"{near or 'no place'}. Remove or correct the names."
            )


def _dot_general(eqn: core.JaxprEqn) -> int:
    (contracted, _), (batch, _) = eqn.params["dimension_numbers"]
    left, right = (var.aval.shape for var in eqn.invars[:2])
    # Every element of the left side meets all of the right side's own columns.
    shared = math.prod(left[d] for d in (*contracted, *batch))
    return 2 * math.prod(left) * (math.prod(right) // shared if shared else 0)


def _convolution(eqn: core.JaxprEqn) -> int:
    kernel = eqn.invars[1].aval.shape
    features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    # Padding is multiplied like everything else.
    return 2 * math.prod(eqn.outvars[0].aval.shape) * (math.prod(kernel) // features if features else 0)


_COUNTED = {"dot_general": _dot_general, "conv_general_dilated": _convolution}


def _manual_devices(params: Mapping[str, Any]) -> int:
    """How many devices run the body of a `shard_map`: those along the axes that it splits by hand."""
    sizes = dict(params["mesh"].shape)
    manual = params.get("newly_manual_axes", params.get("manual_axes", sizes))
    return math.prod(sizes[axis] for axis in manual)


def _integer(value: Any) -> int | None:
    """The value of an integer scalar, None for anything else."""
    if getattr(value, "shape", ()) != () or isinstance(value, core.Var):
        return None
    if isinstance(value, bool | float) or getattr(getattr(value, "dtype", None), "kind", "i") not in "iu":
        return None
    return int(value) if not isinstance(value, jax.core.Tracer) else None


def _value(atom: core.Var | core.Literal, known: Mapping[core.Var, int | None]) -> int | None:
    return _integer(atom.val) if isinstance(atom, core.Literal) else known.get(atom)


def _known_trips(eqn: core.JaxprEqn, known: Mapping[core.Var, int | None]) -> int | None:
    """Trips of `while i < limit: i += step` where start, limit and step are known numbers; None for other loops."""
    params, values = eqn.params, [_value(atom, known) for atom in eqn.invars]
    condition, body = params["cond_jaxpr"].jaxpr, params["body_jaxpr"].jaxpr
    condition_consts, body_consts = params["cond_nconsts"], params["body_nconsts"]
    start = values[condition_consts + body_consts :]
    carried = condition.invars[condition_consts:]
    if len(condition.eqns) != 1 or condition.eqns[0].primitive.name != "lt":
        return None
    counter, bound = condition.eqns[0].invars
    if condition.outvars[0] is not condition.eqns[0].outvars[0] or counter not in carried:
        return None
    slot = carried.index(counter)
    if bound in carried:
        other = carried.index(bound)
        unchanged = body.outvars[other] is body.invars[body_consts + other]
        limit = start[other] if unchanged else None
    else:
        inside = dict(zip(condition.invars[:condition_consts], values[:condition_consts], strict=True))
        limit = _value(bound, inside)
    step = _step(body, body.invars[body_consts + slot], body.outvars[slot])
    if start[slot] is None or limit is None or step is None or step < 1:
        return None
    return max(0, -(-(limit - start[slot]) // step))


def _step(body: core.Jaxpr, before: core.Var, after: core.Var | core.Literal) -> int | None:
    """By how much a body raises its counter, None unless it adds a literal number."""
    for eqn in body.eqns:
        if eqn.primitive.name == "add" and eqn.outvars[0] is after:
            first, second = eqn.invars
            return _value(second, {}) if first is before else _value(first, {}) if second is before else None
    return None
