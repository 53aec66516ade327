"""The terminal in which a person plays: its line of text."""

import io

from pufferenv.game_spec import GameSpec
from pufferlib.run.play import keys_of
from pufferlib.run.play_controls import Controls
from pufferlib.run.play_session import PlaySession
from pufferlib.run.play_terminal import PlayTerminal


def test_the_line_says_first_who_plays_and_how_to_end():
    session = PlaySession(GameSpec.of("squared", {}), None, label="", seed=1)
    controls = Controls(keys_of(session.env), has_policy=False)
    out = io.StringIO()
    stage = PlayTerminal(out, io.StringIO(), pace=1000)
    stage.show(session, controls)
    stage.close()
    session.close()
    line = out.getvalue().splitlines()[-1]
    assert line.startswith("you play   episode 1   return 0   Q: end   ")
    assert line.count("Q: end") == 1 and "restart" in line
