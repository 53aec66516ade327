"""Which runs are seeds of one experiment, and what distinguishes the groups of a game."""

import pytest

from pufferlib.plotting.groups import group, mixed
from pufferlib.plotting.run_log import read
from tests.support.run_folders import write_run


def groups_of(tmp_path, *settings, split_by=(), game="cartpole"):
    """Return the groups of runs with these settings, named 0, 1, ... in the order given."""
    logs = [
        read(write_run(tmp_path / str(n), [1], game=game, **sections))
        for n, sections in enumerate(settings)
    ]
    (groups,) = group(logs, split_by).values()
    return groups


def names(groups):
    return [[run.path.name for run in found.runs] for found in groups]


def test_runs_that_differ_by_seed_and_by_how_they_are_computed_are_one_group(tmp_path):
    (found,) = groups_of(
        tmp_path,
        {"train": {"seed": 1, "threads": 1, "precision": "float32"}},
        {"train": {"seed": 2, "threads": 2, "precision": "bfloat16", "device": "cpu"}},
        {"train": {"seed": 3, "eval_interval": 1.0}, "vec": {"num_threads": 2}},
    )
    assert found.legend == found.size == "3 seeds"
    assert mixed(found) == (
        "the runs of 3 seeds differ in train.device (auto and cpu), train.precision (auto and "
        "bfloat16 and float32), train.threads (0 and 1 and 2), vec.num_threads (0 and 2); to draw "
        "them apart: --split-by train.device"
    )


def test_groups_are_labelled_by_the_keys_that_differ(tmp_path):
    found = groups_of(
        tmp_path,
        {"train": {"seed": 1, "learning_rate": 0.001}, "policy": {"name": "mlp"}},
        {"train": {"seed": 1, "learning_rate": 0.01}, "policy": {"name": "mlp"}},
        {"train": {"seed": 2, "learning_rate": 0.001}, "policy": {"name": "mlp"}},
        {"train": {"seed": 1, "learning_rate": 0.01}, "policy": {"name": "lstm"}},
    )
    assert names(found) == [["0", "2"], ["1"], ["3"]]
    assert [each.legend for each in found] == [
        "learning-rate 0.001, policy.name mlp (2 seeds)",
        "learning-rate 0.01, policy.name mlp (1 seed)",
        "learning-rate 0.01, policy.name lstm (1 seed)",
    ]
    assert not any(map(mixed, found))


def test_an_option_that_one_config_lacks_is_unset(tmp_path):
    found = groups_of(tmp_path, {"env": {}}, {"env": {"pixels": 84}})
    assert [each.label for each in found] == ["pixels unset", "pixels 84"]


def test_groups_that_differ_in_many_keys_are_labelled_by_their_runs(tmp_path):
    many = {"horizon": 8, "gamma": 0.9, "gae_lambda": 0.8, "clip_coef": 0.1}
    settings = [{"train": {"seed": s, **more}} for more in ({}, many) for s in (1, 2)]
    found = groups_of(tmp_path, *settings)
    assert [each.label for each in found] == ["0 and 1 more", "2 and 1 more"]


def test_one_run_is_labelled_by_its_name(tmp_path):
    (found,) = groups_of(tmp_path, {})
    assert found.legend == "0 (1 seed)"


def test_the_same_seed_twice_counts_as_one(tmp_path):
    (found,) = groups_of(tmp_path, *({"train": {"seed": s}} for s in (1, 1, 2)))
    assert found.legend == "3 runs of 2 seeds"


def test_an_option_of_computing_can_make_groups(tmp_path):
    settings = [{"train": {"seed": s, "threads": t}} for t in (1, 2) for s in (1, 2)]
    found = groups_of(tmp_path, *settings, split_by=["train.threads"])
    assert names(found) == [["0", "1"], ["2", "3"]]
    assert [each.legend for each in found] == ["threads 1 (2 seeds)", "threads 2 (2 seeds)"]


def test_runs_of_different_games_are_never_one_group(tmp_path):
    logs = [read(write_run(tmp_path / game, [1], game=game)) for game in ("cartpole", "squared")]
    assert {game: names(found) for game, found in group(logs).items()} == {
        "cartpole": [["cartpole"]],
        "squared": [["squared"]],
    }


def test_a_group_can_be_reduced_to_the_runs_with_a_metric(tmp_path):
    logs = [
        read(write_run(tmp_path / "a", [1, 2], train={"seed": 1})),
        read(write_run(tmp_path / "b", [1], train={"seed": 2}, metric="eval/score")),
    ]
    (found,) = group(logs)["cartpole"]
    assert names([found.having("eval/score")]) == [["b"]]
    assert found.having("loss/loss").runs == []


@pytest.mark.parametrize("game", ["catch", "/a/catch.h"])
def test_the_title_of_a_group_is_its_games(tmp_path, game):
    (found,) = groups_of(tmp_path, {}, game=game)
    assert found.title == "catch"
