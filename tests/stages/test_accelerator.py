"""Every method, ansatz, sampler and optimizer on a pretend accelerator: a step, a checkpoint, an inference.

What is forgotten on the CPU, or moved there too late, raises (see :mod:`tests.pretend`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.config.nodes import RunConfig
from pipeline.base.config.phases import AdamWConfig
from pipeline.base.store.files import load_tree, save_tree
from pipeline.gauge.joint.schema import JointFlowConfig
from pipeline.spin.bits import unpack
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.register import COMPONENTS
from pipeline.stages.run import execute
from pipeline.stages.train import build_method
from tests import pretend

RING = ("system=chain_tfim", "system.n_sites=6", "system.range=2")
HEISENBERG = ("system=chain_heisenberg", "system.n_sites=6")
SQUARE = ("system=square_tfim", "system.length_x=3", "system.length_y=2", "system.periodic=false")
TORUS = ("system=square_tfim", "system.length_x=3", "system.length_y=3", "system.periodic=true")
DIRECT = ("sampler=direct", "train.sampler.samples=16")
METROPOLIS = ("sampler=metropolis", *(f"train.sampler.{x}" for x in ("samples=16", "chains=4", "burn_in=2")))
NIR = ("sampler=nir", *(f"train.sampler.{x}" for x in ("samples=16", "embedding=4", "layers=1", "p_floor=0.01")))
EXCHANGE = (*METROPOLIS, "train.sampler.rule=exchange")
ANSATZE = {
    "rbm": ("ansatz=rbm",),
    "complex_rbm": ("ansatz=rbm", "train.ansatz.parameters=complex"),
    "jastrow": ("ansatz=jastrow",),
    "log_mlp": ("ansatz=log_mlp", "train.ansatz.depth=1", "train.ansatz.width=4", "train.ansatz.states=2"),
    "mps": ("ansatz=mps", "train.ansatz.bond_dimension=3"),
    "dense_ar": ("ansatz=dense_ar", "train.ansatz.layers=2", "train.ansatz.phase=true"),
    "conv_ar": ("ansatz=conv_ar", "train.ansatz.layers=2", "train.ansatz.features=4"),
    "pixelcnn": ("ansatz=pixelcnn", "train.ansatz.depth=2", "train.ansatz.width=4", "train.ansatz.phase=true"),
    "vit": ("ansatz=vit", *(f"train.ansatz.{x}" for x in ("depth=1", "width=4", "heads=2"))),
    "resnet": ("ansatz=resnet", *(f"train.ansatz.{x}" for x in ("depth=1", "width=2", "averaged=[spin_flip]"))),
}
SYSTEM = {name: {"pixelcnn": SQUARE, "resnet": TORUS}.get(name, RING) for name in ANSATZE}
SYMMETRIC = ("train.ansatz.symmetries=[spin_flip]",)
PROJECTED = (
    "train.ansatz.projection=[translations,reflections]",
    "train.phases=[{steps:1},{steps:1,projection:[translations,spin_flip]}]",
)
FLOW = ("draws=40", "subspaces=2", "flow_layers=2", "flow_hidden=[8]")
VMC: dict[str, tuple[str, ...]] = {
    "exhaustive": (*RING, *ANSATZE["complex_rbm"], "sampler=exhaustive", "optimizer=sr"),
    "walk": (*RING, *ANSATZE["rbm"], *METROPOLIS),
    "flips": (*RING, *ANSATZE["complex_rbm"], *METROPOLIS, "train.sampler.global_flip=0.1", "optimizer=sgd"),
    "exchange": (*HEISENBERG, *ANSATZE["rbm"], *EXCHANGE, "train.method.sign_rule=stoquastic"),
    "exchange_any": (*HEISENBERG, *ANSATZE["rbm"], *EXCHANGE, "train.sampler.pairs=any", "optimizer=sr"),
    "jastrow": (*RING, *ANSATZE["jastrow"], *METROPOLIS),
    "states": (*RING, *ANSATZE["log_mlp"], *METROPOLIS, "optimizer=sr"),
    "all states": (*RING, *ANSATZE["log_mlp"], "sampler=exhaustive", "train.sampler.max_sites=12"),
    "mps": (*RING, *ANSATZE["mps"], *METROPOLIS, "optimizer=sr"),
    "dense_ar": (*RING, *ANSATZE["dense_ar"], *DIRECT, "infer.keep_samples=true"),
    "conv_ar": (*RING, *ANSATZE["conv_ar"], *DIRECT, "optimizer=sr"),
    "symmetrised": (*RING, *ANSATZE["conv_ar"], *SYMMETRIC, *DIRECT),
    "pixelcnn": (*SQUARE, *ANSATZE["pixelcnn"], *DIRECT, "optimizer=sr"),
    "vit": (*HEISENBERG, *ANSATZE["vit"], *EXCHANGE, "optimizer=sr", "train.method.sign_rule=marshall"),
    "resnet": (*TORUS, *ANSATZE["resnet"], *METROPOLIS),
    "nir": (*SQUARE, *ANSATZE["complex_rbm"], *NIR, "optimizer=sr"),
    "nir_weighted": (*SQUARE, *ANSATZE["rbm"], *NIR, "train.sampler.importance=weighting"),
    "projected": (*RING, *ANSATZE["vit"], *METROPOLIS, "optimizer=sr", *PROJECTED),
    "sector": (
        *("system=square_heisenberg", "system.length_x=2", "system.length_y=2", "system.periodic=false"),
        *(*ANSATZE["pixelcnn"], "train.ansatz.magnetisation=0", *DIRECT),
    ),
}
CASES: dict[str, tuple[str, ...]] = {
    **{name: ("method=vmc", *overrides) for name, overrides in VMC.items()},
    "subspace_flow": (
        *("method=subspace_flow", "ansatz=mlp", "train.ansatz.hidden=[8]", *RING),
        *(f"train.method.{x}" for x in FLOW),
        *("infer.draws=40", "infer.iterations=3"),
    ),
}


ELSEWHERE = {JointFlowConfig, AdamWConfig}
"""What ``tests/gauge/joint/test_joint_accelerator.py`` runs."""


def composed(overrides: tuple[str, ...], *more: str) -> RunConfig:
    return compose_run([*overrides, "tracker=none", "progress=false", "threads=1", *more])


def test_nothing_is_left_out() -> None:
    runs = [composed(overrides).train for overrides in CASES.values()]
    for group in ("ansatz", "sampler", "optimizer", "method"):
        found = {type(getattr(train, group)) for train in runs}
        assert found | ELSEWHERE >= set(COMPONENTS[group].values()), group


@pytest.mark.parametrize("name", CASES)
def test_a_unit_of_everything(name: str, tmp_path: Path) -> None:
    """One step, the state by way of the disk, the same step from there, two units of inference and their summary."""
    with pretend.accelerator():
        run = composed(CASES[name], "device=cuda")
        method = build_method(run)
        state = method.init(run.train.seed)
        method.step(state, 0)
        save_tree(tmp_path / "state", state.state_dict())
        again = method.init(run.train.seed)
        again.load_state_dict(load_tree(tmp_path / "state"))
        metrics = method.step(again, 1)
        assert metrics == method.step(state, 1)
        assert all(type(value) in (float, int) for value in metrics.values())
        on_the_device = [leaf for leaf in leaves(again.state_dict()) if leaf.device.type == "cuda"]
        assert len(on_the_device) >= len(leaves(again.state_dict())) / 2
        records = [method.measure(again, k) for k in range(2)]
        assert not any(isinstance(value, Tensor) for record in records for value in record.values())
        result = method.summarise(records)
    assert np.isfinite(result.estimate("energy").value)


def leaves(tree: Any) -> list[Tensor]:
    """Tensors of a state, but for the counters of optimizers, which stay on the CPU."""
    if isinstance(tree, Tensor):
        return [tree] if tree.ndim else []
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return [leaf for child in children for leaf in leaves(child)]


@pytest.mark.parametrize("name", ANSATZE)
@pytest.mark.parametrize("optimizer", ["adam", "sr"])
def test_numbers_are_those_of_the_cpu(name: str, optimizer: str) -> None:
    """Without random numbers a training does not depend on the device, whatever paths the CPU has of its own."""
    overrides = ("method=vmc", *SYSTEM[name], *ANSATZE[name], f"optimizer={optimizer}", "train.dtype=float64")
    here = numbers(composed(overrides, "sampler=exhaustive", "device=cpu"))
    with pretend.accelerator():
        there = numbers(composed(overrides, "sampler=exhaustive", "device=cuda"))
    assert here.keys() == there.keys()
    for key, value in here.items():
        np.testing.assert_allclose(there[key], value, rtol=1e-10, atol=1e-10, err_msg=key)


def numbers(run: RunConfig) -> dict[str, Any]:
    """Metrics of two steps, amplitudes, those of flipped configurations and local energies after them."""
    method: Any = build_method(run)
    state = method.init(run.train.seed)
    found: dict[str, Any] = {}
    for k in range(2):
        found |= {f"{key}_{k}": value for key, value in method.step(state, k).items()}
    size = method.hamiltonian.n_sites
    spins = unpack(torch.arange(2**size, device=method.device)[:, None], size)
    with torch.no_grad():
        logs = state.ansatz.log_amplitude(spins).cpu().numpy()
        flipped = state.ansatz.connected_log_amplitudes(spins, method.hamiltonian.flip_masks).cpu().numpy()
    # over one of the largest: a constant factor of ψ, the bias of a network's output, has a gradient of rounding alone,
    # and Adam's steps of it are that over ε
    largest = logs[np.argmax(np.round(logs.real, 6))]
    found["amplitude"], found["connected"] = np.exp(logs - largest), np.exp(flipped - largest)
    found["local_energy"] = local_energy(method.hamiltonian, state.ansatz, spins, method.chunks).cpu().numpy()
    return found


def test_stages_run_on_it_and_torch_is_itself_again(tmp_path: Path) -> None:
    before = (torch.Generator, torch.tensor, Tensor.to, Tensor.device, torch.cuda.is_available)
    overrides = (*CASES["dense_ar"], "stages=[train,infer]", f"results_dir={tmp_path}", "device=auto")
    for steps in (2, 3):  # the second goes on from the first
        with pretend.accelerator():
            run = composed(overrides, f"train.steps={steps}")
            output = execute(Context(run, notify=lambda _: None))
        assert output.result is not None
    devices = [
        line for path in tmp_path.rglob("status.json") for line in path.read_text().splitlines() if "device" in line
    ]
    assert len(devices) == 3
    assert all('"cuda"' in line for line in devices), devices
    assert before == (torch.Generator, torch.tensor, Tensor.to, Tensor.device, torch.cuda.is_available)
    assert torch.ones(1).device.type == "cpu"
