"""Predictions of the base learners, kept on disk so that they are complete, of known origin and undamaged."""

from ensemble.cache.identity import (
    SCHEMA,
    CacheError,
    CacheIdentity,
    DamagedCacheError,
    Difference,
    LockedCacheError,
    Role,
    StaleCacheError,
    fingerprint,
)
from ensemble.cache.reader import PredictionReader, damaged_shards
from ensemble.cache.shards import CODECS
from ensemble.cache.writer import PredictionWriter

__all__ = [
    "PredictionWriter",
    "PredictionReader",
    "CacheIdentity",
    "Role",
    "SCHEMA",
    "fingerprint",
    "Difference",
    "damaged_shards",
    "CODECS",
    "CacheError",
    "StaleCacheError",
    "LockedCacheError",
    "DamagedCacheError",
]
