"""Settings of every test: where games from outside are built, and that no window opens."""

import os
from pathlib import Path

# Before any test module is imported, and inherited by the programs that tests start.
os.environ.setdefault("PUFFER_CACHE", str(Path(__file__).parents[1] / "build" / "test-cache"))
# OpenMP threads that spin while they wait slow each other down where cores are few.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Windows are drawn into memory, on a desktop as on a machine without a display.
os.environ["SDL_VIDEODRIVER"] = "dummy"
