"""The convolutional network: convolutions for images, the rest of an observation as in MLP."""

from pufferlib.config.networks import NETWORKS
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.mlp import MLP
from pufferlib.policies.observation_kinds import auto_network


class CNN(MLP):
    """An MLP whose input layer encodes images by convolutions."""

    images = True

    def __init__(self, spec: PolicySpec, options: PolicyOptions) -> None:
        if auto_network(spec.layout) != "cnn":
            parts = ", ".join(f"{part.dtype} of shape {part.shape}" for part in spec.layout.parts)
            others = ", ".join(name for name in NETWORKS if name != "cnn")
            raise ValueError(
                "policy.name=cnn needs an image, uint8 of 3 dimensions; the game's observation is "
                f"{parts}: take auto or one of {others}"
            )
        super().__init__(spec, options)
