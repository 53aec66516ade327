"""Views of CPU tensors as numpy arrays, which native kernels take."""

from typing import Any, overload

import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


@overload
def as_array(tensor: Tensor) -> Array: ...
@overload
def as_array(tensor: None) -> None: ...
def as_array(tensor: Tensor | None) -> Array | None:
    """Return a CPU tensor as an array that shares its memory, or None for None.

    bfloat16, which numpy lacks, becomes uint16.
    """
    if tensor is None:
        return None
    tensor = tensor.detach()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def as_bfloat16(wide: Tensor) -> Tensor:
    """Return a bfloat16 view (N, D) inside a float32 matrix, for a rounded copy of it.

    Each bfloat16 row is the first half of the float32 row.
    """
    return wide.view(torch.bfloat16)[:, : wide.shape[1]]
