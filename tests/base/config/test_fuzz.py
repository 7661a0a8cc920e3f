"""Whatever is typed behind ``python -m pipeline``: a run, or one message that says what is wrong; never a traceback.

Deterministic and short here; ``FUZZ_EXAMPLES=2000 pytest tests/base/test_fuzz.py`` looks further, at random.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.base.config.compose import compose_config
from pipeline.base.config.folders import groups
from pipeline.base.config.messages import known_keys
from pipeline.base.config.sweep import check_sweep
from pipeline.base.errors import UserError
from pipeline.stages.compose import compose_run
from pipeline.stages.keys import Keys

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))

# compositions by groups are what takes time and they are cached: a few dozen starts, and rarely another group
STARTS: tuple[list[str], ...] = (
    [],
    ["paper=nf_nqs", "scale=smoke"],
    ["paper=nf_nqs", "scale=paper"],
    ["method=vmc", "system=square_tfim"],
    ["method=vmc", "system=square_heisenberg", "sampler=metropolis", "infer_sampler=metropolis", "optimizer=sgd"],
    ["system=schwinger", "stages=[baseline]", "baseline=hmc"],
)
KEYS = sorted({key for start in STARTS for key in known_keys(compose_config(start))})
GROUPS = sorted(groups())
JUNK_KEYS = (
    *("hydra.run.dir", "hydra.job.chdir", "hydra.verbose", "hydra.sweeper.params", "hydra", "hydra/launcher"),
    *("", ".", "..", "system.", ".system", "system..n_sites", "system.n_sites.x", "stages.0", "stages[0]", "system[n]"),
    *(
        "train.method.__class__",
        "__init__",
        "defaults",
        "_self_",
        "schema/system",
        "recipe/nf_nqs/main",
        "system@train",
        "@",
    ),
    *("system@:train", "méthode", "σ", "a b", "a/b/c", "/system", "system/", "_group_", "train.snapshots.0", "paper.x"),
)
SCALARS = (
    *("0", "1", "2", "3", "5", "10", "-1", "-0.0", "0.5", "1e-3", "1e400", "-1e400", "1e308", "1_000", "0x10", "007"),
    *(
        "nan",
        "NaN",
        "inf",
        "-inf",
        ".inf",
        "null",
        "None",
        "~",
        "true",
        "false",
        "yes",
        "on",
        "''",
        '""',
        "",
        " ",
        "\t",
    ),
    *(
        "9" * 25,
        "-" + "9" * 25,
        "1" + "0" * 200,
        "9" * 400,
        "-" + "9" * 400,
        "9" * 5000,
        "1e" + "9" * 30,
        str(2**63),
        str(2**31),
        "1.0",
        "10.0",
        "1+1j",
        "2**3",
    ),
    *(
        "abc",
        "a b",
        "'a, b'",
        '"quoted"',
        "it's",
        "'",
        '"',
        "\\",
        "\\'",
        "a\\,b",
        "é",
        "Ψ",
        "'é'",
        "'日本'",
        "'\U0001f600'",
    ),
    *(
        "'\x00'",
        "\x00",
        "'\ud800'",
        "\udcff",
        "'\n'",
        "a\nb",
        "\u202e",
        "'\u202e'",
        "%s",
        "{0}",
        "a=b",
        "'a=b'",
        "=",
        "#",
    ),
    *(
        "auto",
        "none",
        "cpu",
        "cuda",
        "float64",
        "normal",
        "unique",
        "never",
        "torch",
        "offline",
        "hmc",
        "dmrg",
        "report",
    ),
)
COMPOUND = (
    *(
        "[]",
        "[1]",
        "[1,2]",
        "[0.1,0.2]",
        "[0.9,0.999]",
        "[-1]",
        "[nan]",
        "[null]",
        "[[1]]",
        "[[],[]]",
        "[a,b]",
        "[true]",
    ),
    *(
        "[1,2,3]",
        "[1.5]",
        "['']",
        "[train]",
        "[train,train]",
        "[baseline]",
        "[report]",
        "[train,infer,baseline,report]",
    ),
    *("{}", "{a:1}", "{a:{b:[1]}}", "{1:2}", "{'':1}", "{null:1}", "{n_sites:4}", "{lr:-1}", "{lr:{a:1}}", "{kind:x}"),
    *(
        "{seed:a}",
        "{hidden:[5],initialisation:torch}",
        "{hidden:5}",
        "{hidden:[a]}",
        "{_target_:os.system}",
        "{true:1}",
    ),
    *(
        "{units:5}",
        "[{steps:3}]",
        "[{steps:3,samples:100,lr:0.1,lr_end:0,sgd:{lr:1,momentum:0.5}}]",
        "[{steps:3,adam:{lr:1}},{}]",
        "{mode:on}",
        "{use:hmc}",
        "{use:{}}",
        "{hmc:null}",
        "{_target_:[1]}",
        "{a:1,a:2}",
        "[{a:1}]",
        "{a:[}",
    ),
    *("${x}", "${system}", "${oc.env:HOME}", "${nope:1}", "${", "'${x}'", "'${'", "[${x}]", "{a:${x}}", "???", "'???'"),
    *(
        "[???]",
        "[" * 3000,
        "[" * 200 + "]" * 200,
        "{n_sites:???}",
        "['${x}']",
        "\\${x}",
        "'\\${x}'",
        "{seed:'${x}'}",
        "$x",
        "${.x}",
        "${..}",
        "'${.seed}'",
    ),
    *(
        "1,2",
        "a,b",
        "1,,2",
        ",",
        "1,",
        "range(1,3)",
        "range(1)",
        "range(a)",
        "range(1,3,0)",
        "range(1,1e12)",
        "range(1000000000000)",
        "range(0,1,0.3)",
        "glob(*)",
    ),
    *(
        "choice()",
        "choice(1,2)",
        "interval(0,1)",
        "sort(3,1)",
        "shuffle(1,2)",
        "tag(a,1,2)",
        "int(1.5)",
        "int(a)",
        "str(1)",
    ),
    *(
        "cast(1)",
        "float(x)",
        "json_str({a:1})",
        "bool(2)",
        "sort(1,a)",
        "[1,2],[3]",
        "null,1",
        "abs(1)",
        "extend_list(1)",
    ),
)
CHARACTERS = st.sampled_from("abcnst_.019=-+~,[](){}$:'\"\\ \té∞\x00/@*?!#%&")


@st.composite
def keys(draw: st.DrawFn) -> str:
    """A key, a group, junk, or one of the first two with a slip of the keyboard."""
    key = draw(st.one_of(st.sampled_from(KEYS), st.sampled_from(KEYS), st.sampled_from((*GROUPS, *JUNK_KEYS))))
    if draw(st.integers(0, 4)) == 0 and key:
        place = draw(st.integers(0, len(key) - 1))
        key = (
            key[:place]
            + draw(st.sampled_from(("", "x", key[place] * 2, ".", "é", key[place].upper())))
            + key[place + 1 :]
        )
    return draw(st.sampled_from(("",) * 12 + ("+", "++", "~", "-"))) + key


@st.composite
def overrides(draw: st.DrawFn) -> str:
    """One word of the command line; values of any kind meet keys of any kind."""
    kind = draw(st.integers(0, 19))
    if kind == 0:
        return draw(st.text(CHARACTERS, max_size=12))
    if kind == 1:
        group = draw(st.sampled_from(GROUPS))
        return f"{group}={draw(st.sampled_from((*groups()[group], 'x', 'null', '[]', '{}', '', '1', '${x}', '../x')))}"
    value = draw(
        st.one_of(
            st.sampled_from(SCALARS),
            st.sampled_from(COMPOUND),
            st.integers(-3, 70).map(str),
            st.floats().map(str),
            st.text(CHARACTERS, max_size=8),
        )
    )
    return f"{draw(keys())}{draw(st.sampled_from(('=',) * 15 + ('', ' = ', '==')))}{value}"


def lines() -> st.SearchStrategy[list[str]]:
    """A start that composes, then some words, one of them perhaps twice."""
    words = st.lists(overrides(), min_size=1, max_size=3)
    return st.builds(lambda a, b, twice: [*a, *b, *b[:twice]], st.sampled_from(STARTS), words, st.integers(0, 1))


def run_or_message(call: Callable[[], object], words: Sequence[str]) -> None:
    """Anything but a return or a UserError that says something fails the test as it is."""
    message = None
    try:
        call()
    except UserError as error:
        message = str(error).strip()
    assert message != "", words


@settings(
    max_examples=EXAMPLES or 200,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(lines())
def test_any_command_line_is_a_run_or_a_message(words: list[str]) -> None:
    def keyed() -> None:
        keys = Keys(compose_run(words))
        for key in (keys.train, keys.infer(3), keys.baseline):
            assert len(key) == 16

    run_or_message(keyed, words)
    run_or_message(lambda: check_sweep(words), words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.seed=" + "9" * 5000, r"train\.seed=9+\.\.\. \(5011 characters\): cannot be read: .*digits"),
        ("train.seed=" + "9" * 400, r"train\.seed=9+\.\.\. \(400 characters\): must fit 64 bits"),
        ("train.method=null", r"train\.method=null: is chosen by its group"),
        ("train={ansatz:null}", r"train\.ansatz=null: is chosen by its group"),
        ("train.ansatz={_target_:os.abort}", r"train\.ansatz\._target_: no such key"),
        ("train.optimizer.betas=[0.9]", r"train\.optimizer\.betas=\[0\.9\]: must be two numbers"),
        ("results_dir='a\x00b'", r"results_dir='a\\x00b': must name a folder, in printable characters"),
        ("paper=range(1,3,0)", r"paper: cannot be swept like this: .*zero"),
        ("paper=interval(0,1)", r"paper: cannot be swept like this: .*INTERVAL_SWEEP"),
        ("paper=range(1,1e12)", r"paper: a sweep takes at most 10000 values"),
    ],
)
def test_what_once_got_through(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose_run([word])


def test_sweep_that_would_never_end() -> None:
    with pytest.raises(UserError, match=r"train\.seed: a sweep takes at most 10000 values"):
        check_sweep(["train.seed=range(1000000000000)"])
