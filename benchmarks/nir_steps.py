"""Training steps of the NIR paper's states with neural importance resampling and with Markov chains."""

from __future__ import annotations

import itertools
from typing import Any

from benchmarks.contract import Work

RECIPES = {"nir": "nir", "mcmc": "nir/mcmc"}
"""The paper's settings with either sampler: network, K = 3, batch, thinning, reconfiguration."""

PARTS = {
    "proposal_draws": "draws of the proposal",
    "proposal_amplitudes": "ψ of the proposals",
    "proposal_training": "training of the proposal",
    "chains": "chains",
    "local_energies": "local energies",
    "update": "reconfiguration",
}
"""Parts of a step as the method marks them; ``chains`` is sampling without a proposal."""


def step(proposals: int | None, scale: str, length: int, field: float, warmup: int) -> Work:
    """One training step of the sum of three levels, after ``warmup`` steps with the same sampler.

    Args:
        proposals: of a step of resampling, a fixed number; None: Markov chains.
        scale: of the recipe.
        length: extent of the open lattice.
        field: g.
        warmup: steps before the first that is timed: burn-in of the chains, and the proposal comes to know the state.
    """
    import torch

    from pipeline.base.run.laps import Laps, measured
    from pipeline.stages.compose import compose_run
    from pipeline.stages.train import build_method

    system = [f"system.length_x={length}", f"system.length_y={length}", f"system.field={field:g}"]
    recipe = RECIPES["mcmc" if proposals is None else "nir"]
    fixed = [] if proposals is None else [f"train.sampler.proposals={proposals}"]
    # by itself it depends on how many draws of a batch are different, which is not what is compared
    fixed.append("train.optimizer.derivatives=layerwise")
    run = compose_run([f"paper={recipe}", f"scale={scale}", "stages=[train]", *system, *fixed])
    run.threads = torch.get_num_threads()
    method: Any = build_method(run)
    state = method.init(1)
    for k in range(warmup):
        method.step(state, k)
    numbers = itertools.count(warmup)

    def one() -> dict[str, float]:
        laps = Laps()
        with measured(laps):
            metrics = method.step(state, next(numbers))
        assert not metrics["rejected_steps"]
        return shown(laps.seconds)

    return Work(one, sum(p.numel() for p in state.ansatz.parameters()), None)


def shown(seconds: dict[str, float]) -> dict[str, float]:
    """Parts by the names of the table; all that sampling takes is the chains' where there is no proposal."""
    known = dict(seconds) if "proposal_draws" in seconds else {**seconds, "chains": seconds["sampling"]}
    return {title: known[name] for name, title in PARTS.items() if name in known}
