"""Whether the hub of pretrained weights answers: asked once, where its client would try for a minute.

Where it does not, weights that were fetched before are used without asking.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

from huggingface_hub import constants, try_to_load_from_cache

PATIENCE = 5.0
"""Seconds that the hub may take to answer."""
FILES = ("model.safetensors", "pytorch_model.bin")
"""How the weights of a model are called there."""


def silence_of_hub() -> str | None:
    """Why the hub cannot be asked; ``None`` where it answers, whatever it says."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return f"{constants.ENDPOINT} does not answer ({reason})"
    return None


@contextmanager
def asked_once() -> Iterator[str | None]:
    """Inside, the hub's client asks no hub that does not answer; the value says why, where it does not."""
    silence, before = silence_of_hub(), constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or silence is not None
    try:
        yield silence
    finally:
        constants.HF_HUB_OFFLINE = before


def is_fetched(repository: str) -> bool:
    """Whether weights of a repository of the hub lie on this machine."""
    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in FILES)
