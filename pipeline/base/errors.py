"""Errors that a user can act on: one line, no traceback."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """Something the user asked for cannot be done; the message alone must let them mend it."""

    exit_code = 2

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a notebook."""
        return [f"error: {self}"]


class ConfigError(UserError):
    """A configuration key or value that cannot be used.

    The message names the key, the value, what is allowed and, where one is close, what was probably meant.

    Args:
        key: seen from whoever complains: a node names its own fields, an empty key is the node itself. Who builds or
            checks the tree puts the path in front (:meth:`below`), so that a message has the key as it was typed.
        value: what was asked for; None where the key alone says it.
        allowed: what would be possible.
        hint: what was probably meant.
        whole: the key is a path from the root already.
    """

    def __init__(self, key: str, value: object, allowed: str, hint: str | None = None, *, whole: bool = False) -> None:
        self.key, self.value, self.allowed, self.hint, self.whole = key, value, allowed, hint, whole
        shown = "" if value is None else f"={value}"
        message = f"{key}{shown}: {allowed}"
        if hint:
            message += f" ({hint})"
        super().__init__(message)

    def below(self, path: str) -> ConfigError:
        """The same complaint, seen from the node that ``path`` leads down from."""
        if self.whole or not path:
            return self
        key = f"{path}.{self.key}" if self.key else path
        return ConfigError(key, self.value, self.allowed, self.hint)


class MissingScale(ConfigError):
    """A recipe is asked for at a scale that it does not have."""

    def __init__(self, paper: str, scale: str, scales: Iterable[str]) -> None:
        super().__init__("scale", scale, f"paper={paper} has {', '.join(scales)}", whole=True)


class NonFiniteError(UserError):
    """A step produced NaN or infinity; everything up to the last checkpoint is kept."""

    exit_code = 3


class Interrupted(UserError):
    """SIGINT, SIGTERM or a user's signal: the running stage was checkpointed and can be resumed.

    Args:
        number: the signal, where this process has got it itself.
    """

    exit_code = 130

    def __init__(self, said: str, number: int | None = None) -> None:
        self.number = number
        super().__init__(said)


class TimeLimit(Interrupted):
    """``time_limit_seconds`` is over: as after a signal, but other runs of the same command go on."""


class RankLost(UserError):
    """Another process of the run is gone: what is finished and the last checkpoint are kept."""

    exit_code = 5


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """Return ``did you mean 'x'?`` for the closest candidate, or None when nothing is close."""
    import difflib  # only where something is wrong

    close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else None
