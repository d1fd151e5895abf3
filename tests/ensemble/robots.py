"""What is installed on a robot: NumPy, Pillow and a runtime, and this package without what it depends on."""

from pathlib import Path

import numpy as np

import ensemble


def site_of_robot(folder: Path) -> Path:
    """A folder of packages such as ``pip install --no-deps stackdepth``, numpy, pillow and onnxruntime bring."""
    site = folder / "site"
    site.mkdir()
    (site / "ensemble").symlink_to(Path(ensemble.__file__).parent)
    packages = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs", "PIL", "pillow.libs", "onnxruntime", "flatbuffers", "google", "packaging"):
        if (packages / name).is_dir():
            (site / name).symlink_to(packages / name)
    return site
