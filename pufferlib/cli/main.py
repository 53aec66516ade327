"""`puffer train|eval|bench|games`: parse the command line, run the command, report errors.

What is parsed is in parser.py. It is imported where errors are reported: a package that is not
built, or a PUFFER_BUILD that does not exist, is bad input like any other.
"""

import os
import sys
import traceback
from collections.abc import Sequence

# OpenMP threads that spin while they wait make a product on a busy core up to ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Return 0, 1 (it failed), 2 (bad input) or 130 (interrupted)."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--traceback" in words or bool(os.environ.get("PUFFER_DEBUG"))
    try:
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # for my_module in gym:my_module:MyEnv-v0
        return _run(words)
    except SystemExit as done:  # argparse exits after --help
        return int(done.code or 0)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if debug:
            traceback.print_exc()
        bad_input = isinstance(error, (ValueError, TypeError))
        hint = "" if debug or _is_for_users(error) else "\n(use --traceback to see where)"
        print(f"puffer: {error or type(error).__name__}{hint}", file=sys.stderr)
        return BAD_INPUT if bad_input else FAILED


def _run(words: Sequence[str]) -> int:
    import pufferenv
    from pufferlib.cli.configure import split_settings
    from pufferlib.cli.parser import COMMANDS, make_parser, unknown_argument

    settings, rest = split_settings(words)
    parser = make_parser()
    args, extra = parser.parse_known_args(rest)
    if extra:
        raise unknown_argument(extra[0], args)
    if not args.command:
        parser.print_help()
        return 0
    if conflict := pufferenv.conflict():
        print(f"puffer: warning: {conflict}", file=sys.stderr)
    return COMMANDS[args.command].run(args, settings)


def _is_for_users(error: Exception) -> bool:
    """Return whether the message was written for users: by this project or the OS."""
    package = type(error).__module__.partition(".")[0]
    return package in ("pufferlib", "pufferenv") or isinstance(
        error, (ValueError, OSError, MemoryError)
    )
