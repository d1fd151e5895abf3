"""Weights & Biases beside the log of a run; nothing of it can end or change a training."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from ensemble.console import messages

_PATIENCE = 15.0
"""Seconds that Weights & Biases may take to answer."""


class PatientWandbLogger(WandbLogger):
    """A Weights & Biases run that gives up, with one line on the screen, where its process no longer answers."""

    _lost = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass on what was measured."""
        self._trying(lambda: super(PatientWandbLogger, self).log_metrics(metrics, step))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Say how the run ended."""
        self._trying(lambda: super(PatientWandbLogger, self).finalize(status))

    def _trying(self, tell: Callable[[], None]) -> None:
        if self._lost:
            return
        try:
            tell()
        except Exception as error:  # whatever it is, a tracker must not end a training
            self._lost = True
            messages.print(f"--wandb: no longer answers ({error or type(error).__name__}); going on with the log alone")


def wandb_logger(project: str, name: str, group: str, folder: Path, settings: dict[str, Any]) -> Logger:
    """A Weights & Biases run: offline without a key or an answer, one that does nothing where wandb is not installed.

    Training must come out the same with the tracker down, so nothing here is an error.
    """
    if importlib.util.find_spec("wandb") is None:
        messages.print("--wandb: wandb is not installed, going on without; run: pip install 'stackdepth[wandb]'")
        return DummyLogger()
    import wandb

    online = bool(os.environ.get("WANDB_API_KEY") or _has_netrc_entry())
    patience = wandb.Settings(init_timeout=_PATIENCE)
    for offline in [False, True] if online else [True]:
        try:
            logger = PatientWandbLogger(
                name=name, project=project, group=group, save_dir=folder, offline=offline, settings=patience
            )
            logger.log_hyperparams(settings)
        except (wandb.Error, OSError) as error:
            wandb.teardown()
            messages.print(f"--wandb: cannot start {'offline' if offline else 'online'} ({error})", soft_wrap=True)
        else:
            return logger
    return DummyLogger()


def _has_netrc_entry() -> bool:
    netrc = Path.home() / ".netrc"
    return netrc.is_file() and "api.wandb.ai" in netrc.read_text(encoding="utf-8")
