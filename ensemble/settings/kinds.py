"""The kinds of data, and what is known of each before one of its frames is listed; no file outside of ``configs``.

``configs/data/<kind>.yaml`` says it: a section ``source`` with these facts, then settings that fit the kind. Which code
reads the frames of a kind stands in ``ensemble.data.SOURCES``.
"""

from functools import lru_cache
from typing import Self

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError, model_validator

from ensemble.settings.trees import SettingsError, check_name, config_folder, read_yaml

GENERATED, COPY = "rooms", "nyu"
"""What data are where no kind is named: generated frames, or the copy that a folder or its variable names."""

KITTI = "kitti"
"""The kind, and the reader, of KITTI's drives."""

OWN = "folder"
"""The kind, and the reader, of images and depth maps that patterns of file names find."""


class KindFacts(BaseModel):
    """What is known of all data of a kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    title: str  # name for people
    reader: str | None = None  # of its frames, a key in ``ensemble.data.SOURCES``; that of its own name where absent
    variable: str | None = None
    """Environment variable that names the folder where no setting does; none where nothing is on disk."""
    frame: tuple[PositiveInt, PositiveInt]
    """Height and width of its frames, or of the frame that ``data.border`` counts the pixels of; the default of
    ``data.size``."""
    focal: tuple[PositiveFloat, PositiveFloat] | None = None
    """Focal lengths across and down, in pixels of ``frame``, where one camera took all of them."""
    max_depth: PositiveFloat  # metres; the default of ``data.max_depth``
    likely_depth: tuple[PositiveFloat, PositiveFloat]
    """Metres between which the median depth of a frame lies where ``data.max_depth`` is that of the kind; outside of
    them a unit is in doubt."""

    @model_validator(mode="after")
    def _range_ascends(self) -> Self:
        if self.likely_depth[0] >= self.likely_depth[1]:
            raise ValueError(f"likely_depth: expected an ascending range, found {self.likely_depth}")
        return self


def known_kinds() -> tuple[str, ...]:
    """Names of the kinds that have a YAML file."""
    return tuple(sorted(path.stem for path in (config_folder() / "data").glob("*.yaml")))


@lru_cache
def facts_of(kind: str) -> KindFacts:
    """What is known of a kind.

    Raises:
        SettingsError: There is no such kind, or its file does not say it.
    """
    check_name(kind, known_kinds(), "data.kind (--data)")
    path = config_folder() / "data" / f"{kind}.yaml"
    try:
        return KindFacts.model_validate(read_yaml(path).get("source"))
    except ValidationError as error:
        raise SettingsError(f"{path}: source: expected the facts of a kind of data, found {error}") from error


def reader_of(kind: str) -> str:
    """What reads the frames of a kind, a key in ``ensemble.data.SOURCES``."""
    return facts_of(kind).reader or kind


def kinds_on_disk() -> tuple[str, ...]:
    """The kinds whose frames lie in a folder."""
    return tuple(kind for kind in known_kinds() if facts_of(kind).variable is not None)
