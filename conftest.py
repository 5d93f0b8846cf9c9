"""What every test stands on, set before anything can start JAX: eight virtual CPU devices, quick compiling, one cache.

`jax.config.update` raises when it comes too late; the environment variable would be ignored in silence. `NPROC` gives
XLA's collectives enough threads: with eight devices on two cores they deadlock otherwise (docs/footguns.md). What is
in the environment holds for the processes that tests start, too.
"""

import atexit
import gc
import os
import pathlib
import shutil
import tempfile

os.environ.setdefault("NPROC", "16")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Programs here run once or twice on tiny arrays: compiling them thoroughly would be most of the suite's time.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# The newer way of emitting code for a CPU takes twice as long to compile an operation.
os.environ["XLA_FLAGS"] = f"--xla_cpu_use_fusion_emitters=false {os.environ.get('XLA_FLAGS', '')}".rstrip()
# What one process has compiled, the others read. The first to come here makes the folder: its workers inherit it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="doa-tests-compiled-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


# A compiled program maps about nine pieces of memory, of which Linux gives a process 65,530 (vm.max_map_count): without
# this a worker of the whole suite dies in one of its last files, and says nothing.
_MOST_MAPPINGS = 20_000


@pytest.fixture(scope="module", autouse=True)
def programs_are_let_go():
    """Frees compiled programs after a file, where there are many."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > _MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


def pytest_collection_modifyitems(items):
    """Files with a slow test first: begun last, one of them would keep a single worker busy at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
