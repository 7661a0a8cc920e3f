"""Neural quantum states from Python: run, load, ask and list, with the words of the command line.

``run`` computes what the store does not have, ``load`` gives the trained state of a key or a path, ``runs`` lists what
was computed, ``hamiltonian`` makes a system of Pauli strings, ``ansatz`` takes in a wave function of one's own, and
``plot`` draws energies along training.

Whatever cannot be done is a :class:`UserError` of one line that says what would.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nqs.ansaetze import ansatz as ansatz
    from nqs.figures import plot as plot
    from nqs.listing import runs as runs
    from nqs.operators import Operator as Operator
    from nqs.operators import hamiltonian as hamiltonian
    from nqs.running import Run as Run
    from nqs.running import run as run
    from nqs.states import Expectation as Expectation
    from nqs.states import State as State
    from nqs.states import load as load
    from pipeline.base.errors import UserError as UserError
    from pipeline.spin.wave_function import WaveFunction as WaveFunction

_WHERE = {
    "Expectation": "nqs.states",
    "Operator": "nqs.operators",
    "Run": "nqs.running",
    "State": "nqs.states",
    "UserError": "pipeline.base.errors",
    "WaveFunction": "pipeline.spin.wave_function",
    "ansatz": "nqs.ansaetze",
    "hamiltonian": "nqs.operators",
    "load": "nqs.states",
    "plot": "nqs.figures",
    "run": "nqs.running",
    "runs": "nqs.listing",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """What is asked for, imported only now: ``import nqs`` takes no time."""
    if name not in _WHERE:
        raise AttributeError(f"module 'nqs' has no attribute '{name}' (have {', '.join(_WHERE)})")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_WHERE)
