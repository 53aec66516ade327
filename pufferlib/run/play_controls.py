"""Controls: what a person's keys mean while a game is played, beside the game's own keys.

Shift takes over from the policy while it is held, Tab until it is pressed again. Letters are the
game's if it binds them; each has a function key that always does the same.
"""

from collections.abc import Iterable

from pufferenv.drawing.keyboard import Keyboard
from pufferenv.drawing.keys import Choices, KeyMap, Mouse, Values

SPEEDS = (1 / 16, 64.0)  # the slowest and the fastest, in units of the game's pace
# What a key does: the letters that do it unless the game has them, then the key that always does.
COMMANDS = {
    "pause": ("p", "f2"),
    "restart": ("r", "f3"),
    "once": ("n", "f4"),
    "agent": ("f6",),
    "view": ("f7",),
    "help": ("h", "f1"),
    "end": ("q", "escape"),
    "faster": ("plus",),
    "slower": ("minus",),
    "toggle": ("tab",),
}


class Controls:
    """Takes presses and releases of keys; knows who plays and what is asked for.

    keys: the game's. has_policy: a policy plays while the person does not; without one the person
        always plays.
    """

    paused = False
    speed = 1.0  # in units of the game's pace
    once = False  # one step is asked for while paused
    restart = False  # asked for; the caller clears it
    next_agent = False  # asked for; the caller clears it
    own_view = False  # show what the selected agent sees
    help = True  # show the keys
    ended = False

    def __init__(self, keys: KeyMap, *, has_policy: bool) -> None:
        self.keyboard = Keyboard(keys)
        self._has_policy, self._taken = has_policy, False
        self._commands = {
            key: command
            for command, names in COMMANDS.items()
            for key in names
            if key not in keys.keys
        }

    @property
    def person_plays(self) -> bool:
        """Whether the person plays now, and not the policy."""
        return not self._has_policy or self._taken or "shift" in self.keyboard.held

    def take(self, events: Iterable[tuple[str, bool]]) -> None:
        """Take events in order: the name of a key, and whether it went down."""
        for key, down in events:
            if not down:
                self.keyboard.release(key)
                continue
            if key in self._commands and key not in self.keyboard.held:
                self._obey(self._commands[key])
            self.keyboard.press(key)

    def action(self, mouse: Mouse | None) -> tuple[Choices, Values] | None:
        """Return the person's choices (K,) and values (X,); None while the policy plays."""
        action = self.keyboard.action(mouse)  # presses while the policy plays are used up, too
        return action if self.person_plays else None

    def key_of(self, command: str) -> str:
        """Return the key that a person is told for a command."""
        return next(key for key in COMMANDS[command] if key in self._commands)

    def lines(self, many_agents: bool) -> list[str]:
        """Return what the keys do, as short entries for the screen."""

        def told(command: str, what: str) -> str:
            return f"{self.key_of(command).capitalize()}: {what}"

        entries = []
        for line in self.keyboard.keys.help(chords=False):
            keys, _, label = line.partition("  ")
            entries.append(f"{keys}: {label.strip()}")
        if self._has_policy:
            entries.append("hold Shift, or Tab: take over")
        entries += [told("pause", "go on" if self.paused else "pause"), told("once", "one step")]
        entries.append(told("restart", "restart"))
        if many_agents:
            entries += ["click, F6: select an agent", told("view", "its view")]
        speed = f" x{self.speed:g}" if self.speed != 1 else ""
        return [*entries, f"+ -: speed{speed}", told("help", "hide this"), told("end", "end")]

    def _obey(self, command: str) -> None:
        if command == "pause":
            self.paused = not self.paused
        elif command == "once":
            self.once = self.paused = True
        elif command == "restart":
            self.restart = True
        elif command == "agent":
            self.next_agent = True
        elif command == "view":
            self.own_view = not self.own_view
        elif command == "help":
            self.help = not self.help
        elif command == "end":
            self.ended = True
        elif command == "toggle":
            self._taken = not self._taken
        else:
            factor = 2.0 if command == "faster" else 0.5
            self.speed = min(max(self.speed * factor, SPEEDS[0]), SPEEDS[1])
