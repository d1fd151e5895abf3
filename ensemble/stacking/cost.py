"""What a whole stack costs at test time: learners and meta-learner on one frame, each at the size it sees."""

from dataclasses import dataclass, field

from ensemble.predictions.level_zero import level_zero_of
from ensemble.predictions.predict import device_of
from ensemble.runs.paths import Outputs
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.training.cost import Profile, WithScale, profile_network
from ensemble.training.networks import build_learner, build_stack, unloaded
from meta.inputs import channel_count


@dataclass
class Costs:
    """Measures networks once per process and sums them up."""

    outputs: Outputs  # where the learners' runs are
    _measured: dict[str, Profile] = field(default_factory=dict)

    def of(self, settings: StackSettings) -> dict[str, float]:
        """Parameters, multiply-adds, milliseconds and frames a second of a stack."""
        profiles = [self._profile(own.model_dump_json(), own, 3) for own in self._learners(settings)]
        bare = unloaded(settings)
        channels = channel_count(settings.inputs, len(settings.learners))
        key = f"{settings.inputs} {len(settings.learners)} {bare.encoder} {bare.network} {bare.data.size}"
        profiles.append(self._profile(key, settings, channels))
        milliseconds = sum(profile.milliseconds for profile in profiles)
        return {
            "parameters": float(sum(profile.parameters for profile in profiles)),
            "mul_adds": float(sum(profile.mul_adds for profile in profiles)),
            "milliseconds": milliseconds,
            "frames_per_second": 1000 / milliseconds,
        }

    def _learners(self, settings: StackSettings) -> list[LearnerSettings]:
        """Settings of every network below the meta-learner that predicts at test time; imports cost nothing here."""
        if settings.mode != "frozen":
            return list(settings.members.values())
        found = level_zero_of(settings, self.outputs)
        return [model.network_settings for each in found for model in each.tested if not model.is_import]

    def _profile(self, key: str, settings: LearnerSettings | StackSettings, channels: int) -> Profile:
        if key not in self._measured:
            if isinstance(settings, StackSettings):
                network, size = WithScale(build_stack(unloaded(settings))), settings.data.size
            else:
                network, size = build_learner(unloaded(settings)), settings.seen.size
            device = device_of(settings.training)
            self._measured[key] = profile_network(network, size, device=device, channels=channels, repeats=5)
        return self._measured[key]
