"""Real runs against stand-ins: failures name what still costs money, odd words arrive whole, jobs queue again."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TPU = ("--accelerator", "v5p-8", "--zone", "us-east5-a")
GPU = ("--machine", "a2-ultragpu-1g", "--hosts", "2", "--zone", "us-central1-a")
ODD = ["--gin_file=my gin/a.gin", "--gin.TASK='it is'", '--gin.NOTE="$HOME `id` \\ *"']


def _checkout(folder, *names):
    """A folder with some of the launchers in it, for what writes beside itself."""
    (folder / "launch").mkdir(parents=True)
    for name in names:
        shutil.copy(ROOT / "launch" / name, folder / "launch")
    return folder


@pytest.mark.parametrize(
    ("script", "flags", "fail_on", "usd"),
    [("tpu_vm.sh", TPU, "scp", "$16.80"), ("gpu_vm.sh", GPU, "scp", "$10.14"), ("tpu_vm.sh", TPU, "ssh", "$16.80")],
)
def test_a_failing_step_stops_and_says_what_is_still_up_and_how_to_end_it(machine, script, flags, fail_on, usd):
    done = machine.run(script, "resume", "mine", *flags, "--", "--gin_file=a.gin", FAIL_ON=fail_on)
    assert done.returncode == 7
    last = done.stderr.strip().splitlines()[-2:]
    assert "stopped with status 7" in last[0] and "still up" in last[0]
    assert f"at most {usd} an hour" in last[1] and f"Stop it: launch/{script} delete mine {' '.join(flags)}" in last[1]
    # Nothing was tried after the step that failed.
    assert fail_on in machine.calls()[-1]


def test_a_failed_creation_says_that_it_does_not_know(machine):
    done = machine.run("tpu_vm.sh", "create", "mine", *TPU, FAIL_ON="create")
    assert done.returncode == 7 and "Whether mine is up is not known" in done.stderr
    assert "look: launch/tpu_vm.sh status mine --accelerator v5p-8 --zone us-east5-a" in done.stderr


def test_a_failed_deletion_says_that_it_goes_on_costing(machine):
    done = machine.run("tpu_vm.sh", "delete", "mine", *TPU, FAIL_ON="delete")
    assert done.returncode == 7 and "mine is still up and costs money" in done.stderr
    assert "Try again: launch/tpu_vm.sh delete mine" in done.stderr and "is gone" not in done.stdout


def test_what_was_not_preempted_is_not_removed(machine):
    done = machine.run("tpu_vm.sh", "resume", "mine", *TPU, "--", "--gin_file=a.gin", ANSWER_tpu_vm="READY")
    assert done.returncode == 2 and "mine is up; nothing was taken away" in done.stderr
    assert [call[4] for call in machine.calls()] == ["describe"]
    done = machine.run("gpu_vm.sh", "resume", "it", *GPU, "--", "--gin_file=a.gin", ANSWER_list="RUNNING\nRUNNING\n")
    assert done.returncode == 2 and "delete" not in [call[3] for call in machine.calls()]


def test_a_queue_entry_that_failed_ends_the_wait(machine):
    done = machine.run("tpu_vm.sh", "create", "mine", *TPU, "--queued", ANSWER_queued_resources="FAILED")
    assert done.returncode == 1 and "it says FAILED" in done.stderr


@pytest.mark.parametrize("script", ["tpu_vm.sh", "gpu_vm.sh", "slurm.sh"])
def test_odd_words_arrive_at_the_program_as_they_were_given(machine, tmp_path, script):
    flags = {"tpu_vm.sh": TPU, "gpu_vm.sh": GPU, "slurm.sh": ("--name", "mine", "--model-dir", "/scratch/me")}[script]
    action = ("submit",) if script == "slurm.sh" else ("run", "mine")
    done = machine.run(script, *action, *flags, "--", *ODD)
    assert done.returncode == 0, done.stderr
    call = machine.calls()[0]
    if script == "slurm.sh":
        words = call
    else:
        # What the machine's shell makes of the command that ssh hands to it.
        command = next(word for word in call if word.startswith("--command=")).removeprefix("--command=")
        command = command.replace("sudo ", "").replace("bash doa/launch/worker_run.sh", "docker")
        subprocess.run(
            ["bash", "-c", command],
            env={
                **os.environ,
                "PATH": f"{machine.folder}{os.pathsep}{os.environ['PATH']}",
                "CALLS": f"{tmp_path}/seen",
            },
            check=True,
        )
        words = json.loads((tmp_path / "seen").read_text().splitlines()[-1])
    assert [word for word in words if word in ODD] == ODD


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tpu_vm.sh", "create", "mine", "--zone", "z"), "--accelerator is missing"),
        (("tpu_vm.sh", "create", "Mine", *TPU), "NAME is 'Mine'; allowed: lower-case"),
        (("tpu_vm.sh", "create", "mine", "--accelerator", "v9-8", "--zone", "z"), "'v9-8'; allowed: v4-N, v5p-N"),
        (("tpu_vm.sh", "create", "mine", "--accelerator", "v5p-4", "--zone", "z"), "v5p counts cores, in eights"),
        (("tpu_vm.sh", "create", "mine", *TPU, "--sopt"), "unknown flag --sopt"),
        (("tpu_vm.sh", "create", "mine", *TPU, "--bucket", "gs://b"), "a bucket's name, without gs://"),
        (("tpu_vm.sh", "destroy", "mine", *TPU), "'destroy' is no action; allowed: create, setup"),
        (("tpu_vm.sh", "run", "mine", *TPU), "what to run stands after --"),
        (("tpu_vm.sh", "run", "mine", *TPU, "--model-dir", "x", "--", "--gin_file=a"), "--model-dir needs --bucket"),
        (("tpu_vm.sh", "run", "mine", *TPU, "--bucket", "b-b", "--model-dir", "../x", "--", "-a"), "inside the bucket"),
        (("tpu_vm.sh", "run", "mine", *TPU, "--module", "os.system", "--", "-a"), "allowed: t5x.train"),
        (("gpu_vm.sh", "create", "mine", "--machine", "n2-standard-8", "--zone", "z"), "ends in its GPUs"),
        (("gpu_vm.sh", "create", "mine", *GPU, "--hosts", "0"), "--hosts is '0'; allowed: whole numbers"),
        (("slurm.sh", "submit", "--name", "mine", "--model-dir", "runs/x", "--", "-a"), "an absolute path"),
        (("slurm.sh", "submit", "--name", "mine", "--time", "5", "--", "-a"), "at least 15 minutes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_flag_is_refused_before_anything_is_called(machine, words, message):
    done = machine.run(*words)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert machine.calls() == []


def test_each_process_of_a_job_is_told_its_number_and_the_coordinator(machine, tmp_path):
    job = {"SLURM_NNODES": "2", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "COORDINATOR": "n1:20007"}
    done = machine.run("slurm_job.sh", "--process", "t5x.train", *ODD, PYTHON=str(machine.folder / "docker"), **job)
    assert done.returncode == 0, done.stderr
    several = ["--multiprocess_gpu", "--coordinator_address=n1:20007", "--process_count=2", "--process_index=1"]
    assert machine.calls() == [["docker", "-m", "t5x.train", *several, *ODD]]


@pytest.mark.parametrize(
    ("status", "turn", "queued_again"), [("143", "0", True), ("1", "0", False), ("0", "0", False), ("143", "50", False)]
)
def test_a_job_queues_again_after_sigterm_and_only_then(machine, status, turn, queued_again):
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": "2", "SLURM_RESTART_COUNT": turn}
    done = machine.run("slurm_job.sh", "t5x.train", *ODD, ANSWER_hostnames="n1\nn2\n", STATUS_srun=status, **job)
    assert done.returncode == (1 if turn == "50" else int(status))
    assert (["scontrol", "requeue", "7"] in machine.calls()) == queued_again
    (srun,) = [call for call in machine.calls() if call[0] == "srun"]
    assert srun == ["srun", "--wait=300", "bash", "launch/slurm_job.sh", "--process", "t5x.train", *ODD]


_PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(143)))
print("given", sys.argv[1:], flush=True)
time.sleep(60)
"""


