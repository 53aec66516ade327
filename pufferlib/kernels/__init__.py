"""Native kernels for every instruction set, and recorded graphs of them."""

from pufferenv._installation import built_path

__path__[:0] = built_path("pufferlib.kernels._kernels", __path__)
