"""Hints: what a method says before a run that is allowed and probably not what is wanted."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.base.config.nodes import RunConfig


def hints(run: RunConfig) -> list[str]:
    """Sentences of the method; none from a method that gives none."""
    give: Callable[[RunConfig], list[str]] | None = getattr(run.train.method, "hints", None)
    return give(run) if give else []
