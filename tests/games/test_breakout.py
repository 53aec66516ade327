"""breakout: whole games of a scripted player, measured from the observations.

Lengths are in bricks, as in the header: the field is 18 wide, its paddle at 9.5 below the top.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import pufferenv
from tests.support.learning import random_scores

WIDTH, PADDLE_Y, WALL_Y, HEIGHT, TOP_SPEED = 18.0, 9.5, 1.5, 0.5, 0.24
SPEEDS = np.array([0.15, 0.18, 0.21, 0.24])
POINTS = np.repeat([7, 7, 4, 4, 1, 1], 18)
STAY, LEFT, RIGHT = 0, 1, 2


class Seen(NamedTuple):
    """Observations (..., 118) in the game's units."""

    paddle: np.ndarray
    x: np.ndarray
    y: np.ndarray
    vx: np.ndarray
    vy: np.ndarray
    half: np.ndarray  # half the paddle's width
    balls: np.ndarray
    bricks: np.ndarray  # (..., 108) bool

    @classmethod
    def of(cls, obs):
        entry = np.moveaxis(obs[..., :10].astype(np.float64), -1, 0)
        return cls(
            paddle=entry[0] * WIDTH / 4 + WIDTH / 2,
            x=entry[1] * WIDTH / 4 + WIDTH / 2,
            y=entry[2] * PADDLE_Y / 4 + PADDLE_Y / 2,
            vx=entry[3] * TOP_SPEED,
            vy=entry[4] * TOP_SPEED,
            half=np.where(entry[6] > 0, 2.0, 1.0),
            balls=np.round(entry[7] * 2 + 3).astype(int),
            bricks=obs[..., 10:] == 1,
        )

    @property
    def speed(self):
        return np.hypot(self.vx, self.vy)


def follow(obs, random, frameskip):
    """Return actions (A,) that move a random part of the paddle to where the ball comes down."""
    seen = Seen.of(obs)
    landing = np.abs(seen.x + seen.vx * (PADDLE_Y - seen.y) / np.where(seen.vy > 0, seen.vy, 1))
    landing = np.where(landing > WIDTH, 2 * WIDTH - landing, landing)
    goal = np.where((seen.vy > 0) & (seen.y > WALL_Y + 6 * HEIGHT), landing, seen.x)
    way = goal + random * seen.half - seen.paddle
    reach = 0.3 * frameskip / 2  # half of what one step moves the paddle
    return np.where(way > reach, RIGHT, np.where(way < -reach, LEFT, STAY)).astype(np.int32)


