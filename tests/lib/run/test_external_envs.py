"""External envs on the command line: training, evaluation, resuming, and errors for bad names."""

import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from pufferenv.external.description import describe
from pufferenv.game_spec import GameSpec
from pufferlib.cli.main import main
from pufferlib.config import resolve, toml_file
from pufferlib.config.section import ConfigError
from pufferlib.run import external_config, external_envs
from pufferlib.run.directory import folder_name
from tests.support.command import error_of
from tests.support.external_envs import Village

CARTPOLE = "gym:CartPole-v1"
TINY = [
    "--vec.num-envs=4",
    "--vec.backend=serial",
    "--train.horizon=8",
    "--train.minibatch-size=0",
    "--train.eval-episodes=2",
    "--policy.hidden-size=8",
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def settings(**env):
    return [resolve.Layer("--", {"env": env})]


def test_an_env_by_name_is_trained_evaluated_and_resumed(capsys):
    words = [*TINY, "--train.total-timesteps=256", "--env.sutton-barto-reward"]
    assert main(["train", CARTPOLE, "--name", "first", *words]) == 0
    output = capsys.readouterr().out
    assert "normalized: observations and returns\n" in output
    assert output.startswith(
        "gym:CartPole-v1 observes 4 numbers and takes one of 2 actions, in episodes of at most 500 "
        "steps; policy mlp, backend serial\n"
        "settings: [python.numbers] of pufferlib/config/kinds.toml, because "
    )
    run = Path("runs/gym-CartPole-v1/first")
    held = toml_file.read(run / "config.toml")
    assert held["game"] == CARTPOLE and held["env"] == {"sutton_barto_reward": True}
    assert held["policy"]["name"] == "mlp" and held["train"]["norm_obs"] is True
    assert main(["eval", CARTPOLE, "--episodes", "3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["episodes"] == 3 and answer["game"] == CARTPOLE
    assert (
        answer["fields"]["score"]["mean"] == -1
    )  # with sutton_barto_reward: -1 for the fall, else 0
    again = run.parent / "second"
    longer = (run / "config.toml").read_text().replace("steps = 256", "steps = 512")
    again.mkdir()
    for file in run.iterdir():
        (again / file.name).write_bytes(file.read_bytes())
    (again / "config.toml").write_text(longer)
    assert main(["train", "--resume", str(again)]) == 0
    last = json.loads((again / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["agent_steps"] == 512


class Fails(gymnasium.Wrapper):
    """Raises in its 40th step."""

    steps = 0

    def step(self, action):
        self.steps += 1
        if self.steps == 40:
            raise KeyError("lost")
        return super().step(action)


def test_an_env_that_raises_ends_the_run_with_its_error_and_what_was_saved(capsys, monkeypatch):
    make = external_envs.Maker.__call__
    monkeypatch.setattr(external_envs.Maker, "__call__", lambda self: Fails(make(self)))
    words = [*TINY, "--train.total-timesteps=512", "--train.checkpoint-interval=1e-9"]
    assert main(["train", CARTPOLE, "--name", "x", *words]) == 1
    output = capsys.readouterr().out
    assert "gym:CartPole-v1: env 0, step 40: KeyError: 'lost'" in output
    assert "resume it: puffer train --resume runs/gym-CartPole-v1/x" in output
    assert Path("runs/gym-CartPole-v1/x/policy.safetensors").exists()


def test_what_an_env_is_made_with_reaches_it():
    kwargs = external_config.read_kwargs("gym:CartPole-v1", settings(max_episode_steps="7"))
    assert kwargs == {"max_episode_steps": 7}
    env = external_envs.Maker("gym:CartPole-v1", kwargs)()
    assert env.spec.max_episode_steps == 7
    lake = external_config.read_kwargs(
        "gym:FrozenLake-v1", settings(map_name="8x8", is_slippery="no")
    )
    assert lake == {"map_name": "8x8", "is_slippery": False}
    assert external_envs.Maker("gym:FrozenLake-v1", lake)().observation_space.n == 64


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sutton_reward": "1"}, ["--env.sutton-reward", "has no such argument", "sutton-barto"]),
        ({"sutton_barto_reward": "3"}, ["--env.sutton-barto-reward=3 must be bool"]),
        ({"max_episode_steps": "many"}, ["--env.max-episode-steps='many' must be int"]),
    ],
)
def test_what_an_env_does_not_take_is_refused(given, words):
    with pytest.raises(ConfigError) as caught:
        external_config.read_kwargs(CARTPOLE, settings(**given))
    for word in words:
        assert word in str(caught.value)


def test_a_class_passes_on_what_its_bases_take():
    class Base:
        def __init__(self, seen=3, render_mode=None):
            pass

    class Inner(Base):
        def __init__(self, size=5, **kwargs):
            pass

    class Open(Base):
        def __init__(self, **kwargs):
            pass

    assert external_envs._signature(Inner) == ({"size": 5, "seen": 3}, False)
    assert external_envs._signature(Open) == ({"seen": 3}, False)
    assert external_envs._signature(lambda a, b=2, **more: None) == ({"a": None, "b": 2}, True)


def test_bad_names_are_answered(capsys):
    assert "Did you mean: `CartPole`" in error_of(capsys, "train", "gym:CartPol-v1")
    error = error_of(capsys, "train", CARTPOLE, "--policy.name=cnn", *TINY)
    assert "needs an image" in error and "float32 of shape (4,)" in error
    error = error_of(capsys, "train", CARTPOLE, "--train.horzon=3")
    assert "did you mean --train.horizon" in error
    error = error_of(capsys, "train", "gymnasium:CartPole-v1")
    assert "envs in Python are gym:ID, ale:GAME and pettingzoo:MODULE" in error
    assert "games written in C" in error_of(capsys, "train", CARTPOLE, "--vec.debug")


@pytest.mark.parametrize(
    ("spec", "module", "extra"),
    [
        ("gym:LunarLander-v3", "Box2D", "box2d"),
        ("gym:MiniGrid-Empty-5x5-v0", "minigrid", "minigrid"),
        ("ale:Pong", "ale_py", "atari"),
        ("pettingzoo:classic.chess_v6", "pettingzoo", "pettingzoo"),
    ],
)
def test_a_missing_package_is_an_error_that_names_the_extra(
    capsys, monkeypatch, spec, module, extra
):
    for loaded in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d", raising=False)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d.lunar_lander", raising=False)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    error = error_of(capsys, "train", spec, *TINY, code=1)
    assert (
        f"{spec} needs {module}, which is not installed: run `pip install 'pufferenv[{extra}]'`"
        in error
    )


def test_help_shows_the_env_and_its_defaults(capsys):
    assert main(["train", "gym:FrozenLake-v1", "--help"]) == 0
    output = capsys.readouterr().out
    assert "--env.is-slippery" in output and "--env.max-episode-steps      100" in output
    assert "with the defaults for gym:FrozenLake-v1" in output
    gamma = external_config.configure("gym:FrozenLake-v1", [])[0].train.gamma
    assert f"--train.gamma                {gamma:g} " in output


def test_a_text_in_a_dict_is_refused_but_minigrids_mission_left_out(capsys, monkeypatch):
    class Talks(gymnasium.Env):
        action_space = gymnasium.spaces.Discrete(2)

        def __init__(self, key="mission"):
            number = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
            self.observation_space = gymnasium.spaces.Dict(
                {key: gymnasium.spaces.Text(9), "place": number}
            )

    gymnasium.register("Talks-v0", Talks)
    try:
        env = external_envs.Maker("gym:Talks-v0")()
        assert list(env.observation_space.keys()) == ["place"]
        error = error_of(capsys, "train", "gym:Talks-v0", "--env.key=word", *TINY)
        assert "'word' is Text" in error
    finally:
        del gymnasium.registry["Talks-v0"]


def test_the_time_that_an_env_may_take_is_an_option():
    def timeout(**vec):
        layers = [resolve.Layer("test", {"vec": {"backend": "processes", **vec}})]
        return external_config.configure(CARTPOLE, layers)[1].timeout

    assert (timeout(), timeout(timeout=7.5), timeout(timeout=0)) == (300, 7.5, None)


def test_the_limit_of_an_episode_is_known_from_the_env_or_its_arguments():
    """It is max_episode_steps in Gymnasium and max_cycles in PettingZoo."""

    class Cycles(Village):
        max_cycles = 40

    def limit(*layers):
        return external_config.configure(CARTPOLE, list(layers))[1].description.max_episode_steps

    assert [describe(make()).max_episode_steps for make in (Cycles, Village)] == [40, None]
    assert (limit(), limit(*settings(max_episode_steps=50))) == (500, 50)


def test_a_network_that_remembers_gets_settings_of_its_own_unless_told():
    def chosen(**policy):
        layers = [resolve.Layer("test", {"policy": policy, "train": {"gamma": 0.5}})]
        config = external_config.configure(CARTPOLE, layers)[0]
        assert config.train.gamma == 0.5
        return config.sources[0].partition(": ")[2]

    assert chosen() == chosen(name="mlp") == "python.numbers"
    assert chosen(name="mingru") == chosen(name="lstm") == "python.recurrent"


def test_a_runs_folder_has_nothing_that_a_path_would_read():
    assert folder_name("gym:ALE/Pong-v5") == "gym-ALE-Pong-v5"
    assert folder_name("pettingzoo:mpe.simple_spread_v3") == "pettingzoo-mpe.simple_spread_v3"
    assert folder_name("breakout") == "breakout"


def test_minigrid_learns_from_image_and_direction(capsys):
    pytest.importorskip("minigrid", reason="pip install 'pufferenv[minigrid]'")
    assert main(["train", "gym:MiniGrid-Empty-5x5-v0", *TINY, "--train.total-timesteps=64"]) == 0
    output = capsys.readouterr().out
    assert (
        "observes direction (one of 4 choices), image (an image of 7 x 7 x 3) and takes" in output
    )
    assert "settings: [python.map] of" in output


def test_atari_is_seen_as_four_grey_pictures():
    pytest.importorskip("ale_py", reason="pip install 'pufferenv[atari]'")
    pytest.importorskip("cv2", reason="pip install 'pufferenv[atari]'")
    env = external_envs.Maker("ale:Pong", {"frame_stack": 3, "noop_max": 5})()
    assert env.observation_space.shape == (3, 84, 84)
    obs, _ = env.reset(seed=1)
    assert obs.dtype == np.uint8 and obs.max() > 0
    assert env.unwrapped._frameskip == 1 and env.env.frame_skip == 4


def test_an_env_by_name_draws_itself(tmp_path, capsys):
    file = tmp_path / "cartpole.png"
    assert main(["eval", CARTPOLE, "--policy=random", "--episodes=2", f"--output={file}"]) == 0
    with pytest.importorskip("PIL.Image", reason="Pillow writes PNG files").open(file) as picture:
        assert picture.size == (600, 400)
    assert f"wrote {file}" in capsys.readouterr().out


def test_envs_that_are_drawn_are_in_this_process_and_give_frames():
    spec = GameSpec.of(external_envs.load(CARTPOLE, {"sutton_barto_reward": True}))
    drawn = external_envs.drawn(spec)
    assert drawn.game.make.kwargs == {"sutton_barto_reward": True, "render_mode": "rgb_array"}
    assert drawn.game.backend == "serial"
    game = GameSpec.of("squared")
    assert external_envs.drawn(game) is game


class CartPoleWithKeys(CartPoleEnv):
    def get_keys_to_action(self):
        return {("a",): 0, ("d",): 1}


def test_a_person_plays_an_env_with_its_own_keys(capsys, monkeypatch):
    pytest.importorskip("pygame", reason="pygame opens the window; the extra `render` has it")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    gymnasium.register("CartPoleWithKeys-v0", CartPoleWithKeys, max_episode_steps=5)
    assert main(["play", "gym:CartPoleWithKeys-v0", "--episodes=1", "--speed=64"]) == 0
    assert "episode 1: score 5, length 5" in capsys.readouterr().out
    assert main(["play", CARTPOLE, "--episodes=1", "--speed=64"]) == 0  # it has none of its own
    assert "0: 0\n1: 1\n" in capsys.readouterr().out
