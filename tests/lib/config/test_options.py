"""The tables of options check their values; errors name what is legal."""

import dataclasses
import math

import pytest

from pufferlib.config.batch_sizes import fit_minibatch, resolve_sizes
from pufferlib.config.options import SECTIONS, PolicyOptions, TrainOptions, VecOptions


@pytest.mark.parametrize("section", list(SECTIONS))
def test_defaults_are_legal_and_every_option_has_a_doc(section):
    table = SECTIONS[section]
    values = table().asdict()
    for item in table.options():
        assert item.doc and "\n" not in item.doc
        assert values[item.name] == item.default
        assert type(item.default) is item.type


def test_make_takes_values_over_the_defaults():
    train = TrainOptions.make({"gamma": 0.5, "horizon": 8})
    assert (train.gamma, train.horizon) == (0.5, 8)
    assert TrainOptions.make(train.asdict()) == train


def test_an_int_is_taken_for_a_float_and_becomes_one():
    value = TrainOptions(gamma=1).gamma
    assert value == 1.0 and type(value) is float


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"gamma": 1.5}, ValueError, r"train\.gamma=1\.5 is outside \[0, 1\]: discount"),
        ({"gamma": math.nan}, ValueError, "gamma=nan is outside"),
        ({"ent_coef": math.inf}, ValueError, "ent_coef=inf is outside"),
        ({"horizon": 0}, ValueError, r"horizon=0 is outside \[1, 65536\]"),
        ({"horizon": 1.0}, TypeError, "horizon=1.0 is float, not int"),
        ({"horizon": True}, TypeError, "horizon=True is bool, not int"),
        ({"optimizer": "sgd"}, ValueError, "optimizer='sgd' is none of adam, muon"),
        ({"learning_rat": 1.0}, ValueError, "learning_rat: .* did you mean learning_rate"),
        ({"lr": 1.0}, ValueError, "lr: .* did you mean learning_rate"),
    ],
)
def test_a_bad_value_is_named_with_what_is_legal(values, error, text):
    with pytest.raises(error, match=text):
        TrainOptions.make(values)


def test_sections_are_named_as_on_the_command_line():
    assert [VecOptions.section(), TrainOptions.section(), PolicyOptions.section()] == list(SECTIONS)


@pytest.mark.parametrize(
    ("values", "agents", "recurrent", "fitting"),
    [
        ({"minibatch_size": 256}, 16, False, 256),
        ({"minibatch_size": 256}, 1, False, 64),
        ({"minibatch_size": 256}, 7, False, 64),
        ({"minibatch_size": 250}, 6, False, 192),
        ({"minibatch_size": 256, "horizon": 512}, 2, False, 512),  # a row at least
        ({"minibatch_size": 256, "batch_size": 640}, 2, False, 128),
        ({"minibatch_size": 0}, 3, False, 0),
        ({"minibatch_size": 256, "batch_size": 100}, 2, False, 256),  # resolve_sizes has the error
        ({"minibatch_size": 60, "horizon": 512, "shuffle": "steps"}, 1, False, 32),
        ({"minibatch_size": 60, "horizon": 512, "shuffle": "steps"}, 1, True, 512),
    ],
)
def test_a_minibatch_is_lowered_to_the_nearest_legal_size(values, agents, recurrent, fitting):
    train = fit_minibatch(TrainOptions(**values), agents, recurrent)
    assert train == TrainOptions(**{**values, "minibatch_size": fitting})
    if "batch_size" not in values or values["batch_size"] % 64 == 0:
        assert resolve_sizes(train, agents, recurrent).minibatch_size == fitting or not fitting


def test_sizes_of_zero_stand_for_one_row_per_agent_and_a_quarter_of_them():
    sizes = resolve_sizes(TrainOptions(horizon=64), 1024)
    assert sizes == (64, 1024, 64, 256)
    assert (sizes.batch_size, sizes.minibatch_size, sizes.minibatches) == (65536, 16384, 4)
    assert resolve_sizes(TrainOptions(horizon=64), 7) == (64, 7, 64, 1)
    assert resolve_sizes(TrainOptions(horizon=64), 1) == (64, 1, 64, 1)
    assert resolve_sizes(TrainOptions(horizon=64, shuffle="steps"), 7) == (64, 7, 1, 112)
    assert resolve_sizes(TrainOptions(horizon=3, shuffle="steps"), 1) == (3, 1, 1, 1)


def test_single_steps_are_shuffled_unless_the_policy_is_recurrent():
    train = TrainOptions(horizon=64, shuffle="steps", minibatch_size=96)
    sizes = resolve_sizes(train, 3)
    assert sizes == (64, 3, 1, 96)
    assert (sizes.batch_sequences, sizes.sequences_per_row, sizes.minibatches) == (192, 64, 2)
    with pytest.raises(ValueError, match=r"96 must be a multiple of horizon=64 .* 64 or 192"):
        resolve_sizes(train, 3, recurrent=True)
    with pytest.raises(ValueError, match=r"=95 must divide batch_size=192; .* 64 or 96$"):
        resolve_sizes(dataclasses.replace(train, minibatch_size=95), 3)


@pytest.mark.parametrize(
    ("batch", "minibatch", "text"),
    [
        (
            0,
            1000,
            r"=1000 .*horizon=64 .*batch_size=65536; nearest legal: 512 or 1024",
        ),
        (0, 192, r"minibatch_size=192 .* nearest legal: 128 or 256"),
        (0, 10**6, r"minibatch_size=1000000 .* nearest legal: 65536$"),
        (0, 1, r"minibatch_size=1 .* nearest legal: 64$"),
        (100, 0, r"batch_size=100 .*horizon=64; nearest legal: 64 or 128"),
        (10, 0, r"batch_size=10 .*nearest legal: 64 \("),
    ],
)
def test_sizes_that_do_not_fit_name_the_nearest_that_do(batch, minibatch, text):
    train = TrainOptions(horizon=64, batch_size=batch, minibatch_size=minibatch)
    with pytest.raises(ValueError, match=text):
        resolve_sizes(train, 1024)


def test_explicit_sizes_are_taken_as_they_are():
    train = TrainOptions(horizon=8, batch_size=80, minibatch_size=40)
    assert resolve_sizes(train, 3) == (8, 10, 8, 5)
