"""Output of the commands: options with their defaults, a game, an evaluation. Imports no torch."""

import argparse
import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pufferlib.config import kinds
from pufferlib.config.flags import flag_name, format_value, legal_values
from pufferlib.config.kinds import Task
from pufferlib.config.resolve import is_external, merge, option_tables

if TYPE_CHECKING:
    from pufferenv.engine._engine import Game
    from pufferlib.run.evaluate import Evaluation


def print_options(
    parser: argparse.ArgumentParser, name: str | None, *, game_defaults: bool = True
) -> None:
    """Print the command's help and all options; for a game, also its own options and defaults.

    game_defaults: whether the defaults include those of the game's own TOML file.
    """
    from pufferenv import games, pixels
    from pufferlib.run import defaults, external_envs

    game: Game | None = None
    own = []
    if name and is_external(name):
        game = external_envs.load(name, {})
    elif name:
        game = games.load(name)
        own = defaults.own_layers(name, game) if game_defaults else []
    print(parser.format_help().rstrip())
    defaults_of = f", with the defaults for {game.name}" if game else ""
    print(f"\nOptions, written --SECTION.KEY VALUE{defaults_of}:")
    tables = option_tables(game)
    values = merge(tables, [])
    if name and game:
        values |= defaults.configure(name, game, own, []).asdict()
    if name and is_external(name):
        tables.pop("env")
        print(f"\nenv: arguments of {name}")
        for key, default in external_envs.parameters(name)[0].items():
            print(f"  {flag_name('env', key):<28} {default}")
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    for section, options in tables.items():
        print(f"\n{section}:" + ("" if options else " no options"))
        for key, option in options.items():
            value = values[section].get(key, option.default)  # fields of pixels that are off
            default = "auto" if option.auto and not value else format_value(value)
            head = f"  {flag_name(section, key):<28} {default:<12} {legal_values(option):<18} "
            print(textwrap.fill(head + option.doc, width, subsequent_indent=" " * 34))
        if section == "env" and "pixels" in options and game and pixels.fields(game):
            of_pixels = f"  with {flag_name('env', 'pixels')}: {_pixel_defaults()}"
            print(textwrap.fill(of_pixels, width, subsequent_indent=" " * 4))
    if not game:
        print(
            "\n`puffer train GAME --help` also shows the game's own options (env.*) and defaults."
        )


def _pixel_defaults() -> str:
    """Return the flags that would set the defaults of a game that is observed as pixels."""
    task = Task("c", "pixels", continuous=False, recurrent=False, normalized=False, limit=None)
    return " ".join(
        f"{flag_name(section, key)} {format_value(value)}"
        for section, options in kinds.choose(task).settings.items()
        for key, value in options.items()
    )


def print_evaluation(policy: str, game: str, result: "Evaluation", stopped: bool = False) -> None:
    """Print a table with mean, std, min and max of every logged field.

    stopped: by a person, who knows that there were to be more episodes.
    """
    from rich.console import Console
    from rich.table import Table

    from pufferlib.run.formatting import number

    episodes = f"{result.episodes} episode{'s' * (result.episodes != 1)}"
    table = Table(title=f"{game}: {episodes}", title_justify="left")
    table.add_column("")
    for heading in ("mean", "std", "min", "max"):
        table.add_column(heading, justify="right")
    for name, stats in result.fields.items():
        table.add_row(name, *(number(value) for value in stats))
    console = Console(highlight=False)
    if result.fields:
        console.print(table)
    console.print(f"{policy}, {result.seconds:.1f} s", markup=False, soft_wrap=True)
    if result.unfinished and not stopped:
        console.print(_unfinished(result))


def _unfinished(result: "Evaluation") -> str:
    return (
        f"{result.unfinished} more episodes had not ended when the evaluation stopped, so the "
        "results are biased towards short episodes"
    )


def print_comparison(
    game: str,
    runs: Sequence[tuple[str, str]],
    results: "Sequence[Evaluation]",
    stopped: bool = False,
) -> None:
    """Print a table with mean and std of every logged field of `runs`, (label, policy)."""
    from rich.console import Console
    from rich.table import Table

    from pufferlib.run.formatting import number

    table = Table(title=f"{game}, mean and std", title_justify="left")
    table.add_column("")
    for label, _ in runs:
        table.add_column(label, justify="right")
    table.add_row("episodes", *(str(result.episodes) for result in results))
    for name in dict.fromkeys(name for result in results for name in result.fields):
        found = [result.fields.get(name) for result in results]
        table.add_row(name, *(f"{number(f.mean)} ± {number(f.std)}" if f else "" for f in found))
    console = Console(highlight=False)
    console.print(table)
    for label, policy in runs:
        console.print(f"{label}: {policy}", markup=False, soft_wrap=True)
    for (label, _), result in zip(runs, results, strict=True):
        if result.unfinished and not stopped:
            console.print(f"{label}: {_unfinished(result)}", markup=False, soft_wrap=True)


def print_game(game: "Game") -> None:
    """Print a game's description, agents, observation, actions, config and log fields."""
    from pufferenv.game_spec import GameSpec

    spec = GameSpec.of(game)
    shape = " x ".join(map(str, spec.obs_shape)) or "1"
    print(f"{game.name}: {game.doc}\n")
    print(f"agents        {spec.env_agents}")
    print(f"observation   {shape} {spec.obs_dtype.name}")
    for head in spec.heads:
        print(f"action        {head.name}, {head.n} choices: {head.doc}")
    for axis in spec.axes:
        print(f"action        {axis.name}, {axis.low:g} to {axis.high:g}: {axis.doc}")
    for option in option_tables(game)["env"].values():
        value = f"{format_value(option.default)} in {legal_values(option)}"
        print(f"config        {flag_name('env', option.name)} {value}: {option.doc}")
    for name, doc in game.log_fields:
        print(f"log           {name}: {doc}")
