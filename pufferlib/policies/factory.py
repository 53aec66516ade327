"""make_policy: create the network that the options name, or a user's own.

config/networks.py lists the names; a network's module is imported when the network is created.
"""

import dataclasses
import importlib
from collections.abc import Callable

import torch

from pufferlib.config.networks import NETWORKS
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.base import Policy, PolicySpec
from pufferlib.policies.custom import check_custom_policy, load_custom_policy
from pufferlib.policies.normalization import ObservationNorm
from pufferlib.policies.observation_kinds import auto_network


def network_class(name: str) -> Callable[[PolicySpec, PolicyOptions], Policy]:
    """Return the class that the table of networks lists under this name."""
    module, _, attribute = NETWORKS[name].target.partition(":")
    found: Callable[[PolicySpec, PolicyOptions], Policy]
    found = getattr(importlib.import_module(module), attribute)
    return found


def make_policy(
    options: PolicyOptions, spec: PolicySpec, *, norm_obs: bool = False, seed: int = 0
) -> Policy:
    """Create the network that `options` describe, on the CPU, with weights determined by `seed`.

    Raise ValueError or TypeError for a network that does not fit the game.
    """
    name = auto_network(spec.layout) if options.name == "auto" else options.name
    options = dataclasses.replace(options, name=name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        make = load_custom_policy if options.path else network_class(name)
        policy = make(spec, options)
    if norm_obs and policy.parts.num_normalized:
        policy.norm = ObservationNorm(policy.parts.num_normalized, policy.parts.bounds)
    if options.path:
        check_custom_policy(policy, options.path)
    return policy
