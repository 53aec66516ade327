"""The numbers of the table against values computed here."""

from pufferlib.plotting.groups import group
from pufferlib.plotting.run_log import read
from pufferlib.plotting.table import row, to_markdown
from tests.support.run_folders import write_run


def two_seeds(tmp_path):
    logs = [
        read(write_run(tmp_path / "a", [5, 9, 4], sps=100, train={"seed": 1})),
        read(write_run(tmp_path / "b", [5, 7, 6, 8], sps=200, train={"seed": 2})),
    ]
    (found,) = group(logs)["cartpole"]
    return found


def test_a_row_has_the_final_mean_its_interval_and_the_cost(tmp_path):
    found = row(two_seeds(tmp_path), "env/score")
    assert (found.final, found.low, found.high, found.highest) == (6, 4, 8, 9)
    assert found.steps == (3000 + 4000) / 2
    assert found.seconds == (30 + 20) / 2
    assert found.speed == 7000 / 50


def test_smoothing_applies_to_the_final_and_the_highest_value(tmp_path):
    found = row(two_seeds(tmp_path), "env/score", 3)
    assert found.final == ((9 + 4) / 2 + (6 + 8) / 2) / 2
    assert found.highest == 7  # the first two points of either run


def test_the_table_is_markdown(tmp_path):
    one = read(write_run(tmp_path / "a|b", [0.25], game="squared", every=1500, sps=10))
    rows = [row(two_seeds(tmp_path), "env/score"), row(group([one])["squared"][0], "env/score")]
    assert to_markdown(rows) == "\n".join(
        [
            "| game | runs | seeds | metric | final mean [95 %] | highest "
            "| steps | time | steps/s |",
            "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
            "| cartpole | all | 2 | env/score | 6 [4, 8] | 9 | 3.5k | 0:25 | 140 |",
            "| squared | a\\|b | 1 | env/score | 0.25 | 0.25 | 1.5k | 2:30 | 10 |",
        ]
    )
