"""Runs of `t5x.train`, `t5x.infer` and `t5x.eval` on the synthetic task, in this process or in one of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS_DIR = Path(__file__).resolve().parent
# Gin files import `synthetic_task` by its plain name.
if str(TESTS_DIR) not in sys.path:
    sys.path.insert(0, str(TESTS_DIR))

ENTRY_POINTS = {"train": "train", "eval": "evaluate", "infer": "infer"}
COMMON = {"MIXTURE_OR_TASK_NAME": "'reverse_bytes'", "DROPOUT_RATE": 0.1}
LENGTHS = "{'inputs': 8, 'targets': 8}"
TRAIN = {
    "TASK_FEATURE_LENGTHS": LENGTHS,
    "BATCH_SIZE": 8,
    "USE_CACHED_TASKS": False,
    "RANDOM_SEED": 0,
    "INITIAL_CHECKPOINT_PATH": [],
    "EVAL_STEPS": 2,
    "partitioning.PjitPartitioner.model_parallel_submesh": "(1, 1, 1, 1)",
    "train/utils.DatasetConfig.pack": False,
    "train_eval/utils.DatasetConfig.pack": False,
}


def bindings(**macros):
    """Gin bindings of the given macros over the common ones; `__` stands for a dot."""
    return [f"{name} = {value}" for name, value in macros.items()]


def files(config):
    return [str(TESTS_DIR / "byte_model.gin"), f"t5x/configs/runs/{config}.gin"]


@pytest.fixture(scope="session")
def compilation_cache(tmp_path_factory):
    """A folder of compiled programs for all these runs: their steps are the same, and compiling is most of the time."""
    return os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def configured(compilation_cache):
    """`configured(program, config, {name: value})` is the entry point, to be called within the test."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache as jax_cache

    import gin
    import t5x
    from t5x import gin_utils

    options = {
        "jax_compilation_cache_dir": compilation_cache,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    jax_cache.reset_cache()

    def parse(program, config, macros):
        given = {**COMMON, **(TRAIN if program == "train" else {}), **macros}
        return gin_utils.parse_for(
            getattr(t5x, program), ENTRY_POINTS[program], gin_files=files(config), gin_bindings=bindings(**given)
        )

    yield parse
    gin.clear_config()
    for name, value in before.items():
        jax.config.update(name, value)
    jax_cache.reset_cache()


@pytest.fixture
def start(compilation_cache):
    """`start(program, config, {name: value})` starts `python -m t5x.PROGRAM`; what still runs at the end is killed."""
    processes = []

    def popen(program, config, macros, extra=()):
        given = {**COMMON, **(TRAIN if program == "train" else {}), **macros}
        command = [sys.executable, "-m", f"t5x.{program}", *(f"--gin_file={f}" for f in files(config)), *extra]
        command += [f"--gin.{name}={value}" for name, value in given.items()]
        environment = {
            **os.environ,
            "PYTHONPATH": str(TESTS_DIR),
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": compilation_cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        process = subprocess.Popen(
            command, env=environment, cwd=os.sep, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        processes.append(process)
        return process

    yield popen
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def arguments(configured):
    """`arguments(program, config, {name: value})` is what gin would call the entry point with, to be changed first."""
    import gin

    def evaluated(program, config, macros):
        configured(program, config, macros)
        return dict(gin.get_bindings(ENTRY_POINTS[program]))

    return evaluated


@pytest.fixture
def trained(configured, tmp_path_factory):
    """A checkpoint of the model after two steps, made once per session."""
    folder = tmp_path_factory.getbasetemp() / "trained"
    if not (folder / "checkpoint_2").exists():
        configured("train", "finetune", {"MODEL_DIR": f"'{folder}'", "TRAIN_STEPS": 2, "EVAL_PERIOD": 0})()
    return str(folder / "checkpoint_2")
