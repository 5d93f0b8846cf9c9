"""Noting SIGTERM: in the main thread, for as long as the block runs, and nowhere else."""

import os
import signal
import threading

import pytest

from t5x import preemption


@pytest.fixture
def heard():
    """Signals that reach whoever listened before the block."""
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    yield came
    signal.signal(signal.SIGTERM, before)


def test_a_block_notes_the_signal_and_then_leaves_it_to_others(heard):
    with preemption.Notice() as notice:
        assert not notice.reached(0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.reached(1) and notice.received
    assert heard == []
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_another_thread_leaves_the_signal_alone(heard):
    def block():
        with preemption.Notice():
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert heard == [signal.SIGTERM]


def test_a_signal_too_late_to_stop_the_block_goes_to_whom_it_went_before(heard):
    with preemption.Notice() as notice:
        assert not notice.reached(0)
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]
