"""A fitted stack at work outside of its data: in other programs, on photographs and foreign maps, as one file.

In this order: ``network``, ``saved``, ``door``, ``fitted``, ``loading``; nothing trains, and only the gate of
``export``, which makes files for other runtimes, reads frames with a truth: of validation scenes.
"""

import os

# The import of onnxruntime 1.32 writes an id of the machine, and events for a collector of its maker, into the home
# folder (findings/onnxruntime_import_writes_device_id.sh); whoever predicts depth has not asked for that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
