"""`python -m t5x.eval`: scores checkpoints with SeqIO's metrics; also the evaluation by inference inside training."""

import dataclasses
import functools
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from absl import logging

from t5x import checkpoint_utils, gin_utils, models, utils


class InferenceEvaluator:
    """Scores train states on the tasks of a data set; data are read once, functions compiled once.

    Args:
      infer_eval_dataset_cfg: tasks, split, lengths and batch size.
      inference_evaluator_cls: constructor of the SeqIO evaluator; None takes `seqio.Evaluator`.
      model: the model.
      partitioner: mesh and placement.
      log_dir: results go to `<log_dir>/inference_eval`; None writes none.
      verify_matching_vocabs_fn: compares the vocabularies of task and model; None skips it.

    Raises:
      ValueError: when the vocabularies differ.
    """

    def __init__(
        self,
        infer_eval_dataset_cfg: utils.DatasetConfig,
        inference_evaluator_cls: utils.EvaluatorConstructor | None,
        model: models.BaseModel,
        partitioner: Any,
        log_dir: str | None = None,
        verify_matching_vocabs_fn: Callable[..., None] | None = utils.verify_matching_vocabs,
    ) -> None:
        import seqio

        cfg = infer_eval_dataset_cfg
        if cfg.module:
            utils.import_module(cfg.module)
        if verify_matching_vocabs_fn is not None and isinstance(model, models.BaseTransformerModel):
            verify_matching_vocabs_fn(cfg, model)
        self._model = model
        self._partitioner = partitioner
        self._batch_size = cfg.batch_size
        self._future: Any = None
        self._infer_fns: dict[str, Callable[..., Any]] = {}
        options = {"log_dir": os.path.join(log_dir, "inference_eval")} if log_dir else {"logger_cls": ()}
        self._evaluator = (inference_evaluator_cls or seqio.Evaluator)(
            mixture_or_task_name=cfg.mixture_or_task_name,
            feature_converter=model.FEATURE_CONVERTER_CLS(pack=False),
            eval_split=cfg.split,
            use_cached=cfg.use_cached,
            seed=cfg.seed,
            sequence_length=cfg.task_feature_lengths,
            use_memory_cache=cfg.use_memory_cache,
            **options,
        )
        if importlib.util.find_spec("tensorboard") is None:
            from t5x import event_logger  # writes scalars without that package, which `tf.summary.scalar` needs

            self._evaluator._loggers = tuple(
                event_logger.EventFileLogger(log.output_dir) if type(log) is seqio.TensorBoardLogger else log
                for log in getattr(self._evaluator, "_loggers", ())
            )

    @property
    def eval_tasks(self) -> Sequence[Any]:
        """Tasks that have the split and a metric."""
        return self._evaluator.eval_tasks

    @property
    def model_feature_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Model feature to shape without batch dimension."""
        return self._evaluator.model_feature_shapes

    def _infer_fn(self, method: str, train_state_axes: Any) -> Callable[..., Any]:
        if method not in self._infer_fns:
            self._infer_fns[method] = utils.get_infer_fn(
                infer_step=getattr(self._model, method),
                batch_size=self._batch_size,
                train_state_axes=train_state_axes,
                partitioner=self._partitioner,
            )
        return self._infer_fns[method]

    def evaluate(self, train_state: Any, train_state_axes: Any) -> Any:
        """Infers on all tasks and computes their metrics in the background.

        Args:
          train_state: the state to score.
          train_state_axes: its placement.

        Returns:
          A future of task name to metrics (None on processes other than 0).
        """

        def run(method: str, ds: Any) -> Any:
            return self._infer_fn(method, train_state_axes)(ds, train_state, rng=jax.random.PRNGKey(0))

        self._future, _ = self._evaluator.evaluate(
            compute_metrics=jax.process_index() == 0,
            step=int(utils.get_local_data(train_state.step)),
            predict_fn=functools.partial(run, "predict_batch"),
            score_fn=functools.partial(run, "score_batch"),
            predict_with_aux_fn=functools.partial(run, "predict_batch_with_aux"),
        )
        return self._future

    def wait_until_finished(self) -> None:
        """Waits for metrics computed in the background and raises what went wrong there."""
        if self._future is not None:
            self._future.result()

    def close(self) -> None:
        """Ends the background thread and closes the loggers' files."""
        self._evaluator.close()
        for log in getattr(self._evaluator, "_loggers", ()):
            for writer in getattr(log, "_summary_writers", {}).values():
                writer.close()


