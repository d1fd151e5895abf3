"""An exported file at work: NumPy, Pillow and one runtime are all that it wants, not torch.

In this order: ``header``, ``session``, ``sessions``, ``resizing``, ``stack``; its command is
``python -m ensemble.deploy.runtime``, with ``views`` and ``photographs``.
"""

from ensemble.deploy.runtime.header import ExportHeader
from ensemble.deploy.runtime.prediction import Prediction
from ensemble.deploy.runtime.sessions import ENDINGS, RUNTIMES, runtime_of
from ensemble.deploy.runtime.stack import ExportedStack

__all__ = ["ExportedStack", "ExportHeader", "Prediction", "RUNTIMES", "ENDINGS", "runtime_of"]
