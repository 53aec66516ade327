"""Options on the command line: spelling and parsing of flags, and display of legal values."""

from pufferlib.config.section import ConfigError, Option, Value

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def flag_name(section: str, key: str) -> str:
    """Return the flag of an option, such as `--train.learning-rate`."""
    return f"--{section}.{key}".replace("_", "-")


def parse(option: Option, text: str, prefix: str = "") -> Value:
    """Parse the text of a flag to the option's type. Raise ConfigError for an illegal value."""
    word = text.strip().lower()
    value: Value = text
    try:
        if option.auto and word == "auto":
            value = 0
        elif option.type is bool:
            if word not in TRUE + FALSE:
                raise ValueError
            value = word in TRUE
        elif option.type is int:
            value = _integer(word)
        elif option.type is float:
            value = float(word)
    except (ValueError, OverflowError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[option.type]
        given = f"{prefix}{option.name}={text}"
        raise ConfigError(f"{given} is not {kind}: {option.doc}") from None
    try:
        return option.check(value, prefix)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def legal_values(option: Option) -> str:
    """Describe in a few characters which values an option accepts: `0 .. 1`, `true|false`."""
    if option.choices:
        return "|".join(option.choices)
    if option.type is bool:
        return "true|false"
    if option.type is str or (option.min is None and option.max is None):
        return option.type.__name__
    low = "" if option.min is None else f"{format_value(option.min)} "
    if option.auto:
        low = "auto, 1 "
    high = "" if option.max is None else f" {format_value(option.max)}"
    return f"{low}..{high}"


def format_value(value: Value | float) -> str:
    """Format a value for people: 1_024, 0.5, 2^24."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value or '""'
    if abs(value) >= 2**16 and value == int(value):
        number = int(value)
        for less in (0, 1):
            power = (number + less).bit_length() - 1
            if number + less == 2**power:
                return f"2^{power}" + ("-1" if less else "")
    return f"{value:,d}".replace(",", "_") if isinstance(value, int) else f"{value:g}"


def _integer(text: str) -> int:
    """Parse a whole number such as 30000000, 30_000_000 or 3e7."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)
