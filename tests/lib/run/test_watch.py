"""Watching evaluations: what is drawn when, on which screen, and that results stay the same."""

import numpy as np
import pytest
import torch

from pufferenv import games
from pufferenv.drawing.grid import GAP
from pufferenv.drawing.renderer import Renderer
from pufferenv.game_spec import GameSpec
from pufferenv.vector_env import make
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.run import external_envs
from pufferlib.run.evaluate import Evaluator, evaluate
from pufferlib.run.screens import Times
from pufferlib.run.watch import Shown, picture_of, watch
from tests.support.games import load_game

WIDTH = 60


class Recorder:
    """A screen that keeps what it is shown, until it has `most` frames."""

    def __init__(self, most=10**6, *, live=False, steps_per_frame=1.0):
        self.live, self.between = live, steps_per_frame % 1 != 0
        self.frames, self.lasts, self.statuses, self.closed = [], [], [], 0
        self._most, self._steps_per_frame, self._times = most, steps_per_frame, Times()
        self.clicks = []

    def times(self, *, first=False, last=False):
        return self._times.of_step(self._steps_per_frame, first, last)

    def show(self, frame, status="", *, last=False):
        assert not self.closed
        self.frames.append(frame.copy())
        self.lasts.append(last)
        self.statuses.append(status)
        return len(self.frames) < self._most

    def take_clicks(self):
        clicks, self.clicks = self.clicks, []
        return clicks

    def close(self):
        self.closed += 1


def plain(result):
    return {key: value for key, value in result.asdict().items() if key != "seconds"}


def evaluator(spec, *, policy=None, episodes=3, num_envs=1, **more):
    arguments = {"seed": 3, "show_endings": True, "render_size": WIDTH, **more}
    return Evaluator(policy, spec, episodes=episodes, num_envs=num_envs, **arguments)


def expected_frames(spec, episodes):
    """Return the frames of the first episodes of one env with random actions, drawn directly."""
    env = make(spec, 1, seed=3, autoreset_mode="disabled", render_size=WIDTH)
    renderer = Renderer(games.drawing(spec.game), spec.packed, WIDTH)
    env.reset(seed=3)
    with Evaluator(None, spec, episodes=episodes, num_envs=1, seed=3) as run:
        frames = [renderer.frames(env._engine, [0])[0]]
        while not run.done:
            step = run.step()
            env.step(step.actions)
            frames.append(renderer.frames(env._engine, [0])[0])
            if step.ended[0] and not run.done:
                env.reset(options={"reset_mask": np.ones(1, bool)})
                frames.append(renderer.frames(env._engine, [0])[0])
    env.close()
    return np.stack(frames)


def test_every_state_is_drawn_endings_and_beginnings_too():
    spec = GameSpec.of("squared")
    screen = Recorder(live=True)
    with evaluator(spec) as run:
        (result,), stopped = watch([Shown(run, "x")], [screen])
    assert not stopped and screen.closed
    expected = expected_frames(spec, 3)
    assert len(screen.frames) == len(expected) == result.agent_steps + 3
    assert np.array_equal(np.stack(screen.frames), expected)
    assert sum(screen.lasts) == 3 and screen.lasts[-1]


GAMES = {
    "choices": (lambda: GameSpec.of("breakout"), {}),
    "masks": (lambda: GameSpec.of("royale"), {}),
    "recurrent": (lambda: GameSpec.of("cartpole"), {"name": "lstm"}),
    "Python env": (
        lambda: external_envs.drawn(
            GameSpec.of(external_envs.load("gym:CartPole-v1", {})),
        ),
        {},
    ),
}


@pytest.mark.parametrize("steps_per_frame", [1, 0.25, 3])
@pytest.mark.parametrize("name", GAMES)
def test_what_is_drawn_changes_no_result(name, steps_per_frame):
    make_spec, options = GAMES[name]
    spec = make_spec()
    policy = make_policy(PolicyOptions(hidden_size=8, **options), PolicySpec.of(spec), seed=1)
    arguments = {"episodes": 5, "num_envs": 3, "seed": 3, "max_steps": 200}
    with evaluator(spec, policy=policy, **arguments) as run:
        screen = Recorder(60, steps_per_frame=steps_per_frame)  # full before the end
        (result,), _ = watch([Shown(run, "x", num_envs=2)], [screen])
    assert len(screen.frames) == 60
    assert plain(result) == plain(evaluate(policy, spec, **arguments))


