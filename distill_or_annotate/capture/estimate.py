"""What a capture takes and what training will read, from sizes alone: nothing is compiled, and no accelerator is asked.

`doa forecast` compiles the programs; this is the account one makes before. Letters: E width, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import difflib

from distill_or_annotate.capture.sizes import bytes_per_position

# Shares of a device's peaks, as `doa forecast` takes them.
FLOPS_SHARE = 0.5
MEMORY_SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of a T5 1.1 model.

    Attributes:
      width: E.
      joined_heads: heads times the size of each.
      mlp: hidden size of the feed-forward blocks, which have two input matrices.
      layers: of the encoder, and as many of the decoder.
      vocab_size: V.
    """

    width: int
    joined_heads: int
    mlp: int
    layers: int
    vocab_size: int = 32128

    @property
    def encoder_params(self) -> int:
        """Parameters that one input token is multiplied with."""
        return self.layers * (4 * self.width * self.joined_heads + 3 * self.width * self.mlp)

    @property
    def cross_params(self) -> int:
        """Parameters of cross-attention's keys and values, which meet input tokens."""
        return self.layers * 2 * self.width * self.joined_heads

    @property
    def decoder_params(self) -> int:
        """Parameters that one target token is multiplied with, the head included."""
        layer = 6 * self.width * self.joined_heads + 3 * self.width * self.mlp
        return self.layers * layer + self.width * self.vocab_size


MODELS = {
    "t5_1_1_small": Sizes(512, 384, 1024, 8),
    "t5_1_1_base": Sizes(768, 768, 2048, 12),
    "t5_1_1_large": Sizes(1024, 1024, 2816, 24),
    "t5_1_1_xl": Sizes(2048, 2048, 5120, 24),
    "t5_1_1_xxl": Sizes(4096, 4096, 10240, 24),
}


def model(name: str) -> Sizes:
    """Sizes of the model of that `name`; a ValueError with near names if there is none."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=2, cutoff=0.3) or list(MODELS)
        raise ValueError(f"model is {name!r}; near: {', '.join(near)}. Allowed: {', '.join(MODELS)}.")
    return MODELS[name]


@dataclasses.dataclass(frozen=True)
class Machine:
    """A mesh of accelerators, all figures of the whole of it.

    Attributes:
      name: such as `v5p-8`.
      peak_flops: per second, bfloat16.
      memory_bandwidth: bytes per second.
      usd_per_hour: dollars.
    """

    name: str
    peak_flops: float
    memory_bandwidth: float
    usd_per_hour: float


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One kind of store.

    Attributes:
      kind: `hidden` or `topk`.
      store_bytes: at full length: an upper bound, as positions are ragged on disk.
      read_bytes_per_second: what the student's training reads at full speed.
      train_seconds_per_epoch: of the student.
    """

    kind: str
    store_bytes: float
    read_bytes_per_second: float
    train_seconds_per_epoch: float


def capture_seconds(teacher: Sizes, machine: Machine, n: int, inputs: int, targets: int, batch_size: int) -> float:
    """Seconds of one pass: the larger of computing and of reading memory, for the encoder and for each decoding step.

    Args:
      teacher: its sizes, in bfloat16.
      machine: what it runs on.
      n: examples.
      inputs: tokens of an input.
      targets: tokens of a target; each is a step, in which the whole decoder is read.
      batch_size: examples decoded together.

    Returns:
      Seconds at the stated shares of the peaks.
    """
    flops = machine.peak_flops * FLOPS_SHARE
    memory = machine.memory_bandwidth * MEMORY_SHARE
    encode = 2 * (teacher.encoder_params + teacher.cross_params) * inputs * batch_size / flops
    cached_bytes = 4 * teacher.layers * teacher.joined_heads * (inputs + targets / 2) * batch_size
    step = max(2 * teacher.decoder_params * batch_size / flops, (2 * teacher.decoder_params + cached_bytes) / memory)
    return (encode + targets * step) * n / batch_size


def stores(
    teacher: Sizes, student: Sizes, machine: Machine, n: int, inputs: int, targets: int, k: int
) -> tuple[Estimate, ...]:
    """What each kind of store takes.

    Args:
      teacher: its sizes.
      student: its sizes.
      machine: what the student trains on.
      n: examples.
      inputs: tokens of an input.
      targets: tokens of a target.
      k: tokens that `topk` keeps.

    Returns:
      `hidden` and `topk`.
    """
    found = []
    for kind in ("hidden", "topk"):
        example_bytes = targets * bytes_per_position(kind, teacher.width, teacher.vocab_size, k)
        # Forward and backward of the student; hidden states are turned into logits at each step.
        example_flops = (
            6 * (student.encoder_params + student.cross_params) * inputs + 6 * student.decoder_params * targets
        )
        if kind == "hidden":
            example_flops += 2 * teacher.width * teacher.vocab_size * targets
        per_second = machine.peak_flops * FLOPS_SHARE / example_flops
        found.append(Estimate(kind, n * example_bytes, per_second * example_bytes, n / per_second))
    return tuple(found)


def recommended(found: tuple[Estimate, ...], memory_bytes: float) -> Estimate:
    """The store to take.

    Args:
      found: what `stores` gave.
      memory_bytes: what the hosts' memory can hold of a store.

    Returns:
      `hidden` where it fits in memory, since after the first epoch it is read from there, and it is exact at every
      temperature; else `topk`.
    """
    hidden, topk = found
    return hidden if hidden.store_bytes <= memory_bytes else topk
