"""A tiny program compiled for TPU slices that are not here, by libtpu where it is installed."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from distill_or_annotate.forecast import bill, devices, meshes, programs
from distill_or_annotate.prices import load_book

needs_libtpu = pytest.mark.skipif(
    not meshes.has_tpu_compiler(), reason="NOT TESTED: libtpu is not installed (the extra [tpu])"
)


def _costs(facts, rows=256, width=1024):
    mesh = meshes.jax_mesh(facts)
    split = NamedSharding(mesh, PartitionSpec(None, "model"))
    turned = NamedSharding(mesh, PartitionSpec("model", None))
    whole = NamedSharding(mesh, PartitionSpec())

    def network(x, first, second):
        return jax.nn.relu(x @ first) @ second

    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=sharding)
        for shape, sharding in (((rows, width), whole), ((width, 4 * width), split), ((4 * width, width), turned))
    ]
    traced = jax.jit(network, out_shardings=whole).trace(*shapes)
    known = {"parameters": 8 * width**2, "batch_size": rows, "steps": 10, "argument_bytes": 0}
    known["flops"] = 2 * rows * 8 * width**2
    return programs.compile_costs(traced.lower(), known, facts.chips, time.monotonic())


@needs_libtpu
@pytest.mark.parametrize("name", ["v5p-8", "v4-8", "v6e-8", "h100-1"])
def test_a_split_network_is_counted(name):
    facts = devices.mesh_facts(name)
    meshes.prepare([facts])
    costs = _costs(facts)
    rows, width = 256, 1024
    weights = 2 * 8 * width**2 // facts.chips
    assert costs.argument_bytes == pytest.approx(weights + 2 * rows * width, rel=0.01)
    assert costs.memory_bytes >= weights
    assert not costs.has_loops and costs.compiler_seconds is not None
    assert sum(costs.collectives.values()) >= (1 if facts.chips > 1 else 0)
    row = bill.row("train", costs, facts, facts.device, load_book("cloud"))
    assert row.fits and row.usd == pytest.approx(
        row.hours * facts.chips * load_book("cloud").entry(facts.device.price).usd
    )
    assert 0 < row.seconds < 0.01


@needs_libtpu
def test_what_is_too_large_is_refused_with_the_compilers_number():
    facts = devices.mesh_facts("v6e-8")
    meshes.prepare([facts])
    mesh = meshes.jax_mesh(facts)
    whole = NamedSharding(mesh, PartitionSpec())
    array = jax.ShapeDtypeStruct((40 << 30,), jnp.int8, sharding=whole)  # 40 GiB on devices of 32
    traced = jax.jit(lambda x: x + 1).trace(array)
    known = {"parameters": 0, "batch_size": 1, "steps": 1, "argument_bytes": 40 << 30, "flops": 0}
    costs = programs.compile_costs(traced.lower(), known, facts.chips, time.monotonic())
    assert costs.peak_bytes >= 40 << 30 and "exceeds" in costs.refused
    row = bill.row("train", costs, facts, facts.device, load_book("cloud"))
    assert not row.fits and row.spare_bytes < 0


def test_an_account_for_gpus_keeps_a_margin_and_ignores_the_other_chips_seconds():
    costs = programs.Costs(1, 1, 1, 70 * 10**9, 4 * 10**9, 74 * 10**9, 10**12, 1e9, {}, {}, 0.0, 1e-3, False, 0, 1.0)
    book = load_book("cloud")
    gpu, tpu = devices.mesh_facts("h100-1"), devices.mesh_facts("v5p-8")
    assert not bill.row("train", costs, gpu, gpu.device, book).fits  # 72 of 80 GB may be used
    smaller = dataclasses.replace(costs, peak_bytes=71 * 10**9)
    assert bill.row("train", smaller, gpu, gpu.device, book).fits
    assert bill.row("train", smaller, gpu, gpu.device, book).seconds_source == "roofline"
    assert bill.row("train", smaller, tpu, tpu.device, book).seconds_source == "compiler"


def test_a_missing_compiler_is_said_with_the_cure(monkeypatch):
    monkeypatch.setattr(meshes, "has_tpu_compiler", lambda: False)
    with pytest.raises(ValueError, match=r"v5p-8 needs the TPU compiler.*\[tpu\].*cpu-8"):
        meshes.prepare([devices.mesh_facts("v5p-8")])
