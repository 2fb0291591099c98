"""Measurements behind the numbers that are published; each writes a JSON file here."""
