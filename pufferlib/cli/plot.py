"""`puffer plot`: draw the curves of runs, or print a table of them."""

import argparse
from pathlib import Path

from pufferlib.cli import arguments
from pufferlib.cli.configure import Settings
from pufferlib.config.section import ConfigError

SUMMARY = "Draw the curves of runs, or print a table of them."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plain flags of the command."""
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="RUN_OR_GAME",
        help="a run's folder, a folder of runs, or a game for its newest run; runs that differ "
        "only by their seed become one mean with a 95 %% confidence band",
    )
    parser.add_argument(
        "--all", action="store_true", help="all runs of a game instead of its newest"
    )
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help="as in metrics.jsonl, such as eval/score or loss/entropy; may be given several times "
        "(default: env/score, or the first field that the game logs)",
    )
    parser.add_argument(
        "--x",
        choices=("steps", "time", "both"),
        default="both",
        help="over agent steps, over wall time, or both side by side (default: both)",
    )
    parser.add_argument(
        "--smooth",
        type=int,
        default=1,
        metavar="POINTS",
        help="mean of so many neighbouring points, an odd number (default: 1, not smoothed)",
    )
    parser.add_argument(
        "--each", action="store_true", help="also draw each run of a band as a thin line"
    )
    parser.add_argument(
        "--split-by",
        action="append",
        default=[],
        metavar="KEY",
        help="draw runs apart that differ in this option, such as train.threads, although it "
        "does not change the experiment; may be given several times",
    )
    parser.add_argument("--output", metavar="FILE", help="a .png or .svg file (default: plot.png)")
    parser.add_argument(
        "--table", action="store_true", help="print a Markdown table; no picture without --output"
    )
    arguments.add_run_dir(parser)
    arguments.add_help(parser, "show this help")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Draw and print what was asked for; return the exit code."""
    if args.help:
        print(args.parser.format_help().rstrip())
        return 0
    if settings:
        raise ConfigError("puffer plot takes no options; the runs have their own config")
    if not args.targets:
        raise ConfigError("plot which runs? Give folders of runs or games: puffer plot RUN_OR_GAME")
    if args.smooth < 1 or args.smooth % 2 == 0:
        raise ConfigError(f"--smooth {args.smooth} must be an odd number of points: 1, 3, 5, ...")
    from pufferlib.plotting import report

    report.plot(
        args.targets,
        run_dir=args.run_dir,
        every=args.all,
        metrics=args.metric or (),
        x=args.x,
        points=args.smooth,
        each=args.each,
        split_by=[key.replace("-", "_") for key in args.split_by],
        output=Path(args.output or "plot.png") if args.output or not args.table else None,
        as_table=args.table,
    )
    return 0
