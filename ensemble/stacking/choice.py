"""What cross-validation says of a stack, kept where an evaluation finds it: by this number reports choose among stacks.

``<name>-cross-validation.json`` lies beside the run of the stack and says of which settings and sources it speaks; of a
stack with others nothing is known.
"""

import json
from collections.abc import Sequence
from typing import Any

from ensemble.data.folds import read_folds
from ensemble.predictions.level_zero import LevelZero, rests_on
from ensemble.runs.claims import FOLDS, with_influence
from ensemble.runs.paths import Outputs
from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.seals import read_text, write_checked
from ensemble.settings.schema import StackSettings

SCHEMA = 1


def write_choice(
    settings: StackSettings, name: str, outputs: Outputs, learners: Sequence[LevelZero], choice_rel: float
) -> None:
    """Keep the REL of a stack over frames that its fits never saw."""
    content = {**_about(settings, outputs, learners), "choice_rel": choice_rel}
    path = outputs.cross_validation(settings.experiment, name)
    write_checked(path, (json.dumps(content, indent=1) + "\n").encode())


def kept_choice(settings: StackSettings, name: str, outputs: Outputs, learners: Sequence[LevelZero]) -> float | None:
    """What was kept of a stack with these settings and these learners; ``None`` where it was not cross-validated.

    Raises:
        ValueError: The file is damaged.
    """
    path = outputs.cross_validation(settings.experiment, name)
    if not path.is_file():
        return None
    try:
        kept = json.loads(read_text(path))
        found = float(kept.pop("choice_rel"))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        refuse_unreadable(path, error)
        raise ValueError(
            f"{path}: expected what `meta cross-validate` keeps, found something else ({error}); remove it"
        ) from error
    return found if kept == _about(settings, outputs, learners) else None


def _about(settings: StackSettings, outputs: Outputs, learners: Sequence[LevelZero]) -> dict[str, Any]:
    """Settings but for the seed, and what the rows are made from."""
    asked = with_influence(settings.model_dump(mode="json"))
    folds = read_folds(outputs.folds(settings.experiment)).fingerprint
    return {
        "schema": SCHEMA,
        "settings": {**asked, "seed": 0, "fold": None},
        "sources": {**rests_on(learners), FOLDS: folds},
    }
