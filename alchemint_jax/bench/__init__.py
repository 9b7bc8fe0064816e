"""Measuring forward passes, training steps, sampling and the autoencoder on the hardware here."""
