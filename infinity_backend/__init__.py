"""Infinity: a text-to-image transformer that predicts the picture scale by scale, bit by bit."""
