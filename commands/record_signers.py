"""`prunegym record-signers`: live runs of the drawn signers, for `--generator sign:recorded`.

The tracker (`make setup-sign`) is shown some frames of each clip, and what it finds is written to
RUN_DIR, one file a clip and round: by lot, which takes hours; with --strides those of fixed
strides; with --policy those that a policy asks for, at weights by lot, so that its own way of
looking is among the runs when it is trained again. What is there is not made again. With --pack
nothing is recorded: what RUN_DIR has takes the place of the runs that come with the package, or
joins them (--add).
"""

import argparse
import logging
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.parse_controller import parse_controller
from agents.policy_controller import PolicyController
from agents.rollout import run_controller
from base.errors import ConfigError
from commands.wiring import load_generator
from envs.preference import between
from sign_backend.generator import SignGenerator, Tracking
from sign_backend.mediapipe_source import MediaPipeSource
from sign_backend.recorded_tracking import LiveRun
from sign_backend.request import SignRequest
from signers.clips import Split, make_clip
from signers.drawing import frames
from signers.live_runs import frames_by_lot, frames_of_strides, save_runs
from signers.packed_runs import pack
from signers.requests import LATER_STARTS, num_recordings, read_request

logger = logging.getLogger(__name__)
_SPLITS = ("train", "validation")  # those of test are never learned from
_RUNS_OF_POLICY = 5  # a file
_LOTS_OF_POLICIES = 77  # a stream of their own


def make_parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(prog="prunegym record-signers", description=__doc__)
    parser.add_argument("run_dir", type=Path, help="folder for the runs, such as runs/sign_live")
    parser.add_argument("--splits", nargs="+", choices=_SPLITS, default=_SPLITS)
    parser.add_argument("--rounds", type=int, default=2, help="files of six runs a clip")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--policy", help="runs of this policy instead: a run folder, or signers")
    instead.add_argument("--strides", action="store_true", help="runs of fixed strides instead")
    instead.add_argument(
        "--pack", action="store_true", help="put the runs of RUN_DIR into the package"
    )
    parser.add_argument(
        "--add", action="store_true", help="with --pack: beside the runs that are there"
    )
    parser.add_argument("--part", type=int, default=0, help="of the clips, where ...")
    parser.add_argument("--parts", type=int, default=1, help="... several processes share them")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0."""
    options = make_parser().parse_args(args)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    if not 0 <= options.part < options.parts:
        raise ConfigError(f"part {options.part} of {options.parts}; expected 0 to parts - 1")
    if options.rounds < 1:
        raise ConfigError(f"--rounds {options.rounds}; expected 1 or more")
    clips = [
        (split, clip)
        for split in options.splits
        for clip in range(options.part, num_recordings(split), options.parts)
    ]
    if options.pack:
        for split in options.splits:
            logger.info("%s", pack(options.run_dir, split, add=options.add))
    elif options.policy:
        _record_policy(options.run_dir, options.policy, clips)
    elif options.strides:
        _record(
            options.run_dir, "strides", clips, lambda split, clip, length: frames_of_strides(length)
        )
    else:
        for number in range(options.rounds):
            by_lot = partial(frames_by_lot, number=number)
            _record(options.run_dir, str(number), clips, by_lot)
    return 0


def _record(
    run_dir: Path,
    name: str,
    clips: Sequence[tuple[Split, int]],
    frames_of: Callable[[Split, int, int], list[list[int]]],
) -> None:
    """A file of this name for each clip; `frames_of(split, clip, length)` is what runs look at."""
    source = MediaPipeSource()
    for split, clip in clips:
        place = run_dir / f"{split}_{clip}_{name}.npz"
        if place.exists():
            continue
        pictures, runs = frames(make_clip(split, clip)), []
        for looked in frames_of(split, clip, len(pictures)):
            with source.tracker() as tracker:
                points = tracker.track(pictures[looked])
            runs.append(LiveRun(np.array(looked), points))
        save_runs(place, runs)
        logger.info("%s", place)
    source.close()


def _record_policy(run_dir: Path, policy: str, clips: Sequence[tuple[Split, int]]) -> None:
    generator: Any = load_generator("sign:live")
    generator.tracking = noted = _Noted(generator.tracking)
    controller = parse_controller(f"policy:{policy}", generator, read_request("signer train 0"))
    assert isinstance(controller, PolicyController)
    name = zlib.crc32(controller.identity.encode())
    for split, clip in clips:
        place = run_dir / f"{split}_{clip}_{name:08x}.npz"
        if not place.exists():
            save_runs(place, _runs_of_policy(generator, noted, controller, split, clip))
            logger.info("%s", place)


def _runs_of_policy(
    generator: SignGenerator,
    noted: "_Noted",
    controller: PolicyController,
    split: Split,
    clip: int,
) -> list[LiveRun]:
    lots = np.random.default_rng((clip, _LOTS_OF_POLICIES))
    runs = []
    for _ in range(_RUNS_OF_POLICY):
        start = int(lots.integers(LATER_STARTS + 1)) if split == "train" else 0
        number = clip + start * num_recordings(split)
        weight = between(*controller.preference_range, float(lots.random()))
        request = read_request(f"signer {split} {number}")
        list(run_controller(generator, controller.at(weight), [request], 1))
        runs.append(LiveRun(np.array(noted.frames) + start, noted.points))
    return runs


class _Noted:
    """A way of looking that remembers the last run."""

    def __init__(self, tracking: Tracking):
        self.tracking, self.fingerprint = tracking, tracking.fingerprint
        self.frames: tuple[int, ...] = ()
        self.points: NDArray[np.float64] = np.zeros((0, 75, 3))

    def look(
        self,
        request: SignRequest,
        kept: tuple[int, ...],
        points: NDArray[np.float64],
        new: Sequence[int],
    ) -> NDArray[np.float64]:
        """See `Tracking`."""
        found = self.tracking.look(request, kept, points, new)
        self.frames, self.points = (*kept, *new), np.concatenate([points, found])
        return found
