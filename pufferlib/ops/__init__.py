"""Differentiable operations over the kernels, and a readable reference of each."""
