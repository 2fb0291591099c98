"""MediaPipe Holistic, as the process at the other end of `sign_backend.keypoint_process`.

This file is run by the Python of an environment of its own (`make setup-sign`), whose pins cannot
live beside those of this project; it needs nothing of it: `python keypoint_worker.py`.

A message is the length of its header (4 bytes, little endian), the header (JSON, with the number of
`bytes` that follow) and those bytes. The worker first says `{"ready": versions}`, or
`{"unavailable": why}`, and then answers each message, one after the other, by one with `"ok"` or by
`{"error": why}`; before the answer there may be any number of `{"progress": frames so far}`.

| message | answer |
|---|---|
| `{"do": "read", "path": P}` | `frames, height, width`, and the frames, uint8 RGB |
| `{"do": "extract", "path": P, "complexity": 0 to 2, "sharpen_sigma": null or s}` | \
`frames, height, width, expected, skipped`, and `[frames, 75, 3]` float64 |
| `{"do": "open", "tracker": N, "complexity": 0 to 2}` | |
| `{"do": "track", "tracker": N, "frames": n, "height": H, "width": W}` and the frames | \
`[n, 75, 3]` float64 |
| `{"do": "close", "tracker": N}` | |
"""

import json
import os
import queue
import signal
import struct
import sys
import threading
import time
from pathlib import Path

PARTS = (
    ("pose_landmarks", 0, 33),
    ("left_hand_landmarks", 33, 54),
    ("right_hand_landmarks", 54, 75),
)
POSE_MODELS = ("lite", "full", "heavy")  # by model_complexity
AHEAD = 16  # frames that are decoded before they are needed
IMAGES = (".jpg", ".jpeg", ".png")
SECONDS_OF_NEWS = 5.0


class Worker:
    """Answers messages; holds the trackers that are open."""

    def __init__(self):
        import cv2
        import mediapipe
        import numpy

        self.cv2, self.np, self.mediapipe = cv2, numpy, mediapipe
        self.trackers = {}  # complexity and tracker, by number
        self.closed = {}  # by complexity: their memory is never given back, so they are used again

    def versions(self):
        """What the results depend on."""
        return {
            "mediapipe": self.mediapipe.__version__,
            "opencv": self.cv2.__version__,
            "numpy": self.np.__version__,
            "python": sys.executable,
        }

    def answer(self, header, payload, news):
        """Return the answer's header and bytes."""
        return getattr(self, "do_" + header["do"])(header, payload, news)

    def do_read(self, header, payload, news):
        frames = list(self.decoded(header["path"], None, {}))
        array = self.np.stack(frames)
        count, height, width, _ = array.shape
        return {"frames": count, "height": height, "width": width}, array.tobytes()

    def do_extract(self, header, payload, news):
        notes: dict = {"expected": None, "skipped": 0}
        tracker, found = self.new_tracker(header["complexity"]), []
        try:
            for frame in ahead(self.decoded(header["path"], header["sharpen_sigma"], notes)):
                found.append(self.keypoints(tracker, frame))
                size = frame.shape
                news({"progress": len(found)})
        finally:
            tracker.close()
        points = self.np.stack(found)
        answer = {"frames": len(found), "height": size[0], "width": size[1], **notes}
        return answer, points.tobytes()

    def do_open(self, header, payload, news):
        complexity = header["complexity"]
        if self.closed.get(complexity):
            tracker = self.closed[complexity].pop()
            tracker.reset()
        else:
            tracker = self.new_tracker(complexity)
        self.trackers[header["tracker"]] = complexity, tracker
        return {}, b""

    def do_track(self, header, payload, news):
        shape = (header["frames"], header["height"], header["width"], 3)
        frames = self.np.frombuffer(payload, self.np.uint8).reshape(shape)
        _, tracker = self.trackers[header["tracker"]]
        points = [self.keypoints(tracker, frame) for frame in frames]
        return {}, self.np.stack(points).tobytes()

    def do_close(self, header, payload, news):
        complexity, tracker = self.trackers.pop(header["tracker"])
        self.closed.setdefault(complexity, []).append(tracker)
        return {}, b""

    def new_tracker(self, complexity):
        """A Holistic tracker; a pose model that is not there is said so, not downloaded."""
        name = f"pose_landmark_{POSE_MODELS[complexity]}.tflite"
        folder = Path(self.mediapipe.__file__).parent / "modules" / "pose_landmark"
        if not (folder / name).is_file():
            raise UnavailableError(
                f"the pose model {POSE_MODELS[complexity]!r} needs {name} in {folder}; "
                "MediaPipe's package brings only 'full'"
            )
        return self.mediapipe.solutions.holistic.Holistic(
            static_image_mode=False, model_complexity=complexity, smooth_landmarks=True
        )

    def keypoints(self, tracker, frame):
        """[75, 3] float64 of one RGB frame; NaN in the rows of a part that was not found."""
        result = tracker.process(frame)
        points = self.np.full((75, 3), self.np.nan)
        for name, first, end in PARTS:
            found = getattr(result, name)
            if found is not None:
                points[first:end] = [(p.x, p.y, p.z) for p in found.landmark]
        return points

    def decoded(self, path, sharpen_sigma, notes):
        """The frames of a video or of a folder of images, RGB, one at a time."""
        count, size = 0, None
        for frame in self.images(path, notes) if os.path.isdir(path) else self.video(path, notes):
            if size is None:
                size = frame.shape
            if frame.shape != size:
                raise ValueError(f"frame {count} is {frame.shape}, the first one {size}")
            count += 1
            frame = self.cv2.cvtColor(frame, self.cv2.COLOR_BGR2RGB)
            yield frame if sharpen_sigma is None else self.sharpened(frame, sharpen_sigma)
        if count == 0:
            raise ValueError("no frame could be decoded")

    def video(self, path, notes):
        capture = self.cv2.VideoCapture(path)
        if not capture.isOpened():
            raise ValueError("cannot be opened: damaged, no video, or a codec that is not known")
        notes["expected"] = int(capture.get(self.cv2.CAP_PROP_FRAME_COUNT))
        try:
            while True:
                there, frame = capture.read()
                if not there:
                    return
                yield frame
        finally:
            capture.release()

    def images(self, path, notes):
        names = sorted(n for n in os.listdir(path) if n.lower().endswith(IMAGES))
        notes["expected"] = len(names)
        for name in names:
            frame = self.cv2.imread(os.path.join(path, name), self.cv2.IMREAD_COLOR)
            if frame is None:
                notes["skipped"] += 1  # as the original does
            else:
                yield frame

    def sharpened(self, frame, sigma):
        """Unsharp masking, or for sigma 0 a 3x3 kernel."""
        if sigma:
            blurred = self.cv2.GaussianBlur(frame, (0, 0), sigma)
            return self.cv2.addWeighted(frame, 2.0, blurred, -1.0, 0.0)
        kernel = self.np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])
        return self.cv2.filter2D(frame, -1, kernel)


