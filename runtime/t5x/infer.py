"""`python -m t5x.infer`: runs a model over a task and writes JSON lines, in chunks that survive a kill."""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags, logging

from t5x import checkpoint_utils, gin_utils, models, utils
from t5x.eval import as_key, read_lines

_METHODS = {"predict": "predict_batch", "predict_with_aux": "predict_batch_with_aux", "score": "score_batch"}


class ExampleChunk(list):
    """Task examples of one chunk, to be iterated like the data set they come from."""

    def as_numpy_iterator(self) -> Iterator[dict[str, Any]]:
        """Yields feature to NumPy value."""
        return iter(self)


def _per_sequence(fn: Callable[[list[int]], Any], tokens: Any) -> Any:
    """`fn` of one sequence of ids, or of each of several."""
    if len(tokens) and isinstance(tokens[0], (list, tuple, np.ndarray)):
        return [_per_sequence(fn, row) for row in tokens]
    return fn([int(token) for token in tokens])


def _until_padding(tokens: list[int]) -> list[int]:
    return list(itertools.takewhile(lambda token: token != 0, tokens))


def _input_fields(example: Mapping[str, Any], include_all_inputs: bool, fields: Sequence[str] | None) -> dict[str, Any]:
    if fields is None:
        fields = [name for name in example if include_all_inputs or name.endswith("_pretokenized")]
    chosen = {name: example[name] for name in fields if name in example}
    return {name: value.decode("utf-8") if isinstance(value, bytes) else value for name, value in chosen.items()}


def write_inferences_to_file(
    path: str,
    inferences: tuple[Sequence[Any], Mapping[str, Any]],
    task_ds: Any,
    mode: str,
    vocabulary: Any = None,
    json_encoder_cls: Any = None,
    include_all_inputs: bool = False,
    input_fields_to_include: Sequence[str] | None = None,
    output_ids: bool = False,
) -> None:
    """Writes one JSON object per example.

    Args:
      path: file to write.
      inferences: outputs in the order of the examples, and auxiliary values (name to one value per example).
      task_ds: the examples; offers `as_numpy_iterator`.
      mode: `predict`, `predict_with_aux` or `score`.
      vocabulary: decodes predictions; None writes ids.
      json_encoder_cls: JSON encoder; None takes `seqio.TensorAndNumpyEncoder`.
      include_all_inputs: write all fields of an example, and not only the pretokenized ones.
      input_fields_to_include: write these fields.
      output_ids: also write `prediction_tokens`, cut at the first padding.

    Raises:
      ValueError: when both selections of fields are given, or there are more or fewer outputs than examples.
    """
    if include_all_inputs and input_fields_to_include:
        raise ValueError("Give include_all_inputs or input_fields_to_include, not both.")
    if json_encoder_cls is None:
        import seqio

        json_encoder_cls = seqio.TensorAndNumpyEncoder
    outputs, aux = inferences
    # Made once: json.dumps(cls=...) builds an encoder for each line.
    encode = json_encoder_cls().encode
    with open(path, "w", encoding="utf-8") as file:
        pairs = itertools.zip_longest(task_ds.as_numpy_iterator(), outputs, fillvalue=_MISSING)
        for index, (example, output) in enumerate(pairs):
            if example is _MISSING or output is _MISSING:
                raise ValueError(f"{path}: {len(outputs)} outputs do not match the number of examples.")
            line: dict[str, Any] = {"inputs": _input_fields(example, include_all_inputs, input_fields_to_include)}
            if mode == "score":
                line["score"] = output
            else:
                line["prediction"] = output if vocabulary is None else _per_sequence(vocabulary.decode, output)
                if output_ids:
                    line["prediction_tokens"] = _per_sequence(_until_padding, output)
            if aux:
                line["aux"] = jax.tree.map(lambda v, i=index: v[i], dict(aux), is_leaf=lambda v: isinstance(v, list))
            file.write(encode(line))
            file.write("\n")


_MISSING = object()


def merge_chunks_to_file(output_dir: str, output_fname: str, tmp_dir: str, step: int | None = None) -> None:
    """Joins the chunks of one output, in order, into a file that appears only when whole.

    Args:
      output_dir: folder of the output.
      output_fname: name of the output, with which the chunks' names begin.
      tmp_dir: folder of the chunks.
      step: accepted for compatibility.
    """
    del step
    chunks = [name for name in os.listdir(tmp_dir) if re.fullmatch(re.escape(output_fname) + r"-chunk\d+", name)]
    whole = os.path.join(tmp_dir, f"{output_fname}.merging")
    with open(whole, "wb") as out:
        for name in sorted(chunks):
            with open(os.path.join(tmp_dir, name), "rb") as part:
                shutil.copyfileobj(part, out)
    os.replace(whole, os.path.join(output_dir, output_fname))


