"""What README.md calls present can be imported, and what it calls absent cannot."""

import importlib

import pytest

PRESENT = {
    "": (
        "adafactor checkpoints checkpointing decoding gin_utils infer losses models partitioning state_utils "
        "train_state trainer utils __version__"
    ),
    "actions": "ActionMode BaseAction EarlyStoppingAction TerminateOnNanAction",
    "adafactor": "Adafactor FactorDim HEURISTIC_RULE HParamMap standard_logical_factor_rules",
    "binary_search": "int32_bsearch float32_bsearch topk_mask topp_mask",
    "checkpoint_utils": (
        "CheckpointTypes detect_checkpoint_type pin_checkpoint unpin_checkpoint is_pinned_checkpoint "
        "pinned_checkpoint_filepath remove_checkpoint_dir remove_dataset_checkpoint"
    ),
    "checkpoints": (
        "Checkpointer OrbaxCheckpointManagerInterface DatasetCheckpointHandler load_t5x_checkpoint all_steps "
        "latest_step get_checkpoint_dir get_checkpoint_prefix get_step_from_checkpoint_dir find_checkpoint"
    ),
    "decoding": (
        "DecodingState SamplingLoopState BeamState NEG_INF MIN_TEMPERATURE temperature_sample beam_search "
        "cache_map add_beam_dim flatten_beam_dim unflatten_beam_dim flat_batch_beam_expand gather_beams "
        "cache_gather_beams gather_topk_beams top_k_two_stage brevity_penalty beam_init"
    ),
    "eval": "evaluate InferenceEvaluator",
    "examples.t5.layers": (
        "dot_product_attention MultiHeadDotProductAttention DenseGeneral MlpBlock Embed LayerNorm "
        "RelativePositionBiases make_attention_mask make_causal_mask combine_masks combine_biases "
        "make_decoder_mask"
    ),
    "examples.t5.network": "T5Config Transformer EncoderLayer DecoderLayer Encoder Decoder",
    "gin_utils": (
        "get_gin_config_str parse_gin_flags rewrite_gin_args summarize_gin_config run sum_fn bool_fn string_split_fn"
    ),
    "infer": "infer write_inferences_to_file merge_chunks_to_file create_task_from_tfexample_file",
    "losses": (
        "cross_entropy_with_logits compute_weighted_cross_entropy SpecialLossNormalizingFactor "
        "get_loss_normalizing_factor_and_weights convert_special_loss_normalizing_factor_to_enum"
    ),
    "metrics": (
        "Sum Step AveragePerStep Time TimeRate StepsPerTime is_metric_obj is_time_metric create_metrics_dict "
        "shape_obj_to_defined_obj set_time_metrics_duration set_step_metrics_num_steps"
    ),
    "models": (
        "TokensIdsToLogitsCallable DecodeFnCallable BaseModel BaseTransformerModel EncoderDecoderModel "
        "DecoderParams DecoderOnlyModel remove_prefix compute_base_metrics compute_weighted_accuracy "
        "count_packed_examples get_input_vocabulary get_output_vocabulary"
    ),
    "optimizers": (
        "OptimizerState OptimizerDef Optimizer OptimizerType OptimizerDefType OptimizerStateType OptaxWrapper "
        "wrap_optax_optimizer chain adabelief adagrad adam adamw fromage lars lamb lion noisy_sgd radam "
        "rmsprop sgd yogi dpsgd"
    ),
    "partitioning": (
        "PjitPartitioner BasePjitPartitioner BasePartitioner PartitionSpec AxisNames with_sharding_constraint "
        "get_mesh get_cpu_mesh get_gpu_mesh default_mesh bounds_from_last_device get_coords "
        "global_mesh_defined LocalChunker DataLayout LocalChunkInfo host_local_array_to_global_array "
        "standard_logical_axis_rules PjittedFnWithContext"
    ),
    "state_utils": "flatten_state_dict get_name_tree intersect_state merge_state apply_assignment_map tensorstore_leaf",
    "train": "train",
    "train_state": "TrainState FlaxOptimTrainState InferenceState EMPTY_DICT",
    "trainer": (
        "BaseTrainer Trainer accumulate_grads_microbatched apply_grads train_with_lr eval_step merge_metrics "
        "WeightMetricsComputer MetricsManager ActionMode BaseAction EarlyStoppingAction TerminateOnNanAction "
        "PreemptionError BaseTrainerConstructor LearningRateCallable PartitionedTrainCallable "
        "PartitionedEvalCallable"
    ),
    "utils": (
        "DatasetConfig SaveCheckpointConfig RestoreCheckpointConfig CheckpointConfig get_dataset "
        "get_dataset_inner get_training_eval_datasets prepare_train_iter GetDatasetCallable "
        "GetEvalDatasetCallable EvaluatorConstructor InitFnCallable LearningRateCallable InferStepCallable "
        "InferFnCallable get_zeros_batch_like_spec get_zeros_batch_like_dataset TrainStateInitializer "
        "get_first_valid_restore_config_and_paths get_fallback_state create_checkpoint_manager_and_restore "
        "create_orbax_checkpoint_manager restore create_learning_rate_scheduler get_infer_fn get_vocabulary "
        "verify_matching_vocabs import_module round_vocab_size_to_multiple flatten_dict_string_keys "
        "set_hardware_rng_ops sync_global_devices multihost_assert_equal get_local_data "
        "find_first_checkpoint_step find_next_checkpoint_step run_main log_model_info TensorBoardLogger"
    ),
}
ABSENT = {
    "checkpoints": "SaveBestCheckpointer",
    "models": "compute_metrics",
    "optimizers": "MultiOptimizer amos",
    "utils": "LegacyCheckpointManager LegacyCheckpointer override_params_axes_names",
}


@pytest.mark.parametrize("module", PRESENT)
def test_names_called_present_are_there(module):
    found = importlib.import_module(f"t5x.{module}".rstrip("."))
    assert [name for name in PRESENT[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", ABSENT)
def test_names_called_absent_are_not(module):
    found = importlib.import_module(f"t5x.{module}")
    assert [name for name in ABSENT[module].split() if hasattr(found, name)] == []
