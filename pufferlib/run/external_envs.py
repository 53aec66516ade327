"""External envs by name: `gym:LunarLander-v3`, `ale:Pong`, `pettingzoo:mpe.simple_spread_v3`.

A name stands wherever a game's does on the command line and in a run's config; the config's `env`
is then what the env is made with. Packages are imported when an env is made; of one that is not
installed the error names the extra that brings it. No torch here.
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

EXTRAS = {  # a module: the extra that brings it
    "Box2D": "box2d",
    "minigrid": "minigrid",
    "ale_py": "atari",
    "cv2": "atari",
    "mujoco": "mujoco",
    "pettingzoo": "pettingzoo",
    "mpe2": "pettingzoo",
}
FAMILIES = {"MiniGrid": "minigrid", "BabyAI": "minigrid", "ALE": "ale_py"}  # ids a module registers
HIDDEN = ("self", "render_mode", "game", "obs_type", "frameskip", "sound_obs")  # not for a flag
ATARI = {  # of Machado et al. 2018 and Mnih et al. 2015; the rest are ale_py.AtariEnv's own
    "frame_skip": 4,
    "frame_stack": 4,
    "screen_size": 84,
    "noop_max": 30,
    "terminal_on_life_loss": False,
}


class MissingExtra(ImportError):
    """A package that an env needs is not installed."""


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes one env of a name; this is what a worker process is given."""

    spec: str
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self) -> Any:
        """Make it. Raise MissingExtra, or ValueError for a name that there is not."""
        kind, _, name = self.spec.partition(":")
        make: dict[str, Callable[..., Any]] = {"gym": _gym, "ale": _ale, "pettingzoo": _parallel}
        try:
            return make[kind](name, dict(self.kwargs))
        except (ImportError, gymnasium.error.Error) as error:
            raise _explained(self.spec, error) from error


def load(
    spec: str,
    kwargs: Mapping[str, Any],
    backend: str = "serial",
    workers: int | None = None,
    timeout: float | None = None,
) -> ExternalGame:
    """Make the game of a name; `kwargs` are what its envs are made with."""
    make = Maker(spec, kwargs)
    return ExternalGame(make, name=spec, backend=backend, num_workers=workers, timeout=timeout)


def in_process(game: ExternalGame) -> ExternalGame:
    """Return the same game with its envs in this process."""
    return game if game.backend == "serial" else ExternalGame(game.make, name=game.name)


def parameters(spec: str) -> tuple[dict[str, Any], bool]:
    """Return what an env can be made with, with defaults, and whether it takes others too."""
    kind, _, name = spec.partition(":")
    try:
        if kind == "pettingzoo":
            module = _module(name)
            return _signature(getattr(module, "raw_env", module.parallel_env))
        if kind == "ale":
            known, _ = _signature(_import("ale_py").AtariEnv)
            return {**known, **ATARI}, False
        about = gymnasium.spec(_register(name))
        entry = about.entry_point
        creator = load_env_creator(entry) if isinstance(entry, str) else entry
    except (ImportError, gymnasium.error.Error) as error:
        raise _explained(spec, error) from error
    known, more = _signature(creator) if creator else ({}, True)
    own = {key: value for key, value in about.kwargs.items() if key not in HIDDEN}
    return {**known, **own, "max_episode_steps": about.max_episode_steps}, more


def _signature(creator: Any) -> tuple[dict[str, Any], bool]:
    """Return the keyword arguments with defaults, and whether others are taken."""
    known: dict[str, Any] = {}
    for function in _initializers(creator):
        more = False
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                more = True
            elif name not in HIDDEN and parameter.kind is not parameter.VAR_POSITIONAL:
                default = parameter.default
                known.setdefault(name, None if default is parameter.empty else default)
        if not more:
            return known, False
    return known, True


def _initializers(creator: Any) -> Iterator[Callable[..., Any]]:
    """Yield what takes the arguments: a function, or a class's and its bases' __init__."""
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
        if kind in ("MissionSpace", "Text"):  # MiniGrid: the task in words
            kept = [key for key in space.keys() if key != "mission"]  # noqa: SIM118
            return gymnasium.wrappers.FilterObservation(env, kept)
    return env


def _ale(name: str, kwargs: dict[str, Any]) -> Any:
    ale = _import("ale_py")
    _import("cv2")  # scales the screen
    ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)
    about = {key: kwargs.pop(key, default) for key, default in ATARI.items()}
    stack = about.pop("frame_stack")
    gymnasium.register_envs(ale)
    full = name if "/" in name else f"ALE/{name}"
    full = full if "-v" in full else f"{full}-v5"
    env = gymnasium.make(full, frameskip=1, **kwargs)
    env = gymnasium.wrappers.AtariPreprocessing(env, **about)
    return gymnasium.wrappers.FrameStackObservation(env, stack)


def _parallel(name: str, kwargs: dict[str, Any]) -> Any:
    return _module(name).parallel_env(**kwargs)


def _module(name: str) -> ModuleType:
    """Import the PettingZoo module of a name: in pettingzoo, in mpe2, or any at all."""
    family, _, rest = name.partition(".")
    places = [f"mpe2.{rest}", f"pettingzoo.{name}"] if family == "mpe" else [f"pettingzoo.{name}"]
    for place in [*places, name]:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not (
                place == error.name or place.startswith(f"{error.name}.")
            ):
                raise  # it is there, and needs something
            continue
        if hasattr(module, "parallel_env"):
            return module
    _import("pettingzoo")
    if family == "mpe":
        _import("mpe2")
    raise ValueError(
        f"pettingzoo:{name}: no module {' or '.join([*places, name])} has a parallel_env; "
        "as in pettingzoo:mpe.simple_spread_v3 or pettingzoo:my_package.my_env"
    )


def _register(name: str) -> str:
    """Import what registers an id, `my_module:MyEnv-v0` or a known family; return the id."""
    module, _, env_id = name.rpartition(":")
    module = module or FAMILIES.get(env_id.partition("-")[0].partition("/")[0], "")
    if module:
        found = _import(module)
        gymnasium.register_envs(found)
    return env_id


def _import(module: str) -> Any:
    return importlib.import_module(module)


def _explained(spec: str, error: BaseException) -> Exception:
    """Make the error that says what to install, or which name there is instead."""
    cause: BaseException | None = error
    while cause is not None:
        missing = cause.name if isinstance(cause, ImportError) else None
        if missing:
            module = missing.partition(".")[0]
            extra = EXTRAS.get(module)
            how = f"pip install 'pufferenv[{extra}]'" if extra else f"install {module}"
            return MissingExtra(f"{spec} needs {module}, which is not installed: {how}")
        cause = cause.__cause__ or cause.__context__
    return ValueError(f"{spec}: {error}")
