#!/usr/bin/env bash
# trimesh reads colours of a GLB that are 16-bit integers (normalized UNSIGNED_SHORT, one of the three kinds that glTF
# 2.0, section 3.7.2.1, allows for COLOR_0) by keeping their low byte: half grey, 32768 of 65535, becomes 0, and 257
# (one step above black) becomes 1 while 65280 (nearly white) becomes 0. No error, no warning, other colours.
#
# trimesh 5.2.0, numpy 2.4.6, seen: "16 bits: [0 0 0] [255 255 255], floats: [128 128 128] [255 255 255]"
# Expected by most: normalized integers are divided by their largest value, as floats of the same colour are read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet trimesh==5.2.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import json
import struct

import numpy as np
import trimesh

SHORT, FLOAT = 5123, 5126


def glb(colours: np.ndarray, kind: int) -> bytes:
    """Two points with these colours."""
    positions = np.array([[0, 0, 1], [1, 0, 1]], "<f4").tobytes()
    binary = positions + colours.tobytes()
    views = [{"buffer": 0, "byteOffset": start, "byteLength": length} for start, length in ((0, 24), (24, len(binary) - 24))]
    colour = {"bufferView": 1, "componentType": kind, "count": 2, "type": "VEC4", "normalized": kind == SHORT}
    scene = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "mode": 0}]}],
        "accessors": [
            {"bufferView": 0, "componentType": FLOAT, "count": 2, "type": "VEC3", "min": [0, 0, 1], "max": [1, 0, 1]},
            {key: value for key, value in colour.items() if value is not False},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = [(b"JSON", text), (b"BIN\0", binary)]
    whole = 12 + sum(8 + len(content) for _, content in chunks)
    return struct.pack("<4sII", b"glTF", 2, whole) + b"".join(
        struct.pack("<I4s", len(content), name) + content for name, content in chunks
    )


def read(colours: np.ndarray, kind: int) -> np.ndarray:
    (points,) = trimesh.load(io.BytesIO(glb(colours, kind)), file_type="glb").geometry.values()
    return np.asarray(points.colors)[:, :3]


half, white = 32768, 65535
shorts = np.array([[half, half, half, white], [white] * 4], "<u2")
sixteen, floats = read(shorts, SHORT), read((shorts / white).astype("<f4"), FLOAT)
print(f"16 bits: {sixteen[0]} {sixteen[1]}, floats: {floats[0]} {floats[1]}")
assert np.abs(floats[0].astype(int) - 128).max() <= 1, "floats are read otherwise"
assert sixteen[0].max() == 0, "16 bits are read as such now"
PYTHON
