"""Even/odd preconditioning of the Wilson-Dirac operator (Abbott et al. 2022, Eqs. 33-35)."""

from __future__ import annotations

from torch import Tensor

from pipeline.gauge import hopping
from pipeline.gauge.dirac import FermionMatrix


class SchurComplement(FermionMatrix):
    """D_sc = 1 - D_eo D_oe on the V/2 even sites, in rising order of x = L x_0 + x_1; det D_sc = det D.

    As D_eo = -κ H_eo, it is 1 - κ² H_eo H_oe. Half the dimension, and eigenvalues that differ from 1 by O(κ²).

    Raises:
        ValueError: at construction, if L is odd.
    """

    def __init__(self, matrices: Tensor, kappa: float) -> None:
        super().__init__(matrices, kappa)
        self._to_even, self._to_odd = hopping.even_odd(self.length, self.links.device)

    @property
    def sites(self) -> int:
        """V/2."""
        return self.length**2 // 2

    def _multiply(self, field: Tensor, sign: float) -> Tensor:
        odd = hopping.hop(field, self.links, self._to_odd, self._to_even, sign, self.kappa, None)
        return hopping.hop(odd, self.links, self._to_even, self._to_odd, sign, -self.kappa, field)
