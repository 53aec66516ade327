"""The vector env as libraries that import torch want it."""
