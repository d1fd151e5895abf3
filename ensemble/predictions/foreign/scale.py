"""Whether imported depth is in metres, proved on rows of training; or the scale and shift that make it so."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ensemble.console import counted, messages
from ensemble.console.notices import notice
from ensemble.data.formats.maps import LIKELY_CHANGE, of_one_scale
from ensemble.predictions.foreign.checks import LIKELY_RATIO, CheckedMaps, ImportRequest
from ensemble.predictions.foreign.guesses import follows_within_frames, unlike_their_frames, upside_down
from ensemble.predictions.foreign.record import PLACEHOLDER, ImportedRole
from ensemble.runs.paths import Outputs
from ensemble.settings.schema import Alignment, ImportSettings

LIKELY_ERROR, LIKELY_SHARE = 0.2, 0.5
"""Mean relative error from which on depth is suspect, and the share of its squared error that is left where a scale and
a shift show that it was given in other units; metres of a bad network keep more."""

FOLLOW_AT_ALL = 0.1
"""Correlation with the truth within frames below which maps are doubted."""

Stored = Mapping[str, tuple[ImportSettings, dict[str, ImportedRole]]]
"""Settings and roles of every model that was imported under a name."""


def alignment_of(request: ImportRequest, outputs: Outputs, stored: Stored, checked: CheckedMaps) -> Alignment | None:
    """Scale and shift of the learner; ``None`` where its depth is proved to be metres.

    Raises:
        ValueError: Depth has no scale and none is asked to be fitted, or there is nothing to fit it to.
    """
    if request.role == "test":
        _check_turned(request, outputs, stored, checked)
    known = {role for _, roles in stored.values() for role in roles}
    recorded = next((old.alignment for old, _ in stored.values() if old.alignment is not None), None)
    if not request.align:
        if request.relative:
            raise ValueError(
                f"{request.place}: depth without a scale (--relative) cannot be weighed against metres; fit one scale "
                f"and shift on rows of training.\nRun: {request.command(outputs, align=True)}"
            )
        _check_scale(request, outputs, stored, checked)
        return None
    again = request.rebuild and request.settings.fold is None and recorded is not None and request.role == recorded.role
    if recorded is not None and not again:
        _check_recorded(request, outputs, stored, checked, recorded)
        return recorded
    if request.role not in ("fit", "oof") or request.settings.fold is not None:
        first = replace(
            request, role="oof", settings=request.settings.model_copy(update={"fold": None}), place=Path(PLACEHOLDER)
        )
        raise ValueError(
            f"{request.place}: --align-on fit takes scale and shift from the rows of training, of which "
            f"{request.settings.learner} has none yet ({', '.join(sorted(known)) or 'nothing'} imported). "
            f"First\nRun: {first.command(outputs)}"
        )
    return _fitted(request, outputs, request.role, checked)


def say_doubts(request: ImportRequest, checked: CheckedMaps) -> bool:
    """Say what could not be looked at, and what is odd without being wrong for sure; whether anything is."""
    if not checked.samples:
        return False
    if request.settings.rays is None and not request.axis and all(sample.rays is None for sample in checked.samples):
        notice(
            "the camera of the images is not known, so whether the maps hold distances to it in place of depth is not "
            "looked at"
        )
    if (follows := follows_within_frames(checked.samples, request.form)) < FOLLOW_AT_ALL:
        notice(
            f"warning: {request.place}: within frames the maps do not follow the truth (correlation {follows:.2f}), as "
            "one number everywhere, noise, or maps of other frames; they are taken as they are",
            about="truth",
            style="yellow",
        )
        return True
    like = unlike_their_frames(checked.samples)
    if like is not None:
        notice(
            f"warning: {request.place}: the maps do not go with their frames (rank correlation of their medians with "
            f"those of the truth {like:.2f}, over {len(checked.samples)} frames); are they of these, in this order?",
            about="frames",
            style="yellow",
        )
    return like is not None


def _fitted(request: ImportRequest, outputs: Outputs, role: Literal["fit", "oof"], checked: CheckedMaps) -> Alignment:
    """Least squares over all sampled pixels, of depth or of 1 / depth: one scale and one shift."""
    place, inverse, pixels = request.place, request.settings.inverse, len(checked.depths)
    if pixels < 2 or np.ptp(checked.depths) == 0:
        raise ValueError(f"{place}: depth is the same at all {pixels} pixels with a truth; nothing can be fitted")
    request.refuse_better_guess(outputs, checked.samples)
    scale, shift = _least_squares(checked, inverse=inverse)
    if scale <= 0:
        raise ValueError(
            f"{place}: the fitted scale is {scale:g}: "
            + ("the numbers grow with the distance" if inverse else "what is near has the larger numbers")
            + f", as those of {'depth' if inverse else 'inverse depth or disparity'} do.\n"
            f"Run: {request.command(outputs, align=True, inverse=not inverse)}"
        )
    found = Alignment(scale=scale, shift=shift, role=role, pixels=pixels, frames=len(checked.samples))
    request.refuse_one_by_one(checked.samples)
    request.refuse_rays(outputs, checked.samples)
    what = "1 / metres = {:.6g} x inverse depth + {:.6g}" if inverse else "{:.6g} x depth + {:.6g} m"
    messages.print(
        f"alignment: {what.format(scale, shift)}, from {pixels} pixels of "
        f"{counted(len(checked.samples), f'{role} frame')}"
    )
    return found


def _check_turned(request: ImportRequest, outputs: Outputs, stored: Stored, checked: CheckedMaps) -> None:
    """Refuse maps of test frames, whose truth is not read, that lie the other way than those of training."""
    known = [entry.rows for _, roles in stored.values() for role, entry in roles.items() if role != "test"]
    if upside_down([*checked.profiles.values()], [rows for rows in known if rows]):
        raise ValueError(
            f"{request.place}: the maps lie upside down, or those of the other roles do: what is near is above in one "
            f"and below in the other. Turn them back, then\nRun: {request.command(outputs)}"
        )


def _check_recorded(
    request: ImportRequest, outputs: Outputs, stored: Stored, checked: CheckedMaps, alignment: Alignment
) -> None:
    """Refuse maps that are not as those which scale and shift were fitted to."""
    if checked.samples:
        request.refuse_better_guess(outputs, checked.samples)
        request.refuse_one_by_one(checked.samples)
    before = [entry.median for _, roles in stored.values() for role, entry in roles.items() if role != request.role]
    if not before:
        return
    now, then = float(np.median([*checked.median.values()])), float(np.median(before))
    if not of_one_scale(now, then, alignment):
        raise ValueError(
            f"{request.place}: the median of the maps is {now:.3g} where it is {then:.3g} for those of the other "
            f"roles; expected the same unit and scale in all. Mend the files, then\nRun: {request.command(outputs)}"
        )


def _least_squares(checked: CheckedMaps, *, inverse: bool = False) -> tuple[float, float]:
    """Scale and shift that bring the sampled depth nearest to the truth, or to 1 / truth."""
    columns = np.stack([checked.depths, np.ones_like(checked.depths)], axis=1)
    scale, shift = np.linalg.lstsq(columns, 1 / checked.truth if inverse else checked.truth)[0].tolist()
    return scale, shift


def _check_scale(request: ImportRequest, outputs: Outputs, stored: Stored, checked: CheckedMaps) -> None:
    """Refuse depth that is off by a factor: from the truth of training, or on test frames from that of training."""
    if request.role == "test":
        medians = [entry.median for _, roles in stored.values() for role, entry in roles.items() if role != "test"]
        if not medians:
            first = replace(request, role="validation", place=Path(PLACEHOLDER))
            raise ValueError(
                f"{request.place}: whether depth is in metres is proved on frames of training, the truth of test "
                f"frames is never read for it. Import those first\nRun: {first.command(outputs)}"
            )
        ratio = float(np.median(medians) / np.median([*checked.median.values()]))
        limit, against = LIKELY_CHANGE, "depth on frames of training"
    else:
        if not len(checked.truth):
            raise ValueError(f"{request.place}: no {request.role} frame has a valid pixel to prove the unit with")
        request.refuse_better_guess(outputs, checked.samples)
        ratio, limit, against = float(np.median(checked.truth / checked.depths)), LIKELY_RATIO, "truth"
    if not 1 / limit <= ratio <= limit:
        problem = (
            f"{request.place}: the {against} is {ratio:.3g} times the depth (median over {len(checked.median)} "
            f"{request.role} frames)"
        )
        if checked.samples:
            request.refuse_unit(problem, outputs, checked.samples, checked.unit)
            request.refuse_one_by_one(checked.samples)
        raise ValueError(
            f"{problem}, so it is not in metres; fit one scale and shift on rows of training.\n"
            f"Run: {request.command(outputs, align=True)}"
        )
    if request.role != "test" and request.settings.unit is None:
        request.refuse_one_by_one(checked.samples, "; if they are metres, say so with --unit")
        _check_affine(request, outputs, checked)
    if request.role != "test":
        request.refuse_rays(outputs, checked.samples)


def _check_affine(request: ImportRequest, outputs: Outputs, checked: CheckedMaps) -> None:
    """Refuse depth that a scale and a shift turn into the truth: it looks like metres by chance of its size alone."""
    error = float(np.mean(np.abs(checked.depths - checked.truth) / checked.truth))
    scale, shift = _least_squares(checked)
    left = np.square(scale * checked.depths + shift - checked.truth).mean()
    smaller = left < LIKELY_SHARE**2 * np.square(checked.depths - checked.truth).mean()
    follows = left < LIKELY_SHARE**2 * checked.truth.var()  # noise is better for being shrunk to its mean too
    if error > LIKELY_ERROR and smaller and follows:
        raise ValueError(
            f"{request.place}: depth is off by {error:.0%} and {scale:.3g} x depth + {shift:.3g} m is not: it looks as "
            "if it had no scale; fit one scale and shift on rows of training, or say what it is in with --unit m or "
            f"--unit mm.\nRun: {request.command(outputs, align=True)}"
        )
