"""A fitted stack at work outside of its data: ``network``, ``saved``, ``door``, ``fitted``, ``loading``, in this order.

Nothing trains; only the gate of ``export`` reads frames with a truth, of validation scenes.
"""

import os

# The import of onnxruntime 1.32 writes an id of the machine, and events for a collector of its maker, into the home
# folder (findings/onnxruntime_import_writes_device_id.sh); whoever predicts depth has not asked for that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
