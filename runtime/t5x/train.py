"""`python -m t5x.train`: trains a model with periodic checkpoints and evaluations.

A *piece* of training ends wherever something is due: statistics, a checkpoint, an evaluation.
"""

import os

# Flax reads this when it is imported: parameters get profiler names.
os.environ.setdefault("FLAX_PROFILE", "true")

import contextlib
import dataclasses
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags, logging
from jax.sharding import NamedSharding

from t5x import checkpoint_utils, checkpoints, gin_utils, models, preemption, utils
from t5x import trainer as trainer_lib

_PROCESS_START_SECONDS = time.time()
_TRAIN, _TRAIN_EVAL, _INFER_EVAL = "TRAIN", "TRAIN_EVAL", "INFER_EVAL"


def train(
    *,
    model: models.BaseModel,
    train_dataset_cfg: utils.DatasetConfig,
    train_eval_dataset_cfg: utils.DatasetConfig | None,
    infer_eval_dataset_cfg: utils.DatasetConfig | None,
    checkpoint_cfg: utils.CheckpointConfig,
    partitioner: Any,
    trainer_cls: Callable[..., trainer_lib.BaseTrainer],
    model_dir: str,
    total_steps: int,
    eval_steps: int,
    eval_period: int,
    relative_steps: int | None = None,
    stats_period: int | None = None,
    random_seed: int | None,
    use_hardware_rng: bool = False,
    summarize_config_fn: Callable[[str, Any, int], None],
    inference_evaluator_cls: utils.EvaluatorConstructor | None = None,
    get_dataset_fn: utils.GetDatasetCallable = utils.get_dataset,
    concurrent_metrics: bool = True,
    actions: Mapping[str, Sequence[trainer_lib.BaseAction]] | None = None,
    train_eval_get_dataset_fn: utils.GetEvalDatasetCallable = utils.get_training_eval_datasets,
    run_eval_before_training: bool = False,
    train_state_initializer_cls: type[utils.TrainStateInitializer] = utils.TrainStateInitializer,
    use_orbax: bool = True,
    verify_matching_vocabs_fn: Callable[..., None] | None = utils.verify_matching_vocabs,
    gc_period: int = 0,
) -> tuple[int, Any]:
    """Trains a model, or continues a run that stopped half way.

    A run that is continued in its `model_dir` ends with the state it would have had without the stop (on one kind of
    device): steps, data order, keys and periods all go on from where the last checkpoint stands. May be called several
    times in a process.

    Args:
      model: the model, with its optimizer.
      train_dataset_cfg: training data.
      train_eval_dataset_cfg: data of the teacher-forced evaluation, or None.
      infer_eval_dataset_cfg: data of the evaluation by inference, or None.
      checkpoint_cfg: what to restore first, when to save.
      partitioner: mesh and placement.
      trainer_cls: trainer, called with model, train_state, partitioner, train_state_axes, eval_names, summary_dir, rng.
      model_dir: folder of the run.
      total_steps: step at which training ends; counts the steps of a restored checkpoint.
      eval_steps: batches of a teacher-forced evaluation.
      eval_period: steps between evaluations; one also takes place at the end. 0 switches both kinds off.
      relative_steps: replaces `total_steps` by this many steps after the run's first one.
      stats_period: steps between written statistics; None takes the shortest other period.
      random_seed: seed of initialisation and dropout; None takes the wall clock and hardware random numbers.
      use_hardware_rng: use hardware random numbers with the given seed.
      summarize_config_fn: called once with model_dir, summary writer and step.
      inference_evaluator_cls: constructor of the SeqIO evaluator; None takes `seqio.Evaluator`.
      get_dataset_fn: makes the training data set.
      concurrent_metrics: compute metrics of the evaluation by inference in the background.
      actions: `TRAIN | TRAIN_EVAL | INFER_EVAL` to actions that may stop training; the first and the last run only
        without `concurrent_metrics`.
      train_eval_get_dataset_fn: makes the data sets of the teacher-forced evaluation.
      run_eval_before_training: evaluate once before the first step.
      train_state_initializer_cls: makes the train state.
      use_orbax: accepted for compatibility; Orbax is always used.
      verify_matching_vocabs_fn: compares the vocabularies of task and model; None skips it.
      gc_period: collect Python's garbage only every so many steps; 0 leaves it to Python.

    Returns:
      The last step and the train state.

    Raises:
      SystemExit: with status 143, after SIGTERM came and a checkpoint was written.
      ValueError: when steps, actions or a checkpoint don't fit.
    """
    del use_orbax
    jax.monitoring.record_event("/jax/t5x/train/beacon")
    actions = _checked_actions(actions)
    utils.hide_gpus_from_tensorflow()
    checkpoint_utils.require_mounted(model_dir, "model_dir")
    model_dir = os.path.abspath(model_dir)
    os.makedirs(model_dir, exist_ok=True)

    with contextlib.ExitStack() as stack:
        if use_hardware_rng or random_seed is None:
            stack.enter_context(jax.default_prng_impl("unsafe_rbg"))  # for this run only
        seed = utils.wall_clock_seed() if random_seed is None else random_seed
        init_rng, trainer_rng = jax.random.split(jax.random.PRNGKey(seed))

        # Data first: the vocabularies must match and the shapes are needed to build the state.
        resume_path, position = _find_resume_point(model_dir)
        if verify_matching_vocabs_fn is not None and isinstance(model, models.BaseTransformerModel):
            if train_dataset_cfg.module:
                utils.import_module(train_dataset_cfg.module)
            verify_matching_vocabs_fn(train_dataset_cfg, model)
        train_dataset_cfg = _with_fixed_seed(train_dataset_cfg, position)
        layout = partitioner.get_data_layout(train_dataset_cfg.batch_size)
        train_iter = utils.prepare_train_iter(
            get_dataset_fn(train_dataset_cfg, layout.shard_id, layout.num_shards, model.FEATURE_CONVERTER_CLS),
            partitioner=partitioner,
            checkpoint_cfg=checkpoint_cfg,
            provenance=_provenance(train_dataset_cfg),
        )
        if hasattr(train_iter, "close"):
            stack.callback(train_iter.close)
        train_eval_datasets: Mapping[str, Any] = {}
        if train_eval_dataset_cfg is not None and eval_period:
            layout = partitioner.get_data_layout(train_eval_dataset_cfg.batch_size)
            where = (layout.shard_id, layout.num_shards, eval_steps, model.FEATURE_CONVERTER_CLS)
            train_eval_datasets = train_eval_get_dataset_fn(train_eval_dataset_cfg, *where)
        infer_evaluator = None
        if infer_eval_dataset_cfg is not None and eval_period:
            from t5x import eval as eval_lib  # needs SeqIO

            infer_evaluator = eval_lib.InferenceEvaluator(
                infer_eval_dataset_cfg,
                inference_evaluator_cls,
                model,
                partitioner,
                log_dir=model_dir,
                verify_matching_vocabs_fn=verify_matching_vocabs_fn,
            )
            stack.callback(infer_evaluator.close)

        # State: this run's own newest checkpoint, else the one asked for, else from scratch.
        restore_tick = time.time()
        initializer = train_state_initializer_cls(
            optimizer_def=model.optimizer_def,
            init_fn=model.get_initial_variables,
            input_shapes={name: spec.shape for name, spec in train_iter.element_spec.items()},
            input_types={name: spec.dtype for name, spec in train_iter.element_spec.items()},
            partitioner=partitioner,
        )
        train_state, manager = _restore_or_initialize(
            initializer, partitioner, checkpoint_cfg, model_dir, train_iter, resume_path, position, init_rng
        )
        stack.callback(manager.close)
        host_step = int(utils.get_local_data(train_state.step))
        # The run's first step. Periods count from it, so that they fall on the same steps after a restart.
        first_step = host_step - int((position or {}).get("batches", 0))
        restore_seconds = time.time() - restore_tick
        utils.log_model_info(
            os.path.join(model_dir, "model-info.txt"), initializer.global_train_state_shape, partitioner
        )

        if relative_steps is not None:
            total_steps = first_step + relative_steps
        has_eval = bool(train_eval_datasets) or infer_evaluator is not None
        eval_period = eval_period if has_eval else 0
        save_cfg = checkpoint_cfg.save
        save_period = (save_cfg.period or 0) if save_cfg is not None else 0
        periods = [period for period in (eval_period, save_period, gc_period) if period]
        periods.append(stats_period or min(periods, default=max(total_steps, 1)))
        checkpoint_steps = sorted((save_cfg and save_cfg.checkpoint_steps) or ())

        trainer = trainer_cls(
            model=model,
            train_state=train_state,
            partitioner=partitioner,
            train_state_axes=initializer.train_state_axes,
            eval_names=list(train_eval_datasets),
            summary_dir=model_dir,
            rng=trainer_rng,
        )
        stack.callback(trainer.close)
        del train_state  # the trainer owns it; a second reference would keep donated buffers in sight
        scalars = trainer.train_metrics_manager
        summarize_config_fn(model_dir, scalars.summary_writer, host_step)
        scalars.write_scalar("timing/init_or_restore_seconds", restore_seconds, host_step)

        def save(step: int) -> None:
            tick = time.time()
            manager.save(trainer.train_state, list(save_cfg.state_transformation_fns))
            scalars.write_scalar("timing/checkpoint_seconds", time.time() - tick, step)

        def evaluate(step: int) -> None:
            tick = time.time()
            if train_eval_datasets:
                batches = {n: utils.iterate_batches(ds, partitioner) for n, ds in train_eval_datasets.items()}
                metrics = trainer.eval(batches)
                _run_actions(trainer, actions, _TRAIN_EVAL, metrics)
            if infer_evaluator is not None:
                future = infer_evaluator.evaluate(trainer.train_state, initializer.train_state_axes)
                if not concurrent_metrics:
                    _run_actions(trainer, actions, _INFER_EVAL, future.result())
            scalars.write_scalar("timing/evaluate_seconds", time.time() - tick, step)

        def finish() -> None:
            manager.wait_until_finished()
            if infer_evaluator is not None:
                infer_evaluator.wait_until_finished()

        if run_eval_before_training and has_eval:
            evaluate(host_step)
        if total_steps < host_step:
            raise ValueError(
                f"total_steps is {total_steps}, but the restored state stands at step {host_step}. total_steps counts "
                f"the steps of the restored checkpoint: set at least {host_step}, or bind relative_steps."
            )
        if host_step >= total_steps or host_step in checkpoint_steps:
            # A state from which no step is taken would otherwise be lost; before a first step none is written.
            if save_cfg is not None:
                save(host_step)
            if host_step >= total_steps:
                finish()
                return host_step, trainer.train_state

        notice = stack.enter_context(preemption.Notice())
        trainer.is_preempted = notice.reached
        # The first batch is read while the step compiles.
        warmup_tick = time.time()
        first_batch = train_iter.peek_async()
        placement = NamedSharding(partitioner.mesh, partitioner.data_partition_spec)
        spec = train_iter.element_spec.items()
        trainer.compile_train({k: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement) for k, x in spec})
        first_batch.result()
        scalars.write_scalar("timing/train_iter_warmup", time.time() - warmup_tick, host_step)
        jax.monitoring.record_event_duration_secs(
            "/jax/t5x/train/time_before_first_step_secs", time.time() - _PROCESS_START_SECONDS
        )
        if gc_period:
            gc.disable()
            stack.callback(gc.enable)

        try:
            while host_step < total_steps and not trainer.stop_training:
                piece_end = min(
                    total_steps,
                    *(_next_multiple(host_step, period, first_step) for period in periods),
                    *(step for step in checkpoint_steps if step > host_step),
                )
                summary = trainer.train(train_iter, piece_end - host_step, start_step=host_step)
                host_step = piece_end
                if not concurrent_metrics and actions.get(_TRAIN):
                    _run_actions(trainer, actions, _TRAIN, {"train": summary.result()})
                elapsed = host_step - first_step
                is_last = host_step >= total_steps or trainer.stop_training
                is_due = host_step in checkpoint_steps or (save_period and elapsed % save_period == 0)
                if save_cfg is not None and (is_last or is_due):
                    save(host_step)
                if eval_period and (is_last or elapsed % eval_period == 0):
                    evaluate(host_step)
                if gc_period and elapsed % gc_period == 0:
                    gc.collect()
        except trainer_lib.PreemptionError:
            host_step = int(utils.get_local_data(trainer.train_state.step))
            logging.warning("Preempted at step %d: saving.", host_step)
            if save_cfg is not None:
                save(host_step)
            manager.wait_until_finished()
            if notice.received:
                raise SystemExit(preemption.EXIT_STATUS) from None
            raise
        if trainer.stop_training:
            logging.info("An action stopped training at step %d of %d.", host_step, total_steps)
            if save_cfg is not None:
                save(host_step)  # of an evaluation's action; nothing happens if the chunk's end saved it
        finish()
        utils.sync_global_devices("train_end")
        return host_step, trainer.train_state


