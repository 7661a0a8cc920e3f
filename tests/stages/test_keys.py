"""Keys: what is in the store and committed is found again."""

from __future__ import annotations

import pytest

from pipeline.stages import profile
from pipeline.stages.compose import compose_run
from pipeline.stages.keys import Keys, Nodes

PHASES = "train.phases=[{steps:20,samples:100},{steps:20,sgd:{lr:0.01,momentum:0.9}}]"
CHAINS = [
    *("method=vmc", "system=square_heisenberg", "sampler=metropolis", "train.sampler.rule=exchange"),
    *("train.method.sign_rule=stoquastic", PHASES, "infer.units=3"),
]
SR = ["method=vmc", "system=chain_heisenberg", "optimizer=sr", "ansatz=rbm", "sampler=exhaustive", "baseline=quspin"]


@pytest.mark.parametrize(
    ("words", "train", "infer", "baseline"),
    [
        (["paper=nf_nqs", "scale=smoke"], "70b3da8b3bccc41e", "f3be5f46e791178d", "8daaa511228d82e2"),
        (["paper=naqs", "scale=smoke"], "bbbf6e8e491092a1", "f29426dc9ee65c1b", "5b0dafbd6fc8c589"),
        (CHAINS, "94d2f225ea3644ea", "8bfecbbd344d412b", "03b8a13e08c130cc"),
        ([*SR, "train.optimizer.guard=false"], "68b40fa43db017f7", "adbde3629e9f5617", "3434c396cc5e065a"),
    ],
    ids=["nf_nqs", "naqs", "chains", "sr"],
)
def test_keys_of_trainings_stay_what_they_were(words: list[str], train: str, infer: str, baseline: str) -> None:
    """Whoever changes what is hashed, or a version, changes these on purpose."""
    keys = Keys(compose_run(words))
    assert (keys.train, keys.infer(7), keys.baseline) == (train, infer, baseline)


@pytest.mark.parametrize(
    ("words", "name", "key"),
    [
        (["system=schwinger", "baseline=hmc"], "hmc", "94c879a50c5f7224"),
        (["system=chain_tfim", "baseline=auto"], "free_fermions", "e4701e7b148d4a33"),
        (["system=square_tfim", "baseline=qmc"], "qmc", "d494201d7fadaf02"),
    ],
)
def test_keys_of_baselines_stay_what_they_were(words: list[str], name: str, key: str) -> None:
    keys = Keys(compose_run([*words, "stages=[baseline]"]))
    assert (keys.baseline_name, keys.baseline) == (name, key)


def test_the_guard_is_in_the_key_of_what_has_it_by_default() -> None:
    guarded, free = compose_run(SR), compose_run([*SR, "train.optimizer.guard=false"])
    assert guarded.train.optimizer.guard
    assert Keys(guarded).train != Keys(free).train


def test_no_baseline_is_chosen_for_the_key_of_an_inference(monkeypatch: pytest.MonkeyPatch) -> None:
    run = compose_run(["paper=nf_nqs", "scale=smoke"])
    monkeypatch.setattr("pipeline.stages.keys.baseline_name", lambda run: pytest.fail("chosen"))
    assert len(Keys(run).infer(3)) == 16


def test_a_key_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.base.store.keys import digest

    keys = Keys(compose_run(["paper=nf_nqs", "scale=smoke"]))
    computed: list[str] = []

    def counted(nodes: Nodes) -> str:
        computed.append(digest(nodes))
        return computed[-1]

    monkeypatch.setattr("pipeline.stages.keys.digest", counted)
    assert keys.train == keys.train
    assert keys.infer(3) == keys.infer(3) != keys.infer(4)
    assert len(computed) == 3  # the training's is part of the inference's


def profile_key(*words: str) -> str:
    return Keys(compose_run(["paper=nf_nqs", "scale=smoke", "device=cpu", "stages=[profile]", *words])).of(
        profile.nodes
    )


def test_key_of_a_profile_holds_what_a_time_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    base = profile_key()
    for same in ("infer.units=7", "baseline=quspin", "train.steps=77", "results_dir=elsewhere"):
        assert profile_key(same) == base, same
    others = {profile_key(w) for w in ("threads=2", "profile.steps=5", "profile.warmup=1", "train.method.draws=99")}
    assert len({base, *others}) == 5
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert profile_key() not in {base, *others}
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr("pipeline.stages.profile.processor", lambda: "another CPU")
    assert profile_key() not in {base, *others}
