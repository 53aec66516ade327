"""The settings that games train with when they are observed as pixels (pufferenv/pixels.py).

They override a game's TOML file and are overridden by a config file or flags. A network of
convolutions costs a hundred times what a step of a game costs, so there are fewer envs, and every
step is learned from more often than without pixels.
"""

from collections.abc import Mapping
from typing import Any

from pufferlib.config.flags import flag_name, format_value

PIXEL_DEFAULTS: dict[str, dict[str, Any]] = {
    "env": {"frame_stack": 2},  # the fewest pictures that show how things move
    "vec": {"num_envs": 64},
    "train": {
        "total_timesteps": 4_000_000,
        "horizon": 64,
        "minibatch_size": 512,
        "update_epochs": 3,
        "learning_rate": 1e-3,
        "ent_coef": 0.01,
    },
    "policy": {"hidden_size": 256, "num_layers": 1, "conv_filters": 16},
}


def pixel_defaults(small: bool) -> dict[str, dict[str, Any]]:
    """Return the settings by section and key.

    small: the picture is so small that a network reads it as a map, not as a screen, and does not
    scale it; then observations are normalized.
    """
    train = {**PIXEL_DEFAULTS["train"], "norm_obs": small}
    return {**PIXEL_DEFAULTS, "train": train}


def describe_pixel_defaults() -> str:
    """Return the flags that would set the defaults for pixels."""
    return " ".join(
        f"{flag_name(section, key)} {format_value(value)}"
        for section, options in PIXEL_DEFAULTS.items()
        for key, value in options.items()
    )


def describe_pixels(game: str, fields: Mapping[str, Any], policy: str) -> str:
    """Describe in one line what a run with these fields of the pixels observes and trains."""
    side, stack = fields["pixels"], fields["frame_stack"]
    colour = "grey" if fields["pixel_channels"] == 1 else "RGB"
    pictures = f"{stack} {colour} pictures" if stack > 1 else f"a {colour} picture"
    return (
        f"{game} is observed as {pictures} of {side} x {side} pixels; policy {policy}, with the "
        "defaults for pixels"
    )
