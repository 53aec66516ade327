"""The window of a person who plays, without a screen: posted events become keys and clicks."""

import numpy as np
import pytest

from pufferenv.game_spec import GameSpec
from pufferlib.run import external_envs
from pufferlib.run.play import keys_of, play
from pufferlib.run.play_controls import Controls
from pufferlib.run.play_session import PlaySession
from pufferlib.run.play_window import PlayWindow
from tests.lib.run.test_play import actions_of, policy_for

pygame = pytest.importorskip("pygame", reason="pygame opens the window; the extra `render` has it")


@pytest.fixture(autouse=True)
def dummy(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def post(kind, **about):
    pygame.event.post(pygame.event.Event(kind, **about))


def key(number, down=True, **about):
    post(
        pygame.KEYDOWN if down else pygame.KEYUP,
        **{"key": number, "unicode": "", "mod": 0, **about},
    )


class Posting(PlayWindow):
    """Posts events before each look at them: `events` has a function for some of them."""

    def __init__(self, events):
        super().__init__("test", 2000.0)
        self._events, self.takes = events, 0

    def take(self, session, controls):
        if self.takes in self._events:
            self._events[self.takes](self, session)
        self.takes += 1
        if self.takes > 300:
            controls.ended = True
        return super().take(session, controls)


def played(game, events, *, steps=10, policy=None, config=None, **options):
    session = PlaySession(GameSpec.of(game, config or {}), policy, **options)
    controls = Controls(keys_of(session.env), has_policy=session.has_policy)
    taken = actions_of(session)
    stage = Posting({**events, steps: lambda *_: key(pygame.K_ESCAPE)})
    play(session, controls, stage)
    session.close()
    return session, controls, stage, taken


def test_the_actions_are_those_of_the_keys_that_were_posted():
    events = {
        1: lambda *_: key(pygame.K_LEFT),
        3: lambda *_: key(pygame.K_LEFT, down=False),
        5: lambda *_: (key(pygame.K_d), key(pygame.K_d, down=False)),
    }
    _, _, stage, taken = played("breakout", events, steps=7)
    assert [choices[0, 0] for choices, _ in taken] == [0, 1, 1, 0, 0, 2, 0]
    assert stage._viewer.closed


def test_shift_takes_over_with_letters_that_shift_makes_capital_until_the_focus_is_lost():
    shift = pygame.KMOD_LSHIFT
    events = {
        1: lambda *_: (key(pygame.K_LSHIFT), key(pygame.K_a, unicode="A", mod=shift)),
        4: lambda *_: post(pygame.WINDOWFOCUSLOST),
        6: lambda *_: key(pygame.K_RSHIFT),
        7: lambda *_: key(pygame.K_RSHIFT, down=False),
    }
    policy = policy_for(GameSpec.of("breakout"))
    person = []

    def noting(step):
        def note(window, session):
            if step in events:
                events[step](window, session)

        return note

    session = PlaySession(GameSpec.of("breakout"), policy, seed=2)
    controls = Controls(keys_of(session.env), has_policy=True)
    taken, act = actions_of(session), controls.action
    controls.action = lambda mouse: (person.append(controls.person_plays), act(mouse))[1]
    stage = Posting({step: noting(step) for step in events} | {9: lambda *_: key(pygame.K_ESCAPE)})
    play(session, controls, stage)
    assert person == [False, True, True, True, False, False, True, False, False]
    assert [choices[0, 0] for choices, _ in taken][1:4] == [1, 1, 1]
    assert taken[6][0][0, 0] == 0  # Shift alone: the person does nothing
    session.close()


def test_no_key_leaves_the_policys_run_as_it_is():
    spec = GameSpec.of("snake")
    policy = policy_for(spec)
    _, _, _, shown = played("snake", {}, steps=12, policy=policy, seed=6)
    session = PlaySession(spec, policy, seed=6)
    taken = actions_of(session)
    for _ in range(12):
        session.step(None)
    assert all((a[0] == b[0]).all() for a, b in zip(shown, taken, strict=True))


def test_a_click_selects_the_agent_that_is_drawn_there():
    wanted = []

    def click(window, session):
        agent = max(np.flatnonzero(session.env.alive))
        x, y, width, height = window._list.outline(agent)
        whole = window._viewer._lists[0].view
        scale = min(window._viewer.window.width / whole[2], window._viewer.window.height / whole[3])
        left = (window._viewer.window.width - whole[2] * scale) / 2
        top = (window._viewer.window.height - whole[3] * scale) / 2
        at = (left + (x + width / 2 - whole[0]) * scale, top + (y + height / 2 - whole[1]) * scale)
        if window._list.agent_at(x + width / 2, y + height / 2) == agent:
            wanted.append(int(agent))
            post(pygame.MOUSEBUTTONDOWN, button=1, pos=(int(at[0]), int(at[1])))

    session, _, _, _ = played("tag", {2: click}, steps=3, random=True, seed=1)
    assert wanted and session.agent == wanted[0] > 0


def test_the_mouse_is_told_in_parts_of_the_game_without_the_text():
    places = []

    class Noting(Posting):
        def take(self, session, controls):
            window = self._viewer.window
            view, whole = self._view, self._viewer._lists[0].view
            scale = min(window.width / whole[2], window.height / whole[3])
            top = (window.height - whole[3] * scale) / 2 + (view[1] - whole[1]) * scale
            post(
                pygame.MOUSEMOTION,
                pos=(window.width // 2, int(top + view[3] * scale / 4)),
                rel=(0, 0),
            )
            places.append(super().take(session, controls))
            return places[-1]

    session = PlaySession(GameSpec.of("breakout"))
    play(session, Controls(keys_of(session.env), has_policy=False),
         Noting({3: lambda *_: key(pygame.K_ESCAPE)}))  # fmt: skip
    x, y = places[-1]
    assert abs(x - 0.5) < 0.01 and abs(y - 0.25) < 0.01
    session.close()


def test_closing_the_window_ends_the_game():
    _, controls, _, taken = played("breakout", {4: lambda *_: post(pygame.QUIT)}, steps=100)
    assert controls.ended and len(taken) == 4


def test_resizing_and_hiding_the_help_keep_the_game_in_view():
    def resize(window, session):
        pygame.display.set_mode((500, 700), pygame.RESIZABLE)
        post(pygame.VIDEORESIZE, w=500, h=700, size=(500, 700))

    events = {2: resize, 4: lambda *_: key(pygame.K_h), 6: lambda *_: key(pygame.K_F7)}
    _, controls, stage, taken = played("royale", events, steps=9, random=True)
    assert len(taken) == 9 and not controls.help and controls.own_view
    assert stage._viewer._canvas.shape == (700, 500, 3)


def test_frames_of_an_env_written_in_python_are_shown_with_a_line_above_them():
    spec = external_envs.drawn(GameSpec.of(external_envs.load("gym:FrozenLake-v1", {})))
    session = PlaySession(spec, seed=1)
    stage = Posting({2: lambda *_: key(pygame.K_1), 6: lambda *_: key(pygame.K_ESCAPE)})
    taken = actions_of(session)
    play(session, Controls(keys_of(session.env), has_policy=False), stage)
    assert [choices.reshape(-1)[0] for choices, _ in taken][:3] == [0, 0, 1]
    session.close()
