"""Act in cartpole from JAX, on observations that are not copied.

    python examples/jax_dlpack.py [--total-timesteps 64000] [--num-envs 64] [--seed 1]

On a CPU, `jax.dlpack.from_dlpack(observations, copy=False)` is a jax.Array over the engine's own
memory. JAX assumes that arrays are immutable, but the next `step` or `reset` overwrites this one,
and a computation that still reads it gets a mixture of old and new values. Three rules follow:

  1. Every computation that reads it must finish before the next step. JAX computes in the
     background; `np.asarray(actions)` waits for the actions and therefore for their inputs.
     `jax.block_until_ready` waits for anything else.
  2. Nothing may keep a reference to it. Data that is needed later, such as a training batch, must
     be copied at once by numpy, `jnp.asarray(observations.copy())`, because JAX copies in the
     background.
  3. It must not be donated to a jitted function, which would write into it.

On a GPU `jax.device_put(observations)` makes a copy, which must finish before the next step too.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import pufferenv


@jax.jit
def act(weights: jax.Array, obs: jax.Array, key: jax.Array) -> jax.Array:
    """Sample N actions from the logits obs (N, F) @ weights (F, choices)."""
    return jax.random.categorical(key, obs @ weights)


def play(env: pufferenv.PufferVectorEnv, total_timesteps: int, seed: int) -> jax.Array:
    """Act for at least one step; return copies of all observations, (steps, N, F)."""
    observations, _ = env.reset(seed=seed)
    key = jax.random.key(seed)
    # Push in the direction of the fall. Rows: position, velocity, angle, angular velocity.
    weights = jnp.array([[0, 0], [0, 0], [-5, 5], [-5, 5]], jnp.float32)
    kept = []
    for _ in range(max(total_timesteps // env.num_envs, 1)):
        obs = jax.dlpack.from_dlpack(observations, copy=False)
        assert obs.unsafe_buffer_pointer() == observations.ctypes.data  # not copied
        kept.append(jnp.asarray(observations.copy()))  # rule 2
        key, draw = jax.random.split(key)
        actions = np.asarray(act(weights, obs, draw))  # rule 1: this waits
        observations = env.step(actions)[0]
    return jnp.stack(kept)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--total-timesteps", type=int, default=64_000)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    env = pufferenv.make("cartpole", args.num_envs)
    kept = play(env, args.total_timesteps, args.seed)
    print(f"{kept.shape[0]} steps of {kept.shape[1]} envs, observations of {kept.shape[2]}")
    if log := env.log().get("score"):
        print(f"mean return {log[0]:.1f}")
    env.close()


if __name__ == "__main__":
    main()
