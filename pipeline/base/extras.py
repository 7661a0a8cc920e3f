"""Packages that an installation may do without, and the extra that brings each: ``pip install '...[exact]'``.

The base trains and infers. What is missing is one line that names the extra, before anything is computed that needs it.
"""

from __future__ import annotations

from importlib.util import find_spec

from pipeline.base.errors import UserError

PROJECT = "neural-quantum-states"

PACKAGES = {"exact": ("quspin", "tenpy"), "wandb": ("wandb",)}
PACKAGES |= {"report": ("PIL", "jinja2", "markdown_it", "matplotlib", "pandas")}
EXTRA_OF = {package: extra for extra, packages in PACKAGES.items() for package in packages}
"""By the name that is imported; ``pyproject.toml`` says how they are called there."""


class MissingExtra(UserError):
    """Something needs packages that are not installed.

    Args:
        what: that needs them, in words.
        modules: of one extra, as they are imported.
    """

    def __init__(self, what: str, *modules: str) -> None:
        self.extra = EXTRA_OF[modules[0]]
        verb = "which is" if len(modules) == 1 else "which are"
        super().__init__(f"{what} needs {', '.join(modules)}, {verb} not installed: {advice(self.extra)}")


def advice(extra: str) -> str:
    """What to type."""
    return f"pip install '{PROJECT}[{extra}]'"


def missing(*modules: str) -> tuple[str, ...]:
    """Those of the modules that cannot be imported."""
    return tuple(name for name in modules if find_spec(name) is None)


def need(what: str, *modules: str) -> None:
    """Go on where all modules can be imported.

    Raises:
        MissingExtra: they cannot.
    """
    if absent := missing(*modules):
        raise MissingExtra(what, *absent)


def explained(error: BaseException) -> MissingExtra | None:
    """What an import that failed means, where an extra would have brought the package; None for any other error."""
    name = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return MissingExtra("this", name) if name in EXTRA_OF else None
