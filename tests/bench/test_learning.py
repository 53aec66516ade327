"""bench/learning.py: time to the bar, number of seeds, records that are continued, and tables."""

import json
import math

import pytest

from tests.support.paths import ROOT

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "bench"))
    import learning
    import learning_peers
    import learning_runs
    import learning_table
    from learning_runs import Records, Run, Task, planned, seeds_after
    from peer_loops import Recipe, cleanrl
    from recent import Reached, RecentScore, first_reached

TASK = Task("one", "cartpole", 1000, "floats", True, 500.0, "someone", 475.0)
PYTHON = TASK._replace(name="two", game="gym:CartPole-v1", ours=False, peers={"sb3": 2})


def line(steps, episodes, score):
    return {
        "agent_steps": steps,
        "uptime": steps / 10,
        "env/episodes": episodes,
        "env/score": score,
    }


def test_recent_score_is_over_the_fewest_last_updates_with_enough_episodes():
    recent = RecentScore(10)
    assert recent.add(6, 1.0) is None
    assert recent.add(0, math.nan) is None  # no episode ended in this update
    assert recent.add(6, 2.0) == pytest.approx(1.5)
    assert recent.add(6, 3.0) == pytest.approx(2.5)  # the first 6 are not needed any more
    assert recent.add(50, 7.0) == 7.0


def test_the_bar_is_reached_at_the_first_line_whose_recent_score_is_there():
    lines = [
        line(10, 9, 100.0),  # above the bar, but too few episodes
        line(20, 3, -300.0),
        {"agent_steps": 30, "uptime": 3.0, "env/episodes": 0.0},
        line(40, 0, None),
        line(50, 10, 50.0),
        line(60, 10, 90.0),
    ]
    assert first_reached(lines, 50, 10) == Reached(50, 5.0)
    assert first_reached(lines, 51, 10) == Reached(60, 6.0)
    assert first_reached(lines, 91, 10) is None
    assert first_reached(lines, 91, 9) == Reached(10, 1.0)
    assert first_reached([], -1, 0) is None


@pytest.mark.parametrize(
    ("seconds", "least", "count"),
    [(1, 1, 5), (59.9, 1, 5), (60, 1, 3), (299, 1, 3), (300, 1, 1), (900, 3, 3), (10, 3, 5)],
)
def test_the_first_run_decides_how_many_seeds_there_are(seconds, least, count):
    assert seeds_after(seconds, least) == list(range(1, count + 1))


def record(run, **more):
    base = {"task": run.task.name, "part": run.part, "seed": run.seed, "command": run.words}
    return {**base, "run": f"runs/{run.name}", "status": "done", "steps": 1000} | {
        "processor_seconds": 45.0,
        **more,
    }


def keep(records, run, lines=(), **more):
    """Store a record with the metrics of its run."""
    folder = records.root / "runs" / run.name
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    records.add(record(run, **more))


def names(runs):
    return [run.name for run in runs]


def test_seeds_follow_the_record_of_the_first(tmp_path):
    records = Records(tmp_path)
    tasks = [TASK, PYTHON]
    parts = ("defaults", "kinds", "peers")
    first = ["one-defaults-1", "two-defaults-1", "one-kinds-1", "two-sb3-1", "two-sb3-2"]
    assert names(planned(tasks, parts, records, None)) == first
    keep(records, Run(TASK, "defaults", 1), seconds=100.0)
    runs = names(planned(tasks, ["defaults"], records, None))
    assert runs == [*(f"one-defaults-{seed}" for seed in (1, 2, 3)), "two-defaults-1"]
    runs = names(planned([PYTHON], ["defaults", "peers"], records, [7, 8, 9]))
    assert runs == [*(f"two-defaults-{seed}" for seed in (7, 8, 9)), "two-sb3-7", "two-sb3-8"]


def test_a_run_is_repeated_only_if_it_failed_or_its_command_or_metrics_are_not_the_same(tmp_path):
    run, failed = Run(TASK, "defaults", 1), Run(TASK, "defaults", 2)
    records = Records(tmp_path)
    keep(records, run, seconds=1.0)
    records.add(record(failed, status="failed", error="killed"))
    with records.file.open("a") as file:
        file.write('{"task": "one", "pa')  # the machine stopped here
    again = Records(tmp_path)
    assert again.done(run) and not again.done(failed)
    assert not again.done(Run(TASK._replace(steps=2000), "defaults", 1))
    assert again.done(Run(TASK._replace(bar=1.0), "defaults", 1))  # is computed from the metrics
    assert [one["status"] for one in again.of(TASK, "defaults")] == ["done", "failed"]
    keep(again, failed, seconds=1.0)
    keep(again, Run(TASK, "defaults", 3), seconds=1.0)
    assert [one["seed"] for one in Records(tmp_path).of(TASK, "defaults")] == [1, 2, 3]
    assert Records(tmp_path).done(failed)
    (tmp_path / "runs" / run.name / "metrics.jsonl").unlink()
    assert not again.done(run)


