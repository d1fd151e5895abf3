"""The LightningModule: what a step does is a function that is passed in, so learners and meta-learner share it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ensemble.data.loaders import Batch
from ensemble.metrics.formulas import image_scores
from ensemble.metrics.protocols import EvalProtocol, prepare
from ensemble.settings.schema import TrainingSettings
from ensemble.training.optimisation.gradients import Clip, check_parts, clip_parts, gradient_norms
from ensemble.training.optimisation.groups import Groups, encoder_and_decoder, lay_out_state, trainable_groups
from ensemble.training.optimisation.schedule import SHAPE, one_cycle
from ensemble.training.phases import ROUNDING
from ensemble.training.score_sums import ScoreSums

Forward = Callable[[nn.Module, Batch], Any]
"""The network's answer to a batch, whatever its losses need."""

Losses = Callable[[Any, Batch], Mapping[str, Tensor]]
"""Named loss terms of an answer, in float32, already weighted."""

Depth = Callable[[Any], Tensor]
"""The depth [b 1 h w] in metres within an answer."""


class DepthTask(lightning.LightningModule):
    """Fits a network to depth with one cycle of AdamW and scores it on validation frames.

    Args:
        network: Has an attribute ``encoder``, unless ``groups`` are given.
        later: Losses that take over when a share of the training is done, by that share of its steps.
        steps: Length of the cycle.
        seed: Dropout of every batch follows from it and from the number of the batch, so that a resumed run repeats it.
        protocol: How validation frames are scored.
        groups: Divides the network into parameters with their own learning rates; encoder and the rest where absent.
        parts: Submodules of the network whose gradient norms are logged before clipping, as ``grad_norm/<part>``.
        clip: Whether ``training.clip_norm`` holds for the whole gradient or for that of every part, which then must be
            apart: without parameters in common.
        shares: Log the share of every term in the loss as well, as ``share/<term>``.

    Attributes:
        rate: Learning rate of a step as a multiple of ``training.lr``; the range test puts another one in its place.
        done: Share of the training that is done with a step, counted from 0.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        *,
        forward: Forward,
        losses: Losses,
        later: Mapping[float, Losses] | None = None,
        depth: Depth,
        settings: TrainingSettings,
        steps: int,
        seed: int,
        protocol: EvalProtocol,
        groups: Groups | None = None,
        parts: Mapping[str, nn.Module] | None = None,
        clip: Clip = "whole",
        shares: bool = False,
    ) -> None:
        super().__init__()
        self._parts, self._clip = dict(parts or {}), clip
        check_parts(self._parts, clip)
        own_rates = partial(encoder_and_decoder, lr=settings.lr, encoder_lr_factor=settings.encoder_lr_factor)
        self._groups = groups or own_rates
        self.name = name
        self.network = network
        self.rate: Callable[[int], float] = partial(one_cycle, steps=steps, **settings.model_dump(include=SHAPE))
        self.done: Callable[[int], float] = lambda step: (step + 1) / steps
        self._answer, self._losses, self._depth = forward, losses, depth
        self._later = dict(sorted((later or {}).items()))
        self._settings, self._seed, self._protocol = settings, seed, protocol
        self._step_terms: list[Tensor] = []
        self._shares = shares
        self._without_truth = 0
        self.validation_scores = ScoreSums()

    def on_train_start(self) -> None:
        """Lay out what the optimiser remembers as its weights are: a checkpoint may be of the other layout."""
        for optimizer in self.trainer.optimizers:
            lay_out_state(optimizer)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draw dropout from (seed, batch, process) instead of from a generator whose state a checkpoint would need."""
        number = self.trainer.global_step * self._settings.accumulate + batch_idx % self._settings.accumulate
        torch.manual_seed(int(np.random.SeedSequence([self._seed, number, self.global_rank]).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch.

        Raises:
            ValueError: No pixel of the batch has a measurement.
            FloatingPointError: The predicted depth is not positive and finite, or the loss is NaN or infinite.
        """
        if not batch["valid"].any():
            raise ValueError(
                f"{self.name}: at step {self.trainer.global_step + 1} no pixel of the batch has a measurement (frames "
                f"{', '.join(batch['frame'])}); take these frames out of the data, or raise training.batch_size"
            )
        self._without_truth += int((~batch["valid"].flatten(1).any(dim=1)).sum())  # losses leave these images out
        answer = self._answered(batch)
        depth = self._depth(answer)
        unusable = (batch["valid"] & ~((depth > 0) & depth.isfinite())).flatten(1).any(dim=1)
        if unusable.any():
            frame = batch["frame"][int(unusable.nonzero()[0])]
            raise self._diverged(f"the predicted depth is not positive and finite (first in frame {frame})")
        terms = self._losses_of(self.trainer.global_step)(answer, batch)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            found = ", ".join(f"{term} {value.item():.4g}" for term, value in terms.items())
            raise self._diverged(f"the loss is not finite ({found}; first frame of the batch {batch['frame'][0]})")
        self._log_step({**terms, "loss": loss}, first=batch_idx % self._settings.accumulate == 0)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log how many images of the epoch had no measurement, where there were any."""
        if self._without_truth:
            self.log("train/images_without_truth", float(self._without_truth))
        self._without_truth = 0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was counted of an epoch, so that a run that goes on tells the same."""
        checkpoint["images_without_truth"] = self._without_truth

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting; checkpoints of before count from 0."""
        self._without_truth = checkpoint.get("images_without_truth", 0)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log how strongly every part is pulled: after accumulation and unscaling, before clipping."""
        for name, norm in gradient_norms(self._parts).items():
            self.log(f"grad_norm/{name}", norm)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Hold the whole gradient to ``training.clip_norm``, or that of every part.

        Lightning's own clipping refuses fused optimisers in mixed precision; theirs and ours scale alike.
        """
        if gradient_clip_val is None:
            return
        if self._clip == "parts":
            clip_parts(self.network, self._parts, gradient_clip_val)
        else:
            clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def _losses_of(self, step: int) -> Losses:
        """Losses of a step, which is all that they follow from, so that a run that goes on agrees."""
        done = self.done(step)
        begun = [losses for start, losses in self._later.items() if done > start + ROUNDING]
        return begun[-1] if begun else self._losses

    def _answered(self, batch: Batch) -> Any:
        try:
            return self._answer(self.network, batch)
        except FloatingPointError as error:
            raise self._diverged(str(error)) from error

    def _diverged(self, found: str) -> FloatingPointError:
        return FloatingPointError(
            f"{self.name}: at step {self.trainer.global_step + 1} {found}. "
            "Lower training.lr, or train with --set training.precision=32-true"
        )

    def _log_step(self, terms: Mapping[str, Tensor], *, first: bool) -> None:
        """Log the means over the batches of an optimiser step, over all processes, and the rates of the step."""
        if first:
            self._step_terms.clear()
        self._step_terms.append(torch.stack([value.detach() for value in terms.values()]))
        means = torch.stack(self._step_terms).mean(dim=0)
        for term, mean in zip(terms, means, strict=True):
            self.log(f"train/{term}", mean, prog_bar=term == "loss", sync_dist=True)
            if self._shares and term != "loss":
                self.log(f"share/{term}", mean / means[-1], sync_dist=True)
        groups = self.trainer.optimizers[0].param_groups
        self.log_dict({f"lr/{group['name']}": float(group["lr"]) for group in groups})
        self.log("step", float(self.trainer.global_step + 1))  # trackers count the steps that were taken

    def on_validation_start(self) -> None:
        """Score what is kept: batch norm's running means differ between processes, and those of the first are saved."""
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Add the scores of one batch of whole frames; callbacks get them with the ids of the frames."""
        depth = self._depth(self._answered(batch)).float()
        *compared, counts = prepare(depth, batch["depth"], batch["valid"], protocol=self._protocol)
        scores = image_scores(*compared)
        self.validation_scores.update(scores, counts)
        return {"frame": batch["frame"], **scores}

    def on_validation_epoch_end(self) -> None:
        """Log the mean over validation frames of every metric."""
        scores = self.validation_scores.compute()
        self.validation_scores.reset()
        self.log_dict({f"validation/{name}": float(value) for name, value in scores.items()})
        self.log("step", float(self.trainer.global_step))

    def configure_optimizers(self) -> Any:
        """AdamW with a learning rate for every group and one cycle for all."""
        groups = trainable_groups(self.network, self._groups(self.network))
        optimizer = torch.optim.AdamW(
            [{"params": list(group.parameters), "lr": group.lr, "name": group.name} for group in groups],
            weight_decay=self._settings.weight_decay,
            fused=self._settings.precision != "16-mixed",  # where Lightning unscales gradients before they are clipped
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, [self.rate] * len(groups))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
