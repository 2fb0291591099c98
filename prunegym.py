"""The command line, and the registration of the environments' ids.

`import prunegym` registers the ids. Each command lives in `commands/<name>.py` and imports what it
needs when it is called.
"""

import importlib
import logging
import os
import sys

import gymnasium

from base.errors import PrunegymError, ResourceError

COMMANDS = {
    "demo": "train, generate, evaluate and report on the small model: the whole path",
    "train": "teach a policy how much of each stage to compute (PPO)",
    "generate": "make a folder of images under a controller",
    "evaluate": "compare folders of images with an Original folder",
    "compare": "all methods on the same requests: fronts, best fixed rules, oracle, swap test",
    "tabulate": "measure every schedule of the menu once, to train and search on a table",
    "convert": "read official Infinity files into a pipeline folder",
    "analyze-fourier": "plot the spectra of the scales that generate --intermediates wrote",
    "fourm": "any modality from any other over a data set, with a 4M model",
    "egom2p": "depth, gaze, camera or pictures from video codes, with EgoM2P",
    "embed": "sign-language videos to arrays of embeddings, with a SignON checkpoint",
    "calibrate": "measure milliseconds per stage and decision on this device",
    "record-signers": "live runs of the drawn signers, to train frame skipping on",
    "train-generator": "train the small model itself (VAE, text encoder, transformer, CLIP)",
    "info": "versions, device, weights, caches and their sizes",
}
INTERRUPTED = 130

# Read when torch is first imported, by a command. Threads that spin while they wait make a shared
# machine much slower; threads that sleep at once make the small model slower on an idle one. So
# they spin for some microseconds (libgomp; others only know the policy).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

gymnasium.register(
    id="prunegym/InfinityPruning-v0",
    entry_point="commands.environments:make_env",
    vector_entry_point="commands.environments:make_vector_env",
)
gymnasium.register(
    id="prunegym/InfinityPruning-mo-v0",
    entry_point="commands.environments:make_multi_objective_env",
)
for _name, _generator, _prompts in (
    ("FourM", "scenes-fourm", "scenes:train:512"),
    ("EgoM2P", "walks", "scenes:train:64"),
):
    gymnasium.register(
        id=f"prunegym/{_name}Decoding-v0",
        entry_point="commands.environments:make_env",
        vector_entry_point="commands.environments:make_vector_env",
        kwargs={"generator": _generator, "prompts": _prompts},
    )
gymnasium.register(
    id="prunegym/SignEmbedding-v0",
    entry_point="commands.environments:make_env",
    vector_entry_point="commands.environments:make_vector_env",
    kwargs={"generator": "sign", "prompts": "signer:train:160"},
)


def main(arguments: list[str] | None = None) -> int:
    """Run `prunegym COMMAND ...`.

    Returns:
        0 done, 2 usage, 3 data or nothing matched, 4 strict, 5 resources, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        print(f"prunegym: there is no command {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("infinity_backend.memory").setLevel(logging.INFO)  # told before loading
    try:
        command = importlib.import_module(f"commands.{name.replace('-', '_')}")
        return command.main(rest)
    except PrunegymError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder that cannot be written
        print(f"ResourceError: {error}", file=sys.stderr)
        return ResourceError.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; what was finished is in place", file=sys.stderr)
        return INTERRUPTED


def _usage() -> str:
    lines = [f"  {name:16} {text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: prunegym COMMAND [OPTIONS]    (prunegym COMMAND --help)", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
