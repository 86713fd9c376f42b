"""Decisions about running kernels: which may start, what they are told, when they end."""
