"""Where a compact student lives on a mesh: everywhere whole, its batch spread over every device."""

from __future__ import annotations


def compact_axis_rules() -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    """Logical axis rules of a model that is too small to split: the batch takes both mesh axes, no parameter takes any.

    T5-Small has 6 heads and cannot be split 8 ways; a student under tensor parallelism would also spend its steps on
    collectives. Bound in gin to the student's `PjitPartitioner.logical_axis_rules`; the teacher keeps rules of its own.

    Returns:
      Ordered (logical axis, mesh axes) pairs in the form that `t5x.partitioning` takes.
    """
    whole = ("vocab", "mlp", "heads", "kv", "joined_kv", "embed", "relpos_buckets", "length", "layers", "stack")
    return (("batch", ("data", "model")), *((name, None) for name in whole))