def offsets(step, count):
    """Return an offset in [-0.3, 0.3] from the paddle's centre per env, new every 16 steps."""
    return np.random.default_rng(step // 16).uniform(-0.3, 0.3, count)


@pytest.fixture(scope="module")
def frames():
    """Play 6,000 frames of 6 games: observations (6001, 6, 118), rewards and ends (6000, 6)."""
    env = pufferenv.make("breakout", 6, seed=1, frameskip=1, max_steps=1_000_000)
    obs, _ = env.reset()
    seen, rewards, ends = [obs.copy()], [], []
    random = np.random.default_rng(0)
    for step in range(6000):
        actions = follow(obs, offsets(step, 6), 1)
        clumsy = random.random(6) < [0, 0, 0, 0.3, 0.6, 0.9]
        actions[clumsy] = random.integers(0, 3, clumsy.sum())
        obs, reward, terminated, truncated, _ = env.step(actions)
        seen.append(obs.copy())
        rewards.append(reward.copy())
        ends.append(terminated | truncated)
    return np.stack(seen), np.stack(rewards), np.stack(ends)


def test_a_player_who_follows_the_ball_clears_both_walls_and_the_game_is_over():
    env = pufferenv.make("breakout", 16, seed=2)
    obs, _ = env.reset()
    scores, done = np.zeros(16), np.zeros(16, bool)
    for step in range(10_000):
        obs, rewards, terminated, truncated, infos = env.step(follow(obs, offsets(step, 16), 4))
        scores += np.where(done, 0, rewards)
        ended = (terminated | truncated) & ~done
        if ended.any():
            assert terminated[ended].all()
            logged = infos["final_info"]
            assert (logged["score"][ended] == scores[ended]).all()
            assert (logged["length"][ended] == step + 1).all()
            final = Seen.of(infos["final_obs"][ended])
            assert not final.bricks[scores[ended] == 864].any()
        done |= ended
        if done.all():
            break
    assert done.all()
    assert (scores == 864).all()


def test_five_balls_are_lost_before_the_game_is_over():
    """With the paddle in the corner the game ends when the fifth ball is lost."""
    env = pufferenv.make("breakout", 32, seed=3)
    obs, _ = env.reset()
    balls = Seen.of(obs).balls
    assert (balls == 5).all()
    done = np.zeros(32, bool)
    while not done.all():
        obs, _, terminated, truncated, infos = env.step(np.full(32, LEFT, np.int32))
        assert not truncated.any()
        if terminated.any():
            assert (Seen.of(infos["final_obs"][terminated]).balls == 0).all()
            assert (infos["final_info"]["lost"][terminated] == 5).all()
        left = Seen.of(obs).balls
        assert ((left == balls) | (left == balls - 1))[~terminated].all()
        balls, done = left, done | terminated


def test_a_step_limit_truncates():
    env = pufferenv.make("breakout", 2, seed=4, max_steps=9)
    env.reset()
    for step in range(1, 19):
        _, _, terminated, truncated, _ = env.step(np.full(2, RIGHT, np.int32))
        assert not terminated.any()
        assert (truncated == (step % 9 == 0)).all()


def test_bricks_are_worth_their_row_and_nothing_else_pays(frames):
    obs, rewards, ends = frames
    assert POINTS.sum() == 432
    before, after = Seen.of(obs[:-1]).bricks, Seen.of(obs[1:]).bricks
    same_wall = ~ends & ~(after & ~before).any(-1)
    gone = (before & ~after) @ POINTS
    assert (rewards[same_wall] == gone[same_wall]).all()
    assert set(np.unique(rewards)) >= {0, 1, 4, 7}
    assert (rewards[~same_wall & ~ends] == 0).all()  # the paddle brings a new wall


def test_the_ball_stays_in_the_field_and_out_of_live_bricks(frames):
    seen = Seen.of(frames[0])
    assert (seen.x >= -1e-5).all()
    assert (seen.x <= WIDTH + 1e-5).all()
    assert (seen.y >= -1e-5).all()
    assert (seen.y <= PADDLE_Y + 1e-5).all()
    row, column = (seen.y - WALL_Y) / HEIGHT, seen.x
    clear = np.minimum(np.abs(row - np.round(row)), np.abs(column - np.round(column))) > 1e-4
    within = (row > 0) & (row < 6) & clear
    cell = (row.astype(int) * 18 + np.minimum(column.astype(int), 17))[within]
    assert within.sum() > 5000
    assert not seen.bricks[within][np.arange(cell.size), cell].any()


def test_bricks_break_only_where_the_ball_touches_them(frames):
    """Per frame the ball moves less than a brick's side, so it never passes through a brick."""
    obs, _, ends = frames
    seen, after = Seen.of(obs[:-1]), Seen.of(obs[1:])
    assert np.maximum(np.abs(seen.vx), np.abs(seen.vy)).max() < HEIGHT
    gone = seen.bricks & ~after.bricks & ~ends[..., None]
    assert gone.sum(-1).max() <= 2
    time, env, cell = np.nonzero(gone)
    assert time.size > 300
    x, y = seen.x[time, env], seen.y[time, env]
    left, top = cell % 18, WALL_Y + HEIGHT * (cell // 18)
    away_x = np.maximum(0, np.maximum(left - x, x - left - 1))
    away_y = np.maximum(0, np.maximum(top - y, y - top - HEIGHT))
    assert (away_x <= np.abs(seen.vx[time, env]) + 1e-4).all()
    assert (away_y <= np.abs(seen.vy[time, env]) + 1e-4).all()


def test_the_ball_speeds_up_every_four_hits_and_never_flies_flat(frames):
    obs, _, ends = frames
    seen, after = Seen.of(obs[:-1]), Seen.of(obs[1:])
    hits = np.zeros(obs.shape[1], int)
    levels = set()
    speed = after.speed
    for time in range(len(ends)):
        served = ends[time] | (after.balls[time] < seen.balls[time])
        returned = (seen.vy[time] > 0) & (after.vy[time] < 0) & (after.y[time] > PADDLE_Y - 0.5)
        hits = np.where(served, 0, hits + (returned & ~served))
        level = np.minimum(hits // 4, 3)
        np.testing.assert_allclose(speed[time], SPEEDS[level], rtol=1e-5)
        levels |= set(level)
    assert levels == {0, 1, 2, 3}
    assert (np.abs(after.vy) >= 0.6 * speed - 1e-5).all()


def test_the_paddle_halves_at_the_back_wall_until_the_next_ball(frames):
    obs, _, ends = frames
    seen, after = Seen.of(obs[:-1]), Seen.of(obs[1:])
    served = ends | (after.balls < seen.balls)
    off_wall = (seen.vy < 0) & (after.vy > 0) & (seen.y + seen.vy < -1e-5)
    halved = (after.half == 1) & (seen.half == 2)
    assert halved.sum() > 3
    assert (off_wall[halved]).all()
    assert (after.half[off_wall & ~served] == 1).all()
    assert (after.half[served] == 2).all()
    unchanged = ~served & ~off_wall
    assert (after.half[unchanged] == seen.half[unchanged]).all()


def test_the_paddle_returns_what_it_covers_and_loses_the_rest(frames):
    obs, _, ends = frames
    seen, after = Seen.of(obs[:-1]), Seen.of(obs[1:])
    came = (seen.vy > 0) & (seen.y + seen.vy > PADDLE_Y + 1e-5) & ~ends
    lost = came & (after.balls < seen.balls)
    returned = came & ~lost
    assert lost.sum() > 5
    assert returned.sum() > 100
    away = np.abs(after.x - after.paddle)
    assert (away[returned] <= seen.half[returned] + 1e-4).all()
    landing = np.abs(seen.x + seen.vx)
    landing = np.where(landing > WIDTH, 2 * WIDTH - landing, landing)
    most = seen.half[lost] - 0.3  # the paddle moved by up to this before it met the ball
    assert (np.abs(landing - seen.paddle)[lost] >= most - 1e-4).all()
    offset = (after.x - after.paddle)[returned] / seen.half[returned]
    slope = after.vx[returned] / -after.vy[returned]
    np.testing.assert_allclose(slope, offset / (1 - offset**2 / 4), rtol=1e-3, atol=1e-3)


def test_four_steps_of_one_frame_are_one_step_of_four():
    ones = pufferenv.make("breakout", 8, seed=5, frameskip=1, max_steps=1_000_000)
    fours = pufferenv.make("breakout", 8, seed=5, frameskip=4, max_steps=1_000_000)
    ones.reset()
    obs, _ = fours.reset()
    going = np.ones(8, bool)  # the step that ends a game may end between its frames
    for step in range(2000):
        actions = follow(obs, offsets(step, 8), 4)
        obs, rewards, terminated, _, _ = fours.step(actions)
        total = np.zeros(8, np.float32)
        for _ in range(4):
            single, reward, _, _, _ = ones.step(actions)
            total += reward
        going &= ~terminated
        np.testing.assert_array_equal(single[going], obs[going])
        np.testing.assert_array_equal(total[going], rewards[going])
    assert going.sum() >= 4


def test_every_entry_of_an_observation_is_of_order_one(frames):
    scalars = frames[0][..., :10].reshape(-1, 10)
    assert (np.abs(scalars).max(0) <= 4).all()
    assert (np.abs(scalars).max(0) >= 0.5).all()


def test_random_play_gets_a_few_points():
    mean, _, least, _ = random_scores("breakout", 64, 500, seed=6)
    assert 5 <= mean <= 30
    assert least >= 5  # every serve breaks a brick
