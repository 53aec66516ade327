"""The command line itself: bad input, help, and the commands `games` and `bench`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pufferlib.cli.configure import split_settings
from pufferlib.cli.main import main
from pufferlib.config import options
from pufferlib.config.flags import flag_name
from pufferlib.kernels import _kernels
from tests.support.command import SHORT, TINY, error_of
from tests.support.paths import ROOT


def test_modules_in_the_current_folder_are_found_behind_all_others(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    elsewhere = [path for path in sys.path if path not in ("", str(tmp_path))]
    monkeypatch.setattr(sys, "path", list(elsewhere))
    assert main(["games"]) == main(["games"]) == 0
    assert sys.path == [*elsewhere, str(tmp_path)]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["trian"], ["invalid choice", "train"]),
        (["train"], ["which game?", "squared"]),
        (["train", "sqared"], ["sqared", "squared"]),
        (["train", "squared", "--train.learning-rte", "1"], ["did you mean --train.learning-rate"]),
        (["train", "squared", "--train.lr", "1"], ["did you mean --train.learning-rate"]),
        (["train", "squared", "--lr", "1"], ["did you mean --train.learning-rate"]),
        (["train", "squared", "--train.lr-finl", "1"], ["did you mean --train.lr-final"]),
        (["train", "squared", "--learning-rate", "1"], ["did you mean --train.learning-rate"]),
        (["train", "squared", "--trian.gama", "1"], ["--trian.gama", "did you mean --train.gamma"]),
        (["train", "squared", "--tensorbord"], ["did you mean --tensorboard"]),
        (["train", "squared", "--env.size", "2"], ["env.size=2", "[3, 64]"]),
        (["train", "squared", "--train.gamma"], ["gamma=true", "a number"]),
        (["train", "squared", "cartpole"], ["'cartpole'"]),
        (["train", "squared", "--config", "absent.toml"], ["absent.toml", "No such file"]),
        (["train", "squared", *TINY, "--train.batch-size", "9"], ["batch_size=9", "horizon=8"]),
        (["train", "--resume", "runs/none"], ["runs/none"]),
        (["train", "--resume", "x", "--train.gamma", "1"], ["--resume continues"]),
        (["eval"], ["puffer eval RUN_OR_GAME"]),
        (["eval", "squared"], ["train one: puffer train squared"]),
        (["eval", "squared", "--episodes", "0"], ["--episodes 0"]),
        (["bench", "env"], ["puffer bench env|train GAME"]),
        (["bench", "env", "squared", "--seconds", "-1"], ["--seconds -1"]),
    ],
)
def test_bad_input_gets_a_clear_line_and_exit_code_2(capsys, words, parts):
    error = error_of(capsys, *words)
    for part in parts:
        assert part in error


def test_an_unknown_key_in_a_config_file_names_the_file_and_the_nearest_key(capsys):
    Path("mine.toml").write_text("[train]\nlearning_rte = 1\n")
    error = error_of(capsys, "train", "squared", "--config", "mine.toml")
    assert "mine.toml: train.learning_rte" in error
    assert "did you mean train.learning_rate?" in error
    assert not Path("runs").exists()


def test_a_logger_that_is_not_installed_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    error = error_of(capsys, "train", "squared", "--wandb", *SHORT)
    assert "pip install 'pufferenv[wandb]'" in error
    assert not Path("runs").exists()


def test_too_little_memory_is_said_in_one_line(capsys, monkeypatch):
    def refuse(*args, **more):
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr("pufferenv.engine.arrays.mmap.mmap", refuse)
    words = ["--vec.num-envs", "16384", "--train.horizon", "8"]
    error = error_of(capsys, "train", "squared", *SHORT, *words, code=1)
    assert re.search(r"GiB of memory.* num_envs.* horizon", error)
    assert "--traceback" not in error


def test_a_traceback_is_shown_only_where_asked_for(capsys):
    assert main(["--traceback", "train", "sqared"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_build_is_said_in_one_line_with_exit_code_2():
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PUFFER_BUILD": "fast"}
    words = [sys.executable, "-m", "pufferlib", "games"]
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    assert done.returncode == 2
    assert done.stderr == "puffer: PUFFER_BUILD=fast: legal are release, debug, sanitize\n"


def test_help_does_not_import_torch():
    program = (
        "import sys, pufferlib.cli.main as c; c.main(['--help']); c.main(['games', 'squared']); "
        "c.main(['train', 'squared', '--help']); print('torch' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_help_of_a_game_shows_every_option_with_the_games_own_default(
    tmp_path, monkeypatch, capsys
):
    Path("squared.h").write_text((ROOT / "ocean" / "squared.h").read_text())
    Path("squared.toml").write_text("[train]\ngamma = 0.125\n")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("PUFFER_CACHE", str(tmp_path / "cache"))
    assert main(["train", "./squared.h", "--help"]) == 0
    output = capsys.readouterr().out
    for section, known in options.SECTIONS.items():
        for option in known.options():
            assert flag_name(section, option.name) in output
    assert re.search(r"--env.size +11 +3 \.\. 64 +side", output)
    assert re.search(r"--train.gamma +0.125 +0 \.\. 1 +discount", output)
    assert re.search(r"--policy.name +auto +auto\|mlp\|cnn\|lstm\|mingru", output)


def test_settings_are_split_off_with_hyphens_or_underscores_and_either_form():
    words = ["train", "--train.learning-rate", "-1", "--env.a_b=x=y", "x", "--run_dir", "d_e"]
    settings, rest = split_settings([*words, "--train.norm-obs", "--name", "n"])
    assert settings == {"train": {"learning_rate": "-1", "norm_obs": "true"}, "env": {"a_b": "x=y"}}
    assert rest == ["train", "x", "--run-dir", "d_e", "--name", "n"]


def test_games_are_listed_and_one_is_described(capsys):
    assert main(["games"]) == 0
    assert re.search(r"^squared +\S", capsys.readouterr().out, re.MULTILINE)
    assert main(["games", "squared"]) == 0
    output = capsys.readouterr().out
    assert "--env.size 11 in 3 .. 64" in output
    assert "move, 5 choices" in output


def test_bench_env_prints_rates_compiler_and_flags(capsys):
    words = ["--seconds", "0.05", "--vec.num-envs", "4", "--vec.num-threads", "2"]
    assert main(["bench", "env", "probe", *words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["steps_per_second"]) == ["1 thread", "2 threads"]
    assert all(rate > 0 for rate in report["steps_per_second"].values())
    assert {"compiler", "flags", "machine"} <= report.keys()
    assert report["kernels"] == _kernels.instruction_set()
    assert report["engine"] == ("native" if "=native" in report["flags"] else "portable")
    assert main(["bench", "env", "squared", *words]) == 0
    assert re.search(r"compiler +\w+", capsys.readouterr().out)


def test_bench_trains_parts_add_up_to_the_whole(capsys):
    assert main(["bench", "train", "squared", *TINY, "--seconds", "0.2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    seconds = report["seconds"]
    parts = [value for key, value in seconds.items() if key not in ("sum", "clock")]
    assert sum(parts) == pytest.approx(seconds["sum"])
    assert seconds["sum"] == pytest.approx(seconds["clock"], rel=0.02)
    reached = report["steps_per_second"] / report["roofline"]
    assert report["reached"] == pytest.approx(reached)
    assert sum(report["gemm_seconds"].values()) == pytest.approx(reached * seconds["clock"])
    assert not Path("runs").exists()


def test_a_pufferlib_of_another_make_beside_this_one_is_said(monkeypatch, capsys):
    monkeypatch.setattr("pufferenv.conflict", lambda: "pufferlib 3.0 is installed beside pufferenv")
    assert main(["games"]) == 0
    assert "warning: pufferlib 3.0 is installed beside" in capsys.readouterr().err
