"""TensorBoard output that a resumed run continues as if it had never stopped."""

from pathlib import Path

from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter


class _ContinuedTensorBoard(TensorBoardOutputFormat):
    def __init__(self, folder: Path, last_step: int) -> None:
        # What was logged after the last checkpoint comes again: hide its first version.
        purge_step = last_step + 1 if last_step else None
        self.writer = SummaryWriter(str(folder), purge_step=purge_step)
        self._is_closed = False


def make_logger(folder: Path, last_step: int = 0) -> Logger:
    """Return a Stable-Baselines3 logger into `folder` that goes on after `last_step`."""
    return Logger(str(folder), [_ContinuedTensorBoard(folder, last_step)])
