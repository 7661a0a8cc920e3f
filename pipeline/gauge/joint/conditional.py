"""What is known exactly of the conditional models over drawn links, from dense matrices of small lattices."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pipeline.base.contracts import Record
from pipeline.base.later import NDArray, np
from pipeline.gauge.fermions.monomials import condition_numbers
from pipeline.gauge.fermions.solver import Applications, ConjugateGradient
from pipeline.gauge.joint.model import EXACT_BYTES, JointFlow
from pipeline.gauge.pseudofermion.spectrum import conditional_kl, relative_spectrum, weight_variance
from pipeline.gauge.pseudofermion.target import PseudofermionTarget


@torch.no_grad()
def exact_conditional(flow: JointFlow, target: PseudofermionTarget, links: Tensor) -> Record:
    """Spectra of q(φ_i|U) relative to p(φ_i|U), s, and of the matrices themselves, summed up.

    Args:
        flow: the model.
        target: without the regulator.
        links: (batch, ...), of the group.

    Returns:
        Arrays (monomials, batch) float64: ``condition_numbers`` of Λ_i^{-1}, ``smallest_eigenvalues`` min s,
        ``weight_variances`` Π s²/(2s - 1) - 1 (infinite if any s <= 1/2), ``divergences`` D_KL(q(φ_i|U)‖p(φ_i|U)) and
        ``log_normalisers`` log ∫dφ_i e^{-S_i}.
    """
    matrix_bytes = 16 * target.fermions.matrix(links[:1]).dimension ** 2
    parts = [_of_part(flow, target, part) for part in links.split(max(1, EXACT_BYTES // (4 * matrix_bytes)))]
    return {name: torch.cat([part[name] for part in parts], dim=1).cpu().numpy() for name in parts[0]}


@torch.no_grad()
def solved_applications(
    flow: JointFlow, target: PseudofermionTarget, links: Tensor, solver: ConjugateGradient, generator: torch.Generator
) -> NDArray[np.float64]:
    """How often conjugate gradients apply A or A† for the actions of one draw of all monomials over each configuration.

    Args:
        flow: the model.
        target: without the regulator; its own solver is not used.
        links: (batch, ...), of the group.
        solver: with the tolerance and the cap to count at.
        generator: of the draw.

    Returns:
        (batch,); as in hybrid Monte Carlo without the few applications outside the solver.

    Raises:
        NotConverged: a system takes more than the cap.
    """
    counted = Applications()
    fields = tuple(model.sample(1, generator)[0] for model in flow.conditional(links))
    replace(target, solver=replace(solver, counted=counted)).actions(links, fields)
    assert counted.counts is not None
    return counted.counts.cpu().numpy().astype(float)


def _of_part(flow: JointFlow, target: PseudofermionTarget, links: Tensor) -> dict[str, Tensor]:
    matrix = target.fermions.matrix(links)
    bound = zip(flow.conditional(links), target.monomials, strict=True)
    spectra = torch.stack([relative_spectrum(model, matrix, monomial) for model, monomial in bound])
    return {
        "condition_numbers": condition_numbers(matrix, target.monomials),
        "smallest_eigenvalues": spectra.amin(dim=-1),
        "weight_variances": weight_variance(spectra),
        "divergences": conditional_kl(spectra),
        "log_normalisers": target.log_normalisers(links),
    }
