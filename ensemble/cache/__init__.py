"""Predictions of the base learners, kept on disk so that they are complete, of known origin and undamaged."""

from ensemble.cache.filling import fill_stores
from ensemble.cache.identity import SCHEMA, CacheError, CacheIdentity, DamagedCacheError, Difference, StaleCacheError
from ensemble.cache.reader import PredictionReader, damaged_shards
from ensemble.cache.shards import CODECS
from ensemble.cache.writer import PredictionWriter

__all__ = [
    "PredictionWriter",
    "PredictionReader",
    "fill_stores",
    "CacheIdentity",
    "SCHEMA",
    "Difference",
    "damaged_shards",
    "CODECS",
    "CacheError",
    "StaleCacheError",
    "DamagedCacheError",
]
