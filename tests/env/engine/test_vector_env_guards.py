"""An env survives broken games, forks, a second thread, Ctrl-C and close()."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading

import numpy as np
import pytest

import pufferenv
from tests.support.paths import GAME_HEADERS

FIRE = np.array([0, 1, 2] * 1000, np.int32)  # for 3,000 envs of breakout


def breakout(**options):
    env = pufferenv.make("breakout", len(FIRE), seed=1, **options)
    env.reset()
    return env


def trace(env, steps):
    """Take `steps` steps with the same actions; return one hashable value per step."""
    return [env.step(FIRE)[0].tobytes() for _ in range(steps)]


# --- games that break a rule ---------------------------------------------------------------
@pytest.mark.parametrize(
    ("game", "agent", "step", "text"),
    [
        ("nan_obs", 1, 4, "has a NaN, an infinity or an unwritten entry"),
        ("nan_reward", 1, 4, "gives a reward that is NaN or infinite"),
        ("overrun", 1, 4, "writes past the end of an observation"),
        ("unwritten", 1, 4, "unwritten entry in an observation"),
        ("dead_reward", 1, 4, "rewards an agent that was dead"),
        ("dead_act", 1, 4, "acts for an agent that was dead"),
        ("double_kill", 1, 4, "kills a dead agent"),
        ("live_spawn", 1, 4, "spawns a live agent"),
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_debug_object_names_game_env_agent_and_step(game, agent, step, text, threads):
    env = pufferenv.make(GAME_HEADERS / f"{game}.h", 40, num_threads=threads, debug=True, after=3)
    env.reset()
    wait = np.zeros(80, np.int32)
    for _ in range(step - 1):
        env.step(wait)
    message = rf"^{game} .*{text}.*: env 0, agent {agent}, step {step}$"
    with pytest.raises(RuntimeError, match=message):
        env.step(wait)


def test_a_release_object_does_not_look():
    env = pufferenv.make(GAME_HEADERS / "nan_reward.h", 2, after=1)
    env.reset()
    env.step(np.zeros(4, np.int32))
    assert np.isnan(env.step(np.zeros(4, np.int32))[1]).tolist() == [False, True, False, True]


# --- fork ------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_gets_an_error_and_the_parent_goes_on():
    env, twin = breakout(num_threads=3), breakout()
    assert trace(env, 3) == trace(twin, 3)
    child = os.fork()
    if child == 0:  # every way out is os._exit, so that pytest ends once
        signal.alarm(30)  # a child that hangs is a failure, not a hanging test
        try:
            for use in (lambda: env.step(FIRE), env.reset, lambda: env.reset(seed=1)):
                try:
                    use()
                    os._exit(3)
                except RuntimeError as error:
                    if "made in process" not in str(error) or "make a new env here" not in str(
                        error
                    ):
                        os._exit(4)
            env.close()
            fresh = breakout(num_threads=3)
            os._exit(0 if trace(fresh, 3) == trace(breakout(), 3) else 5)
        except BaseException:
            os._exit(6)
    assert os.waitpid(child, 0)[1] == 0
    assert trace(env, 3) == trace(twin, 3)


# --- two Python threads in one step --------------------------------------------------------------
def test_a_second_thread_is_refused_while_a_step_runs_and_no_step_is_spoilt():
    env = breakout(num_threads=2)
    done, refused, others = [0, 0], [0, 0], []

    def use(who):
        for _ in range(150):
            try:
                env.step(FIRE)
                done[who] += 1
            except RuntimeError as error:
                refused[who] += "another thread is in a step" in str(error)
            except BaseException as error:
                others.append(error)

    threads = [threading.Thread(target=use, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not others
    assert sum(done) + sum(refused) == 300  # every call either stepped or was refused
    assert sum(done) > 0
    assert trace(env, 1) == trace(breakout(), sum(done) + 1)[-1:]


def test_it_may_be_used_from_another_thread_than_the_one_that_made_it():
    env, seen = breakout(num_threads=2), []
    thread = threading.Thread(target=lambda: seen.extend(trace(env, 3)))
    thread.start()
    thread.join()
    assert seen == trace(breakout(), 3)


# --- Ctrl-C ------------------------------------------------------------------------------------
def test_ctrl_c_in_a_step_raises_and_leaves_an_env_that_goes_on():
    env, interrupts, steps = breakout(num_threads=2), 0, 0
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(15):
            with contextlib.suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.002)
                while True:
                    env.step(FIRE)
                    steps += 1
            interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # An interrupted step ran completely or not at all, so env is in the state of a twin.
    seen, wanted = trace(env, 5), trace(breakout(), steps + interrupts + 5)
    assert any(wanted[at : at + 5] == seen for at in range(steps, steps + interrupts + 1))


# --- closing ---------------------------------------------------------------------------------
def test_arrays_outlive_their_env():
    env = breakout(num_threads=2)
    arrays = [*env.step(FIRE)[:4], env.alive]
    kept = [array.copy() for array in arrays]
    env.close()
    del env
    gc.collect()
    others = [breakout() for _ in range(3)]  # would take what was freed
    for array, before in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(array, before)
        array[:] = 0  # still writable memory
    assert trace(others[0], 1) == trace(breakout(), 1)


def test_an_env_that_nobody_holds_ends_its_threads():
    def threads():
        return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0

    gc.collect()
    before = threads()
    envs = [breakout(num_threads=4) for _ in range(3)]
    assert threads() in (before + 9, 0)
    kept = envs[0].step(FIRE)[0]
    del envs
    gc.collect()
    assert threads() == before
    assert kept.shape == (3000, 118)


def test_a_constructor_that_fails_leaves_nothing_to_close():
    with pytest.raises(ValueError, match="autoreset_mode"):
        pufferenv.make("squared", 2, autoreset_mode="x")
    gc.collect()
