"""Learners trained together with the meta-learner: their losses beside that of the stack, each at its own rate.

The published study found such training unstable, because learners of different quality pull at one gradient. So every
learner's gradient norm is logged, is clipped by itself, and learning rates and loss weights are set per learner.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from base_learners.losses import scale_invariant_log_loss
from ensemble.data.loaders import Batch
from ensemble.metrics.protocols import EvalProtocol
from ensemble.predictions.learners import trained_learner
from ensemble.runs.paths import Outputs
from ensemble.settings.layers import Choice, learner_settings
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.settings.trees import SettingsError
from ensemble.stacking.joint_network import META, LiveStack, Rates, live_groups, live_losses
from ensemble.training.learners import own_losses
from ensemble.training.phases import loss_arguments, phase_starts
from ensemble.training.tasks import DepthTask, Losses
from meta.inputs import assemble
from meta.unet import MetaUNet

LR_FACTORS = {"finetune": 0.1, "joint": 1.0}
"""Learning rates of learners as multiples of their own, where the settings say nothing."""


def with_members(settings: StackSettings, outputs: Outputs, choice: Choice) -> StackSettings:
    """The settings of a stack with those of the learners that are trained with it; a frozen stack stays as it is.

    ``finetune`` takes them from the learners' finished runs. ``joint`` takes them from the files and assignments that
    would train the learners by themselves; of the assignments, those of the encoder hold for learners as well.

    Raises:
        ValueError: A learner to go on with is not trained.
        SettingsError: A learner sees frames at a size of its own.
    """
    if settings.mode == "frozen":
        return settings
    members: dict[str, LearnerSettings] = {}
    for name in settings.learners:
        if settings.mode == "finetune":
            root, words = settings.data.root, choice.shared_words
            trained = trained_learner(outputs, settings.experiment, name, root=root, options=words)
            members[name] = trained.network_settings
        else:
            own = tuple(each for each in choice.assignments if each.startswith(("encoder=", "encoder.")))
            members[name] = learner_settings(name, replace(choice, assignments=own))
        _check_size(members[name])
        common = {"experiment": settings.experiment, "data": settings.data, "evaluation": settings.evaluation}
        members[name] = members[name].model_copy(update=common)
    return settings.model_copy(update={"members": members})


def _check_size(member: LearnerSettings) -> None:
    """Refuse a learner that cannot see the images that the others are trained with."""
    if member.seen.size != member.data.size:
        own, shared = (f"{height}x{width}" for height, width in (member.seen.size, member.data.size))
        raise SettingsError(
            f"{member.learner} sees frames at {own}, the stack at {shared}: learners that are trained together with "
            "the meta-learner see one image. Fit a frozen stack, leave the learner out, or leave out its size"
        )


def live_task(
    settings: StackSettings,
    networks: Mapping[str, nn.Module],
    meta: MetaUNet,
    *,
    steps: int,
    protocol: EvalProtocol,
) -> DepthTask:
    """Learners and meta-learner as one network that minimises the stack's loss and the weighted losses of the learners.

    Networks are in the order in which they are weighed; ``steps`` is the length of the cycle.
    """
    live = settings.live

    def weigh(network: nn.Module, image: Tensor, depths: Tensor) -> Tensor:
        seen = assemble(settings.inputs, image, depths, max_depth=settings.data.max_depth)
        return meta.fuse(network(seen).float(), depths)

    def losses(done: float) -> Losses:
        """With ``finetune`` learners go on with the losses that their own training ended with."""
        arguments, own_done = loss_arguments(settings, done), 1.0 if settings.mode == "finetune" else done

        def stack_loss(depth: Tensor, batch: Batch) -> Tensor:
            return scale_invariant_log_loss(depth, batch["depth"], batch["valid"], **arguments)

        members = {name: own_losses(own, own_done) for name, own in settings.members.items()}
        return live_losses(stack_loss, members, loss_weights=live.loss_weights)

    default = live.lr_factor if live.lr_factor is not None else LR_FACTORS[settings.mode]
    rates = {
        name: Rates(own.training.lr * live.lr_factors.get(name, default), own.training.encoder_lr_factor)
        for name, own in settings.members.items()
    }
    rates[META] = Rates(settings.training.lr, settings.training.encoder_lr_factor)
    network = LiveStack(
        networks,
        meta,
        weigh=weigh,
        statistics="frozen" if settings.mode == "finetune" else "live",
        detach=live.detach,
    )
    return DepthTask(
        f"meta {settings.inputs}, {settings.mode}",
        network,
        forward=lambda whole, batch: whole(batch["image"]),
        losses=losses(0.0),
        later={start: losses(start) for start in phase_starts([settings, *settings.members.values()])},
        depth=lambda answer: answer.depth,
        settings=settings.training,
        steps=steps,
        seed=settings.seed,
        protocol=protocol,
        groups=lambda whole: live_groups(whole, rates=rates),
        parts=network.parts,
        clip=live.clip,
    )
