"""What an optimised XLA program moves: bytes of memory and collectives, loop bodies counted as often as they run.

XLA's own cost analysis counts a loop's body once. Here the text of the compiled program of one device is read:
computations, their instructions, and the trips of each `while`, which XLA either states (`known_trip_count`) or which
are the number that the loop's condition compares its counter with. A loop that may end sooner (decoding) counts with
that number, its most.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Mapping

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "ragged-all-to-all")
_BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "token": 0, "c64": 8, "c128": 16}
_SHAPE = re.compile(r"\b([a-z][a-z0-9]*)\[([\d,]*)\](?:\{([^}]*)\})?")
_HEADER = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*->.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = ")
_CALLED = re.compile(r"\b(calls|body|condition|to_apply|branch_computations|true_computation|false_computation)=")
_NAME = re.compile(r"%([\w.\-]+)")
_NOT_IN_MEMORY = re.compile(r"S\([1-9]\d*\)")
# They name or wait for what another instruction moves.
_NAMING = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "partition-id", "replica-id")
_ORDERING = ("after-all", "opt-barrier", "add-dependency", "domain")
_FREE = frozenset((*_NAMING, *_ORDERING))


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a program: its name, result shape as text, operation, operands and the rest of the line."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    rest: str


@dataclasses.dataclass(frozen=True)
class Moved:
    """What one device moves in one run.

    Attributes:
      memory_bytes: read from and written to its memory.
      collectives: kind to how often it runs.
      payload_bytes: kind to bytes of its results.
      wire_bytes: kind to bytes that this device sends, as a ring would.
      loops: loops whose trips could be told.
      unknown_loops: loops whose trips could not; their bodies count once.
    """

    memory_bytes: float
    collectives: Mapping[str, float]
    payload_bytes: Mapping[str, float]
    wire_bytes: Mapping[str, float]
    loops: int = 0
    unknown_loops: int = 0


def shape_bytes(shape: str, in_memory_only: bool = True) -> float:
    """Bytes of a shape as XLA prints it, tuples included.

    Args:
      shape: such as `(bf16[4,128]{1,0}, u32[])`.
      in_memory_only: leave out what lies in a chip's fast memory (memory space `S(1)` and above).

    Returns:
      Bytes, without the padding of tiles.
    """
    total = 0.0
    for kind, dims, layout in _SHAPE.findall(shape):
        if in_memory_only and _NOT_IN_MEMORY.search(layout):
            continue
        bits = re.search(r"\d+", kind)
        size = _BYTES.get(kind, int(bits.group()) / 8 if bits else 0)
        total += size * math.prod(int(dim) for dim in dims.split(",") if dim)
    return total


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Splits a program into its computations.

    Args:
      text: `compiled.as_text()`.

    Returns:
      Computation name to instructions, and the name of the entry computation.

    Raises:
      ValueError: the text has no entry computation.
    """
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if current is None or not line.startswith(" "):
            header = _HEADER.match(line)
            if header:
                current = computations.setdefault(header.group(1), [])
                entry = header.group(1) if line.startswith("ENTRY") else entry
            elif line.startswith("}"):
                current = None
            continue
        found = _INSTRUCTION.match(line)
        if found:
            current.append(_instruction(found.group(1), line[found.end() :]))
    if not entry:
        raise ValueError("The text has no ENTRY computation: it is no compiled XLA program.")
    return computations, entry


def moved(text: str, n_devices: int) -> Moved:
    """Counts what one device moves.

    Args:
      text: `compiled.as_text()`.
      n_devices: devices of the program, for collectives that don't say between how many.

    Returns:
      Bytes and collectives of one run.
    """
    computations, entry = parse(text)
    counter = _Counter(computations, n_devices)
    totals = counter.of(entry)

    def by_kind(prefix: str) -> dict[str, float]:
        return {kind: totals[prefix, kind] for kind in COLLECTIVES if totals[prefix, kind]}

    return Moved(
        memory_bytes=totals["memory", ""],
        collectives=by_kind("count"),
        payload_bytes=by_kind("payload"),
        wire_bytes=by_kind("wire"),
        loops=counter.loops,
        unknown_loops=counter.unknown_loops,
    )


