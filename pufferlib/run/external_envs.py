"""External envs by name: `gym:LunarLander-v3`, `ale:Pong`, `pettingzoo:mpe.simple_spread_v3`.

Such a name can replace a game's name on the command line and in a run's config; the config's `env`
section then holds the arguments for creating the env. A package is imported when an env of it is
created; if it is missing, the error names the extra that installs it. This file imports no torch.
"""

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from pufferenv.external.game import ExternalGame
from pufferenv.game_spec import GameSpec

EXTRAS = {  # module -> the extra that installs it
    "Box2D": "box2d",
    "minigrid": "minigrid",
    "ale_py": "atari",
    "cv2": "atari",
    "mujoco": "mujoco",
    "pettingzoo": "pettingzoo",
    "mpe2": "pettingzoo",
}
# The first part of an id -> the module that registers the env.
FAMILIES = {"MiniGrid": "minigrid", "BabyAI": "minigrid", "ALE": "ale_py"}
# Parameters that are set here and get no flag.
HIDDEN = ("self", "render_mode", "game", "obs_type", "frameskip", "sound_obs")
ATARI = {  # Mnih et al. 2015, Machado et al. 2018; other defaults are those of ale_py.AtariEnv
    "frame_skip": 4,
    "frame_stack": 4,
    "screen_size": 84,
    "noop_max": 30,
    "terminal_on_life_loss": False,
}


class MissingExtra(ImportError):
    """A package that an env needs is not installed; the message says how to install it."""


@dataclasses.dataclass(frozen=True)
class Maker:
    """Creates one env by name. It can be pickled and sent to worker processes."""

    name: str
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self) -> Any:
        """Make one env. Raise MissingExtra, or ValueError for an unknown name."""
        kind, _, env_id = self.name.partition(":")
        make: dict[str, Callable[..., Any]] = {"gym": _gym, "ale": _ale, "pettingzoo": _parallel}
        try:
            return make[kind](env_id, dict(self.kwargs))
        except (ImportError, gymnasium.error.Error) as error:
            raise _explained(self.name, error) from error


def load(
    name: str,
    kwargs: Mapping[str, Any],
    backend: str = "serial",
    workers: int | None = None,
    timeout: float | None = None,
) -> ExternalGame:
    """Return the game of an external env, which creates its envs with `kwargs`."""
    make = Maker(name, kwargs)
    return ExternalGame(make, name=name, backend=backend, num_workers=workers, timeout=timeout)


def in_process(game: ExternalGame) -> ExternalGame:
    """Return the same game with its envs in this process instead of in workers."""
    return game if game.backend == "serial" else ExternalGame(game.make, name=game.name)


def drawn(spec: GameSpec) -> GameSpec:
    """Return an external env's spec with envs that can be drawn: in this process, with frames.

    Other games draw themselves, and their spec is returned unchanged. Raises NotDrawn for an env
    that gives no frames.
    """
    game = spec.game
    if not isinstance(game, ExternalGame):
        return spec
    make = game.make
    if isinstance(make, Maker):
        make = Maker(make.name, {**make.kwargs, "render_mode": "rgb_array"})
    able = ExternalGame(make, name=game.name)
    able.make_renderer()  # raises NotDrawn
    return GameSpec.of(able)


def parameters(name: str) -> tuple[dict[str, Any], bool]:
    """Return the parameters of an env with their defaults, and whether it accepts others too.

    A parameter without a default has None.
    """
    kind, _, env_id = name.partition(":")
    try:
        if kind == "pettingzoo":
            module = _module(env_id)
            return _signature(getattr(module, "raw_env", module.parallel_env))
        if kind == "ale":
            known, _ = _signature(_import("ale_py").AtariEnv)
            return {**known, **ATARI}, False
        registered = gymnasium.spec(_register(env_id))
        entry = registered.entry_point
        creator = load_env_creator(entry) if isinstance(entry, str) else entry
    except (ImportError, gymnasium.error.Error) as error:
        raise _explained(name, error) from error
    known, accepts_others = _signature(creator) if creator else ({}, True)
    own = {key: value for key, value in registered.kwargs.items() if key not in HIDDEN}
    return {**known, **own, "max_episode_steps": registered.max_episode_steps}, accepts_others