def test_a_started_process_outlives_its_shell_and_saves_when_it_is_stopped(machine, tmp_path):
    checkout = _checkout(tmp_path / "doa", "worker_run.sh")
    (checkout / "program.py").write_text(_PROGRAM)
    script, quick = checkout / "launch" / "worker_run.sh", {"PYTHON": sys.executable, "SETTLE_SECONDS": "1"}
    started = machine.run(script, "start", "program", *ODD, **quick)
    assert started.returncode == 0, started.stderr
    pid = int((checkout / "run.pid").read_text())
    try:
        again = machine.run(script, "start", "program", **quick)
        assert again.returncode == 1 and f"process {pid} runs already" in again.stderr
        assert machine.run(script, "stop").returncode == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert (checkout / "run.log").read_text().splitlines() == [f"given {ODD}", "saved"]


def test_a_process_that_dies_at_once_is_heard_of(machine, tmp_path):
    script = _checkout(tmp_path / "doa", "worker_run.sh") / "launch" / "worker_run.sh"
    quick = {"PYTHON": sys.executable, "SETTLE_SECONDS": "1"}
    done = machine.run(script, "start", "no_such_module", **quick)
    assert done.returncode == 1 and "No module named no_such_module" in done.stderr
    assert machine.run(script, "start", "this", **quick).returncode == 0, "one that ended well is no failure"


@pytest.mark.parametrize(
    ("accelerator", "extra"), [("tpu", ["jax[tpu]=="]), ("cuda13", ["jax[cuda13]=="]), ("cpu", [])]
)
def test_the_environment_has_the_accelerators_jax_of_the_locked_version(machine, tmp_path, accelerator, extra):
    checkout = _checkout(tmp_path / "doa", "worker_setup.sh")
    shutil.copy(ROOT / "requirements.lock", checkout)
    done = machine.run(checkout / "launch" / "worker_setup.sh", accelerator)
    assert done.returncode == 0, done.stderr
    locked = next(
        line.split(";")[0].strip() for line in (ROOT / "requirements.lock").open() if line.startswith("jax==")
    )
    install = machine.calls()[1]
    assert install[-1 - len(extra) :] == ["requirements.lock", *[name + locked.split("==")[1] for name in extra]]
