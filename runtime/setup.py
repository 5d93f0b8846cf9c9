"""Build file of `doa-t5x`: a small, clean-room `t5x` for machines that cannot install upstream T5X."""

import setuptools

setuptools.setup(
    name="doa-t5x",
    version="0.1.0",
    description="A clean-room runtime with T5X's public interface for training, evaluating and inferring T5.",
    python_requires=">=3.11,<3.14",
    packages=setuptools.find_packages(include=["t5x", "t5x.*"]),
    package_data={"t5x": ["**/*.gin"]},
    install_requires=[
        "absl-py>=2.1",
        "clu>=0.0.12",
        "flax>=0.12",
        "gin-config>=0.5",
        "jax>=0.10",
        "numpy>=1.26",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.11",
        "seqio>=0.0.20",
        "tensorflow>=2.19",
    ],
)