def _checked_actions(actions: Mapping[Any, Sequence[Any]] | None) -> dict[str, Sequence[Any]]:
    """Actions by the name of their mode, which may be given as string or enum member."""
    named = {getattr(mode, "name", mode): list(listed) for mode, listed in (actions or {}).items()}
    unknown = set(named) - {_TRAIN, _TRAIN_EVAL, _INFER_EVAL}
    if unknown:
        raise ValueError(f"actions has the keys {sorted(unknown)}; allowed: {_TRAIN}, {_TRAIN_EVAL}, {_INFER_EVAL}.")
    return named


def _run_actions(trainer: Any, actions: Mapping[str, Sequence[Any]], mode: str, metrics: Mapping[str, Any]) -> None:
    """Runs a mode's actions on process 0 and tells all processes whether one of them stops training."""
    if not actions.get(mode):
        return
    stop = False
    if jax.process_index() == 0:
        for action in actions[mode]:
            stop |= bool(action.run(trainer.train_state, metrics_by_task=metrics))
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        stop = bool(multihost_utils.broadcast_one_to_all(np.int32(stop)))
    trainer.stop_training = trainer.stop_training or stop


def _find_resume_point(model_dir: str) -> tuple[str | None, dict | None]:
    """This run's newest checkpoint and the data position stored in it."""
    if jax.process_index() == 0:
        for name in checkpoint_utils.remove_unfinished(model_dir):
            logging.info("Removed %s, which an earlier process left half written.", name)
    step = checkpoint_utils.latest_step(model_dir)
    if step is None:
        return None, None
    path = checkpoint_utils.get_checkpoint_dir(model_dir, step)
    return path, checkpoints.read_dataset_position(path)


