"""The first lines of a run: what a task observes and does, and which settings it trains with.

This file imports no torch.
"""

import math
from collections.abc import Iterable

from pufferenv.engine._engine import Axis
from pufferenv.game_spec import GameSpec
from pufferenv.spaces import ObservationPart
from pufferlib.config import kinds
from pufferlib.config.resolve import FLAGS, Config
from pufferlib.policies import observation_kinds
from pufferlib.policies.axis_scale import WIDEST, axis_scale
from pufferlib.run.defaults import kind_of

NAMED = 4  # axes that a note names; of more it gives the number


def describe(config: Config, spec: GameSpec) -> list[str]:
    """Return lines that say what was chosen for a task, and why."""
    described = spec.description
    backend = f", backend {config.vec.backend}" if described else ""
    limit = _limit(described.max_episode_steps) if described else ""
    return [
        f"{config.game} observes {_observed(spec)} and {_actions(spec)}{limit}; "
        f"policy {config.policy.path or config.policy.name}{backend}",
        _settings(config, spec),
        *_axis_notes(spec.axes),
    ]


def _settings(config: Config, spec: GameSpec) -> str:
    """Return a line that names where the settings come from, and the most important ones."""
    kind = kind_of(spec, config.policy.name)
    spelled = {
        kind.source: f"[{kind.name}] of {kinds.FILE}, because {kind.why}",
        FLAGS: "flags",
    }
    train = config.train
    lowest, *higher = (spelled.get(source, source) for source in config.sources)
    overridden = f", overridden by {', then '.join(higher)}" if higher else ""
    return (
        f"settings: {lowest}{overridden}; "
        f"discount {train.gamma:g}, learning rate {train.learning_rate:g}, "
        f"entropy bonus {train.ent_coef:g}, {train.update_epochs} epochs"
        f"{' of shuffled steps' if train.shuffle == 'steps' else ''}"
        f"{'' if train.norm_adv else ', advantages as they are'}"
    )


# --- observations and actions -----------------------------------------------------------------


def _observed(spec: GameSpec) -> str:
    if spec.pixels:
        side, stack = spec.pixels["pixels"], spec.pixels["frame_stack"]
        colour = "grey" if spec.pixels["pixel_channels"] == 1 else "RGB"
        pictures = f"{stack} {colour} pictures" if stack > 1 else f"a {colour} picture"
        return f"{pictures} of {side} x {side} pixels"
    return ", ".join(_part(part) for part in spec.layout.parts)


def _part(part: ObservationPart) -> str:
    what = observation_kinds.kind(part)
    size = " x ".join(map(str, part.shape)) or "1"
    if what == observation_kinds.IMAGE:
        text = f"an image of {size}"
    elif what == observation_kinds.CHOICES and size == "1":
        text = f"one of {observation_kinds.choices(part)[0][0]} choices"
    elif what == observation_kinds.NUMBERS and part.dtype.itemsize == 1:
        text = f"{size} bytes"
    else:
        text = f"{size} {what if size != '1' else what.removesuffix('s')}"
    return f"{part.name} ({text})" if part.name else text


def _actions(spec: GameSpec) -> str:
    sizes = [head.n for head in spec.heads]
    texts = []
    if sizes == [1]:
        texts.append("has a single action")
    elif len(sizes) > NAMED:
        texts.append(f"makes {len(sizes)} choices")
    elif sizes:
        texts.append(f"takes one of {' x '.join(map(str, sizes))} actions")
    if spec.axes:
        texts.append(f"acts on {len(spec.axes)} {'axis' if len(spec.axes) == 1 else 'axes'}")
    return " and ".join(texts)


def _limit(steps: int | None) -> str:
    if steps is None:
        return ", in episodes without a known limit"
    return f", in episodes of {f'at most {steps:,} steps' if steps > 1 else '1 step'}"


# --- axes whose bounds give no scale ----------------------------------------------------------


def _axis_notes(axes: Iterable[Axis]) -> list[str]:
    """Return a line for each group of axes with the same unusual bounds."""
    names: dict[str, list[str]] = {}
    for axis in axes:
        if note := _axis_note(axis.low, axis.high):
            names.setdefault(note, []).append(axis.name)
    return [f"{_spelled(group)} {note}" for note, group in names.items()]


def _axis_note(low: float, high: float) -> str:
    if low == high:
        return f"is always {low:g}"
    if high - low <= WIDEST:
        return ""
    middle = axis_scale(low, high).middle
    start = f"its mean starts at {middle:g}, and its deviation is in its own units"
    if math.isinf(low) and math.isinf(high):
        return f"has no bounds, so it is not clipped: {start}"
    if math.isinf(low) or math.isinf(high):
        bound = f"an upper bound, {high:g}" if math.isinf(low) else f"a lower bound, {low:g}"
        return f"has only {bound}: {start}"
    return f"is bounded by {low:g} and {high:g}, which say nothing about its scale: {start}"


def _spelled(names: list[str]) -> str:
    if len(names) == 1:
        return f"axis {names[0]}"
    if len(names) > NAMED:
        return f"each of {len(names)} axes"
    return f"each of the axes {', '.join(names)}"