def _closing(text: str, start: int) -> int:
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if depth == 0:
            return position
    return len(text) - 1


def _instruction(name: str, text: str) -> Instruction:
    end = _closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    shape, text = text[:end], text[end:].lstrip()
    opening = text.index("(")
    closing = _closing(text, opening)
    operands = tuple(_NAME.findall(text[opening : closing + 1]))
    rest = text[closing + 1 :]
    inside = text[opening + 1 : closing]
    return Instruction(
        name, shape, text[:opening], operands, inside if text[:opening] in ("constant", "parameter") else rest
    )


class _Counter:
    def __init__(self, computations: Mapping[str, list[Instruction]], n_devices: int):
        self._computations = computations
        self._n_devices = n_devices
        self._known: dict[str, Counter] = {}
        self.loops = self.unknown_loops = 0

    def of(self, name: str) -> Counter:
        """What one run of a computation moves."""
        if name not in self._known:
            total: Counter = Counter()
            shapes = {one.name: one.shape for one in self._computations.get(name, ())}
            for one in self._computations.get(name, ()):
                for key, value in self._one(one, shapes).items():
                    total[key] += value
            self._known[name] = total
        return self._known[name]

    def _one(self, one: Instruction, shapes: Mapping[str, str]) -> Counter:
        called = _called(one.rest)
        if one.opcode == "while":
            trips = _trips(one.rest, self._computations.get(called.get("condition", [""])[0], []))
            self.loops += trips is not None
            self.unknown_loops += trips is None
            return _times(self.of(called["body"][0]), 1 if trips is None else trips)
        if one.opcode == "conditional":
            branches = [self.of(name) for names in called.values() for name in names]
            return max(branches, key=lambda branch: branch["memory", ""], default=Counter())
        if one.opcode in ("call", "async-start"):
            return sum((self.of(name) for names in called.values() for name in names), Counter())
        total: Counter = Counter()
        kind = one.opcode.removesuffix("-start")
        if kind in COLLECTIVES:
            total.update(self._collective(kind, one))
        if one.opcode == "fusion":
            for name in called.get("calls", ()):
                for inner, value in self.of(name).items():
                    if inner[0] != "memory":
                        total[inner] += value
        total["memory", ""] += self._memory(one, shapes, called)
        return total

    def _collective(self, kind: str, one: Instruction) -> dict[tuple[str, str], float]:
        size = shape_bytes(one.shape, in_memory_only=False)
        if one.opcode.endswith("-start"):
            size /= 2  # such a result names the operand, too
        group = _group_size(one.rest, self._n_devices)
        share = (group - 1) / group
        sent = {"all-reduce": 2 * share, "reduce-scatter": group - 1, "collective-permute": 1}.get(kind, share)
        return {("count", kind): 1, ("payload", kind): size, ("wire", kind): size * sent}

    def _memory(self, one: Instruction, shapes: Mapping[str, str], called: Mapping[str, list[str]]) -> float:
        if one.opcode in _FREE or one.opcode.endswith("-done") or '"AllocateBuffer"' in one.rest:
            return 0
        result = shape_bytes(one.shape)
        if one.opcode.endswith("-start"):
            return result  # source and target of a copy, or a collective's operand and result
        if one.opcode in ("dynamic-slice", "gather", "slice"):
            return 2 * result
        operands = [shape_bytes(shapes.get(name, "")) for name in one.operands]
        if one.opcode == "dynamic-update-slice":
            return 2 * operands[1] if len(operands) > 1 else result
        if one.opcode == "fusion":
            return self._fusion(one, result, operands, called)
        return result + sum(operands)

    def _fusion(self, one: Instruction, result: float, operands: list[float], called: Mapping[str, list[str]]) -> float:
        """A fusion reads its operands once, but only the slices of those that it slices, and updates in place."""
        inside = [inner for name in called.get("calls", ()) for inner in self._computations.get(name, ())]
        for position, name in enumerate(_parameters(inside)[: len(operands)]):
            written = _updated_bytes(inside, name)
            if written is not None:
                result = max(0.0, result - operands[position]) + min(written, operands[position])
                operands[position] = 0
                continue
            sliced = self._sliced_bytes(inside, name)
            if sliced is not None:
                operands[position] = min(operands[position], sliced)
        return result + sum(operands)

    def _sliced_bytes(self, inside: list[Instruction], name: str) -> float | None:
        """Bytes of the slices taken of a fusion's parameter, through nested fusions; None where all of it is read."""
        total = 0.0
        for use in (inner for inner in inside if name in inner.operands):
            if use.opcode in ("dynamic-slice", "gather", "slice"):
                part: float | None = shape_bytes(use.shape, in_memory_only=False)
            elif use.opcode == "bitcast":
                part = self._sliced_bytes(inside, use.name)
            elif use.opcode == "fusion":
                nested = [one for called in _called(use.rest).get("calls", ()) for one in self._computations[called]]
                names = _parameters(nested)
                parts = [self._sliced_bytes(nested, names[i]) for i, own in enumerate(use.operands) if own == name]
                part = None if None in parts else sum(parts)
            else:
                part = None
            if part is None:
                return None
            total += part
        return total


