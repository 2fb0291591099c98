"""The one error hierarchy: each message says what came, what was expected, and what to do."""


class PrunegymError(Exception):
    """Base class; `exit_code` is what the command line returns for it."""

    exit_code = 1


class ConfigError(PrunegymError, ValueError):
    """A setting, schedule, argument or action that cannot be used."""

    exit_code = 2


class DataError(PrunegymError, ValueError):
    """An input file or folder (prompts, images, metadata) that is missing or broken."""

    exit_code = 3


class StrictError(PrunegymError, ValueError):
    """A comparison that was refused, or that fell short of what strict rules ask."""

    exit_code = 4


class CheckpointError(PrunegymError, RuntimeError):
    """A weights, policy or run file that is missing, damaged, unsafe or made for something else."""

    exit_code = 3


class GenerationError(PrunegymError, RuntimeError):
    """The generator produced something unusable (a NaN), or was asked for a forbidden step."""

    exit_code = 1


class ResourceError(PrunegymError, RuntimeError):
    """Not enough memory or disk for what was asked."""

    exit_code = 5
