"""Every number of the configuration is refused where it means nothing, or stands here with the reason why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_type_hints

import pytest
import yaml

from pipeline.base.config.compose import compose_config, typed
from pipeline.base.config.folders import CONF
from pipeline.base.config.nodes import RunConfig
from pipeline.base.config.phases import PhaseConfig
from pipeline.base.errors import ConfigError
from pipeline.stages.register import COMPONENTS, register

register()

HUGE = {int: 10**12, float: 1e300}

UNBOUNDED = {
    "amounts, refused together where no machine could do them": """
        AnsatzConfig.alpha .bond_dimension .depth .features .kernel .layers .patch .width
        SamplerConfig.burn_in .embedding .proposals .samples .thinning   NIRConfig.layers
        PhaseConfig.samples .steps   TrainConfig.steps   ProfileConfig.steps .warmup
        VMCInferConfig.samples .units   SubspaceInferConfig.draws .iterations .units
        SubspaceFlowConfig.chunk .draws .flow_layers .points .regions .subspaces
        GaugeSystem.length   QMC.beta_per_length .half_beta_sweeps .measurements .sweeps .warmup
        HMC.chains .integrator_steps .measurements .trajectories_per_measurement .warmup
        Reweighting.configurations .measurements
        JointFlowConfig.batch .draws .evaluate_configurations   JointInferConfig.configurations .draws .units
        ConditionalFlowConfig.features .hidden .layers .transports""",
    "limits: with a huge one there is none": """
        RunConfig.checkpoint_seconds .time_limit_seconds   VMCConfig.gradient_clip .local_energy_clip .max_rejected
        VMCConfig.memory_gib   SRConfig.max_distance   SubspaceFlowConfig.gradient_clip .patience
        SubspaceInferConfig.plateau_patience   DMRG.max_sites .max_sweeps   QuSpinED.max_bytes .max_scanned
        FermionSettings.max_iterations   NIRConfig.max_proposals   Reweighting.max_length
        JointFlowConfig.chunk .evaluate_every .exact_length .gradient_clip .max_skipped   JointInferConfig.exact_length
        PreconditioningConfig.max_iterations""",
    "couplings, refused by what cannot work with them: in their unit of energy they may have any size": """
        SpinSystem.coupling .field .j1 .j2 .jxy .jz""",
    "labels": """
        TrainConfig.seed   VMCInferConfig.seed   SubspaceInferConfig.seed   QMC.seed   HMC.seed   Reweighting.seed
        JointInferConfig.seed""",
    "refused on the system": """
        AnsatzConfig.magnetisation   JointInferConfig.correlator_time""",
}


def explained() -> set[tuple[str, str]]:
    """Names of classes, or of bases, with a field each."""
    found, owner = set(), ""
    for word in " ".join(UNBOUNDED.values()).split():
        name, _, key = word.partition(".")
        owner = name or owner
        found.add((owner, key))
    return found


def kind_of(hint: Any) -> type | None:
    """int or float, also where null may stand for it; None for anything else."""
    return next((kind for kind in (float, int) if hint in (kind, kind | None)), None)


def below(node: Any) -> Iterator[Any]:
    yield node
    for field in fields(node):
        if is_dataclass(value := getattr(node, field.name)):
            yield from below(value)


def refusal(node: Any, name: str, value: float) -> str | None:
    """What the node itself says of a value; None: it takes it."""
    try:
        replace(node, **{name: value})
    except ConfigError as error:
        return str(error)
    return None


def nodes() -> Iterator[Any]:
    """An instance of every class, with the values of ``conf/``."""
    for method, system in (("subspace_flow", "chain_tfim"), ("vmc", "chain_tfim"), ("joint_flow", "schwinger")):
        yield from below(typed(compose_config([f"method={method}", f"system={system}"])))
    yield PhaseConfig(steps=1)
    for group in ("system", "ansatz", "sampler", "optimizer"):
        for name, kind in COMPONENTS[group].items():
            values = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
            yield kind(**{key: value for key, value in values.items() if key != "defaults"})


def test_numbers_that_mean_nothing_are_refused() -> None:
    known, met, classes = explained(), set(), set()
    for node in nodes():
        kind = type(node)
        if kind in classes:
            continue
        classes.add(kind)
        names = [base.__name__ for base in kind.__mro__]
        hints = get_type_hints(kind)
        for field in fields(kind):
            number = kind_of(hints[field.name])
            if number is None or not field.init:
                continue
            reasons = {(name, field.name) for name in names} & known
            met |= reasons
            message = refusal(node, field.name, HUGE[number])
            said = f"{kind.__name__}.{field.name}={HUGE[number]:g}: {message or 'bound it, or say why not'}"
            assert reasons or (message and field.name in message), said
    assert known == met, "of these there is nothing to say"
    assert {kind for part in COMPONENTS.values() for kind in part.values()} | {RunConfig} <= classes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["ansatz=rbm", "train.ansatz.deviation=1e4"],
            r"train\.ansatz\.deviation=10000\.0: must not be larger than 1000",
        ),
        (
            ["ansatz=mps", "train.ansatz.deviation=1e300"],
            r"train\.ansatz\.deviation=1e\+300: must not be larger than 1000",
        ),
        (
            ["ansatz=jastrow", "train.ansatz.deviation=1e9"],
            r"train\.ansatz\.deviation=.*: must not be larger than 1000",
        ),
        (
            ["ansatz=pixelcnn", "train.ansatz.spread=2e3"],
            r"train\.ansatz\.spread=2000\.0: must not be larger than 1000",
        ),
        (
            ["ansatz=vit", "train.ansatz.output_scale=1e7"],
            r"train\.ansatz\.output_scale=.*: must not be larger than 1000",
        ),
        (
            ["optimizer=sr", "train.optimizer.shift=1e30"],
            r"train\.optimizer\.shift=1e\+30: must not be larger than 1e\+15",
        ),
        (["optimizer=sr", "train.optimizer.rtol=2"], r"train\.optimizer\.rtol=2\.0: must lie between 0 and 1"),
    ],
)
def test_the_key_is_named_as_it_is_typed(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        typed(compose_config(["method=vmc", *words]))