def _parameters(inside: list[Instruction]) -> list[str]:
    """Names of a computation's parameters by their numbers; the text has them in any order."""
    numbered = sorted((int(one.rest), one.name) for one in inside if one.opcode == "parameter")
    return [name for _, name in numbered]


def _updated_bytes(inside: list[Instruction], name: str) -> float | None:
    """Bytes written where a fusion updates a parameter in place; None where it does anything else with it."""
    shapes = {inner.name: inner.shape for inner in inside}
    uses = [inner for inner in inside if name in inner.operands]
    if len(uses) == 1 and uses[0].opcode == "bitcast":
        return _updated_bytes(inside, uses[0].name)
    if not uses or any(use.opcode != "dynamic-update-slice" or use.operands[0] != name for use in uses):
        return None
    return sum(shape_bytes(shapes.get(use.operands[1], ""), in_memory_only=False) for use in uses)


def _called(rest: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for match in _CALLED.finditer(rest):
        tail = rest[match.end() :]
        names = tail[: tail.index("}")] if tail.startswith("{") else tail.split(",")[0].split(" ")[0]
        found.setdefault(match.group(1), []).extend(_NAME.findall(names))
    return found


def _trips(rest: str, condition: list[Instruction]) -> int | None:
    stated = re.search(r'known_trip_count"?:\s*\{"?n"?:\s*"?(\d+)', rest)
    if stated:
        return int(stated.group(1))
    numbers = [
        int(one.rest)
        for one in condition
        if one.opcode == "constant" and re.match(r"[su]\d+\[\]", one.shape) and one.rest.strip("-").isdigit()
    ]
    return max(numbers) if numbers and max(numbers) >= 0 else None


def _group_size(rest: str, n_devices: int) -> int:
    listed = re.search(r"replica_groups=\{\{([\d,]+)\}", rest)
    if listed:
        return listed.group(1).count(",") + 1
    iota = re.search(r"replica_groups=\[\d+,(\d+)\]<=", rest)
    if iota:
        return int(iota.group(1))
    named = re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", rest)
    if named:
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named.group(1)))
        return math.prod(int(sizes.get(axis, 1)) for axis in re.findall(r"'(\w+)'", named.group(2)))
    return max(n_devices, 1)


def _times(counts: Counter, factor: int) -> Counter:
    return Counter({key: value * factor for key, value in counts.items()})
