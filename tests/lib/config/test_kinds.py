"""Kinds of task: which one a task is of, the rules, and that every table has legal settings."""

import pytest

from pufferenv import games
from pufferlib.config import kinds, resolve
from pufferlib.config.kinds import Task

TASK = Task("python", "numbers", continuous=False, recurrent=False, normalized=True, limit=500)


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({}, "python.numbers"),
        ({"continuous": True}, "python.continuous"),
        ({"recurrent": True}, "python.recurrent"),
        ({"recurrent": True, "continuous": True}, "python.recurrent"),
        ({"observed": "map", "recurrent": True, "continuous": True}, "python.map"),
        ({"observed": "screen", "continuous": True}, "python.screen"),
        ({"family": "c"}, "c.numbers"),
        ({"family": "c", "observed": "grid"}, "c.grid"),
        ({"family": "c", "observed": "grid", "continuous": True}, "c.continuous"),
        ({"family": "c", "observed": "grid", "recurrent": True}, "c.recurrent"),
        ({"family": "c", "observed": "pixels", "recurrent": True}, "c.pixels"),
    ],
)
def test_an_image_decides_then_the_network_then_the_action(facts, name):
    kind = kinds.choose(TASK._replace(**facts))
    assert kind.name == name and kind.why == kinds.REASONS[name.partition(".")[2]]


def test_a_kind_has_the_settings_of_its_family_and_its_own_over_them(monkeypatch):
    family = {"all": {"vec": {"num_envs": 3}, "train": {"horizon": 4, "gamma": "twice-the-limit"}}}
    family["numbers"] = {"train": {"horizon": 5}, "policy": {"activation": "tanh"}}
    monkeypatch.setattr(kinds, "tables", lambda: {"python": family})
    assert kinds.choose(TASK).settings == {
        "vec": {"num_envs": 3},
        "train": {"horizon": 5, "gamma": 0.999},
        "policy": {"activation": "tanh"},
    }


def test_the_far_discount_looks_twice_as_far_as_an_episode_may_last():
    def gamma(limit):
        return kinds.far_discount(TASK._replace(limit=limit))

    assert [gamma(limit) for limit in (1, 10, 25, 200)] == [0.95, 0.95, 0.98, 0.9975]
    assert [gamma(limit) for limit in (500, 1000, 9000)] == [0.999] * 3
    assert gamma(None) == 0.99


def test_the_near_discount_looks_a_tenth_as_far_as_an_episode_may_last():
    def gamma(limit):
        return kinds.near_discount(TASK._replace(limit=limit))

    assert [gamma(limit) for limit in (1, 50, 100, 200)] == [0.9, 0.9, 0.9, 0.95]
    assert [gamma(limit) for limit in (500, 1000, 9000, None)] == [0.98, 0.99, 0.99, 0.99]


@pytest.mark.parametrize(
    ("family", "kind"),
    [(family, kind) for family, kinds in kinds.tables().items() for kind in kinds],
)
def test_every_table_has_known_options_and_legal_values(family, kind):
    """`policy.name` is not among them, because it decides on the kind."""
    options = resolve.option_tables(games.load("squared"))  # a game that can be observed as pixels
    for section, values in kinds.tables()[family][kind].items():
        for key, value in values.items():
            option = options[section][key]
            applied = kinds.RULES[value](TASK) if value in kinds.RULES else value
            option.check(applied)
            assert (section, key) != ("policy", "name")


def test_every_kind_has_a_table_in_its_family_and_a_reason():
    in_both = {"all", "numbers", "continuous", "recurrent"}
    assert set(kinds.tables()["python"]) == in_both | {"map", "screen"}
    assert set(kinds.tables()["c"]) == in_both | {"grid", "pixels"}
    assert set(kinds.REASONS) == {k for t in kinds.tables().values() for k in t} - {"all"}


def test_the_number_of_envs_follows_the_agents_of_one():
    rule = kinds.RULES["for-256-agents"]
    assert [rule(TASK._replace(agents=n)) for n in (1, 2, 64, 100, 256, 1000)] == [
        256,
        128,
        4,
        2,
        1,
        1,
    ]
