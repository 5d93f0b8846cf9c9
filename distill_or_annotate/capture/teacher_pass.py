"""The teacher over one shard's examples: batches by length in, records out."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from distill_or_annotate.capture import batching, collecting, decoding, labels
from distill_or_annotate.capture.header import Header
from distill_or_annotate.capture.records import Example, Record

# The device works on one batch while the host takes the one before apart; more would only hold memory, and virtual CPU
# devices deadlock on many.
_IN_FLIGHT_BATCHES = 2


class TeacherPass:
    """Turns examples into records; compiles one program for each input length.

    Args:
      model: the teacher, a T5X encoder-decoder model.
      params: its parameters, in their shards.
      params_axes: their placement.
      partitioner: a `t5x.partitioning` partitioner with the teacher's logical axis rules.
      store: header of the store that is to be written; `batch_size` must divide by the mesh's data axis.
      decode_text: ids without end token to text.
      trie: label words, for the rule `labels`.
      eos_id: id that ends a target.

    Raises:
      ValueError: for hidden states of a network that does not offer them, or a batch that the mesh does not divide.
    """

    def __init__(
        self,
        model: Any,
        params: Any,
        params_axes: Any,
        partitioner: Any,
        store: Header,
        decode_text: Callable[[list[int]], str],
        trie: labels.LabelTrie | None = None,
        eos_id: int = 1,
    ):
        if store.kind == "hidden" and not hasattr(model.module, "decode_hidden"):
            raise ValueError(
                "kind is 'hidden', but this network does not offer its hidden states (decode_hidden, head). Take kind "
                "'topk', or the t5x of runtime/."
            )
        self._model, self._params, self._partitioner = model, params, partitioner
        self._store, self._decode_text, self._trie, self._eos_id = store, decode_text, trie, eos_id
        partitioner.get_data_layout(store.batch_size)  # says so where the batch does not divide
        self._lengths = batching.input_lengths(store.input_tokens)
        self._programs: dict[bool, Any] = {}
        self._params_axes = params_axes

    def _program(self, forced: bool) -> Any:
        """The compiled step of greedy (or forced) decoding, or of label words; jit keeps one program a length."""
        if forced not in self._programs:
            store, model = self._store, self._model
            collect = collecting.collector(store.kind, store.k, store.temperature, store.dtype)
            if self._trie is not None and not forced:
                pieces = self._trie.pieces_KxT

                def step(params: Any, batch: dict[str, jax.Array]) -> decoding.Captured:
                    options = {"pieces_KxT": pieces, "n_positions": store.target_tokens, "collect": collect}
                    return labels.decode(model, params, batch["inputs"], **options)
            else:

                def step(params: Any, batch: dict[str, jax.Array]) -> decoding.Captured:
                    return decoding.decode(
                        model,
                        params,
                        batch["inputs"],
                        n_positions=store.target_tokens,
                        collect=collect,
                        padding=store.padding,
                        counts_start=store.counts_start,
                        forced_BxT=batch["forced"] if forced else None,
                        eos_id=self._eos_id,
                    )

            data = self._partitioner.data_partition_spec
            self._programs[forced] = self._partitioner.partition(step, (self._params_axes, data), PartitionSpec())
        return self._programs[forced]

    def __call__(self, examples: Sequence[Example], first: int) -> list[Record]:
        """Captures the examples of a shard.

        Args:
          examples: at most a shard's.
          first: index of the first of them.

        Returns:
          Their records, in the same order.
        """
        found: list[Record | None] = [None] * len(examples)
        for forced in (False, True):
            places = [place for place, example in enumerate(examples) if (example.targets is not None) == forced]
            chosen = [examples[place] for place in places]
            for row, record in self._capture(chosen, [first + place for place in places], forced):
                found[places[row]] = record
        return [record for record in found if record is not None]

    def _capture(self, examples: list[Example], index: list[int], forced: bool) -> Iterator[tuple[int, Record]]:
        store = self._store
        sharding = NamedSharding(self._partitioner.mesh, self._partitioner.data_partition_spec)
        by_length = store.padding == "masked"
        pending: collections.deque = collections.deque()

        def collected() -> Iterator[tuple[int, Record]]:
            rows, captured = pending.popleft()
            captured = jax.device_get(captured)
            for line, row in enumerate(rows):
                yield int(row), self._record(examples[row], index[row], forced, captured, line)

        for rows in batching.batches(examples, store.batch_size, by_length):
            chosen = [examples[row] for row in rows]
            longest = max(len(example.inputs) for example in chosen)
            length = next((size for size in self._lengths if size >= longest), self._lengths[-1])
            batch = {"inputs": batching.padded([example.inputs for example in chosen], length, store.batch_size)}
            if forced:
                given = [example.targets for example in chosen]
                batch["forced"] = batching.padded(given, store.target_tokens, store.batch_size)
            # Every process reads the whole batch and places its own rows of it.
            placed = {
                name: jax.make_array_from_callback(table.shape, sharding, table.__getitem__)
                for name, table in batch.items()
            }
            pending.append((rows, self._program(forced)(self._params, placed)))
            if len(pending) >= _IN_FLIGHT_BATCHES:
                yield from collected()
        while pending:
            yield from collected()

    def _record(self, example: Example, index: int, forced: bool, captured: decoding.Captured, line: int) -> Record:
        targets = np.asarray(captured.targets[line, : captured.n_targets[line]], np.int32)
        words = [int(token) for token in targets if token not in (0, self._eos_id)]
        return Record(
            index=index,
            given=forced,
            text=example.text,
            inputs=example.inputs[: self._store.input_tokens],
            targets=targets,
            targets_text=self._decode_text(words),
            batch_length=int(captured.batch_length[line]),
            log_probability=float(captured.log_probability[line]),
            # Copies: a view would keep the whole padded batch alive until its shard is written.
            kept={name: np.array(value[line, : captured.n_positions[line]]) for name, value in captured.kept.items()},
        )
