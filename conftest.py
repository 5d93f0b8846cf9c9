"""Eight virtual CPU devices for every test, set before anything can start JAX.

`jax.config.update` raises when it comes too late; the environment variable would be ignored in silence. `NPROC` gives
XLA's collectives enough threads: with eight devices on two cores they deadlock otherwise (docs/footguns.md).
"""

import os

os.environ.setdefault("NPROC", "16")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax

jax.config.update("jax_num_cpu_devices", 8)
# Programs here run once or twice on tiny arrays: compiling them thoroughly would be most of the suite's time.
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
