"""Overrides from what an entry holds: the same keys, for every paper."""

from __future__ import annotations

import pytest

from pipeline.base.store.keys import plain
from pipeline.stages.compose import compose_run
from pipeline.stages.keys import Keys, infer_nodes, train_nodes
from pipeline.stages.recall import overrides_of, written

RUNS = [
    *(["paper=nf_nqs/mps", "scale=laptop"], ["paper=naqs", "scale=paper"], ["paper=vit_sr", "scale=laptop"]),
    *(["paper=nir", "scale=laptop", "train.seed=3"], ["paper=pseudofermion/joint", "scale=long"], ["paper=nf_nqs"]),
    [
        "method=vmc",
        "system=pauli_strings",
        "system.n_sites=2",
        "system.terms=[-1 Z0 Z1,X0]",
        "infer_sampler=metropolis",
    ],
    [
        *("method=vmc", "sampler=metropolis", "train.dtype=float64", "train.optimizer.betas=[0.8,0.99]"),
        "train.phases=[{steps:100,lr:0.02},{steps:100,samples:4000,lr_end:0,sr:{lr:0.05,shift:0.01,momentum:0.9,"
        "max_distance:null}},{steps:5,lr:0.1,system:{field:0.5},projection:[translations,-spin_flip]}]",
    ],
]


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_overrides_have_the_same_keys(words: list[str]) -> None:
    run = compose_run([*words, "stages=[train,infer]"])
    keys = Keys(run)
    nodes, infer = plain(train_nodes(keys)), plain(infer_nodes(keys, 1)["infer"])
    found = overrides_of(nodes, run.train.steps, infer)
    again = compose_run([*found, "stages=[train,infer]"])
    assert (Keys(again).train, Keys(again).infer(1)) == (keys.train, keys.infer(1))
    assert again.train.steps == run.train.steps
    assert not any(word.startswith("paper=") for word in found)


def test_what_is_as_usual_is_not_said() -> None:
    run = compose_run(["method=vmc", "system=square_tfim", "train.steps=7", "stages=[train]"])
    nodes = plain(train_nodes(Keys(run)))
    assert overrides_of(nodes, 7) == ["method=vmc", "system=square_tfim", "train.steps=7"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((True, "true"), (None, "null"), (1e-05, "1e-05"), (3, "3"), ("auto", "auto"), ("true", "'true'")),
        *(
            ([1, 2.5], "[1,2.5]"),
            ({"lr": 0.1, "name": "adam", "sr": None}, "{lr:0.1}"),
            ("it's", "'it\\'s'"),
            ("", "''"),
        ),
    ],
)
def test_values_as_they_are_typed(value: object, text: str) -> None:
    assert written(value) == text
