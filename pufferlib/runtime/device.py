"""The device that a policy runs on, and memory that a GPU copies from asynchronously."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def pick_device(name: str) -> torch.device:
    """Return the device `cpu` or `cuda`; `auto` is a GPU if torch finds one.

    Raise ValueError for `cuda` if torch finds no GPU.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ValueError(
            "train.device='cuda': torch finds no GPU here; use auto or cpu, or install torch "
            "for your driver: https://pytorch.org/get-started/locally"
        )
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def page_locked(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Allocate an array in page-locked memory; RowEnv takes this function as `allocate`.

    A GPU can copy from such memory asynchronously.
    """
    size = max(1, math.prod(shape) * dtype.itemsize)
    memory = torch.zeros(size, dtype=torch.uint8, pin_memory=True).numpy()
    return memory[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
