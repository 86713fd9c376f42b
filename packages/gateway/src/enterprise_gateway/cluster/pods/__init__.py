"""Pods of kernels: their state, what is written on them, and why they end."""
