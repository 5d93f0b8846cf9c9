"""JAX meshes over devices that are not there: TPU slices for their compiler, or virtual devices of the CPU.

Must be imported before JAX starts a backend: `prepare` sets what can't be changed afterwards.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import math
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from distill_or_annotate.forecast import gin_text
from distill_or_annotate.forecast.devices import MeshFacts

if TYPE_CHECKING:
    from jax.sharding import Mesh


def prepare(meshes: Iterable[MeshFacts]) -> None:
    """Makes JAX use the CPU alone, with enough virtual devices, and lets several processes compile for TPUs.

    Args:
      meshes: those that will be asked for.

    Raises:
      ValueError: a mesh needs the TPU compiler, which is not installed, or JAX has started with too few devices.
    """
    meshes = list(meshes)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # libtpu would otherwise look for chips
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # its lock file aborts a second process
    os.environ.setdefault("NPROC", "16")  # collectives of virtual devices deadlock on few cores
    for mesh in meshes:
        if (mesh.topology or mesh.stand_in) and not has_tpu_compiler():
            raise ValueError(
                f"--mesh {mesh.name} needs the TPU compiler, which is not installed. Fix: pip install "
                f"'distill-or-annotate[tpu]' (or libtpu=={_libtpu_for_this_jax()}), or --mesh cpu-8."
            )
    import jax

    wanted = max([1, *(mesh.chips for mesh in meshes if mesh.device.is_cpu)])
    try:
        jax.config.update("jax_num_cpu_devices", max(wanted, jax.config.jax_num_cpu_devices or 1))
    except RuntimeError as error:
        if len(jax.devices("cpu")) < wanted:
            raise ValueError(f"JAX has started with {len(jax.devices('cpu'))} CPU devices, not {wanted}.") from error


def has_tpu_compiler() -> bool:
    """Whether libtpu is installed; it compiles for TPUs on machines without any."""
    return importlib.util.find_spec("libtpu") is not None


def _libtpu_for_this_jax() -> str:
    wanted = [line for line in importlib.metadata.requires("jax") or () if line.startswith("libtpu")]
    return wanted[0].split("==")[-1].split(";")[0].strip() if wanted else "*"


@functools.cache
def _tpu_devices(topology: str, chip_config: str) -> tuple[Any, ...]:
    from jax.experimental import topologies

    options: dict[str, Any] = {} if chip_config == "default" else {"chip_config_name": chip_config}
    bounds = tuple(int(part) for part in topology.split(":")[1].split("x"))
    if math.prod(bounds) == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    with _standard_error_shut():  # libtpu's C++ code complains there that no TPU is at hand
        return tuple(topologies.get_topology_desc(platform="tpu", topology_name=topology, **options).devices)


@contextlib.contextmanager
def _standard_error_shut() -> Iterator[None]:
    sys.stderr.flush()
    kept, shut = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(shut, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(shut)


def jax_mesh(facts: MeshFacts) -> Mesh:
    """The mesh that this slice's gin file asks for.

    Args:
      facts: the slice.

    Returns:
      Devices by `data` and `model`.

    Raises:
      ValueError: the gin file asks for a split that the devices don't allow.
    """
    import jax
    import numpy as np
    from jax.sharding import Mesh

    from t5x import partitioning

    submesh, ways = _layout(facts)
    if facts.topology and submesh:
        return partitioning.get_mesh(submesh, input_devices=_tpu_devices(facts.topology, facts.chip_config))
    devices = _tpu_devices(facts.stand_in, "default") if facts.stand_in else jax.devices("cpu")
    if len(devices) < facts.chips or facts.chips % ways:
        raise ValueError(
            f"{facts.gin_file} splits the model {ways} ways over {facts.chips} devices, of which {len(devices)} are "
            "known. Fix: a number of ways that divides them."
        )
    return Mesh(np.asarray(devices[: facts.chips], dtype=object).reshape(-1, ways), ("data", "model"))


def _layout(facts: MeshFacts) -> tuple[tuple[int, ...] | None, int]:
    """What the gin file says: the block of devices that share a copy of the model, and how many they are."""
    values = gin_text.literals(facts.gin_file, "partitioning.PjitPartitioner")
    submesh = values.get("model_parallel_submesh")
    return submesh, math.prod(submesh) if submesh else values.get("num_partitions") or 1
