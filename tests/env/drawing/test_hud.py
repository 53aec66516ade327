"""Text around a game's picture, and a frame around an agent, in the game's own world units."""

import numpy as np

from pufferenv import games
from pufferenv.drawing.hud import CYAN, with_frame, with_text, wrapped
from pufferenv.drawing.renderer import Renderer
from pufferenv.game_spec import GameSpec
from pufferenv.vector_env import make


def drawn(game):
    spec = GameSpec.of(game)
    env = make(spec, 1, seed=3)
    env.reset(seed=3)
    renderer = Renderer(games.drawing(spec.game), spec.packed, 400)
    return renderer.lists(env._engine, [0])[0]


def image(one, width=400):
    picture = np.zeros((round(width * one.view[3] / one.view[2]), width, 3), np.uint8)
    one.raster(picture)
    return picture


def test_the_game_is_where_it_was_and_text_stands_around_it():
    one = drawn("breakout")
    whole = with_text(one, "episode 1", "you play", ["left: left", "right: right"], CYAN)
    assert whole.view[0] == one.view[0] and whole.view[2] == one.view[2]
    assert whole.view[1] < one.view[1] and whole.view[3] > one.view[3]
    before, after = image(one), image(whole)
    top = round((one.view[1] - whole.view[1]) * 400 / whole.view[2])
    inside = after[top + 2 : top + len(before) - 2].astype(int)
    rows = before[2 : 2 + len(inside)].astype(int)
    # The picture lies on other pixels by a part of one, so edges differ and areas do not.
    assert np.abs(inside - rows).mean() < 6
    assert after[: top - 1].max() > 200 and after[top + len(before) + 1 :].max() > 100
    assert (after[: top - 1, 300:].reshape(-1, 3) == [0x36, 0xD1, 0xE8]).all(1).any()


def test_text_that_is_not_ascii_or_too_long_is_drawn_all_the_same():
    one = drawn("squared")
    whole = with_text(one, "é" * 300, "x" * 300, ["ü", "", "y" * 97])
    image(whole)


def test_a_frame_is_drawn_around_the_agent_alone():
    one = drawn("snake")
    for agent in (0, 7):
        framed = with_frame(one, agent)
        changed = np.argwhere((image(one, 640) != image(framed, 640)).any(2))
        scale = 640 / one.view[2]
        left, top, width, height = one.outline(agent)
        x, y = scale * (left - one.view[0]), scale * (top - one.view[1])
        width, height = scale * width, scale * height
        assert abs(changed[:, 1].min() - x) < 12 and abs(changed[:, 1].max() - x - width) < 12
        assert abs(changed[:, 0].min() - y) < 12 and abs(changed[:, 0].max() - y - height) < 12
    assert with_frame(one, 1000) is one


def test_frames_of_one_agent_follow_it_between_two_steps():
    spec = GameSpec.of("tag")
    env = make(spec, 1, seed=3)
    env.reset(seed=3)
    renderer = Renderer(games.drawing(spec.game), spec.packed, 400)
    before = with_frame(renderer.lists(env._engine, [0])[0], 0)
    env.step(np.full(env.num_envs, 1, np.int32))
    after = with_frame(renderer.lists(env._engine, [0])[0], 0)
    middle = before.interpolated(after, 0.5)
    words = [one.words[-13:].view(np.float32)[2:4] for one in (before, middle, after)]
    assert np.allclose(words[1], (words[0] + words[2]) / 2, atol=1e-4)
    assert not np.allclose(words[0], words[2])


def test_entries_are_wrapped():
    assert wrapped(["aa", "bb", "cc"], 8) == ["aa   bb", "cc"]
    assert wrapped(["a" * 20, "b"], 8) == ["a" * 20, "b"]
    assert wrapped([]) == []
