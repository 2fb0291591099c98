"""What a clip costs, in FLOPs and in FLOPs' worth of time.

The model's FLOPs are exact (`sign_backend.cost`). MediaPipe's models
run in a graph with detectors that come and go, on their own kernels, and most of decoding is no
matrix product at all: counted FLOPs would describe neither. They are charged by measured time, at
the rate at which this model's FLOPs ran on the same core in the same measurement, so that shares of
the cost are shares of the time. `benchmarks/sign_cost.py` measures the table.
"""

from dataclasses import dataclass, fields
from pathlib import Path

from base.files import read_json

TABLE = Path(__file__).with_name("data") / "keypoint_cost.json"


@dataclass(frozen=True)
class KeypointCost:
    """Milliseconds of one core a frame; pictures of the size that the table's file names.

    Attributes:
        read_ms: decoding, and putting colours in order.
        motion_ms: differences of small grey pictures.
        track_ms: MediaPipe Holistic.
        flops_per_ms: of the model, in the same measurement.
    """

    read_ms: float
    motion_ms: float
    track_ms: float
    flops_per_ms: float

    @classmethod
    def load(cls, path: Path = TABLE) -> "KeypointCost":
        """The measured table that comes with the package."""
        measured = read_json(path)
        return cls(**{each.name: float(measured[each.name]) for each in fields(cls)})

    @property
    def track_flops(self) -> float:
        """A frame that is looked at."""
        return self.track_ms * self.flops_per_ms

    @property
    def any_frame_flops(self) -> float:
        """A frame, looked at or not."""
        return (self.read_ms + self.motion_ms) * self.flops_per_ms
