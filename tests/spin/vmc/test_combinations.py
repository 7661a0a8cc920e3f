"""Any ansatz runs with any sampler on any spin system, or is refused before it starts."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest

from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import ConfigError
from pipeline.spin.systems import SpinSystem
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.stages.compose import check, compose_run
from pipeline.stages.register import COMPONENTS

ANSATZE, SAMPLERS = COMPONENTS["ansatz"], COMPONENTS["sampler"]
SYSTEMS = [name for name, kind in COMPONENTS["system"].items() if issubclass(kind, SpinSystem)]
SMALL: dict[str, Any] = {
    # of systems, ansätze and samplers, wherever there is such a field
    "n_sites": 4,
    "range": 1,
    "length_x": 2,
    "length_y": 2,
    "periodic": False,
    "depth": 2,
    "width": 3,
    "heads": 1,
    "layers": 2,
    "features": 3,
    "hidden": [4],
    "bond_dimension": 2,
    "samples": 20,
    "chains": 5,
    "burn_in": 1,
}
OWN = {"chain_heisenberg": {"periodic": True}}
"""A ring beside the open chains and lattices."""
NEEDS: dict[str, dict[str, Any]] = {"resnet": {"periodic": True, "length_x": 3, "length_y": 3}}
"""Systems of an ansatz that lives on no open lattice."""

VARIANTS: dict[str, dict[str, Any]] = {
    # beyond the values of the files, wherever there is such a field
    "real": {},
    "complex": {"parameters": "complex", "phase": True, "rule": "exchange"},
    "sector": {"magnetisation": 0, "rule": "exchange", "pairs": "any"},
}


def shrunk(node: Any, **own: Any) -> Any:
    names = {f.name for f in fields(node)}
    return replace(node, **{name: value for name, value in (SMALL | own).items() if name in names})


@cache
def part(group: str, name: str) -> Any:
    """A node with the values of its file, made small."""
    chosen = "square_tfim" if name in ("pixelcnn", "resnet") else "chain_tfim"
    words = [f"system={chosen}", "ansatz=dense_ar"] if group != "system" else []
    run = compose_run(["method=vmc", "baseline=none", *words, f"{group}={name}", *_what_fits(group, name)])
    return run.system if group == "system" else getattr(run.train, group)


def _what_fits(group: str, name: str) -> list[str]:
    """``mlp`` is no ansatz of this method: its node comes from the other one."""
    if (group, name) == ("ansatz", "mlp"):
        return ["method=subspace_flow", "sampler=none"]
    periodic = ["system.periodic=true"] if name == "resnet" else []
    return ["sampler=metropolis", *periodic] if group == "ansatz" else []


@cache
def base() -> RunConfig:
    return compose_run(["method=vmc", "baseline=none", "device=cpu", "tracker=none", "train.dtype=float64"])


def refusal(ansatz: str, sampler: str, system: str, variant: dict[str, Any]) -> str | None:
    """Train one step and infer one batch; the message where the combination is refused."""
    run = base()
    node = shrunk(part("system", system), **(OWN.get(system, {}) | NEEDS.get(ansatz, {})))
    try:
        train = replace(
            run.train,
            ansatz=shrunk(part("ansatz", ansatz), **variant),
            sampler=shrunk(part("sampler", sampler), **variant),
        )
        run = replace(run, system=node, train=train)
        check(run)
    except ConfigError as error:
        return str(error)
    method = VariationalMonteCarlo(run.system, run.train, run.infer, "cpu")
    state = method.init(0)
    metrics = method.step(state, 0)
    assert all(math.isfinite(value) for value in metrics.values()), (ansatz, sampler, system)
    assert metrics["rejected_steps"] == 0
    result = method.summarise([method.measure(state, 0)])
    assert math.isfinite(result.estimate("energy").value)
    return None


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_every_combination_runs_or_is_refused(ansatz: str) -> None:
    ran: Counter[str] = Counter()
    for sampler, system, variant in itertools.product(SAMPLERS, SYSTEMS, VARIANTS):
        message = refusal(ansatz, sampler, system, VARIANTS[variant])
        if message is None:
            ran[sampler] += 1
        else:
            assert "=" in message, (ansatz, sampler, system, variant, message)
    if ansatz == "mlp":
        assert not ran, "it has no log ψ"
        return
    config: Any = ANSATZE[ansatz]
    assert set(ran) == set(SAMPLERS) - (set() if config.direct else {"direct"})
    assert min(ran.values()) >= 2


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_every_ansatz_makes_several_states(ansatz: str) -> None:
    ran = set()
    torus, shape = ansatz in NEEDS, "square" if ansatz in ("pixelcnn", "resnet") else "chain"
    for sampler, system, own in (
        ("metropolis", f"{shape}_tfim", {}),
        ("exhaustive", f"{shape}_heisenberg", {"max_sites": 8}),
        ("metropolis", f"{shape}_heisenberg", VARIANTS["sector"]),
        ("direct", f"{shape}_tfim", {}),
    ):
        message = refusal(ansatz, sampler, system, {"states": 2, **own})
        if message is None:
            ran.add(sampler)
        else:
            assert "=" in message, (ansatz, sampler, system, message)
    assert ran == (set() if ansatz == "mlp" else {"metropolis"} if torus else {"metropolis", "exhaustive"})
