"""Trained states by key or path: log ψ, draws, expectation values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nqs.numbers import Expectation as Expectation
from nqs.operators import Operator, Strings, checked, read
from nqs.places import Found, find
from pipeline.base.errors import UserError
from pipeline.base.run.device import resolve_device
from pipeline.base.store.formats import TRAINING
from pipeline.spin.terms import pauli_terms
from pipeline.stages.recall import recalled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from pipeline.base.config.nodes import RunConfig
    from pipeline.spin.vmc.asked import TrainedState

MOST_DRAWS = 10**8
"""Of one call: what is drawn is held in memory, a byte a spin."""


@dataclass(frozen=True)
class State:
    """A trained state, in the basis of its system.

    Spins are ±1, bit 0 of a word ↔ +1; sites are counted from 0, row by row.

    Attributes:
        key: of the training.
        step: updates that led to it.
        config: of the run.
    """

    key: str
    step: int
    config: RunConfig
    _asked: TrainedState

    @property
    def n_sites(self) -> int:
        """Number of spins N."""
        return int(self.config.system.size)

    @property
    def hamiltonian(self) -> Operator:
        """H of its system."""
        return checked("hamiltonian", pauli_terms(self.config.system), self.n_sites)

    def log_psi(self, spins: ArrayLike) -> NDArray[np.complex128]:
        """log ψ, not normalised: the real part is log|ψ|, the imaginary part the phase; -∞ where ψ vanishes.

        Args:
            spins: ±1, (N,) or (B, N), integers or floats.

        Returns:
            complex128 of shape () or (B,).

        Raises:
            UserError: spins of another shape, kind or value.
        """
        import torch

        rows, single = self._rows(spins)
        if not len(rows):
            return rows.sum(1).astype(complex)
        found: NDArray[np.complex128] = self._asked.log_psi(torch.from_numpy(rows).to(self._asked.device)).cpu().numpy()
        return found[0] if single else found  # type: ignore[no-any-return]

    def sample(self, n: int, *, seed: int = 0) -> NDArray[np.int8]:
        """``n`` configurations from |ψ|², (n, N) int8 of ±1, by the sampler of the inference.

        Chains are correlated: ``expectation`` counts that. The same seed gives the same draws.

        Raises:
            UserError: no such number of draws.
        """
        count = _count("n", n)
        draws: NDArray[np.int8] = self._asked.draws(count, _seed(seed)).cpu().numpy()
        return draws

    def expectation(self, strings: Strings | None = None, *, samples: int | None = None, seed: int = 0) -> Expectation:
        """⟨O⟩ of a sum of Pauli strings from fresh draws, with an error that knows how they were drawn.

        ``state.expectation("Z0 Z1")``, ``state.expectation({"X0": 1.0, "Z0 Z1": -0.5})``; None: the energy.

        Args:
            strings: as for :func:`nqs.hamiltonian`.
            samples: draws; None: as many as a batch of the inference has.
            seed: of the draws.

        Raises:
            UserError: strings that leave the sites or have an odd number of Y, no such number of draws; amplitudes that
                are not finite.
        """
        wanted = self.hamiltonian.terms() if strings is None else read(strings)
        operator = checked("expectation", wanted, self.n_sites)
        count = None if samples is None else _count("samples", samples)
        return Expectation.of(self._asked.expectation(operator.terms(), count, _seed(seed)))

    def _rows(self, spins: ArrayLike) -> tuple[NDArray[np.int8], bool]:
        """Spins (B, N) int8, and whether they were one configuration."""
        import numpy as np

        try:
            array = np.asarray(spins)
        except ValueError as error:
            raise UserError(
                f"spins: rows of different lengths; must be (N,) or (B, N) with N = {self.n_sites}"
            ) from error
        if array.dtype.kind not in "iuf":
            hint = "; s = 1 - 2 * bits" if array.dtype.kind == "b" else ""
            raise UserError(f"spins: are {array.dtype}; must be integers or floats of ±1{hint}")
        if array.ndim not in (1, 2) or array.shape[-1] != self.n_sites:
            raise UserError(f"spins: have the shape {array.shape}; must be (N,) or (B, N) with N = {self.n_sites}")
        wrong = array[np.abs(array) != 1]
        if wrong.size:
            hint = "; of bits s = 1 - 2 * bits" if np.isin(array, (0, 1)).all() else ""
            raise UserError(f"spins: {wrong.flat[0]} is among them; must be +1 or -1{hint}")
        rows = np.ascontiguousarray(np.atleast_2d(array).astype(np.int8))
        return rows, array.ndim == 1

    def __repr__(self) -> str:
        train = self.config.train
        what = f"{train.ansatz.name} on {self.config.system.kind}, N={self.n_sites}"
        return f"<nqs.State {self.key} after {self.step} steps: {what}>"


def load(key: str | Path, *, step: int | None = None, results: str | Path | None = None) -> State:
    """The trained state of a run.

    Args:
        key: of a run (``nqs.runs()``, ``nqs list``, what a command prints) or its beginning; ``train/<key>``; or the
            path of an entry of a store, of a report below ``results/_runs`` or of a committed checkpoint.
        step: updates, among those whose state is kept; None: the one that the key is of, the last one of a training.
        results: results folder; None: all that are seen from here, see :func:`nqs.runs`.

    Raises:
        UserError: no such run (the nearest are named), no such step, or a run that has no state to be asked: of another
            method than ``vmc``, of several states, or of parts that are other ones today.
    """
    found = find(key, results)
    run = recalled(found.train, _step(found, step), found.infer)
    method, states = run.train.method.name, getattr(run.train.ansatz, "states", 1)
    if method != "vmc":
        why = (
            "it keeps amplitudes on sampled subspaces"
            if method == "subspace_flow"
            else "its configurations are no spins"
        )
        raise UserError(f"{found.train.name} is of method={method}, whose state cannot be asked: {why}; method=vmc can")
    if states > 1:
        raise UserError(
            f"{found.train.name} holds {states} states in one determinant, which cannot be asked one by one"
        )
    from pipeline.spin.vmc.asked import TrainedState

    tree: dict[str, Any] = found.train.state(run.train.steps)
    asked = TrainedState(run, resolve_device(run.device), tree)
    return State(found.train.path.name, run.train.steps, run, asked)


def _step(found: Found, step: int | None) -> int:
    wanted = found.step if step is None else step
    kept = found.train.state_steps()
    if wanted not in kept:
        raise UserError(f"step={wanted}: {TRAINING}/{found.train.path.name} has kept the states after {kept}")
    return int(wanted)


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_DRAWS:
        raise UserError(f"{name}={value!r}: must be an integer from 1 to {MOST_DRAWS:g}")
    return value


def _seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UserError(f"seed={value!r}: must be an integer >= 0")
    return value