class UnavailableError(Exception):
    """Nothing of this kind can be done here, whatever the video."""


def ahead(frames):
    """The same frames, decoded by a thread of their own while the last ones are looked at."""
    waiting: queue.Queue = queue.Queue(AHEAD)
    stop = threading.Event()

    def put(item):
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def decode():
        try:
            for frame in frames:
                put((frame, None))
                if stop.is_set():
                    return
            put((None, None))
        except Exception as error:
            put((None, error))

    threading.Thread(target=decode, daemon=True).start()
    try:
        while True:
            frame, error = waiting.get()
            if error is not None:
                raise error
            if frame is None:
                return
            yield frame
    finally:
        stop.set()


def send(stream, header, payload=b""):
    """Write one message."""
    text = json.dumps({**header, "bytes": len(payload)}).encode()
    stream.write(struct.pack("<I", len(text)) + text)
    stream.write(payload)
    stream.flush()


def receive(stream):
    """Read one message; None at the end of the stream."""
    size = stream.read(4)
    if len(size) < 4:
        return None
    header = json.loads(stream.read(struct.unpack("<I", size)[0]))
    return header, stream.read(header["bytes"])


def main(requests, answers):
    """Answer messages until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the client, which ends this one
    try:
        worker = Worker()
    except Exception as error:  # a package that is missing, in whatever way it says so
        send(answers, {"unavailable": f"{type(error).__name__}: {error} ({sys.executable})"})
        return
    send(answers, {"ready": worker.versions()})
    last = [time.monotonic()]

    def news(header):
        if time.monotonic() - last[0] > SECONDS_OF_NEWS:
            last[0] = time.monotonic()
            send(answers, header)

    while True:
        message = receive(requests)
        if message is None:
            return
        try:
            header, payload = worker.answer(message[0], message[1], news)
            send(answers, {"ok": True, **header}, payload)
        except UnavailableError as error:
            send(answers, {"unavailable": str(error)})
        except ValueError as error:  # of a video; it is raised here, in whole sentences
            send(answers, {"error": str(error)})
        except Exception as error:
            send(answers, {"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the packages print must not get among the answers
    main(sys.stdin.buffer, channel)