def evaluate(
    *,
    model: models.BaseTransformerModel,
    dataset_cfg: utils.DatasetConfig,
    restore_checkpoint_cfg: utils.RestoreCheckpointConfig,
    partitioner: Any,
    output_dir: str,
    inference_evaluator_cls: utils.EvaluatorConstructor | None = None,
    training_evaluator_cls: Any | None = None,
    summarize_config_fn: Callable[[str, Any, int], None] = gin_utils.summarize_gin_config,
    train_state_initializer_cls: type[utils.TrainStateInitializer] = utils.TrainStateInitializer,
    train_eval_get_dataset_fn: Any | None = None,
    fallback_init_rng: jax.Array | None = None,
    use_orbax: bool = True,
) -> dict[str, Mapping[str, Any]]:
    """Scores one or more checkpoints.

    Args:
      model: the model.
      dataset_cfg: tasks, split, lengths and batch size.
      restore_checkpoint_cfg: which checkpoints; with mode `all`, those listed in `eval.<task>.ckpt` are skipped.
      partitioner: mesh and placement.
      output_dir: results go to `<output_dir>/inference_eval`.
      inference_evaluator_cls: constructor of the SeqIO evaluator; None takes `seqio.Evaluator`.
      training_evaluator_cls, train_eval_get_dataset_fn: teacher-forced evaluation, not offered here.
      summarize_config_fn: called once with output_dir, None and 0.
      train_state_initializer_cls: makes the train state.
      fallback_init_rng: PRNG key (or seed) for `fallback_to_scratch`.
      use_orbax: accepted for compatibility; Orbax is always used.

    Returns:
      Checkpoint path to metrics by task.

    Raises:
      ValueError: when no task has the split and a metric, or no checkpoint is found.
    """
    del use_orbax, train_eval_get_dataset_fn
    if training_evaluator_cls is not None:
        raise ValueError("evaluate(training_evaluator_cls=...) is not offered; train with train_eval_dataset_cfg.")
    checkpoint_utils.require_mounted(output_dir, "evaluate.output_dir")
    jax.monitoring.record_event("/jax/t5x/evaluate/beacon")
    utils.hide_gpus_from_tensorflow()
    evaluator = InferenceEvaluator(dataset_cfg, inference_evaluator_cls, model, partitioner, log_dir=output_dir)
    try:
        if not evaluator.eval_tasks:
            name = dataset_cfg.mixture_or_task_name
            raise ValueError(f"No task of {name!r} has both the split {dataset_cfg.split!r} and a metric.")
        initializer = train_state_initializer_cls(
            optimizer_def=None,
            init_fn=model.get_initial_variables,
            input_shapes={k: (dataset_cfg.batch_size, *s) for k, s in evaluator.model_feature_shapes.items()},
            partitioner=partitioner,
        )
        summarize_config_fn(output_dir, None, 0)
        utils.log_model_info(
            os.path.join(output_dir, "model-info.txt"), initializer.global_train_state_shape, partitioner
        )
        cfg, paths = utils.get_first_valid_restore_config_and_paths([restore_checkpoint_cfg])
        if not paths:
            raise ValueError(f"No checkpoint to evaluate: {restore_checkpoint_cfg.path!r} holds none.")
        task = dataset_cfg.mixture_or_task_name
        record = os.path.join(output_dir, f"eval.{task if isinstance(task, str) else task.name}.ckpt")
        done = read_lines(record) if cfg.mode == "all" else []
        results = {}
        for path in paths:
            if path in done:
                logging.info("Skipping %s, which was evaluated before.", path)
                continue
            one = dataclasses.replace(cfg, path=path, mode="specific")
            state = initializer.from_checkpoint([one], init_rng=as_key(fallback_init_rng))
            results[path] = evaluator.evaluate(state, initializer.train_state_axes).result()
            if jax.process_index() == 0 and path not in read_lines(record):
                with open(record, "a", encoding="utf-8") as file:
                    file.write(f"{path}\n")
        return results
    finally:
        evaluator.close()


def as_key(seed_or_key: Any) -> jax.Array | None:
    """A PRNG key from what gin files bind as `fallback_init_rng`.

    Args:
      seed_or_key: None, an integer seed, or a key.

    Returns:
      The key, or None.
    """
    return jax.random.PRNGKey(seed_or_key) if isinstance(seed_or_key, int) else seed_or_key


def read_lines(path: str) -> list[str]:
    """Lines of a text file, without their ends; none when there is no such file."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


if __name__ == "__main__":
    gin_utils.run_entry_point(evaluate)
