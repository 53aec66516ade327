"""`puffer eval`: which policy is evaluated, and files that are refused."""

import json
import pickle
import re
from pathlib import Path

import pytest

from pufferlib.cli.main import main
from tests.support.command import SHORT, error_of
from tests.support.paths import GAME_HEADERS


@pytest.fixture
def trained():
    assert main(["train", "squared", "--name", "x", *SHORT]) == 0
    return Path("runs/squared/x")


def test_eval_takes_a_run_or_the_newest_of_a_game_and_prints_a_table_or_json(trained, capsys):
    capsys.readouterr()
    assert main(["eval", "squared", "--episodes", "10"]) == 0
    table = capsys.readouterr().out
    assert "squared: 10 episodes" in table
    assert re.search(r"score\s*│", table)
    assert str(trained / "best.safetensors") in table
    results = []
    for _ in range(2):
        words = ["--episodes", "10", "--policy", "last", "--json", "--seed", "3"]
        assert main(["eval", str(trained), *words]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["policy"] == str(trained / "last.safetensors").replace("last.", "policy.")
    assert results[0]["fields"] == results[1]["fields"]
    assert set(results[0]["fields"]["score"]) == {"mean", "std", "min", "max"}


def test_eval_takes_the_header_of_a_game_from_outside_and_a_policy_file_of_it(capsys):
    header = str(GAME_HEADERS / "namesake.h")
    assert main(["train", header, "--name", "x", *SHORT]) == 0
    file = "runs/namesake/x/policy.safetensors"
    for words in ([header], ["namesake", "--policy", file], [header, "--policy", file]):
        assert main(["eval", *words, "--episodes", "2"]) == 0
    error = error_of(capsys, "eval", "namesake", "--policy", "nope")
    assert "--policy nope is neither a file nor one of best, last, random" in error


def test_eval_refuses_a_policy_of_another_game_or_size(trained, capsys):
    file = str(trained / "policy.safetensors")
    error = error_of(capsys, "eval", "cartpole", "--policy", file)
    assert "its game is squared, here it is cartpole" in error
    error = error_of(capsys, "eval", "squared", "--policy", file, "--env.size", "5")
    assert "obs_shape is [11, 11], here it is [5, 5]" in error


def test_eval_refuses_pickles_and_files_that_are_cut_short(trained, capsys):
    file = trained / "best.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "truncated or damaged" in error_of(capsys, "eval", str(trained))
    file.write_bytes(pickle.dumps({"weights": 1}))
    assert "looks like a pickle" in error_of(capsys, "eval", str(trained))


def test_random_actions_need_no_run_and_take_the_defaults_and_the_flags(capsys):
    words = ["eval", "squared", "--policy", "random", "--episodes", "20", "--json"]
    results = []
    for more in ([], [], ["--seed", "1"], ["--env.size", "3"]):
        assert main([*words, *more]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["policy"] == "random"
    same, other, short = (result["fields"] for result in results[1:])
    assert results[0]["fields"] == same != other
    assert short["length"]["max"] < same["length"]["max"]
    assert not Path("runs").exists()


def test_random_actions_in_a_runs_folder_take_the_runs_config(capsys):
    assert main(["train", "squared", "--name", "x", *SHORT, "--env.size", "3"]) == 0
    lengths = []  # of the longest episodes: on a small grid they are short
    for target in ("runs/squared/x", "squared"):
        capsys.readouterr()
        assert main(["eval", target, "--policy", "random", "--json"]) == 0
        lengths.append(json.loads(capsys.readouterr().out)["fields"]["length"]["max"])
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["breakou"], "did you mean 'breakout'"),
        (["runs/nowhere"], "runs/nowhere is neither a run's folder nor a game"),
        (["squared", "--greedy"], "--greedy takes a policy's most likely actions, and --policy"),
        (["squared", "--seed", "-1"], "--seed -1 is outside [0, 2^63 - 1]"),
        (["squared", "--seed", str(2**63)], "is outside [0, 2^63 - 1]"),
    ],
)
def test_what_random_actions_cannot_play_is_named(words, message, capsys):
    assert message in error_of(capsys, "eval", *words, "--policy", "random")


def test_random_actions_play_python_envs(capsys):
    words = ["eval", "gym:Pendulum-v1", "--policy", "random", "--episodes", "2", "--json"]
    assert main([*words, "--vec.backend", "serial"]) == 0
    assert json.loads(capsys.readouterr().out)["fields"]["length"]["mean"] == 200


def test_misspelt_game_gets_the_nearest_one_and_no_advice_to_train_it(capsys):
    message = error_of(capsys, "eval", "brakout")
    assert "unknown game 'brakout': did you mean 'breakout'" in message
    assert "puffer train" not in message
