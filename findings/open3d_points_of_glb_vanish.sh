#!/usr/bin/env bash
# Open3D 0.20.0: points in a GLB (a primitive of mode 0, valid glTF 2.0, what photogrammetry and depth tools write) are
# skipped. A file of points alone is read as an empty model, one of points and a triangle as the triangle, by a line of
# information on the standard output; nothing is raised, and the return value is that of a success.
#
# One would guess: the points, as trimesh reads them from the same bytes, or a failure, as Open3D itself reports for
# a file that it cannot read. Its function for clouds knows no GLB at all and returns an empty cloud with a warning.
# A PLY of the same points is read whole: with the tensor reader even further numbers of each point.
# It matters to whoever hands a coloured cloud of a depth map on: a GLB is for viewers, a PLY for Open3D.
#
# Seen on CPython 3.11, Linux x86_64:
#   points.glb trimesh 4 points
#   points.glb open3d models 0
#   points.glb open3d mesh of 0 vertices
#   points.glb open3d cloud of 0 points
#   both.glb trimesh 4 points 1 triangle
#   both.glb open3d models 1 vertices 3
#   points.ply open3d cloud of 4 points, attributes colors expected_error positions
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet open3d==0.20.0 trimesh==4.9.0 numpy==2.4.6

cat > "$folder/look.py" <<'PY'
import numpy as np
import open3d as o3d
import trimesh

points = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 2], [1, 1, 2]], np.float32)
colours = np.full((4, 4), 255, np.uint8)
cloud = trimesh.PointCloud(points, colors=colours)
triangle = trimesh.Trimesh(points[:3], [[0, 1, 2]])
trimesh.Scene(cloud).export("points.glb")
trimesh.Scene([cloud, triangle]).export("both.glb")
with open("points.ply", "w") as file:
    file.write("ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n")
    file.write("property uchar red\nproperty uchar green\nproperty uchar blue\nproperty float expected_error\nend_header\n")
    file.writelines(f"{x} {y} {z} 255 255 255 0.5\n" for x, y, z in points)

own = trimesh.load_scene("points.glb").geometry.values()
print("points.glb trimesh", sum(len(each.vertices) for each in own), "points")
print("points.glb open3d models", len(o3d.io.read_triangle_model("points.glb").meshes))
print("points.glb open3d mesh of", len(o3d.io.read_triangle_mesh("points.glb").vertices), "vertices")
print("points.glb open3d cloud of", len(o3d.io.read_point_cloud("points.glb").points), "points")
both = trimesh.load_scene("both.glb").geometry.values()
counts = {type(each).__name__: len(each.faces if hasattr(each, "faces") else each.vertices) for each in both}
print("both.glb trimesh", counts["PointCloud"], "points", counts["Trimesh"], "triangle")
model = o3d.io.read_triangle_model("both.glb")
print("both.glb open3d models", len(model.meshes), "vertices", len(model.meshes[0].mesh.vertices))
tensors = o3d.t.io.read_point_cloud("points.ply").point
print("points.ply open3d cloud of", len(tensors.positions), "points, attributes", *sorted(dict(tensors.items())))
PY

(cd "$folder" && venv/bin/python look.py) | grep -a -E '^(points|both)\.' | tee "$folder/seen"
sed -n 's/^#   \(\(points\|both\)\..*\)$/\1/p' "$0" | diff - "$folder/seen"
echo "as stated: Open3D leaves points of a GLB out without a failure"
