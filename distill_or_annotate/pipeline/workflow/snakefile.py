"""A Snakefile with one rule per stage; each rule runs `doa run ... --stage NAME`, which keeps the books."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from distill_or_annotate.pipeline import work
from distill_or_annotate.pipeline.runner import Study, needs

# Buying labels and adding scores up is not worth a place in a cluster's queue, and a language model is asked from where
# its key is.
_LOCAL = ("label", "llm_label", "evaluate")
_HEAD = """# Written by `doa run --jobs`, anew by each run. One rule per stage: what `doa run` does in one process.
# Alone: snakemake --snakefile {path} --directory {folder} --jobs 2
localrules: {local}


rule all:
    input: {marks}
"""
_RULE = """

rule {rule}:  # {title}
    input: {inputs}
    output: touch({mark!r})
    log: {log!r}
    shell: {shell!r}
"""


def snakefile(study: Study, words: Sequence[str], folder: Path, here: Path) -> str:
    """The rules of a study.

    Args:
      study: the study.
      words: the command line that runs it, such as `["doa", "run", "smoke", "--run-dir", "runs/smoke"]`.
      folder: Snakemake's own folder; marks and logs lie in it, and the rules name them relative to it.
      here: the folder in which the command line was given.

    Returns:
      The Snakefile's text.
    """
    marks = [mark(stage.name) for stage in study.stages]
    local = ["all", *(_rule(stage.name) for stage in study.stages if stage.kind in _LOCAL)]
    paths = {"path": folder / "Snakefile", "folder": folder}
    head = _HEAD.format(**paths, local=", ".join(local), marks=", ".join(map(repr, marks)))
    return head + "".join(
        _RULE.format(
            rule=_rule(stage.name),
            title=work.title(stage),
            inputs=", ".join(repr(mark(name)) for name in needs(stage, study.stages)),
            mark=mark(stage.name),
            log=log(stage.name),
            shell=_braced(_shell(words, stage.name, here)),
        )
        for stage in study.stages
    )


def _rule(name: str) -> str:
    return name.replace("-", "_")


def mark(name: str) -> str:
    """The file that says that a stage was reached in this run, relative to Snakemake's folder.

    Args:
      name: the stage.
    """
    return f"done/{name}"


def log(name: str) -> str:
    """The file that a stage's command writes to, relative to Snakemake's folder.

    Args:
      name: the stage.
    """
    return f"logs/{name}.txt"


def status(name: str) -> str:
    """The file that holds the exit status of a stage's command, relative to Snakemake's folder.

    Args:
      name: the stage.
    """
    return f"logs/{name}.status"


def _shell(words: Sequence[str], name: str, here: Path) -> str:
    command = shlex.join([*words, "--stage", name])
    return (
        f"mkdir -p logs; here=$PWD; status=0; cd {shlex.quote(str(here))}; "
        f'{command} > "$here/{log(name)}" 2>&1 || status=$?; '
        f'echo $status > "$here/{status(name)}"; exit $status'
    )


def _braced(text: str) -> str:
    """Snakemake fills in what stands in braces; a path of ours may hold some too."""
    return text.replace("{", "{{").replace("}", "}}")
