"""A setting that is chosen at the start of a run, with the reason that is shown to the user."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """The value of a setting and, in a few words, why it was chosen."""

    value: T
    reason: str

    def __str__(self) -> str:
        return f"{self.value} ({self.reason})"