def infer(
    *,
    mode: str,
    model: models.BaseTransformerModel,
    dataset_cfg: utils.DatasetConfig,
    restore_checkpoint_cfg: utils.RestoreCheckpointConfig,
    partitioner: Any,
    output_dir: str,
    checkpoint_period: int,
    shard_id: int = 0,
    num_shards: int = 1,
    merge_chunked_results: bool = True,
    write_fn: Callable[..., None] = write_inferences_to_file,
    checkpoint_ds_iter: bool = True,
    train_state_initializer_cls: type[utils.TrainStateInitializer] = utils.TrainStateInitializer,
    fallback_init_rng: jax.Array | None = None,
    merge_fn: Callable[..., None] = merge_chunks_to_file,
    summarize_config_fn: Callable[[str, Any, int], None] = gin_utils.summarize_gin_config,
    verify_matching_vocabs_fn: Callable[..., None] | None = utils.verify_matching_vocabs,
    output_vocab_feature_name: str = "targets",
    file_extension: str = "jsonl",
    keep_aux_as_numpy: bool = False,
    use_orbax: bool = True,
) -> None:
    """Infers on every task of a data set and writes `<task>-<mode>.<extension>-<shard>-of-<shards>`.

    Args:
      mode: `predict`, `predict_with_aux` or `score`.
      model: the model.
      dataset_cfg: task or mixture, split, lengths and batch size.
      restore_checkpoint_cfg: which checkpoint.
      partitioner: mesh and placement.
      output_dir: folder of the outputs.
      checkpoint_period: batches per chunk; a killed run repeats at most one chunk.
      shard_id: index of this job among those that share the data.
      num_shards: number of such jobs.
      merge_chunked_results: join the chunks at the end; else they stay in `tmp-<task>-<shard>-of-<shards>`.
      write_fn: writes one chunk, see `write_inferences_to_file`.
      checkpoint_ds_iter: accepted for compatibility; a restarted run skips the examples of complete chunks.
      train_state_initializer_cls: makes the train state.
      fallback_init_rng: PRNG key (or seed) for `fallback_to_scratch`.
      merge_fn: joins the chunks, see `merge_chunks_to_file`.
      summarize_config_fn: called once with output_dir, None and 0.
      verify_matching_vocabs_fn: compares the vocabularies of task and model; None skips it.
      output_vocab_feature_name: task feature whose vocabulary decodes predictions.
      file_extension: extension of the outputs.
      keep_aux_as_numpy: hand auxiliary values to `write_fn` as NumPy arrays.
      use_orbax: accepted for compatibility; Orbax is always used.

    Raises:
      ValueError: for an unknown mode, shard or checkpoint.
    """
    del use_orbax, checkpoint_ds_iter
    if mode not in _METHODS:
        raise ValueError(f"infer.mode is {mode!r}; allowed: {', '.join(_METHODS)}.")
    if not 0 <= shard_id < num_shards:
        raise ValueError(f"infer.shard_id is {shard_id}; allowed: 0 to {num_shards - 1} (num_shards is {num_shards}).")
    if checkpoint_period < 1:
        raise ValueError(f"infer.checkpoint_period is {checkpoint_period} batches; at least 1 is needed.")
    checkpoint_utils.require_mounted(output_dir, "infer.output_dir")
    jax.monitoring.record_event("/jax/t5x/infer/beacon")
    utils.hide_gpus_from_tensorflow()
    import seqio

    if dataset_cfg.module:
        utils.import_module(dataset_cfg.module)
    if verify_matching_vocabs_fn is not None and isinstance(model, models.BaseTransformerModel):
        verify_matching_vocabs_fn(dataset_cfg, model)
    provider = utils.find_provider(dataset_cfg.mixture_or_task_name)
    tasks = [task for task in seqio.get_subtasks(provider) if dataset_cfg.split in task.splits]
    if not tasks:
        raise ValueError(f"No task of {provider.name!r} has the split {dataset_cfg.split!r}.")
    os.makedirs(output_dir, exist_ok=True)
    names = {
        task.name: f"{task.name.replace('/', '_')}-{mode}.{file_extension}-{shard_id:05d}-of-{num_shards:05d}"
        for task in tasks
    }
    left = [task for task in tasks if not os.path.exists(_completed(output_dir, names[task.name]))]
    if not left:
        logging.info("Nothing to do: all outputs in %s are complete.", output_dir)
        return

    datasets = {task.name: _get_datasets(task, dataset_cfg, model, shard_id, num_shards) for task in left}
    shapes = next(iter(datasets.values()))[1].element_spec
    initializer = train_state_initializer_cls(
        optimizer_def=None,
        init_fn=model.get_initial_variables,
        input_shapes={k: (dataset_cfg.batch_size, *spec.shape) for k, spec in shapes.items()},
        input_types={k: spec.dtype.as_numpy_dtype for k, spec in shapes.items()},
        partitioner=partitioner,
    )
    cfg, paths = utils.get_first_valid_restore_config_and_paths([restore_checkpoint_cfg])
    if len(paths) != 1:
        raise ValueError(
            f"Inference needs one checkpoint; RestoreCheckpointConfig (path={restore_checkpoint_cfg.path!r}, "
            f"mode={restore_checkpoint_cfg.mode!r}) leads to {len(paths)}."
        )
    one = dataclasses.replace(cfg, path=paths[0], mode="specific")
    train_state = initializer.from_checkpoint([one], init_rng=as_key(fallback_init_rng))
    if shard_id == 0:
        utils.log_model_info(
            os.path.join(output_dir, "model-info.txt"), initializer.global_train_state_shape, partitioner
        )
        summarize_config_fn(output_dir, None, 0)
    infer_fn = utils.get_infer_fn(
        infer_step=getattr(model, _METHODS[mode]),
        batch_size=dataset_cfg.batch_size,
        train_state_axes=initializer.train_state_axes,
        partitioner=partitioner,
        keep_aux_as_numpy=keep_aux_as_numpy,
    )
    for task in left:
        vocabulary = task.output_features[output_vocab_feature_name].vocabulary
        tmp_dir = os.path.join(output_dir, f"tmp-{task.name.replace('/', '_')}-{shard_id:05d}-of-{num_shards:05d}")
        chunk_examples = checkpoint_period * dataset_cfg.batch_size
        # What must be the same for old chunks to be worth keeping.
        read = ("split", "seed", "shuffle", "task_feature_lengths")
        identity = {"mode": mode, "checkpoint": os.path.abspath(paths[0]), "dtype": cfg.dtype}
        identity |= {"chunk_examples": chunk_examples, **{name: getattr(dataset_cfg, name) for name in read}}
        _prepare_tmp_dir(tmp_dir, identity)
        step = int(utils.get_local_data(train_state.step))
        _infer_task(
            *datasets[task.name],
            tmp_dir=tmp_dir,
            output_fname=names[task.name],
            chunk_examples=chunk_examples,
            infer_fn=functools.partial(infer_fn, train_state=train_state),
            write_chunk=functools.partial(write_fn, mode=mode, vocabulary=vocabulary),
        )
        utils.sync_global_devices(f"infer_{task.name}")
        if jax.process_index() == 0:
            if merge_chunked_results:
                merge_fn(output_dir, names[task.name], tmp_dir, step)
            pathlib.Path(_completed(output_dir, names[task.name])).touch()
            if merge_chunked_results:
                shutil.rmtree(tmp_dir)


