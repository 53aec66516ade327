"""The feed-forward network. Letters as in base.py."""

import math

from torch import Tensor, nn

from pufferlib.config.options import PolicyOptions
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy, PolicySpec
from pufferlib.policies.encoders import input_layer
from pufferlib.policies.layers import Heads, make_activation, orthogonal


class MLP(Policy):
    """`num_layers` hidden layers of `hidden_size` units, then the heads.

    On the CPU the trainer usually runs fused/mlp.py instead, with these weights.
    """

    images = False  # whether the input layer reads images by convolutions

    def __init__(self, spec: PolicySpec, options: PolicyOptions) -> None:
        super().__init__(spec)
        size = options.hidden_size
        self.first = input_layer(spec, size, images=self.images, conv_filters=options.conv_filters)
        self.hidden = nn.ModuleList(
            orthogonal(nn.Linear(size, size), math.sqrt(2)) for _ in range(options.num_layers - 1)
        )
        self.activation = options.activation
        self.heads = Heads(spec, size)

    def forward(self, obs: Tensor, state: Tensor | None = None) -> tuple[Output, None]:
        """Act once: obs (N, *O) -> output of N; there is no state."""
        activation = make_activation(self.activation)
        x = activation(self.first(obs, self.norm))
        for layer in self.hidden:
            x = activation(layer(x))
        return self.heads(x), None
