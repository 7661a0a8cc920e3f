"""Systems in words, and families of those that are alike, from the physics that manifests hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NEAREST, INTERMEDIATE, ALL = (
    "Ising rings, nearest neighbours",
    "Ising rings, intermediate range",
    "Ising rings, all to all",
)
SQUARE, FRUSTRATED, UNFRUSTRATED = (
    "Ising model on square lattices",
    "J1-J2 model on square lattices",
    "Heisenberg model on square lattices",
)
FAMILIES = (NEAREST, INTERMEDIATE, ALL, SQUARE, UNFRUSTRATED, FRUSTRATED)
"""In the order in which they are shown."""


def place(family: str) -> tuple[int, str]:
    """Sorts families: those above first, with what is asked of them behind a comma."""
    known = [k for k, name in enumerate(FAMILIES) if family.startswith(name)]
    return (known[0] if known else len(FAMILIES), family)


def family(system: Mapping[str, Any]) -> str:
    """Systems that are alike: rings by the range of their interaction, lattices by their model."""
    kind = system["kind"]
    if kind == "chain_tfim":
        longest = system["n_sites"] // 2
        return NEAREST if system["range"] == 1 else ALL if system["range"] == longest else INTERMEDIATE
    if kind == "square_tfim":
        return SQUARE
    if kind == "square_heisenberg":
        return FRUSTRATED if system["j2"] else UNFRUSTRATED
    return str(kind).replace("_", " ")


def named(system: Mapping[str, Any]) -> str:
    """``ring, N = 30, L = 15, V = 1`` or ``4 × 4, open, Γ = 3``."""
    kind = system["kind"]
    if kind == "chain_tfim":
        return f"ring, N = {system['n_sites']}, L = {system['range']}, V = {system['coupling']:g}"
    if "length_x" in system:
        edge = "periodic" if system["periodic"] else "open"
        model = {"square_tfim": f"Γ = {system.get('field', 0):g}", "square_heisenberg": f"J2 = {system.get('j2', 0):g}"}
        rest = model.get(kind) or _values(system, ("length_x", "length_y", "periodic"))
        return f"{system['length_x']} × {system['length_y']}, {edge}, {rest}"
    return _values(system, ())


def _values(system: Mapping[str, Any], left_out: tuple[str, ...]) -> str:
    named = {k: v for k, v in system.items() if k not in ("kind", *left_out)}
    shown = [f"{k} = {v:g}" if isinstance(v, float) else f"{k} = {v}" for k, v in named.items()]
    return ", ".join([str(system["kind"]).replace("_", " "), *shown])