def _provenance(cfg: Any) -> dict[str, Any]:
    """Facts that must agree for a data position to mean anything."""
    task = getattr(cfg, "mixture_or_task_name", None)
    return {
        "mixture_or_task_name": task if isinstance(task, str) or task is None else task.name,
        **{name: getattr(cfg, name, None) for name in ("split", "batch_size", "seed", "pack", "shuffle")},
    }


def _with_fixed_seed(cfg: Any, position: Mapping[str, Any] | None) -> Any:
    """Turns `seed=None` into a number, stored with each checkpoint: a resumed run reads in the same order."""
    if not dataclasses.is_dataclass(cfg) or cfg.seed is not None:
        return cfg
    stored = (position or {}).get("seed")
    return dataclasses.replace(cfg, seed=utils.wall_clock_seed() if stored is None else int(stored))


def _restore_or_initialize(
    initializer: utils.TrainStateInitializer,
    partitioner: Any,
    checkpoint_cfg: utils.CheckpointConfig,
    model_dir: str,
    train_iter: Any,
    resume_path: str | None,
    position: Mapping[str, Any] | None,
    init_rng: jax.Array,
) -> tuple[Any, checkpoints.OrbaxCheckpointManagerInterface]:
    manager = utils.create_orbax_checkpoint_manager(
        save_cfg=checkpoint_cfg.save,
        train_state=initializer.global_train_state_shape,
        partitioner=partitioner,
        ds_iter=train_iter if hasattr(train_iter, "save") else None,
        model_dir=model_dir,
    )
    asked = checkpoint_cfg.restore
    if resume_path is not None:
        logging.info("Resuming from %s.", resume_path)
        state = manager.restore(
            path=resume_path,
            state_transformation_fns=list(asked.state_transformation_fns) if asked is not None else [],
            is_resuming=True,
        )
        if position is not None and isinstance(train_iter, utils.TrainIterator):
            changed = {k: (position[k], v) for k, v in train_iter.provenance.items() if position.get(k, v) != v}
            if changed:
                logging.warning("The training data changed (was, is): %s. It starts from its beginning.", changed)
            else:
                manager.restore_dataset(resume_path)
        return state, manager
    if asked is not None and asked.path:
        if not isinstance(asked.path, str) or asked.mode == "all":
            raise ValueError(
                f"Training restores from one checkpoint; RestoreCheckpointConfig has path={asked.path!r} and "
                f"mode={asked.mode!r}. Give one path, with mode 'specific' or 'latest'."
            )
        state = initializer.from_checkpoint([asked], ds_iter=train_iter, init_rng=init_rng)
        if state is not None:
            return state, manager
    return initializer.from_scratch(init_rng), manager


