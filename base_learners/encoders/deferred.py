"""Spares whoever imports timm what comes with it and nothing here uses: the compiler of torch, and wandb.

timm imports all of its models, and they torchvision. Two of their files take a function of ``torch._dynamo`` while
they are imported, which brings in the compiler with it: half of the time and three quarters of the memory of
``import timm``. A third imports wandb, where it is installed, to log trainings of timm's own. Stand-ins that fetch the
real thing when it is first used do as well.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_COMPILER, _PART, _TRACKER = "torch._dynamo", "torch._dynamo.utils", "wandb"


@contextmanager
def unused_deferred() -> Iterator[None]:
    """What this block imports brings in ``torch._dynamo`` and wandb at their first use; all else is as before."""
    if _COMPILER not in sys.modules:
        part = _StandIn(_PART, is_compile_supported=_is_compile_supported)
        sys.modules |= {_COMPILER: _StandIn(_COMPILER, __path__=[], disable=_disable, utils=part), _PART: part}
    if _TRACKER not in sys.modules and find_spec(_TRACKER):
        sys.modules[_TRACKER] = _StandIn(_TRACKER)
    try:
        yield
    finally:
        _remove_stand_ins()


class _StandIn(ModuleType):
    """A module that gives way to the real one as soon as it is asked for anything that it does not know."""

    def __init__(self, name: str, **known: Any) -> None:
        super().__init__(name)
        vars(self).update(known)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _remove_stand_ins()
        return getattr(import_module(self.__name__), name)


def _remove_stand_ins() -> None:
    for name in (_COMPILER, _PART, _TRACKER):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _disable(fn: Callable[..., Any] | None = None, *arguments: Any, **options: Any) -> Callable[..., Any]:
    if fn is None:
        return lambda function: _disable(function, *arguments, **options)
    real: list[Callable[..., Any]] = []

    @wraps(fn)
    def disabled(*given: Any, **named: Any) -> Any:
        if not real:
            real.append(import_module(_COMPILER).disable(fn, *arguments, **options))
        return real[0](*given, **named)

    return disabled


def _is_compile_supported(device: str) -> bool:
    return import_module(_PART).is_compile_supported(device)
