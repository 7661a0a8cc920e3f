"""Even/odd preconditioning of the Wilson-Dirac operator (Abbott et al. 2022, Eqs. 33-35)."""

from __future__ import annotations

from pipeline.gauge import neighbours
from pipeline.gauge.fermions.dirac import FermionMatrix
from pipeline.gauge.neighbours import Hop


class SchurComplement(FermionMatrix):
    """D_sc = 1 - D_eo D_oe on the V/2 even sites, in rising order of x = L x_0 + x_1; det D_sc = det D.

    As D_eo = -κ H_eo, it is 1 - κ² H_eo H_oe. Half the dimension, and eigenvalues that differ from 1 by O(κ²).

    Raises:
        ValueError: at construction, if L is odd.
    """

    def _hops(self) -> tuple[Hop, ...]:
        return neighbours.even_odd(self.length, self.links.device)
