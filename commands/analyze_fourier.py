"""`prunegym analyze-fourier`: plot the spectra that `prunegym generate --intermediates` wrote."""

from eval.analyze_fourier_npy import main

__all__ = ["main"]