def test_tables_have_the_interval_the_medians_and_what_did_not_arrive(tmp_path):
    records = Records(tmp_path)
    means = (480.0, 490.0, 500.0)
    for seed, mean in enumerate(means, 1):
        rise = [line(100 * seed, 200, 475.0)] if seed < 3 else [line(100, 200, 1.0)]
        scores = {"sampled": {"mean": mean}, "greedy": {"mean": 480.0 + 10 * seed}}
        keep(records, Run(PYTHON, "defaults", seed), rise, seconds=60.0, start=2.0, **scores)
    records.add(record(Run(PYTHON, "defaults", 4), status="failed", error="killed"))
    keep(records, Run(PYTHON, "sb3", 1), [line(900, 100, 475.0)], seconds=95.0, start=4.0)
    keep(records, Run(PYTHON, "cleanrl", 1), [line(900, 100, 0.0)], seconds=210.0, start=10.0)

    row, sb3, loop = learning_table.scores({"two": PYTHON}, records).splitlines()[2:]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:4] == ["`gym:CartPole-v1`", "floats", "1 k", "3, 1 failed"]
    assert cells[4:8] == ["490 (480 to 500)", "480, 500", "500 (490 to 510)", "500"]
    assert cells[8:] == ["475", "2 of 3", "200", "22", "60", "75 %"]  # medians of 12, 22 and never
    assert "1 of 1 | 900 | 94" in sb3 and "0 of 1 | - | -" in loop

    (row,) = learning_table.peers({"two": PYTHON}, records).splitlines()[2:]
    assert row.split(" | ")[1:3] == ["22", "0.33"]
    assert row.split(" | ")[3:6] == ["94", "0.23", "0.22"]  # 22 / 94 and 20 / 90
    assert row.strip("| ").split(" | ")[6:] == ["more than 210", "less than 0.1", "less than 0.1"]


def test_the_second_table_has_both_settings_of_a_game(tmp_path):
    records = Records(tmp_path)
    for part, mean in (("defaults", 500.0), ("kinds", 300.0)):
        scores = {"sampled": {"mean": mean}, "greedy": {"mean": mean}}
        keep(records, Run(TASK, part, 1), [line(100, 100, mean)], seconds=9.0, start=1.0, **scores)
    (row,) = learning_table.kinds({"one": TASK, "two": PYTHON}, records).splitlines()[2:]
    assert row.strip("| ").split(" | ")[2:] == ["500", "300", "1 of 1; 0 of 1", "100; -", "11; -"]


def test_the_table_of_settings_has_the_course_of_the_score_and_what_it_goes_with(tmp_path):
    task = TASK._replace(steps=1000, settings={"slow": "--train.learning-rate 1e-5"})
    records, run = Records(tmp_path), Run(task, "slow", 1)
    assert "--train.learning-rate 1e-5" in " ".join(run.words)
    assert names(planned([task, PYTHON], ["settings"], records, None)) == ["one-slow-1"]
    lines = [line(100 * i, 2 * i, 10.0 * i) for i in range(1, 10)]
    for i, one in enumerate(lines):
        one |= {"loss/approx_kl": 0.01 * i, "loss/entropy": 2.0}
    scores = {"sampled": {"mean": 80.0}, "greedy": {"mean": 90.0}}
    keep(records, run, lines, seconds=9.0, start=1.0, **scores)
    (row,) = learning_table.settings({"one": task, "two": PYTHON}, records).splitlines()[2:]
    cells = row.strip("| ").split(" | ")
    assert cells[1:3] == ["`--train.learning-rate 1e-5`", "80"]
    assert cells[3] == "10 20 30 40 50 60 70 80 90 -"
    assert cells[4:] == ["0.0400", "2.00", "-", "-", "-"]  # of steps 400, 500 and 600


def test_numbers_have_as_many_digits_as_they_need():
    shown = [learning_table.number(value) for value in (2410.4, 500.0, 475.5, -81.84, 0.9613, 0.9)]
    assert shown == ["2,410", "500", "476", "-81.8", "0.961", "0.9"]
    steps = [learning_table.in_steps(value) for value in (640, 102_400, 2_949_120, 26e6)]
    assert steps == ["640", "102 k", "2.95 M", "26 M"]


def test_a_document_keeps_what_is_around_its_tables():
    text = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n<!-- y -->\n<!-- end of y -->\n"
    new = learning_table.replace(text, "x", "| 1 |")
    assert new == text.replace("old", "| 1 |")
    assert learning_table.replace(new, "x", "| 1 |") == new
    with pytest.raises(ValueError, match="<!-- end of z -->"):
        learning_table.replace(text, "z", "")


