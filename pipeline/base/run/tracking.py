"""Mirror of metrics in Weights & Biases. It may be absent or fail at any moment: the run goes on without it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.base.config.nodes import TrackerConfig


class Tracker:
    """Logs to one W&B run; after the first failure it says so once and stays silent.

    Args:
        config: mode and project; ``disabled`` never imports wandb.
        folder: all W&B files go here (``results/_wandb``).
        group, name, run_id: how the run appears; the same id goes on with the same run after a resume.
        settings: hyperparameters shown with the run.
        notify: gets the one line about a failure.
    """

    def __init__(
        self,
        config: TrackerConfig,
        folder: Path,
        *,
        group: str,
        name: str,
        run_id: str,
        settings: Mapping[str, Any],
        notify: Callable[[str], None],
    ) -> None:
        self._run: Any = None
        self._notify = notify
        if config.mode == "disabled":
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for variable in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
                os.environ.setdefault(variable, str(folder / variable.split("_")[1].lower()))
            os.environ.setdefault("WANDB_SILENT", "true")
            import wandb

            self._run = wandb.init(
                project=config.project,
                mode=config.mode,  # type: ignore[arg-type]
                dir=str(folder),
                group=group,
                name=name,
                id=run_id,
                resume="allow" if config.mode == "online" else None,
                config=dict(settings),
                settings=wandb.Settings(init_timeout=20, console="off", x_disable_stats=True),
            )
        except Exception as error:
            self._fail(error)

    def log(self, stage: str, k: int, metrics: Mapping[str, float]) -> None:
        """Mirror one line of metrics as ``stage/name``."""
        if self._run is None:
            return
        try:
            self._run.log({f"{stage}/k": k, **{f"{stage}/{name}": value for name, value in metrics.items()}})
        except Exception as error:
            self._fail(error)

    def close(self) -> None:
        """End the W&B run."""
        if self._run is None:
            return
        try:
            self._run.finish()
        except Exception as error:
            self._fail(error)
        self._run = None

    def _fail(self, error: Exception) -> None:
        if self._run is not None:
            _forget_service()
        self._run = None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        self._notify(f"W&B is not available ({reason}); metrics go to metrics.jsonl as always")


def _forget_service() -> None:
    """Let W&B give its service up now: at the exit of Python it would print a traceback about one that died."""

    def teardown() -> None:
        with suppress(Exception):
            import wandb

            wandb.teardown()

    thread = threading.Thread(target=teardown, daemon=True)
    thread.start()
    thread.join(timeout=5)  # a service that is stuck is left alone
