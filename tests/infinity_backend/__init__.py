"""Tests of the Infinity backend."""
