"""Build the engine and the games in place: `python build.py --help`. pufferenv/build.py does it."""

import sys

from pufferenv.build import main

if __name__ == "__main__":
    sys.exit(main())