def _next_multiple(step: int, period: int, origin: int) -> int:
    """The first step after `step` that lies a multiple of `period` after `origin`."""
    return origin + ((step - origin) // period + 1) * period


def _start_processes(given: flags.FlagValues) -> None:
    if given.multiprocess_gpu:
        timeout = given.initialization_timeout
        jax.distributed.initialize(
            given.coordinator_address,
            given.process_count,
            given.process_index,
            **({} if timeout is None else {"initialization_timeout": timeout}),
        )
    if given.seqio_additional_cache_dirs:
        import seqio

        seqio.add_global_cache_dirs(given.seqio_additional_cache_dirs)


if __name__ == "__main__":
    flags.DEFINE_list("seqio_additional_cache_dirs", [], "Further folders in which SeqIO looks for cached tasks.")
    flags.DEFINE_boolean("multiprocess_gpu", False, "Start jax.distributed for several processes.")
    flags.DEFINE_string("coordinator_address", None, "Host and port of process 0, for jax.distributed.")
    flags.DEFINE_integer("process_count", None, "Number of processes, for jax.distributed.")
    flags.DEFINE_integer("process_index", None, "Index of this process, for jax.distributed.")
    flags.DEFINE_integer("initialization_timeout", None, "Seconds jax.distributed waits for the other processes.")
    gin_utils.run_entry_point(train, _start_processes)
