"""Compositions on disk: the same as Hydra's own, and only as long as nothing of what they were made from changes."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig, ListConfig, Node, OmegaConf

from pipeline.base import cache
from pipeline.base.config import compose
from pipeline.base.config.compose import compose_config, typed
from pipeline.base.config.folders import CONF
from pipeline.stages.compose import compose_run

WORDS = ["paper=nf_nqs", "scale=smoke", "tracker=none"]
OTHER = [*WORDS, "ansatz=mlp"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    next_process()
    yield tmp_path / "cache"
    monkeypatch.undo()
    next_process()


def next_process() -> None:
    """Forget what a process remembers."""
    compose._compose.cache_clear()
    compose._kept_compositions.cache_clear()


def kept(home: Path) -> list[Path]:
    return sorted(home.glob("neural-quantum-states/compositions/*/*"))


def test_the_next_process_reads_what_hydra_composed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compose_config(WORDS)
    assert len(kept(home)) == 1
    next_process()
    with monkeypatch.context() as patch:
        patch.setattr(compose, "plain_compose", lambda *_: pytest.fail("composed again"))
        again = compose_config([*WORDS, "system.field=0.5"])
        with pytest.raises(pytest.fail.Exception, match="composed again"):
            compose_config(OTHER)
    again.system.field = first.system.field
    assert OmegaConf.to_yaml(again) == OmegaConf.to_yaml(first)
    assert typed(again) == typed(first) == compose_run(WORDS)
    compose_config(OTHER)
    assert len(kept(home)) == 2


@pytest.mark.parametrize(
    "words", [[], WORDS, ["paper=vit_sr/l4", "scale=laptop"], ["system=schwinger", "method=vmc", "optimizer=sr"]]
)
def test_what_is_composed_without_the_settings_of_hydra_is_what_hydra_composes(words: list[str]) -> None:
    """Values, types of the nodes, and whether they are open for new keys."""

    def nodes(tree: DictConfig | ListConfig, path: str) -> list[tuple[str, str, str]]:
        found = []
        for key in list(tree) if isinstance(tree, DictConfig) else range(len(tree)):
            node = tree._get_node(key)
            assert isinstance(node, Node)
            found.append((f"{path}.{key}", repr(node), repr(node._metadata)))
            if isinstance(node, DictConfig | ListConfig) and not (node._is_none() or node._is_missing()):
                found += nodes(node, f"{path}.{key}")
        return found

    asked = compose.read_line(words).words
    ours, hydras = compose.plain_compose(asked), compose.hydra_compose(asked, (CONF,), False)
    assert nodes(ours, "") == nodes(hydras, "")
    assert ours._metadata.flags == hydras._metadata.flags
    assert len(nodes(ours, "")) > 80


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_what_is_damaged_is_composed_again(home: Path, damage: str) -> None:
    first = compose_config(WORDS)
    (path,) = kept(home)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes({"cut": whole[:-100], "flipped": bytes(flipped), "empty": b""}[damage])
    next_process()
    assert compose_config(WORDS) == first
    content = cache.read(path)
    assert content is not None, "it is whole again"
    assert pickle.loads(content) == pickle.loads(whole[32:])


def test_another_configuration_or_source_has_a_folder_of_its_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipeline").mkdir()
    shutil.copytree(CONF / "ansatz", tmp_path / "conf" / "ansatz")
    monkeypatch.setattr(compose, "CONF", tmp_path / "conf")
    monkeypatch.setattr(compose, "ROOT", tmp_path)
    folders = set()
    for file in ("conf/ansatz/rbm.yaml", "conf/ansatz/new.yaml", "pipeline/new.py"):
        next_process()
        folders.add(compose._kept_compositions())
        with open(tmp_path / file, "a") as opened:
            opened.write("# changed\n")
    next_process()
    folders.add(compose._kept_compositions())
    assert len(folders) == 4
    assert None not in folders


def test_where_nothing_can_be_written_hydra_composes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    next_process()
    assert compose_config(WORDS).paper == "nf_nqs"
    assert cache.folder_of("anything", "here") is None
    cache.write(tmp_path / "nowhere" / "file", b"")
    assert cache.read(tmp_path / "nowhere" / "file") is None


def test_old_states_make_room(home: Path) -> None:
    paths = [cache.folder_of("kind", f"{n:02d}") for n in range(cache.NEWEST + 3)]
    there = {path.name for path in (home / "neural-quantum-states" / "kind").iterdir()}
    assert len(there) == cache.NEWEST
    assert paths[-1] is not None
    assert paths[-1].name in there
