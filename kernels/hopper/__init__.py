"""Kernels for Hopper in Gluon, chosen by capability and version; the portable ones lie below."""
