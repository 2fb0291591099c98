"""Measurements behind the numbers that are published; each writes a JSON file here."""

import prunegym  # noqa: F401 - before torch: its threads wait as they do in the commands