def _signature(creator: Any) -> tuple[dict[str, Any], bool]:
    """Return the parameters with their defaults, and whether others are accepted.

    If a class accepts `**kwargs`, the parameters of its base class follow.
    """
    known: dict[str, Any] = {}
    for function in _initializers(creator):
        accepts_others = False
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                accepts_others = True
            elif name not in HIDDEN and parameter.kind is not parameter.VAR_POSITIONAL:
                default = parameter.default
                known.setdefault(name, None if default is parameter.empty else default)
        if not accepts_others:
            return known, False
    return known, True


def _initializers(creator: Any) -> Iterator[Callable[..., Any]]:
    """Yield the functions that receive the arguments: `creator`, or a class's __init__ methods."""
    if not inspect.isclass(creator):
        yield creator
        return
    for cls in creator.__mro__[:-1]:
        if "__init__" in vars(cls):
            yield vars(cls)["__init__"]


def _gym(name: str, kwargs: dict[str, Any]) -> Any:
    env = gymnasium.make(_register(name), **kwargs)
    space = env.observation_space
    if isinstance(space, gymnasium.spaces.Dict) and "mission" in space.keys():  # noqa: SIM118
        kind = type(space["mission"]).__name__
        if kind in ("MissionSpace", "Text"):  # MiniGrid: the task as text, which is left out
            kept = [key for key in space.keys() if key != "mission"]  # noqa: SIM118
            return gymnasium.wrappers.FilterObservation(env, kept)
    return env


def _ale(name: str, kwargs: dict[str, Any]) -> Any:
    ale = _import("ale_py")
    _import("cv2")  # AtariPreprocessing scales the screen with it
    ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)
    preprocessing = {key: kwargs.pop(key, default) for key, default in ATARI.items()}
    frame_stack = preprocessing.pop("frame_stack")
    gymnasium.register_envs(ale)
    full = name if "/" in name else f"ALE/{name}"
    full = full if "-v" in full else f"{full}-v5"
    env = gymnasium.make(full, frameskip=1, **kwargs)
    env = gymnasium.wrappers.AtariPreprocessing(env, **preprocessing)
    return gymnasium.wrappers.FrameStackObservation(env, frame_stack)


def _parallel(name: str, kwargs: dict[str, Any]) -> Any:
    return _module(name).parallel_env(**kwargs)


def _module(name: str) -> ModuleType:
    """Import a module that has a parallel_env: one of pettingzoo or mpe2, or any other."""
    family, _, rest = name.partition(".")
    places = [f"mpe2.{rest}", f"pettingzoo.{name}"] if family == "mpe" else [f"pettingzoo.{name}"]
    for place in [*places, name]:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not (
                place == error.name or place.startswith(f"{error.name}.")
            ):
                raise  # the module exists, but a package that it imports is missing
            continue
        if hasattr(module, "parallel_env"):
            return module
    _import("pettingzoo")
    if family == "mpe":
        _import("mpe2")
    raise ValueError(
        f"pettingzoo:{name}: there is no module {' or '.join([*places, name])} with a "
        "parallel_env; give a name such as pettingzoo:mpe.simple_spread_v3 or "
        "pettingzoo:my_package.my_env"
    )


def _register(name: str) -> str:
    """Import the module that registers an id such as `my_module:MyEnv-v0`; return the id alone."""
    module, _, env_id = name.rpartition(":")
    module = module or FAMILIES.get(env_id.partition("-")[0].partition("/")[0], "")
    if module:
        found = _import(module)
        gymnasium.register_envs(found)
    return env_id


def _import(module: str) -> Any:
    return importlib.import_module(module)


def _explained(name: str, error: BaseException) -> Exception:
    """Return an error that names the package to install, or what is wrong with the name."""
    cause: BaseException | None = error
    while cause is not None:
        missing = cause.name if isinstance(cause, ImportError) else None
        if missing:
            module = missing.partition(".")[0]
            extra = EXTRAS.get(module)
            how = "install the package that provides it"
            if extra:
                how = f"run `pip install 'pufferenv[{extra}]'`"
            return MissingExtra(f"{name} needs {module}, which is not installed: {how}")
        cause = cause.__cause__ or cause.__context__
    return ValueError(f"{name}: {error}")
