"""A user's own network: loaded from a Python file, adapted to Policy, and checked.

Letters as in base.py.
"""

import importlib.util
import sys
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from pufferlib.config.options import PolicyOptions
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy, PolicySpec


class AdaptedModule(Policy):
    """A Policy around a plain module whose `forward(obs)` returns (logits, value) or an Output."""

    def __init__(self, spec: PolicySpec, module: nn.Module) -> None:
        super().__init__(spec)
        self.module = module

    def forward(self, obs: Tensor, state: Tensor | None = None) -> tuple[Output, None]:
        """Act once: obs (N, *O) -> output of N; there is no state."""
        if not self.parts.flat:
            output = self.module(self.parts.nest(obs, self.norm))
        else:
            output = self.module(obs if self.norm is None else self.inputs(obs).view(obs.shape))
        if not isinstance(output, Output):
            if not isinstance(output, tuple) or len(output) != 2:
                name = type(self.module).__name__
                raise TypeError(
                    f"{name}.forward(obs) returned {type(output).__name__}; "
                    "it must return (logits, value) or a pufferlib.policy.Output"
                )
            output = Output(output[0], None, None, output[1])
        value = output.value
        return output._replace(value=value.squeeze(-1) if value.dim() == 2 else value), None


def load_custom_policy(spec: PolicySpec, options: PolicyOptions) -> Policy:
    """Make the network that `policy.path` names.

    Raise ValueError for a missing file or class, TypeError if its constructor fails.
    """
    file, colon, name = options.path.rpartition(":")
    if not colon or not name.isidentifier():
        raise ValueError(
            f"policy.path={options.path!r} must be FILE:CLASS, such as my_file.py:MyPolicy"
        )
    path = Path(file).resolve()
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.exists():
        raise ValueError(f"policy.path={options.path!r}: there is no file {path}")
    if not path.is_file() or module_spec is None or module_spec.loader is None:
        raise ValueError(f"policy.path={options.path!r}: {path} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.path.insert(0, str(path.parent))
    try:
        module_spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    cls = getattr(module, name, None)
    if not isinstance(cls, type) or not issubclass(cls, nn.Module):
        raise ValueError(f"policy.path={options.path!r}: {path.name} has no nn.Module named {name}")
    try:
        made = cls(spec, options)
    except TypeError as error:
        raise TypeError(
            f"policy.path={options.path!r}: {name}(spec, options), called with a PolicySpec and "
            f"PolicyOptions, failed: {error}"
        ) from error
    return made if isinstance(made, Policy) else AdaptedModule(spec, made)


@torch.no_grad()
def check_custom_policy(policy: Policy, path: str) -> None:
    """Call a user's network once, and raise ValueError for a wrong shape or dtype."""
    spec, n = policy.spec, 3
    obs = torch.zeros((n, *spec.obs_shape), dtype=spec.obs_dtype)
    state = policy.initial_state(n)
    output, new_state = policy(obs, state)
    unrolled = policy.unroll(obs.unsqueeze(1), state, torch.zeros((n, 1), dtype=torch.bool))
    want: dict[str, list[tuple[int, ...]]] = {
        "logits": [(n, spec.num_choices)] if spec.sizes else [],
        "mean": [(n, len(spec.low))] if spec.low else [],
        "log_std": [(len(spec.low),), (n, len(spec.low))] if spec.low else [],
        "value": [(n,)],
    }
    for where, returned in (("forward", output), ("unroll", unrolled)):
        for name, legal in want.items():
            part = cast(Tensor | None, getattr(returned, name))
            shape = None if part is None else tuple(part.shape)
            if shape not in legal if legal else shape is not None:
                wanted = " or ".join(map(str, legal)) or "None"
                raise ValueError(
                    f"policy.path={path!r}: {where} returned {name} of shape {shape} for {n} "
                    f"observations, not {wanted}"
                )
    given = None if new_state is None else tuple(new_state.shape)
    legal_state = (n, policy.state_size) if policy.state_size else None
    if given != legal_state:
        raise ValueError(
            f"policy.path={path!r}: forward returned a state of shape {given}, not {legal_state}"
        )
    for where, part in (("initial_state", state), ("forward", new_state)):
        if part is not None and part.dtype != torch.float32:
            raise ValueError(
                f"policy.path={path!r}: {where} returned a state of {part.dtype}, not torch.float32"
            )
