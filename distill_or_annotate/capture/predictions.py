"""The teacher's predictions as `t5x.infer` would write them: one JSON line for each example of the pool."""

from __future__ import annotations

import json
import os

from distill_or_annotate.capture import frames, records, writer

# Around the record in a frame: its length and a checksum before it, a checksum behind.
_BEFORE_BYTES, _BEHIND_BYTES = 12, 4


def write(store: writer.StoreWriter, mode: str = "predict") -> str:
    """Writes this host's predictions and the mark that they are complete; given targets are no predictions.

    Args:
      store: the store, whose shards of this host are whole.
      mode: what `t5x.infer` calls it.

    Returns:
      The file's path.
    """
    task = store.header.task.replace("/", "_")
    path = store.folder / f"{task}-{mode}.jsonl-{store.host:05d}-of-{store.n_hosts:05d}"
    done = path.with_name(f"{path.name}.COMPLETED")
    if path.exists() and done.exists():
        return os.fspath(path)
    scratch = path.with_name(f"{path.name}.tmp-{store.host}-{os.getpid()}")
    types = records.feature_types(store.header)
    with scratch.open("w", encoding="utf-8") as lines:
        for index in writer.indices(store.folder):
            if not store.is_mine(index.shard):
                continue
            for frame in frames.read_frames(store.folder / index.file):
                record = records.parse(frame[_BEFORE_BYTES:-_BEHIND_BYTES], types)
                if record.given:
                    continue
                line = {"inputs": {"inputs_pretokenized": record.text}, "prediction": record.targets_text}
                line["aux"] = {"scores": record.log_probability}
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
    scratch.replace(path)
    done.touch()
    return os.fspath(path)