def test_each_document_gets_the_tables_that_it_has_places_for(tmp_path):
    whole, other = tmp_path / "whole.txt", tmp_path / "other.txt"
    whole.write_text(
        "<!-- setup -->\n<!-- end of setup -->\n<!-- kinds -->\n<!-- end of kinds -->\n"
    )
    other.write_text("<!-- settings -->\n<!-- end of settings -->\n")
    learning_table.write([whole, other], {"one": TASK}, Records(tmp_path))
    assert "No run has been made." in whole.read_text() and "| game |" in whole.read_text()
    assert "| setting |" in other.read_text() and "| game |" not in other.read_text()
    other.write_text("nothing")
    with pytest.raises(SystemExit, match=r"other.txt has no place .* <!-- settings -->"):
        learning_table.write([other], {"one": TASK}, Records(tmp_path))
    other.write_text("<!-- kinds -->\n")
    with pytest.raises(SystemExit, match=r"other.txt has no <!-- end of kinds -->"):
        learning_table.write([other], {"one": TASK}, Records(tmp_path))


def test_the_plan_is_whole():
    tasks = learning_runs.read_tasks()
    for task in tasks.values():
        assert task.kind in {"bytes", "floats", "continuous", "recurrent", "pixels"}
        assert task.source and task.steps > 0
        for peer in task.peers:
            known = {"sb3": learning_peers.ZOO, "cleanrl": learning_peers.CLEANRL}[peer]
            assert task.game.removeprefix("gym:") in known
        assert not task.like or tasks[task.like].peers
        taken = {*learning_runs.OURS, *learning_runs.PARTS, *learning_runs.TRAINERS}
        assert not taken & {*task.settings}
    document = (ROOT / "docs" / "learning.md").read_text()
    for name in ("setup", "scores", "sources", "peers", "kinds"):
        learning_table.replace(document, name, "")
    learning_table.replace((ROOT / "docs" / "collapse.md").read_text(), "settings", "")


def test_a_plan_with_an_unknown_entry_is_an_error(tmp_path):
    (tmp_path / "plan.toml").write_text('[one]\ngame = "squared"\nstep = 3\n')
    with pytest.raises(SystemExit, match=r"plan.toml.*step"):
        learning_runs.read_tasks(tmp_path / "plan.toml")


PLAN = """
[fine]
game = "cartpole"
steps = 4096
kind = "floats"
ours = true
published = 10
source = "it is far below any policy's"
episodes = 3
[wrong]
game = "cartpole"
steps = 4096
flags = "--train.gamma 2"
kind = "floats"
ours = true
published = 10
source = "none"
"""


def test_runs_are_made_recorded_and_continued(tmp_path, monkeypatch, capsys):
    (tmp_path / "plan.toml").write_text(PLAN)
    (tmp_path / "page.txt").write_text((ROOT / "docs" / "learning.md").read_text())
    tasks = learning_runs.read_tasks(tmp_path / "plan.toml")
    monkeypatch.setattr(learning, "read_tasks", lambda: tasks)
    words = ["--parts", "defaults", "--seeds", "1", "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr("sys.argv", ["x", *words, "--write", str(tmp_path / "page.txt")])
    learning.main()
    records = Records(tmp_path / "runs")
    (fine,), (wrong,) = (records.of(tasks[name], "defaults") for name in ("fine", "wrong"))
    assert wrong["status"] == "failed" and "--train.gamma" in wrong["error"]
    assert fine["status"] == "done" and fine["steps"] == 4096
    assert fine["sampled"]["episodes"] == fine["greedy"]["episodes"] == 3
    reached = records.reached(fine, tasks["fine"])
    assert 0 < fine["start"] < reached.seconds <= fine["seconds"]
    assert 0 < fine["processor_seconds"] <= 1.5 * fine["seconds"]
    assert "`cartpole`" in (tmp_path / "page.txt").read_text()
    assert "wrong-defaults-1" in capsys.readouterr().out

    learning.main()  # only what failed is tried again
    assert "fine-defaults-1" not in capsys.readouterr().out
    assert len((tmp_path / "runs" / "records.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("kind", "env", "limits"),
    [("plain", "CartPole-v1", (8, 500)), ("normalized", "Pendulum-v1", (-2000, -100))],
)
def test_the_loop_reports_returns_as_the_env_gives_them(kind, env, limits):
    reports = []
    recipe = Recipe(env, envs=2, steps=256, minibatches=2, one_trunk=False, total=1024)
    cleanrl(kind, recipe, 1, lambda steps, ended: reports.append((steps, ended)))
    assert [steps for steps, _ in reports] == [512, 1024]
    returns = [score for _, ended in reports for _, score in ended]
    assert len(returns) >= 4 and all(limits[0] < score < limits[1] for score in returns)
