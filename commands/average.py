"""`prunegym average`: several trainings of one recipe as one policy, the mean of their scores."""

from pathlib import Path

from jsonargparse import ArgumentParser

from base.errors import ConfigError


def make_parser() -> ArgumentParser:
    """Return the options of the command."""
    parser = ArgumentParser(prog="prunegym average", description=__doc__)
    parser.add_argument(
        "policies", type=Path, nargs="+", help="run folders (their best policy), or run/last"
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder for the policy")
    return parser


def main(args: list[str] | None = None) -> int:
    """Run the command; return 0.

    Raises:
        ConfigError: the folder holds a policy already.
    """
    options = make_parser().parse_args(args)

    from agents.average_policies import average_policies

    if (options.out / "policy.json").exists():
        raise ConfigError(f"{options.out} holds a policy already; choose another --out")
    path = average_policies(options.policies, options.out)
    print(f"the mean of {len(options.policies)} policies: --controller policy:{path.parent}")
    return 0
