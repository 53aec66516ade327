"""`python -m pufferlib`: the same as the script `puffer`."""

import sys

from pufferlib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
