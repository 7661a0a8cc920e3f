"""Tab completion of ``nqs``: groups with their choices, and the keys of the configuration as composed so far."""

from __future__ import annotations

import argparse

from pipeline.base.config.compose import compose_config, parse_override
from pipeline.base.config.folders import CONF, groups
from pipeline.base.config.messages import known_keys
from pipeline.base.config.nodes import SCALES
from pipeline.base.config.recipes import recipes, scales
from pipeline.base.errors import UserError


def complete() -> None:
    """Answer the shell and exit, if it asks; else return at once."""
    import argcomplete

    parser = argparse.ArgumentParser("nqs", add_help=False)
    for option in ("-m", "--multirun", "--recompute", "--cfg", "--config-dir", "-h", "--help"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("overrides", nargs="*").completer = (  # type: ignore[attr-defined]
        lambda prefix, parsed_args, **_: candidates(prefix, parsed_args.overrides)
    )
    argcomplete.autocomplete(parser, always_complete_options=False)


def candidates(prefix: str, before: list[str]) -> list[str]:
    """Overrides that begin with ``prefix``; ``before`` are those already on the line."""
    choices = {**groups(), "paper": ["none", *recipes((CONF,))], "scale": _scales(before)}
    found = [f"{group}={name}" for group, names in choices.items() for name in names]
    if "=" in prefix:
        return [text for text in found if text.startswith(prefix)]
    keys = [f"{key}=" for key in _keys(before)]
    return [text for text in [*(f"{group}=" for group in choices), *keys] if text.startswith(prefix)]


def _scales(before: list[str]) -> list[str]:
    """Scales of the recipe that is on the line; all without one."""
    papers = [word.partition("=")[2] for word in before if word.startswith("paper=")]
    return list(scales(papers[-1], (CONF,)) if papers and papers[-1] in recipes((CONF,)) else SCALES)


def _keys(before: list[str]) -> list[str]:
    """Keys of the configuration that the groups chosen so far compose; of the default one if they do not."""
    from pipeline.stages.register import register

    register()
    try:
        chosen = [text for text in before if parse_override(text).key_or_group in (*groups(), "paper", "scale")]
        return known_keys(compose_config(chosen))
    except UserError:
        return known_keys(compose_config([]))
