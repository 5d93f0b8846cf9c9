"""One capture over two processes of four devices each, on loopback, is that of one process, and resumes like it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import capture_process
import jax
import numpy as np
import pytest

from distill_or_annotate.capture import frames, header, records, writer
from distill_or_annotate.interop import parameters

_ROOT, _WORKER = Path(__file__).resolve().parents[3], Path(capture_process.__file__)


def _start(work, address):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4", "NPROC": "16"}
    return [
        subprocess.Popen(
            [sys.executable, str(_WORKER), str(work), str(index), "2", address],
            env=environment, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for index in range(2)
    ]  # fmt: skip


def _records(folder):
    types = records.feature_types(header.read(folder))
    return [
        records.parse(frame[12:-4], types)
        for index in writer.indices(folder)
        for frame in frames.read_frames(folder / index.file)
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_leave_the_store_of_one(tmp_path):
    shapes = {"encoder_input_tokens": (2, 8), "decoder_input_tokens": (2, 8)}
    params = capture_process.teacher_model().get_initial_variables(jax.random.PRNGKey(0), shapes)["params"]
    # Surer of itself: no argmax hangs on how sums are ordered.
    params = jax.tree.map(lambda x: 3.0 * x, dict(params.unfreeze()))
    parameters.write_checkpoint(params, tmp_path / "teacher")
    capture_process.capture(tmp_path, "one")
    # One shard is there already: all processes must skip it.
    resumed = tmp_path / "two" / "topk"
    resumed.mkdir(parents=True)
    kept = [resumed / name for name in ("header.json", "part-00000.tfrecord", "part-00000.json")]
    for file in kept:
        file.write_bytes((tmp_path / "one" / "topk" / file.name).read_bytes())
    stamps = [file.stat().st_mtime_ns for file in kept[1:]]

    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        address = f"localhost:{listening.getsockname()[1]}"
    processes = _start(tmp_path, address)
    try:
        for process in processes:
            output, _ = process.communicate(timeout=280)
            assert process.returncode == 0, output[-3000:]
    finally:
        for process in processes:
            process.kill()
            process.communicate()

    assert [file.stat().st_mtime_ns for file in kept[1:]] == stamps, "a whole shard was captured again"
    for kind in capture_process.KINDS:
        one, two = tmp_path / "one" / kind, tmp_path / "two" / kind
        assert writer.verify(two) == []
        assert header.read(two) == header.read(one)  # the teacher's fingerprint, the counts and all
        expected, found = _records(one), _records(two)
        assert [record.index for record in found] == list(range(capture_process.N_EXAMPLES))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.targets, theirs.targets)
            assert ours.text == theirs.text
            for name, values in ours.kept.items():
                np.testing.assert_allclose(values, theirs.kept[name], atol=2e-3, err_msg=name)
        names = {path.name for path in one.iterdir() if not path.name.startswith(".")}
        assert {path.name for path in two.iterdir() if not path.name.startswith(".")} == names
        for name in names:
            if "predict" in name or name == writer.HEAD:
                assert (two / name).read_bytes().split(b'"aux"')[0] == (one / name).read_bytes().split(b'"aux"')[0]
