"""Registers every typed node under the name that ``conf/`` uses (torch-free).

A new component adds its dataclass in its own room and one line here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace
from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from pipeline.base.config import checks
from pipeline.base.config.components import load
from pipeline.base.config.nodes import RunConfig
from pipeline.base.config.phases import AdamConfig, AdamWConfig, SGDConfig, SRConfig
from pipeline.base.contracts import Baseline
from pipeline.base.errors import ConfigError
from pipeline.gauge import systems as gauge
from pipeline.gauge.exact import CharacterExpansion
from pipeline.gauge.hmc.method import HMC
from pipeline.gauge.joint.schema import JointFlowConfig, JointInferConfig
from pipeline.gauge.reweighting import Reweighting
from pipeline.spin import systems as spin
from pipeline.spin.ansatz import schema as ansatz
from pipeline.spin.exact.collective_spin import CollectiveSpin
from pipeline.spin.exact.dmrg import DMRG
from pipeline.spin.exact.free_fermions import FreeFermions
from pipeline.spin.exact.literature import Literature
from pipeline.spin.exact.qmc import QMC
from pipeline.spin.exact.quspin import QuSpinED
from pipeline.spin.sampler.schema import DirectConfig, ExhaustiveConfig, MetropolisConfig
from pipeline.spin.subspace.schema import SubspaceFlowConfig, SubspaceInferConfig
from pipeline.spin.vmc.schema import VMCConfig, VMCInferConfig


@dataclass
class BaselineConfig:
    """All baselines with their settings, and which one to use (``auto``: the cheapest of the most exact)."""

    use: str = MISSING
    free_fermions: FreeFermions = MISSING
    collective_spin: CollectiveSpin = MISSING
    quspin: QuSpinED = MISSING
    dmrg: DMRG = MISSING
    qmc: QMC = MISSING
    character_expansion: CharacterExpansion = MISSING
    reweighting: Reweighting = MISSING
    hmc: HMC = MISSING
    literature: Literature = MISSING

    def __post_init__(self) -> None:
        checks.one_of("use", self.use, ("auto", "none", *BASELINES))

    def following(self, states: int, magnetisation: int | None = None) -> BaselineConfig:
        """The same, for as many states as a training has where a baseline leaves their number open.

        Args:
            states: K, of the training.
            magnetisation: Σ σz that the training is confined to; None: it is not.

        Raises:
            ConfigError: a baseline is set up for other states, whose energies say nothing about those of the training.
        """
        changes: dict[str, Any] = {}
        anywhere = "is not for a training that goes over every Σ σz; use null"
        wanted: dict[str, tuple[int | None, str]] = {
            "states": (states, f"must be train.ansatz.states={states}, or null, which follows it"),
            "magnetisation": (
                magnetisation,
                anywhere if magnetisation is None else f"the training is confined to {magnetisation}; use null",
            ),
        }
        for name in BASELINES:
            baseline = getattr(self, name)
            open_ones: dict[str, Any] = {}
            with checks.under(f"baseline.{name}"):
                for key, (value, allowed) in wanted.items():
                    given = getattr(baseline, key, value)
                    if given is None and value is not None:
                        open_ones[key] = value
                    elif given != value:
                        raise ConfigError(key, given, allowed)
                if open_ones:
                    changes[name] = replace(baseline, **open_ones)
        return replace(self, **changes)

    def candidates(self) -> dict[str, Baseline]:
        """Every baseline by name."""
        return {name: getattr(self, name) for name in BASELINES}


BASELINES = tuple(f.name for f in fields(BaselineConfig) if f.name != "use")

SYSTEMS: dict[str, type] = {
    "chain_tfim": spin.ChainTFIM,
    "open_chain_tfim": spin.OpenChainTFIM,
    "square_tfim": spin.SquareTFIM,
    "chain_heisenberg": spin.ChainHeisenberg,
    "square_heisenberg": spin.SquareHeisenberg,
    "chain_xxz": spin.ChainXXZ,
    "square_xxz": spin.SquareXXZ,
    "pauli_strings": load("pipeline.spin.pauli_strings:PauliStrings"),
    "u1_pure_gauge": gauge.U1PureGauge,
    "su3_pure_gauge": gauge.SU3PureGauge,
    "schwinger": gauge.Schwinger,
    "su3_2d": gauge.SU3TwoD,
}
COMPONENTS: dict[str, dict[str, type]] = {
    "system": SYSTEMS,
    "method": {"subspace_flow": SubspaceFlowConfig, "vmc": VMCConfig, "joint_flow": JointFlowConfig},
    "inference": {"subspace_flow": SubspaceInferConfig, "vmc": VMCInferConfig, "joint_flow": JointInferConfig},
    "ansatz": {
        "mlp": ansatz.MLPConfig,
        "rbm": ansatz.RBMConfig,
        "pixelcnn": ansatz.PixelCNNConfig,
        "dense_ar": ansatz.DenseARConfig,
        "conv_ar": ansatz.ConvARConfig,
        "mps": ansatz.MPSConfig,
        "log_mlp": load("pipeline.spin.ansatz.log_mlp_config:LogMLPConfig"),
        "jastrow": load("pipeline.spin.ansatz.jastrow_config:JastrowConfig"),
        "resnet": load("pipeline.spin.ansatz.resnet_config:ResNetConfig"),
        "vit": load("pipeline.spin.ansatz.vit.config:ViTConfig"),
    },
    "sampler": {
        "direct": DirectConfig,
        "exhaustive": ExhaustiveConfig,
        "metropolis": MetropolisConfig,
        "nir": load("pipeline.spin.sampler.nir.schema:NIRConfig"),
    },
    "optimizer": {"adam": AdamConfig, "adamw": AdamWConfig, "sgd": SGDConfig, "sr": SRConfig},
    "baseline": {"all": BaselineConfig},
}


class Schema(ConfigNode):
    """A typed node in Hydra's store, made when a composition asks for it, which most are not asked for."""

    def __init__(self, name: str, group: str | None, kind: type) -> None:
        self.name, self.group, self.package, self.provider = f"{name}.yaml", group, None, None
        self._kind = kind

    @functools.cached_property
    def node(self) -> DictConfig:  # type: ignore[override]
        """What ``ConfigStore.store`` would have made at once."""
        found: DictConfig = OmegaConf.structured(self._kind)
        return found


def register() -> None:
    """Put the schemas into Hydra's ConfigStore: the root as ``run_schema``, parts under ``schema/<group>``."""
    repository = ConfigStore.instance().repo
    repository["run_schema.yaml"] = Schema("run_schema", None, RunConfig)
    schemas = repository.setdefault("schema", {})
    for group, nodes in COMPONENTS.items():
        of_group = schemas.setdefault(group, {})
        for name, node in nodes.items():
            of_group[f"{name}.yaml"] = Schema(name, f"schema/{group}", node)


def register_own(group: str, name: str, kind: type) -> None:
    """Put a part of somebody's own into Hydra's ConfigStore, for this process, in the place of one of that name."""
    of_group = ConfigStore.instance().repo["schema"][group]
    of_group[f"{name}.yaml"] = Schema(name, f"schema/{group}", kind)
