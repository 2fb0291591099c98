"""Gymnasium environments over any step-wise generator."""