def test_compared_evaluations_wait_for_each_other_and_give_the_results_of_each_alone():
    spec = GameSpec.of("cartpole")
    policy = make_policy(PolicyOptions(hidden_size=8), PolicySpec.of(spec), seed=1)
    with torch.no_grad():  # far from random, so that its episodes have other lengths
        for parameter in policy.parameters():
            parameter *= 8
    screen = Recorder(live=True)
    with evaluator(spec, policy=policy) as one, evaluator(spec) as other:
        shown = [Shown(one, "trained"), Shown(other, "random")]
        results, _ = watch(shown, [screen])
    alone = [evaluate(p, spec, episodes=3, num_envs=1, seed=3) for p in (policy, None)]
    assert [plain(result) for result in results] == [plain(result) for result in alone]
    # While one waits, its half of the picture stays as it was at the end of its episode.
    lasts = [i for i, last in enumerate(screen.lasts) if last]
    assert len(lasts) == 3
    width = screen.frames[0].shape[1]
    for end in lasts:
        halves = np.stack(screen.frames[end - 1 : end + 1])
        still = [
            np.array_equal(halves[0][20:, part], halves[1][20:, part])
            for part in (np.s_[: width // 2 - 4], np.s_[width // 2 + 4 :])
        ]
        assert sorted(still) == [False, True]
    assert "trained: score" in screen.statuses[lasts[0]]
    assert "trained: return 0" in screen.statuses[0] and "random: return 0" in screen.statuses[0]


def test_nothing_moves_between_two_steps_in_an_evaluation_that_waits():
    spec = GameSpec.of("squared")
    screen = Recorder(live=True, steps_per_frame=0.25)
    with evaluator(spec, seed=1) as one, evaluator(spec, seed=2) as other:
        watch([Shown(one, "x"), Shown(other, "y")], [screen])
    waiting = 0
    for i, status in enumerate(screen.statuses[1:], 1):
        for n, label in enumerate("xy"):
            if f"{label}: score" in status and f"{label}: score" in screen.statuses[i - 4]:
                width = screen.frames[i].shape[1]
                half = np.s_[:, :WIDTH] if n == 0 else np.s_[:, width - WIDTH :]
                assert np.array_equal(screen.frames[i][half], screen.frames[i - 1][half])
                waiting += 1
    assert waiting > 20


def test_python_envs_are_drawn_once_for_each_step():
    spec = external_envs.drawn(GameSpec.of(external_envs.load("gym:CartPole-v1", {})))
    screen = Recorder(20, live=True, steps_per_frame=0.25)
    with evaluator(spec) as run:
        shown, calls = Shown(run, "x"), []
        source = shown.pictures.source
        real = source.frames
        source.frames = lambda *given: calls.append(1) or real(*given)
        watch([shown], [screen])
    assert len(screen.frames) == 20
    assert len(calls) == 6  # at the beginning and after five steps


def test_a_person_ends_an_evaluation_which_keeps_the_episodes_that_ended():
    spec = GameSpec.of("squared")
    with evaluator(spec, episodes=1000) as run:
        screens = [Recorder(300, live=True), Recorder()]
        (result,), stopped = watch([Shown(run, "x")], screens)
    assert stopped and all(screen.closed for screen in screens)
    assert result.episodes == sum(screens[0].lasts) > 3
    assert result.unfinished == 1000 - result.episodes
    assert len(screens[1].frames) == 299 or len(screens[1].frames) == 300


def test_an_error_or_an_interrupt_closes_the_screens():
    class Broken(Recorder):
        def show(self, frame, status="", *, last=False):
            raise KeyboardInterrupt

    screens = [Recorder(), Broken()]
    with evaluator(GameSpec.of("squared")) as run, pytest.raises(KeyboardInterrupt):
        watch([Shown(run, "x")], screens)
    assert [screen.closed for screen in screens] == [1, 1]


def test_several_envs_are_one_picture_and_several_evaluations_have_captions():
    spec = GameSpec.of("squared")
    with evaluator(spec, num_envs=3, episodes=3) as one, evaluator(spec, num_envs=3) as other:
        single, grid = Shown(one, "a"), Shown(one, "a", num_envs=3)
        picture = picture_of([single])
        height, width = picture.shape[:2]
        assert width == WIDTH
        tiled = picture_of([grid])
        assert np.array_equal(tiled[:height, :width], picture)
        assert tiled.size >= 3 * picture.size
        both = picture_of([single, Shown(other, "b")])
        assert both.shape[1] > 2 * width and both.shape[0] > height
        strip = both.shape[0] - height
        assert np.array_equal(both[strip:, :width], picture)
        assert (both[:strip, :width].max(axis=(1, 2)) > 150).any()  # white letters


def test_a_caption_has_the_score_of_the_first_episode_of_each_env_in_a_round():
    with evaluator(GameSpec.of("cartpole"), num_envs=4, episodes=100, seed=8) as run:
        shown, first, later = Shown(run, "x", num_envs=4), {}, {}
        real = run.step

        def step():
            done = real()
            for env in np.flatnonzero(done.ended).tolist():
                later[env] = done.logs["score"][env]
                first.setdefault(env, later[env])
            return done

        run.step = step
        while not shown.round_over:
            shown.step()
            shown.begin_next()
        assert len(first) == 4 and first != later
        assert shown.caption() == f"x: score {np.mean([*first.values()]):.4g}"


def test_the_view_of_a_dead_agent_passes_to_the_next_live_one():
    spec = GameSpec.of("royale")
    with evaluator(spec, episodes=1) as run:
        shown = Shown(run, "x", agent=3)
        assert shown._seen_by() == [3]
        views = set()
        for _ in range(400):
            run.begin_next(run.step().ended)
            (agent,) = shown._seen_by()
            assert run.env.alive[agent]
            views.add(agent)
        assert len(views) > 1
        run.env.alive[:] = False
        assert shown._seen_by() == [3]  # after the end there is no live one


def test_frames_between_two_steps_are_interpolated_but_not_from_an_ending_to_a_beginning():
    spec = GameSpec.of("squared")
    screen, exact = Recorder(steps_per_frame=0.5, live=True), expected_frames(spec, 2)
    with evaluator(spec, episodes=2) as run:
        watch([Shown(run, "x")], [screen])
    frames = np.stack(screen.frames)
    starts = [0, *(i + 1 for i, last in enumerate(screen.lasts[:-1]) if last)]
    assert len(starts) == 2
    of_steps = [
        frame
        for begin, end in zip(starts, [*starts[1:], len(frames)], strict=True)
        for frame in frames[begin:end:2]
    ]
    assert np.array_equal(np.stack(of_steps), exact)
    between = frames[starts[0] + 1 : starts[1] : 2]
    moved = sum(
        not np.array_equal(frame, exact[i]) and not np.array_equal(frame, exact[i + 1])
        for i, frame in enumerate(between)
    )
    assert moved > len(between) / 3  # the agent is drawn where it is in no step


def test_a_game_that_does_not_draw_itself_says_how_to_begin():
    with (
        evaluator(GameSpec.of(load_game("masked"))) as run,
        pytest.raises(games.NotDrawn, match="masked does not draw itself"),
    ):
        Shown(run, "x")


@pytest.mark.parametrize(
    ("steps_per_frame", "expected"),
    [
        (1, [[1], [1], [1], [1]]),
        (0.5, [[0.5, 1], [0.5, 1], [0.5, 1], [0.5, 1]]),
        (0.2, [[0.2, 0.4, 0.6, 0.8, 1]] * 4),
        (2, [[], [1], [], [1]]),
        (1.5, [[], [0.5], [1], [1]]),  # the last step is shown in any case
        (0.75, [[0.75], [0.5], [0.25, 1], [0.75, 1]]),
    ],
)
def test_times_of_frames(steps_per_frame, expected):
    times = Times()
    assert times.of_step(steps_per_frame, True, False) == [1]
    found = [times.of_step(steps_per_frame, False, i == 3) for i in range(4)]
    assert [[round(t, 6) for t in step] for step in found] == expected


def place_of(shown, env, agent):
    """Return the pixel of the picture in the middle of an agent, in a grid of two envs."""
    one, source = shown.pictures.now[env], shown.pictures.source
    x, y, width, height = one.outline(agent)
    scale = min(source.width / one.view[2], source.height / one.view[3])
    middle = x + width / 2 - one.view[0], y + height / 2 - one.view[1]
    left = (source.width - one.view[2] * scale) / 2
    top = (source.height - one.view[3] * scale) / 2
    return left + middle[0] * scale + env * (source.width + GAP), top + middle[1] * scale


def test_a_click_follows_an_agent_a_second_one_shows_its_view_and_one_beside_it_everything():
    spec = GameSpec.of("tag")
    with evaluator(spec, num_envs=2, episodes=2, render_size=400) as run:
        shown = Shown(run, "x", num_envs=2)
        shown.pictures.between = True
        shown.pictures.begin()
        plain_picture = picture_of([shown])
        agents = [
            agent for agent in range(run.env.env_agents) if is_on_top(shown.pictures.now[1], agent)
        ]
        first = agents[0]
        shown.click(*place_of(shown, 1, first))
        assert (shown._followed, shown._agents) == ([-1, first], [-1, -1])
        shown._outline()
        shown.pictures.begin()
        outlined = picture_of([shown])
        half = shown.pictures.source.width
        assert np.array_equal(outlined[:, :half], plain_picture[:, :half])  # the other env
        different = (outlined != plain_picture).any(2)
        assert 20 < different.sum() < 3000
        assert (outlined[different].min(axis=1) > 100).any()  # a white line
        shown.click(*place_of(shown, 1, first))
        assert (shown._followed, shown._agents) == ([-1, -1], [-1, first])
        assert shown._seen_by() == [-1, first]
        shown._outline()
        shown.pictures.begin()
        assert (picture_of([shown]) != plain_picture).any(2).sum() > 10_000
        shown.click(half + GAP / 2, 10)  # between the two
        assert shown._agents == [-1, first]
        shown.click(half + GAP + 1, 1)
        assert (shown._followed, shown._agents) == ([-1, -1], [-1, -1])


def is_on_top(one, agent):
    if (area := one.outline(agent)) is None:  # it is not there yet
        return False
    x, y, width, height = area
    return one.agent_at(x + width / 2, y + height / 2) == agent


def test_clicks_of_a_screen_reach_the_evaluation_that_is_shown_alone():
    screen = Recorder(20, live=True)
    screen.clicks = [(1, 2)]
    with evaluator(GameSpec.of("squared")) as run:
        shown, clicked = Shown(run, "x"), []
        shown.click = lambda x, y: clicked.append((x, y))
        watch([shown], [screen])
    assert clicked == [(1, 2)]
