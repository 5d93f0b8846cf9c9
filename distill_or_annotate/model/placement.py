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


def split_axis_rules(whole: tuple[str, ...] = ()) -> tuple[tuple[str, str | None], ...]:
    """T5X's standard rules, but for the logical axes named: those stay whole.

    A relative-bias table `[heads, buckets]` of 5 heads cannot be split over 2 devices, while the kernels, whose heads
    and widths are joined in one axis, can be. Bound in gin to the teacher's `PjitPartitioner.logical_axis_rules`.

    Args:
      whole: logical axes that no mesh axis divides, such as `("heads",)`.

    Returns:
      Ordered (logical axis, mesh axis) pairs; the first that names an axis decides.
    """
    from t5x import partitioning

    return (*((name, None) for name in whole), *partitioning.standard_logical_axis_rules())
