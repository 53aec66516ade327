"""`puffer eval`: play whole episodes, print the game's log fields, and draw what is played.

Drawing changes no result. The first envs of the evaluation are drawn.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pufferenv.drawing.rendering import DrawnByItself
from pufferlib.cli import arguments, printing, recording, rendering
from pufferlib.cli.configure import Settings
from pufferlib.config.section import ConfigError

if TYPE_CHECKING:
    from pufferlib.cli.policy_source import PolicySource
    from pufferlib.cli.recording import Recording
    from pufferlib.run.evaluate import Evaluation, Evaluator
    from pufferlib.run.screens import Screen

SUMMARY = "Evaluate a policy over whole episodes; watch it, or write a video."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plain flags of the command."""
    arguments.add_policy(parser)
    parser.add_argument(
        "--compare",
        nargs="+",
        default=(),
        metavar="RUN",
        help="evaluate these too, on the same seeds: runs, policy files, or random",
    )
    parser.add_argument(
        "--episodes", type=int, default=100, help="number of episodes (default: 100)"
    )
    parser.add_argument(
        "--num-envs",
        type=int,
        metavar="N",
        help="envs that play them side by side (default: one per episode, at most 128; with "
        "--render, those that are drawn)",
    )
    arguments.add_acting(parser)
    rendering.add_arguments(parser)
    recording.add_arguments(parser)
    arguments.add_json(parser)
    arguments.add_help(parser, "show this help")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Evaluate; print mean, spread and range of every field that the game logs."""
    if args.help:
        printing.print_options(args.parser, None)
        return 0
    targets = [target for target in (args.target, *args.compare) if target]
    if not targets:
        raise ConfigError("evaluate what? Give a run's folder or a game: puffer eval RUN_OR_GAME")
    if args.compare and len(targets) < 2:
        raise ConfigError(
            f"--compare {targets[0]}: compare it with what? Give two or more: "
            "puffer eval --compare RUN1 RUN2"
        )
    for flag, number in (("--episodes", args.episodes), ("--num-envs", args.num_envs)):
        if number is not None and number < 1:
            raise ConfigError(f"{flag} {number} must be at least 1")
    arguments.check_acting(args)
    rendering.check(args)
    recording.check(args)
    from pufferlib.cli.policy_source import choose, choose_several

    if args.compare:
        sources = choose_several(targets, args.policy, settings, args.run_dir)
    else:
        sources = [choose(args.target, args.policy, settings, args.run_dir)]
    rendering.without_display(args, sources[0].spec.name)
    screens: list[Screen] = []
    kept: list[Recording] = []
    try:
        results, stopped = _evaluate(args, sources, screens, kept)
        if stopped:
            ended = min(result.episodes for result in results)
            print(f"stopped after {ended} of {args.episodes} episodes", file=sys.stderr)
        _report(args, sources, results, stopped)
        recording.describe(kept, args.json)
    finally:  # also after Ctrl-C, which leaves a file of what was played until then
        rendering.describe_files(screens, args.json)
    return 0


def _evaluate(
    args: argparse.Namespace,
    sources: "Sequence[PolicySource]",
    screens: "list[Screen]",
    kept: "list[Recording]",
) -> "tuple[list[Evaluation], bool]":
    """Evaluate each source, drawn on `screens` where that is asked for, which are opened here.

    The replays that are kept are added to `kept`. Return the results, and whether a person stopped
    the evaluation.
    """
    from pufferlib.run import external_envs
    from pufferlib.run.evaluate import Evaluator
    from pufferlib.run.watch import Shown, watch

    drawn = rendering.is_asked_for(args)
    num_envs = args.num_envs or (args.render_envs if args.render else None)
    width = rendering.frame_width(args, sources[0].spec, len(sources)) if drawn else None
    with ExitStack() as stack:
        evaluators = [
            stack.enter_context(
                Evaluator(
                    source.policy,
                    external_envs.drawn(source.spec) if drawn else source.spec,
                    episodes=args.episodes,
                    num_envs=num_envs,
                    num_threads=source.config.vec.num_threads or 1,
                    seed=args.seed,
                    greedy=args.greedy,
                    show_endings=drawn,
                    render_size=width,
                )
            )
            for source in sources
        ]
        begun = [
            recording.begin(args, source, evaluator)
            for source, evaluator in zip(sources, evaluators, strict=True)
        ]
        for one in begun:  # of two policies of one run, the first one's are kept
            if one is not None and all(one.place != other.place for other in kept):
                kept.append(one)
        if not drawn:
            results = [evaluator.finish() for evaluator in evaluators]
            _keep(kept)
            return results, False
        _check_drawn(args, evaluators[0])
        shown = [
            Shown(evaluator, source.label, num_envs=args.render_envs, agent=args.agent)
            for source, evaluator in zip(sources, evaluators, strict=True)
        ]
        title = f"{sources[0].spec.name}: {', '.join(source.label for source in sources)}"
        screens += rendering.open_screens(args, title, evaluators[0].env.renderer.pace)
        results, stopped = watch(shown, screens)
        _keep(kept)
        return results, stopped


def _keep(kept: "Sequence[Recording]") -> None:
    for one in kept:
        recording.keep(one)


def _check_drawn(args: argparse.Namespace, evaluator: "Evaluator") -> None:
    """Raise ConfigError for an env or an agent that cannot be drawn."""
    rendering.check_agent(args.agent, evaluator.env.env_agents)
    if isinstance(evaluator.spec.game, DrawnByItself):
        for flag, given in (("--size", args.size), ("--agent", args.agent)):
            if given is not None:
                raise ConfigError(
                    f"{flag} {given}: {evaluator.spec.name} is written in Python and draws itself, "
                    f"at its own size and for everybody; leave out {flag}"
                )
    if args.render_envs > evaluator.num_envs:
        raise ConfigError(
            f"--render-envs {args.render_envs} is more than the {evaluator.num_envs} envs that "
            "play: give as many --episodes"
        )


def _report(
    args: argparse.Namespace,
    sources: "Sequence[PolicySource]",
    results: "Sequence[Evaluation]",
    stopped: bool,
) -> None:
    """Print the results as tables or as JSON."""
    game = sources[0].spec.name
    about: dict[str, Any] = {"game": game, "seed": args.seed, "greedy": args.greedy}
    if args.json and args.compare:
        both = [
            {"run": source.label, "policy": source.about, **result.asdict()}
            for source, result in zip(sources, results, strict=True)
        ]
        print(json.dumps({**about, "compared": both}, indent=1))
    elif args.json:
        about = {"game": game, "policy": sources[0].about, **about}
        print(json.dumps({**about, **results[0].asdict()}, indent=1))
    elif args.compare:
        printing.print_comparison(game, [(s.label, s.about) for s in sources], results, stopped)
    else:
        printing.print_evaluation(sources[0].about, game, results[0], stopped)
