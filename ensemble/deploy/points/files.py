"""Point clouds as files: PLY, in the coordinates of the camera, and GLB, which viewers show upright."""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from ensemble.deploy.points.cloud import PointCloud
from ensemble.runs.files import write_bytes
from ensemble.settings.trees import SettingsError

AXES = "metres; right-handed: x to the right, y down, z away from the camera, which stands at 0 0 0"
_FLOAT, _POINTS = 5126, 0
"""Kinds of numbers, and of primitives, in a GLB."""
_TURNED = [1, 0, 0, 0]
"""Half a turn about x, as a quaternion: from y down and z away to y up and z towards the viewer, as glTF wants."""


def ply_bytes(cloud: PointCloud) -> bytes:
    """A binary PLY: x, y, z, colour in 8 bits, and the expected error where it is known.

    Source: Turk 1994, The PLY Polygon File Format.
    """
    columns: list[tuple[str, str, str, np.ndarray]] = [
        *(("float", "<f4", name, cloud.positions[:, axis]) for axis, name in enumerate("xyz")),
        *(("uchar", "u1", name, cloud.colours[:, axis]) for axis, name in enumerate(("red", "green", "blue"))),
    ]
    if cloud.errors is not None:
        columns.append(("float", "<f4", "expected_error", cloud.errors))
    table = np.empty(len(cloud.positions), dtype=[(name, kind) for _, kind, name, _ in columns])
    for _, _, name, values in columns:
        table[name] = values
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {AXES}",
        f"element vertex {len(table)}",
        *(f"property {kind} {name}" for kind, _, name, _ in columns),
        "end_header",
    ]
    return "\n".join(lines).encode() + b"\n" + table.tobytes()


def glb_bytes(cloud: PointCloud) -> bytes:
    """A GLB whose numbers are those of the camera, turned upright by its one node.

    Viewers take colours of points as linear light, so those of the photograph are decoded, into floats: 8 bits would
    not keep dark ones apart, and 16 bits are read wrongly by trimesh.

    Source: Khronos, glTF 2.0, sections 3.4 (axes), 3.7.2.1 (colours), 4 (GLB).
    """
    positions = np.ascontiguousarray(cloud.positions, dtype="<f4")
    parts = [positions.tobytes(), linear_light(cloud.colours).astype("<f4").tobytes()]
    ends = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
    scene: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "stackdepth", "extras": {"axes": AXES}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "rotation": _TURNED}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "mode": _POINTS, "material": 0}]}],
        "materials": [{"extensions": {"KHR_materials_unlit": {}}, "pbrMetallicRoughness": {"metallicFactor": 0}}],
        "extensionsUsed": ["KHR_materials_unlit"],
        "accessors": [
            {"bufferView": 0, "componentType": _FLOAT, "count": len(positions), "type": "VEC3", **ends},
            {"bufferView": 1, "componentType": _FLOAT, "count": len(positions), "type": "VEC3"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(parts[0])},
            {"buffer": 0, "byteOffset": len(parts[0]), "byteLength": len(parts[1])},
        ],
        "buffers": [{"byteLength": sum(map(len, parts))}],
    }
    text, binary = json.dumps(scene).encode(), b"".join(parts)
    chunks = [(b"JSON", text + b" " * (-len(text) % 4)), (b"BIN\0", binary + b"\0" * (-len(binary) % 4))]
    whole = 12 + sum(8 + len(content) for _, content in chunks)
    head = struct.pack("<4sII", b"glTF", 2, whole)
    return head + b"".join(struct.pack("<I4s", len(content), kind) + content for kind, content in chunks)


def linear_light(colours: UInt8[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
    """Colours of a photograph (sRGB) as linear light from 0 to 1.

    Source: IEC 61966-2-1:1999.
    """
    encoded = np.arange(256) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)[colours]


WRITERS: Mapping[str, Callable[[PointCloud], bytes]] = {".ply": ply_bytes, ".glb": glb_bytes}
"""Content of a file by the ending of its name."""


def check_ending(path: Path) -> None:
    """Refuse a name that says of no file that is written here.

    Raises:
        SettingsError: It ends in something else.
    """
    if path.suffix.lower() not in WRITERS:
        raise SettingsError(f"--out {path}: expected a name that ends in {' or '.join(WRITERS)}")


def save_points(path: Path, cloud: PointCloud) -> None:
    """Write a file, of the kind that its name ends in."""
    check_ending(path)
    write_bytes(path, WRITERS[path.suffix.lower()](cloud))
