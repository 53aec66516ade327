"""What `puffer` prints: options with their defaults, a game, an evaluation. No torch here."""

import argparse
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from pufferlib.config import resolve

if TYPE_CHECKING:
    from pufferenv.engine._engine import Game
    from pufferlib.run.evaluate import Evaluation


def options(args: argparse.Namespace, spec: str | None) -> int:
    """Print the command's help and all options; with a game, its own and its defaults too."""
    game: Game | None = None
    layers = []
    if spec and resolve.is_external(spec):
        from pufferlib.policies import observation_kinds
        from pufferlib.run import external_envs

        game = external_envs.load(spec, {})
        layers = [resolve.Layer(spec, observation_kinds.defaults(game.description.observations))]
    elif spec:
        from pufferenv import games as shelf

        game = shelf.load(spec)
        layers = [resolve.Layer(f"{game.name}.toml", shelf.defaults(spec))]
    print(args.parser.format_help().rstrip())
    print(
        f"\nOptions, --SECTION.KEY VALUE{f', with the defaults for {game.name}' if game else ''}:"
    )
    known = resolve.tables(game)
    values = resolve.defaults(known, layers)
    if spec and resolve.is_external(spec):
        known.pop("env")
        print(f"\nenv: what {spec} is made with")
        for key, default in external_envs.parameters(spec)[0].items():
            print(f"  {resolve.flag('env', key):<28} {default}")
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    for section, options in known.items():
        print(f"\n{section}:" + ("" if options else " nothing to set"))
        for key, option in options.items():
            value = values[section][key]
            default = "auto" if option.auto and not value else resolve.short(value)
            head = f"  {resolve.flag(section, key):<28} {default:<12} {resolve.legal(option):<18} "
            print(textwrap.fill(head + option.doc, width, subsequent_indent=" " * 34))
    if not game:
        print("\nWith GAME, its own options (env.*) and its defaults are shown too.")
    return 0


def evaluation(file: Path, game: "Game", result: "Evaluation") -> None:
    from rich.console import Console
    from rich.table import Table

    from pufferlib.run.dashboard import number

    table = Table(title=f"{game.name}: {result.episodes} episodes", title_justify="left")
    table.add_column("")
    for heading in ("mean", "std", "min", "max"):
        table.add_column(heading, justify="right")
    for name, stats in result.fields.items():
        table.add_row(name, *(number(value) for value in stats))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{file}, {result.seconds:.1f} s", markup=False, soft_wrap=True)
    if result.unfinished:
        console.print(
            f"{result.unfinished} more episodes had not ended when the evaluation stopped: "
            f"the figures lean towards short ones"
        )


def game(game: "Game") -> None:
    default = game.pack({field.name: field.default for field in game.config_fields})
    shape = " x ".join(map(str, game.obs_shape(default))) or "1"
    print(f"{game.name}: {game.doc}\n")
    print(f"agents        {game.num_agents(default)}")
    print(f"observation   {shape} {game.obs_dtype.name}")
    for head in game.heads(default):
        print(f"action        {head.name}, {head.n} choices: {head.doc}")
    for axis in game.axes(default):
        print(f"action        {axis.name}, {axis.low:g} to {axis.high:g}: {axis.doc}")
    for option in resolve.tables(game)["env"].values():
        value = f"{resolve.short(option.default)} in {resolve.legal(option)}"
        print(f"config        {resolve.flag('env', option.name)} {value}: {option.doc}")
    for name, doc in game.log_fields:
        print(f"log           {name}: {doc}")
