"""Which programs an experiment is, and what one of them costs when it is compiled.

An experiment is a scenario (its teacher's, capture's and distillation's gin files) or one program's gin file.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import re
import time
from collections.abc import Sequence
from typing import Any

from distill_or_annotate.forecast import gin_text, hlo
from distill_or_annotate.forecast.devices import MeshFacts

# The vocabulary is no part of any program, and its file may not be here.
_NO_VOCABULARY = "VOCABULARY = None"
TITLES = {
    "finetune": "fine-tune the teacher",
    "encode": "capture: encode",
    "capture": "capture: encode, decode",
    "distill_live": "distill, teacher live",
    "distill_captured": "distill, captured",
    "train": "train",
}


@dataclasses.dataclass(frozen=True)
class Program:
    """One program of an experiment, before any mesh is chosen.

    Attributes:
      kind: a key of `TITLES`.
      gin_files: its gin files, without the mesh's.
      bindings: gin bindings after them.
      steps: how often it runs; None where its configuration says so.
      examples: examples that it goes through, for kinds that run once over a pool; None otherwise.
    """

    kind: str
    gin_files: tuple[str, ...]
    bindings: tuple[str, ...] = ()
    examples: int | None = None

    @property
    def title(self) -> str:
        """In words."""
        return TITLES[self.kind]


@dataclasses.dataclass(frozen=True)
class Costs:
    """What one program takes on one mesh; JSON-ready.

    Attributes:
      parameters: of all models in it.
      batch_size: examples a run.
      steps: runs that the experiment needs.
      argument_bytes: on one device: parameters, optimizer state, batch.
      temporary_bytes: on one device, beside them.
      peak_bytes: both, with results that take no argument's place and the program's code.
      flops: matrix products on all devices together.
      memory_bytes: read and written by one device; None where the compiler gave up for lack of memory.
      collectives: kind to how often one run has it.
      payload_bytes: kind to bytes of its results on one device.
      wire_bytes: bytes that one device sends.
      compiler_seconds: the compiler's own estimate; None where it has none.
      has_loops: whether loops are in the program, which that estimate counts once.
      unknown_loops: loops whose trips could not be told.
      compile_seconds: tracing, lowering and compiling.
      refused: the compiler's message, where the program needs more memory than the device has.
    """

    parameters: int
    batch_size: int
    steps: int
    argument_bytes: int
    temporary_bytes: int
    peak_bytes: int
    flops: int
    memory_bytes: float | None
    collectives: dict[str, float]
    payload_bytes: dict[str, float]
    wire_bytes: float
    compiler_seconds: float | None
    has_loops: bool
    unknown_loops: int
    compile_seconds: float
    refused: str = ""


def experiment(gin_files: Sequence[str], bindings: Sequence[str] = (), examples: int = 100_000) -> list[Program]:
    """The distinct programs of an experiment.

    Args:
      gin_files: a scenario's gin file, or those of one T5X program, in order; a task's file may follow.
      bindings: gin bindings for every program.
      examples: unlabeled examples to distill, at least 1.

    Returns:
      Programs in the order in which they run.

    Raises:
      ValueError: a scenario names no program.
      FileNotFoundError: a file is missing.
    """
    text = "\n".join(gin_text.with_includes(gin_files[0]))
    common = (*bindings, _NO_VOCABULARY)
    pool = (f"N_UNLABELED = {examples}", "MAX_STEPS = None")
    if "scenarios.Scenario" not in text:
        capture = "_script.infer" in text or "capture_script" in text
        files = tuple(gin_files)
        kinds = ("encode", "capture") if capture else ("distill_live" if "distill.DistillTrainer" in text else "train",)
        return [Program(kind, files, common, examples if capture else None) for kind in kinds]
    fields = gin_text.literals(gin_files[0], "scenarios.Scenario")
    teacher, capture, distill = (fields.get(f"{kind}_gin") for kind in ("teacher", "capture", "distill"))
    rest = tuple(gin_files[1:]) or ((fields["task_gin"],) if fields.get("task_gin") else ())
    found = []
    if teacher:
        labels = (f"N_LABELS = {fields['n_labels']}",) if "n_labels" in fields else ()
        found.append(Program("finetune", (teacher, *rest), (*common, *labels)))
    if capture:
        found += [Program(kind, (capture, *rest), common, examples) for kind in ("encode", "capture")]
    if distill:
        kinds = ("distill_live", "distill_captured")
        found += [Program(kind, (distill, *rest), (*common, *pool)) for kind in kinds]
    if not found:
        raise ValueError(f"{gin_files[0]}: Scenario.teacher_gin, capture_gin and distill_gin are empty; name one.")
    return found


def trace(program: Program, facts: MeshFacts) -> tuple[Any, dict[str, Any]]:
    """Traces a program for a mesh.

    Args:
      program: one of `experiment`.
      facts: the mesh.

    Returns:
      What was traced (`.lower()`, `.traced`, `.arguments`) and what is known of it before it is compiled.

    Raises:
      ValueError: its configuration is incomplete, or does not fit the mesh.
    """
    from distill_or_annotate.forecast import captured_step, flops, meshes, train_step
    from distill_or_annotate.forecast.capture_step import capture_step

    mesh = meshes.jax_mesh(facts)
    files = (*program.gin_files, facts.gin_file)
    if program.kind in ("encode", "capture"):
        step = capture_step(files, program.bindings, mesh=mesh, encode_only=program.kind == "encode")
        batch_size, models, trips = step.arguments[1].shape[0], step.arguments[:1], step.n_positions or None
        steps = math.ceil(program.examples / batch_size)
    else:
        steps = training_steps(files, program.bindings)
        if program.kind == "distill_captured":
            step = captured_step.captured_step(files, program.bindings, mesh=mesh)
        else:
            step = train_step.train_step(files, program.bindings, mesh=lambda partitioner: mesh)
        batch_size, trips = next(iter(step.batch.values())).shape[0], None
        models = (step.state.params, step.teacher_params or {})
    known = {
        "parameters": sum(train_step.parameter_count(model) for model in models),
        "batch_size": batch_size,
        "steps": steps,
        "argument_bytes": train_step.bytes_per_device(step.arguments),
        "flops": flops.count_jaxpr(step.traced.jaxpr, trips).total,
    }
    return step, known


def training_steps(gin_files: Sequence[str], bindings: Sequence[str]) -> int:
    """Optimizer steps that a training configuration asks for.

    Args:
      gin_files: as `--gin_file`.
      bindings: after them.

    Returns:
      `TRAIN_STEPS`, resolved.
    """
    import gin
    from t5x import gin_utils, train

    entry = gin_utils.parse_for(train, "train", gin_files=gin_files, gin_bindings=bindings)
    try:
        return int(copy.deepcopy(gin.get_bindings(entry, resolve_references=False)["total_steps"]))
    finally:
        gin.clear_config()


def compile_costs(lowered: Any, known: dict[str, Any], n_devices: int, started: float) -> Costs:
    """Compiles a program and counts what it takes.

    Args:
      lowered: a `jax.stages.Lowered`.
      known: what `trace` found.
      n_devices: devices of its mesh.
      started: `time.monotonic()` when its tracing began.

    Returns:
      Its costs; where the compiler refuses for lack of memory, with what it says is needed.

    Raises:
      RuntimeError: the compiler fails for another reason.
    """
    try:
        compiled = lowered.compile()
    except Exception as error:  # the compilers' errors share no class
        needed = needed_bytes(str(error), known["argument_bytes"])
        if needed is None:
            raise
        return Costs(
            **known,
            temporary_bytes=max(0, needed - known["argument_bytes"]),
            peak_bytes=needed,
            memory_bytes=None,
            collectives={},
            payload_bytes={},
            wire_bytes=0.0,
            compiler_seconds=None,
            has_loops=True,
            unknown_loops=0,
            compile_seconds=time.monotonic() - started,
            refused=str(error).splitlines()[0][:300],
        )
    memory, analysis = compiled.memory_analysis(), compiled.cost_analysis() or {}
    counted = hlo.moved(compiled.as_text(), n_devices)
    arguments, temporaries = int(memory.argument_size_in_bytes), int(memory.temp_size_in_bytes)
    kept = int(memory.output_size_in_bytes) - int(memory.alias_size_in_bytes)
    return Costs(
        **{**known, "argument_bytes": arguments},
        temporary_bytes=temporaries,
        peak_bytes=arguments + temporaries + max(kept, 0) + int(memory.generated_code_size_in_bytes),
        memory_bytes=counted.memory_bytes,
        collectives=dict(counted.collectives),
        payload_bytes=dict(counted.payload_bytes),
        wire_bytes=sum(counted.wire_bytes.values()),
        compiler_seconds=analysis.get("optimal_seconds"),
        has_loops=counted.loops + counted.unknown_loops > 0,
        unknown_loops=counted.unknown_loops,
        compile_seconds=time.monotonic() - started,
    )


def needed_bytes(message: str, argument_bytes: int = 0) -> int | None:
    """How much memory a compiler's refusal says is needed.

    Args:
      message: of the error.
      argument_bytes: on one device, for messages that leave them out.

    Returns:
      Bytes; None where the message is about something else.
    """
    used = re.search(r"Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm", message)
    part = re.search(r"required for HLO (\w+) \(([\d.]+)([KMGT])\) exceeds", message)
    if used:
        return _bytes(used.group(1), used.group(2))
    if part:
        return _bytes(part.group(2), part.group(3)) + (argument_bytes if part.group(1) == "temporaries" else 0)
    return None


def _bytes(number: str, prefix: str) -> int:
    return int(float(number) * 1024 ** (1 + "KMGT".index(prefix)))
