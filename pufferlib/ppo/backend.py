"""PolicyBackend: how a policy acts, values and learns, whatever runs its arithmetic.

Collector, Batch and Learner know a policy only as a backend. There are two:

* `autograd_backend.AutogradBackend` runs any Policy by torch's operators, on a CPU or a GPU;
* `fused.backend.FusedBackend` runs our own networks on a CPU: recorded graphs with an analytic
  backward pass, shared by threads.

`backend_factory.make_backend` chooses. Another one, such as recorded CUDA graphs, is one more class
with these methods and one more branch there. Letters: N agents, B rows, H horizon, S entries of a
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
    """One policy, made ready to act and to learn.

    Arrays are on the CPU, tensors on the policy's device.
    """

    policy: Policy  # as torch runs it, under autocast where products take bfloat16

    def sync_weights(self) -> None:
        """Use the policy's current weights and statistics in `act` and `evaluate` from now on."""

    def act(self, obs: Array, agents: Agents, state: Tensor | None, version: int) -> None:
        """Sample an action for each of N agents and write it where the game and the pool want it.

        `obs` (N, *O) and `state` (N, S) come from Observations and RecurrentState; the new states
        take the place of `state`. `version` of the weights is written beside the actions.
        """

    def evaluate(self, obs: Array, state: Tensor | None, out: Array, places: Array) -> None:
        """Write the values of N observations (N, *O), seen in these states, to out[places]."""

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Return the output of B whole rows by the current weights, as Policy.unroll, no gradient.

        obs (B, H, *O), state (B, S) before slot 0, reset (B, H) bool.
        """

    def loss_and_grad(
        self, rows: Tensor, normalization: AdvantageNormalization, train: TrainOptions
    ) -> LossStats:
        """Add the gradient of PPO's loss over `rows` (m,) int64 of the batch to the optimizer's.

        Return the terms of the loss, means over the rows' transitions. `train` has the coefficients
        of the loss, of which only `ent_coef` may change between calls.
        """
