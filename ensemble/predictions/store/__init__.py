"""Predictions of the base learners, kept on disk so that they are complete, of known origin and undamaged.

HDF5 is opened here and in ``data`` alone; which models there are is not known here.
"""

from ensemble.predictions.store.filling import fill_stores
from ensemble.predictions.store.identity import (
    SCHEMA,
    CacheError,
    CacheIdentity,
    DamagedCacheError,
    KeptRole,
    StaleCacheError,
)
from ensemble.predictions.store.reader import PredictionReader
from ensemble.predictions.store.shards import CODECS
from ensemble.predictions.store.writer import PredictionWriter

__all__ = [
    "PredictionWriter",
    "PredictionReader",
    "fill_stores",
    "CacheIdentity",
    "KeptRole",
    "SCHEMA",
    "CODECS",
    "CacheError",
    "StaleCacheError",
    "DamagedCacheError",
]
