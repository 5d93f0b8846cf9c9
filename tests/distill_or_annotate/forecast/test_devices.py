"""Every mesh has its facts, its gin file and a price; unknown ones list near names."""

import datetime

import pytest

from distill_or_annotate.forecast import devices, gin_text, meshes
from distill_or_annotate.prices import load_book

WANTED = {
    "h100-1",
    "a100-80gb-1",
    "a100-40gb-8",
    "h100-8",
    "v4-8",
    "v5p-8",
    "v5p-16",
    "v5e-16",
    "v6e-8",
    "cpu-8",
    "cpu-1",
}


def test_the_meshes_are_those_of_the_gin_folder():
    assert set(devices.mesh_names()) == WANTED
    assert {path.stem for path in gin_text.find("gin/mesh/cpu-8.gin").parent.glob("*.gin")} == WANTED


@pytest.mark.parametrize("name", sorted(WANTED))
def test_a_mesh_is_laid_out_priced_dated_and_sourced(name):
    facts = devices.mesh_facts(name)
    submesh, ways = meshes._layout(facts)
    assert facts.chips % ways == 0
    assert load_book("local" if facts.device.is_cpu else "cloud").entry(facts.device.price).usd > 0
    assert facts.device.source and facts.device.date <= datetime.date.today()
    if facts.topology:
        extent = [int(part) for part in facts.topology.split(":")[1].split("x")]
        assert all(n % block == 0 for n, block in zip(extent, submesh, strict=False))
    if not facts.device.is_cpu:
        assert 1e14 < facts.device.peak_flops < 1e15
        assert facts.device.memory_bytes >= 16e9
        # Each of them needs at least 50 operations a byte to be kept busy, and none a thousand.
        assert 50 < facts.device.peak_flops / facts.device.memory_bandwidth < 1000


def test_chips_are_what_a_topology_holds():
    for facts in map(devices.mesh_facts, devices.mesh_names()):
        for slice_name in filter(None, (facts.topology, facts.stand_in)):
            extent = [int(part) for part in slice_name.split(":")[1].split("x")]
            product = 1
            for part in extent:
                product *= part
            assert product == facts.chips


def test_an_unknown_mesh_lists_near_ones():
    with pytest.raises(devices.UnknownMeshError, match=r"v5q-8.*did you mean .*v5p-8"):
        devices.mesh_facts("v5q-8")
