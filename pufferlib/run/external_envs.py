"""External envs by name: `gym:LunarLander-v3`, `ale:Pong`, `pettingzoo:mpe.simple_spread_v3`.

A name stands wherever a game's does on the command line and in a run's config; the config's `env`
is then what the env is made with. Packages are imported when an env is made; of one that is not
installed the error names the extra that brings it. No torch here.
"""

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from pufferenv.cores import usable_cores
from pufferenv.external.game import ExternalGame
from pufferlib.config.flags import FALSE, TRUE
from pufferlib.config.resolve import FLAGS, Config, Layer, resolve
from pufferlib.config.section import ConfigError
from pufferlib.policies import observation_kinds

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


def configure(spec: str, layers: list[Layer]) -> tuple[Config, ExternalGame]:
    """Merge the layers over the defaults for what the env shows and who plays; make its game.

    Raise ConfigError for settings, TypeError for spaces that cannot be handled.
    """
    kwargs = read_kwargs(spec, layers)
    game = load(spec, kwargs)
    rest = [
        Layer(layer.source, {k: v for k, v in layer.values.items() if k != "env"})
        for layer in layers
    ]
    asked = "auto"
    for _ in range(2):  # which network is asked for is known when the layers are merged
        form = game.description
        chosen = observation_kinds.defaults(form.observations, asked, form.limit)
        own = Layer(f"defaults for {spec}", chosen)
        made = dataclasses.replace(resolve(spec, game, [own, *rest]), env=kwargs)
        asked = made.policy.name
    if made.vec.debug:
        raise ConfigError("vec.debug is for games written in C; an env in Python raises by itself")
    backend = made.vec.backend
    if backend == "auto":
        backend = "processes" if usable_cores() > 1 else "serial"
        made = dataclasses.replace(made, vec=dataclasses.replace(made.vec, backend=backend))
    if backend != "serial":
        game = load(spec, kwargs, backend, made.vec.num_threads or None, made.vec.timeout or None)
    return made, game


def describe_choices(config: Config, game: ExternalGame) -> str:
    """Say in a line what the env shows and what was chosen for it."""
    shown = ", ".join(
        f"{part.name + ' ' if part.name else ''}{'x'.join(map(str, part.shape)) or 1} "
        f"{observation_kinds.kind(part)}"
        for part in game.description.observations.parts
    )
    normalized = [
        what
        for what, on in (
            ("observations", config.train.norm_obs),
            ("returns", config.train.norm_return),
        )
        if on
    ]
    return (
        f"{config.game} shows {shown}; policy {config.policy.path or config.policy.name}, "
        f"normalized: {' and '.join(normalized) or 'nothing'}, backend {config.vec.backend}"
    )


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


def read_kwargs(spec: str, layers: list[Layer]) -> dict[str, Any]:
    """Merge the layers' `env` sections. Raise ConfigError for a key that the env does not take."""
    known, more = parameters(spec)
    found: dict[str, Any] = {}
    for layer in layers:
        given = layer.values.get("env", {})
        for key, value in given.items():
            flag = layer.source == FLAGS
            shown = f"--env.{key.replace('_', '-')}" if flag else f"{layer.source}: env.{key}"
            if key not in known and not more:
                near = difflib.get_close_matches(key, list(known), 1, 0.0)
                hint = (
                    f"; nearest: {near[0].replace('_', '-') if flag else near[0]}" if near else ""
                )
                raise ConfigError(f"{shown}: {spec} takes no such thing{hint}")
            value = _literal(value) if flag and isinstance(value, str) else value
            default = known.get(key)
            if default is not None and not _alike(value, default):
                raise ConfigError(f"{shown}={value!r} must be {type(default).__name__}: {spec}")
            found[key] = value
    return found


def _alike(value: object, default: object) -> bool:
    """Whether a value is of the default's kind: true or false, a number, text; else anything."""
    for kind in (bool, (int, float), str):
        if isinstance(default, kind):
            return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return True


def _literal(text: str) -> Any:
    """Read a flag as a number, true or false, or text."""
    word = text.strip().lower()
    if word in TRUE[:3] + FALSE[:3]:
        return word in TRUE
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return text


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
