"""Reads devices.toml: what accelerators can do, and the meshes of them that have a gin file."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import functools
import pathlib
import tomllib
from typing import Any

_PATH = pathlib.Path(__file__).with_name("devices.toml")
_MEASURED = ("peak_flops", "memory_bytes", "memory_bandwidth", "interconnect")


class UnknownMeshError(ValueError):
    """Raised for a mesh that devices.toml does not list."""


@dataclasses.dataclass(frozen=True)
class Device:
    """One chip.

    Attributes:
      name: key in devices.toml, such as `v5p`.
      title: for tables.
      price: id of its price in a price book.
      date: day on which the numbers were read.
      source: where.
      peak_flops: bfloat16 operations a second, dense; None where it is measured.
      memory_bytes: memory of its own; None likewise.
      memory_bandwidth: bytes a second; None likewise.
      interconnect: bytes a second that it sends to its neighbours, all links together; None likewise.
    """

    name: str
    title: str
    price: str
    date: datetime.date
    source: str
    peak_flops: float | None = None
    memory_bytes: float | None = None
    memory_bandwidth: float | None = None
    interconnect: float | None = None

    @property
    def is_cpu(self) -> bool:
        """Whether it is a virtual device of the machine at hand."""
        return self.name == "cpu"


@dataclasses.dataclass(frozen=True)
class MeshFacts:
    """A slice of devices.

    Attributes:
      name: as `--mesh` and `gin/mesh/` have it, such as `v5p-8`.
      device: what it is made of.
      chips: how many; each is one JAX device, and what is paid for.
      topology: what the TPU compiler is asked for; '' for GPUs and CPUs.
      chip_config: the TPU compiler's name for how a chip's cores are joined.
      stand_in: for GPUs, the TPU slice of as many devices on whose compiles the account of memory rests.
    """

    name: str
    device: Device
    chips: int
    topology: str = ""
    chip_config: str = "default"
    stand_in: str = ""

    @property
    def gin_file(self) -> str:
        """The gin file that lays a model out over it."""
        return f"gin/mesh/{self.name}.gin"

    @property
    def compiled_as(self) -> str:
        """What its programs are compiled for, in words."""
        if self.topology:
            return f"the TPU compiler, {self.topology}"
        return f"account calibrated on {self.stand_in}" if self.stand_in else "virtual CPU devices"


@functools.cache
def _data() -> dict[str, Any]:
    return tomllib.loads(_PATH.read_text(encoding="utf-8"))


def mesh_names() -> tuple[str, ...]:
    """The meshes that devices.toml lists, in its order."""
    return tuple(_data()["meshes"])


def device(name: str) -> Device:
    """Facts about one chip.

    Args:
      name: a key of devices.toml, such as `v5p`.

    Returns:
      Its facts.

    Raises:
      KeyError: there is none of that name.
    """
    raw = _data()["devices"][name]
    numbers = {key: float(raw[key]) for key in _MEASURED if key in raw}
    return Device(name=name, **{key: raw[key] for key in ("title", "price", "date", "source")}, **numbers)


def mesh_facts(name: str) -> MeshFacts:
    """Facts about one mesh.

    Args:
      name: such as `v5p-8`.

    Returns:
      Its facts.

    Raises:
      UnknownMeshError: it is not listed; near names are.
    """
    known = mesh_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UnknownMeshError(f"--mesh: there is no mesh {name!r}; {hint}allowed: {', '.join(known)}.")
    raw = dict(_data()["meshes"][name])
    return MeshFacts(name=name, device=device(raw.pop("device")), **raw)
