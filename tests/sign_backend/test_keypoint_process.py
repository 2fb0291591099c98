"""What a keypoint worker may do wrong is said, and ends nothing else; no MediaPipe needed."""

import sys
from pathlib import Path

import pytest

from base.errors import DataError, ResourceError
from sign_backend import keypoint_process
from sign_backend.keypoint_process import KeypointProcess, worker_python

HEAD = """
import json, struct, sys, time, os
sys.path.insert(0, {folder!r})
from keypoint_worker import send, receive
into, out = sys.stdin.buffer, sys.stdout.buffer
send(out, {{"ready": {{"mediapipe": "none"}}}})
header, payload = receive(into)
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Starts a worker that does what `body` says with the first message."""
    opened = []

    def start(body: str, head: str = HEAD, timeout_s: float = 20.0) -> KeypointProcess:
        script = tmp_path / "worker.py"
        folder = str(Path(keypoint_process.__file__).parent)
        script.write_text(head.format(folder=folder) + body)
        monkeypatch.setattr(keypoint_process, "WORKER", script)
        opened.append(KeypointProcess(Path(sys.executable), timeout_s))
        return opened[-1]

    yield start
    for process in opened:
        process.close()


def test_header_and_bytes_go_both_ways_past_news(worker):
    process = worker(
        "send(out, {'progress': 3}); send(out, {'ok': True, 'n': header['n']}, payload[::-1])"
    )
    answer, data = process.ask("x", {"do": "track", "n": 7}, bytes(range(256)) * 1000)
    assert answer["n"] == 7
    assert data == (bytes(range(256)) * 1000)[::-1]


@pytest.mark.parametrize(
    ("body", "error", "match"),
    [
        ("send(out, {'error': 'no frame could be decoded'})", DataError, "clip.mp4: no frame"),
        ("send(out, {'unavailable': 'no heavy'})", ResourceError, "clip.mp4: no heavy"),
        ("os._exit(9)", DataError, "clip.mp4: the keypoint worker ended with 9"),
        ("out.write(struct.pack('<I', 99) + b'{'); out.flush()", DataError, "ended with 0"),
        ("send(out, {'ok': True}, b'12345678'); out.flush()", None, ""),
    ],
)
def test_an_answer_that_is_none_is_an_error_that_names_the_video(worker, body, error, match):
    process = worker(body)
    if error is None:
        assert process.ask("clip.mp4", {"do": "x"})[1] == b"12345678"
        return
    with pytest.raises(error, match=match):
        process.ask("clip.mp4", {"do": "x"})


def test_a_silent_worker_is_ended(worker):
    process = worker("time.sleep(60)", timeout_s=1.0)
    with pytest.raises(DataError, match="said nothing for 1 s"):
        process.ask("clip.mp4", {"do": "x"})
    assert not process.alive


def test_a_worker_that_reads_nothing_is_ended_as_well(worker):
    head = HEAD.replace("header, payload = receive(into)", "time.sleep(60)")
    process = worker("", head, timeout_s=1.0)
    with pytest.raises(DataError, match="said nothing for 1 s"):
        process.ask("clip.mp4", {"do": "x"}, bytes(10**6))


def test_after_its_death_a_worker_says_so(worker):
    process = worker("os._exit(1)")
    for _ in range(2):
        with pytest.raises(DataError, match="keypoint worker"):
            process.ask("clip.mp4", {"do": "x"})


def test_without_the_packages_it_says_what_to_do(monkeypatch):
    # this project's own environment has no MediaPipe
    with pytest.raises(ResourceError, match=r"(mediapipe|cv2).*make setup-sign"):
        KeypointProcess(Path(sys.executable))


def test_without_the_environment_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNEGYM_SIGN_PYTHON", str(tmp_path / "python"))
    with pytest.raises(ResourceError, match="make setup-sign"):
        worker_python()
