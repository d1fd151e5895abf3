"""What a command line asks of an import: places of maps, the camera of distances, and settings, checked before work."""

import re
from collections.abc import Mapping
from pathlib import Path

from ensemble.predictions.available import networks_of, settings_beside
from ensemble.predictions.foreign.record import EVERY_ROLE, ROLES
from ensemble.runs.paths import Outputs
from ensemble.settings.layers import Choice, data_settings, experiment_name, learner_settings, moved, told_of_data
from ensemble.settings.names import NAME, Role, known_learners
from ensemble.settings.schema import MOST, DataSettings, ImportSettings, Rays
from ensemble.settings.trees import SettingsError, check_name


def places_by_role(
    folder: Path | None, role: str | None, named: Mapping[str, Path | None], fold: int | None
) -> dict[Role, Path]:
    """Where the maps of each role are, the role first that scale and shift are fitted to.

    Args:
        folder: Of one role, or of all of them.
        role: As it was typed.
        named: Folders by the options that are called as roles are.
        fold: Whose model made the maps; ``None`` for the full fit.

    Raises:
        SettingsError: They do not go together.
    """
    given: dict[Role, Path] = {ROLES[name]: place for name, place in named.items() if place is not None}
    if role is not None:
        check_name(role, (*ROLES, EVERY_ROLE), "role")
    if given:
        if folder is not None or role is not None or len(given) < len(named):
            found = [*(f"--{name}" for name in given), *(["DIR"] if folder else []), *(["--role"] if role else [])]
            raise SettingsError(
                f"found {', '.join(found)}, expected --oof DIR --validation DIR --test DIR, or DIR --role ROLE for one "
                "role, or DIR --role all"
            )
        places: dict[Role, Path] = given
    elif folder is None or role is None:
        missing = "the folder of its depth maps" if folder is None else "--role"
        raise SettingsError(f"expected {missing}: DIR --role ROLE, or --oof DIR --validation DIR --test DIR")
    elif role == EVERY_ROLE:
        places = dict.fromkeys((ROLES[name] for name in named), folder)
    else:
        places = {ROLES[role]: folder}
    if fold is not None and len(places) > 1:
        raise SettingsError(f"--fold {fold}: the model of a fold has maps of one role; name it with --role")
    return places


def rays_of(focal: float | None, centre: str | None, *, ray: bool | None, inverse: bool) -> Rays | None:
    """The camera of maps that hold distances to it; ``None`` where they hold depth.

    Args:
        focal: Length in pixels of a map.
        centre: Column and row of the axis, as they were typed.
        ray: Whether maps hold distances.
        inverse: Whether they hold 1 / depth.

    Raises:
        SettingsError: They do not go together, or are no numbers.
    """
    if not ray:
        if focal is not None or centre is not None:
            raise SettingsError("--focal and --centre tell the camera of distances; add --ray")
        return None
    if inverse:
        raise SettingsError(
            "--inverse and --ray: distances follow from 1 / depth once it has a scale; write one of them"
        )
    if focal is None:
        raise SettingsError(
            "--ray: expected --focal PIXELS as well, the focal length in pixels of a map (Hypersim: 886.81 of 1024x768)"
        )
    if not 0 < focal < MOST:
        raise SettingsError(f"--focal {focal:g}: expected a focal length in pixels of a map, such as 886.81")
    try:
        across, down = (float(word) for word in centre.split(",")) if centre is not None else (None, None)
    except ValueError:
        raise SettingsError(f"--centre {centre!r}: expected column and row, such as 511.5,383.5") from None
    return Rays(focal=focal, centre=None if across is None or down is None else (across, down))


def import_settings(
    where: Outputs, name: str, fold: int | None, choice: Choice, maps: Mapping[str, object]
) -> ImportSettings:
    """Settings of an import, with the frames of the learners beside it.

    Args:
        where: Runs are.
        name: Of the new learner.
        fold: Whose model made the maps; ``None`` for the full fit.
        choice: Of the experiment.
        maps: What is told of them, by the names of the settings.

    Raises:
        SettingsError: The name is no name or taken, or the experiment has other data than were told.
    """
    chosen = experiment_name(choice)
    networks = networks_of(where, chosen, choice.words)
    if not re.fullmatch(NAME, name) or name in networks:
        raise SettingsError(
            f"{name!r}: expected letters, digits and . _ + -, and not the name of a learner of ours "
            f"({', '.join(networks)})"
        )
    if where.meta_run(chosen, name).settings.is_file():
        raise SettingsError(f"{name!r}: a fit of the meta-learner goes by this name in {chosen}; choose another one")
    beside = settings_beside(where, chosen)
    if beside is None:
        beside = learner_settings(known_learners()[0], choice)
    else:
        _check_data(beside.data, choice, chosen)
    tree = {"experiment": chosen, "learner": name, "fold": fold, **maps}
    settings = ImportSettings.model_validate({**tree, "data": beside.data, "evaluation": beside.evaluation})
    return moved(settings, choice.root)


def _check_data(there: DataSettings, choice: Choice, experiment: str) -> None:
    """Refuse data that were told otherwise than the experiment has them."""
    from ensemble.predictions.learners import frame_settings
    from ensemble.runs.claims import differing_keys

    named = told_of_data(choice)
    if not named:
        return
    known, told = (
        {key: value for key, value in frame_settings(data).items() if key in named}
        for data in (there, data_settings(choice))
    )
    if differing := differing_keys(known, told, "data."):
        raise SettingsError(
            f"experiment {experiment} has other data settings than were told ({'; '.join(differing)}); expected the "
            "same, or another --experiment"
        )
