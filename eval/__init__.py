"""Metrics, folder pairing and the comparison of image folders."""
