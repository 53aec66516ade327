"""PolicyBackend: the interface by which a policy acts, evaluates and learns.

Collector, Batch and Learner use a policy only through this interface. It has two implementations:

* `autograd_backend.AutogradBackend` runs any Policy by torch's operators, on a CPU or a GPU;
* `fused.backend.FusedBackend` runs our own networks on a CPU: recorded graphs with an analytic
  backward pass, shared by threads.

`backend_factory.make_backend` chooses. A further one, such as CUDA graphs, needs a class with these
methods and a branch there. Letters: N agents, B sequences, H steps of each, S entries of a
recurrent state, *O one observation.
"""

from typing import Protocol

from torch import Tensor

from pufferlib.config.options import TrainOptions
from pufferlib.ops.output import Output
from pufferlib.ops.ppo_loss import AdvantageNormalization, LossStats
from pufferlib.policies.base import Policy
from pufferlib.runtime.chunks import Agents
from pufferlib.runtime.tensors import Array


class PolicyBackend(Protocol):
    """A policy that acts and learns.

    Arrays are on the CPU, tensors on the policy's device.
    """

    policy: Policy  # as torch runs it, under autocast if products take bfloat16

    def sync_weights(self) -> None:
        """Use the policy's current weights and statistics in `act` and `evaluate` from now on."""

    def act(self, obs: Array, agents: Agents, state: Tensor | None, version: int) -> None:
        """Sample an action for each of N agents; write it for the game and into the pool.

        `obs` (N, *O) and `state` (N, S) come from Observations and RecurrentState; the new states
        overwrite `state`. The `version` of the weights is stored with the actions.
        """

    def evaluate(self, obs: Array, state: Tensor | None, out: Array, places: Array) -> None:
        """Write the values of N observations (N, *O) with states (N, S) to out[places]."""

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Return the output of B sequences under the current weights, without gradient.

        obs (B, H, *O), state (B, S) before their first steps, reset (B, H) bool.
        """

    def loss_and_grad(
        self, part: Tensor, normalization: AdvantageNormalization, train: TrainOptions
    ) -> LossStats:
        """Add the gradient of PPO's loss over sequences `part` (m,) int64 of the batch to the
        optimizer's.

        Return the terms of the loss, means over their transitions. `train` has the coefficients
        of the loss, of which only `ent_coef` may change between calls.
        """
