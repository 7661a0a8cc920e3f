"""The ensembles of hybrid Monte Carlo, what was found of each, and how the paper's and our numbers are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve, Estimate
from pipeline.gauge.spectroscopy import mass_fits
from reproduce.published import Published, published
from reproduce.tables import Finished, Table

LABELS = {
    "u1-pure-L8": "U(1), pure gauge, L = 8",
    "su3-pure-L8": "SU(3), pure gauge, L = 8",
    "schwinger-L8": "Schwinger model, L = 8",
    "schwinger-L16": "Schwinger model, L = 16",
    "su3-L8": "SU(3), N_f = 2, L = 8",
    "su3-L16": "SU(3), N_f = 2, L = 16",
}
SAMPLERS = {"hmc": "pseudofermions", "hmc-exact": "exact determinants"}
"""How the two samplers treat the determinant of the fermions, in words."""
QUANTITIES = ("plaquette", "topological_susceptibility", "pseudoscalar_mass")


def runs(table: Table) -> list[Finished]:
    """Every finished ensemble of HMC."""
    return [done for done in table.finished if done.task.cell.method != "reference" and done.result]


def called(done: Finished) -> str:
    """``Schwinger model, L = 8, exact determinants``: an ensemble in words; pure gauge fields have no determinant."""
    cell = done.task.cell
    return LABELS[cell.row] + ("" if "pure" in cell.row else f", {SAMPLERS[cell.method]}")


def estimate(done: Finished, name: str) -> Estimate | None:
    """An estimate of a run, or None."""
    return next((e for e in (done.result.estimates if done.result else ()) if e.name == name), None)


def curve(done: Finished, name: str) -> Curve | None:
    """A curve of a run, or None."""
    return next((c for c in (done.result.curves if done.result else ()) if c.name == name), None)


def shown(found: Estimate | None) -> str:
    """``0.7364(4)``, or a dash."""
    return with_error(found.value, found.sigma) if found else "–"


def printed(cell: str, method: str, quantity: str) -> Published:
    """A number of the paper, whatever artefact it belongs to; KeyError where there is none."""
    for number in published("pseudofermion"):
        if (number.cell, number.method, number.quantity) == (cell, method, quantity):
            return number
    raise KeyError(f"nothing printed of {cell} {method} {quantity}")


@dataclass(frozen=True)
class Mass:
    """A pseudoscalar mass, lattice units.

    Attributes:
        value: the middle of what reasonable fits give (:func:`pipeline.gauge.spectroscopy.mass_fits`).
        sigma: statistical error, jackknife, of the first of these fits.
        systematic: half the distance of the extreme ones: the choice of times and of the number of states.
        fits: the masses by fit.
    """

    value: float
    sigma: float
    systematic: float
    fits: dict[str, float]

    def __str__(self) -> str:
        """``0.350(1)(1)``: both errors in units of the first digit of the two together."""
        return with_errors(self.value, self.sigma, self.systematic)


def mass(done: Finished) -> Mass | None:
    """The mass of an ensemble, from its correlator; None where there is no fit."""
    fitted, correlator = estimate(done, "pseudoscalar_mass"), curve(done, "correlator")
    if fitted is None or fitted.sigma is None or correlator is None or not correlator.sigma:
        return None
    fits = mass_fits(np.array(correlator.y), np.array(correlator.sigma), done.task.run.system.length)
    low, high = min(fits.values()), max(fits.values())
    return Mass(0.5 * (low + high), fitted.sigma, 0.5 * (high - low), fits)


def with_errors(value: float, sigma: float, systematic: float) -> str:
    """``0.350(1)(1)``: statistical and systematic error in units of the last digit.

    That is the first digit of both together, or the next one, where the smaller error would seem to be zero.
    """
    total = math.hypot(sigma, systematic)
    if not total:
        return f"{value:.9g}"
    digits = max(0, -int(f"{total:.0e}".split("e")[1]))
    smallest = min(error for error in (sigma, systematic) if error)
    digits += round(smallest * 10.0**digits) == 0
    unit = 10.0**-digits
    return f"{value:.{digits}f}({sigma / unit:.0f})({systematic / unit:.0f})"
