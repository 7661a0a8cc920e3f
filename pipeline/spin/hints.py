"""What to know before a training whose ansatz cannot reach the ground state (torch-free)."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.spin.ansatz.schema import AnsatzConfig
from pipeline.spin.symmetry.stoquastic import is_stoquastic, stoquastic_form
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import pauli_terms


def sign_hint(ansatz: AnsatzConfig, systems: Iterable[SpinSystem], rule: str, phases: str) -> str | None:
    """A sentence where positive amplitudes meet a Hamiltonian that is not stoquastic; None where all is well.

    The ground state of a stoquastic H is positive (Perron-Frobenius). Any other has signs, but for special couplings: a
    rotation takes them away where one is known, else the ansatz must have signs or phases, or its energy ends above.

    Args:
        systems: that are trained on, one after the other; the first that is not stoquastic is spoken of.
        rule: the override that rotates, such as ``train.method.sign_rule=stoquastic``; empty: the method has none.
        phases: the override for an ansatz with signs or phases.
    """
    if ansatz.positive_unless is None:
        return None
    terms = next((terms for system in systems if not is_stoquastic(terms := pauli_terms(system))), None)
    if terms is None:
        return None
    positive = f"ansatz={ansatz.name} has positive amplitudes only"
    if stoquastic_form(terms) is None:
        return (
            f"{positive}, and no sign rule is known for this Hamiltonian (frustrated couplings): the energy may end "
            f"far above the ground state; take {phases}"
        )
    choice = f"{rule}, which rotates them away, or {phases}" if rule else phases
    return (
        f"{positive}, and the ground state of this Hamiltonian has signs: the energy ends far above it; take {choice}"
    )