def _completed(folder: str, name: str) -> str:
    return os.path.join(folder, f"{name}.COMPLETED")


def _get_datasets(task: Any, cfg: utils.DatasetConfig, model: Any, shard_id: int, num_shards: int) -> tuple[Any, Any]:
    """Examples of one task in this shard: as the task gives them, and in model features."""
    ds = task.get_dataset(
        sequence_length=cfg.task_feature_lengths,
        split=cfg.split,
        shuffle=cfg.shuffle,
        num_epochs=1,
        seed=cfg.seed,
        use_cached=cfg.use_cached,
        trim_output_features=cfg.trim_output_features,
    )
    # By example: shards of nearly equal size, whatever the number of files.
    ds = ds.shard(num_shards, shard_id) if num_shards > 1 else ds
    return ds, model.FEATURE_CONVERTER_CLS(pack=False)(ds, cfg.task_feature_lengths)


def _prepare_tmp_dir(tmp_dir: str, identity: Mapping[str, Any]) -> None:
    """Keeps the chunks of an earlier process if they were made in the same way, else clears them."""
    if jax.process_index() == 0:
        path = os.path.join(tmp_dir, "run.json")
        text = json.dumps(identity, sort_keys=True, default=dict)
        if os.path.isdir(tmp_dir) and read_lines(path) != [text]:
            logging.warning("Discarding %s: it was made with another configuration.", tmp_dir)
            shutil.rmtree(tmp_dir)
        os.makedirs(tmp_dir, exist_ok=True)
        with open(f"{path}.tmp", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(f"{path}.tmp", path)
    utils.sync_global_devices(f"tmp_dir_{hashlib.sha256(tmp_dir.encode()).hexdigest()[:8]}")


def _infer_task(
    task_ds: Any,
    model_ds: Any,
    *,
    tmp_dir: str,
    output_fname: str,
    chunk_examples: int,
    infer_fn: Callable[..., Any],
    write_chunk: Callable[..., None],
) -> None:
    """Infers on one task, chunk by chunk, after the complete chunks of an earlier process."""
    import tensorflow as tf

    def chunk_path(index: int) -> str:
        return os.path.join(tmp_dir, f"{output_fname}-chunk{index:05d}")

    first = next(i for i in itertools.count() if not os.path.exists(f"{chunk_path(i)}.COMPLETED"))
    if first:
        logging.info("Skipping %d chunks that are complete.", first)
    both = tf.data.Dataset.zip((task_ds, model_ds)).skip(first * chunk_examples).prefetch(tf.data.AUTOTUNE)
    pairs = both.as_numpy_iterator()
    for index in itertools.count(first):
        chunk = list(itertools.islice(pairs, chunk_examples))
        if not chunk:
            return
        features = {name: np.stack([model_example[name] for _, model_example in chunk]) for name in chunk[0][1]}
        ds = tf.data.Dataset.from_tensor_slices(features).enumerate()
        result = infer_fn(ds, rng=jax.random.fold_in(jax.random.PRNGKey(0), index))
        indexed, aux = result if isinstance(result, tuple) else (result, {})
        if jax.process_index() == 0:
            path = chunk_path(index)
            examples = ExampleChunk(example for example, _ in chunk)
            write_chunk(f"{path}.tmp", ([output for _, output in indexed], aux), examples)
            os.replace(f"{path}.tmp", path)
            pathlib.Path(f"{path}.COMPLETED").touch()
        logging.info("Chunk %d is complete (%d examples).", index, len(chunk))


def create_task_from_tfexample_file(
    paths: str | Sequence[str],
    file_type: str,
    inputs_key: str,
    targets_key: str | None,
    features: Mapping[str, Any],
    task_id: str | None = None,
) -> str:
    """Registers a task that reads TFRecord files, under a name made of its arguments; idempotent.

    Args:
      paths: file names or patterns.
      file_type: `tfrecord`.
      inputs_key: field that becomes `inputs`.
      targets_key: field that becomes `targets`; None leaves them empty.
      features: task feature to `seqio.Feature`.
      task_id: stands in for the paths in the task's name.

    Returns:
      The name, `infer_<10 hexadecimal digits>`; its split is `infer`.

    Raises:
      ValueError: for another file type.
    """
    import seqio
    import tensorflow as tf

    if file_type != "tfrecord":
        raise ValueError(f"create_task_from_tfexample_file: file_type is {file_type!r}; allowed: 'tfrecord'.")
    listed = [paths] if isinstance(paths, str) else list(paths)
    identity = json.dumps([task_id or listed, inputs_key, targets_key, sorted(features)])
    name = f"infer_{hashlib.sha256(identity.encode()).hexdigest()[:10]}"
    if name in seqio.TaskRegistry.names():
        return name
    description = {inputs_key: tf.io.FixedLenFeature([], tf.string)}
    if targets_key is not None:
        description[targets_key] = tf.io.FixedLenFeature([], tf.string)

    def rename(ds: Any) -> Any:
        def fields(example: Mapping[str, Any]) -> dict[str, Any]:
            targets = tf.constant("") if targets_key is None else example[targets_key]
            return {"inputs": example[inputs_key], "targets": targets}

        return ds.map(fields, num_parallel_calls=tf.data.AUTOTUNE)

    seqio.TaskRegistry.add(
        name,
        source=seqio.TFExampleDataSource({"infer": listed}, description),
        preprocessors=[rename, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features=dict(features),
        metric_fns=[],
    )
    return name


if __name__ == "__main__":
    flags.DEFINE_integer("shard_id", None, "Index of this job; overrides infer.shard_id.")
    gin_utils.run_entry_point(
        infer, lambda given: [] if given.shard_id is None else [f"infer.shard_id = {given.shard_id}"]
    )
