"""The wheel carries the configurations and trains from an empty folder, far from the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from calm_stacks import calm
from command_lines import Job
from PIL import Image

CHECKOUT = Path(__file__).parents[2]
NARROW = (
    *("--set", "training.max_steps=2", "--set", "training.batch_size=2", "--set", "encoder.name=ghostnet_050"),
    *("--set", "data.size=[48, 64]", "--set", "data.crop=null", "--set", "data.rooms.scenes=3"),
    *("--set", "data.rooms.frames=2", "--set", "network.widths=[16, 12, 8, 8, 8]", "--set", "network.embedding=8"),
    *("--set", "network.patch_size=8", "--set", "network.queries=4", "--set", "network.layers=1"),
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, CHECKOUT]
    subprocess.run(build, check=True, capture_output=True)
    return next(out.glob("stackdepth-*.whl"))


def test_configurations_are_in_the_wheel(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = {
        f"ensemble/configs/{path.relative_to(CHECKOUT / 'configs')}" for path in CHECKOUT.glob("configs/**/*.yaml")
    }
    assert len(files) >= 9
    assert files <= names
    pages = {
        str(path.relative_to(CHECKOUT)) for kind in ("jinja", "css") for path in CHECKOUT.glob(f"ensemble/**/*.{kind}")
    }
    assert len(pages) >= 3
    assert pages <= names
    assert {name.partition("/")[0] for name in names if name.endswith(".py")} == {"base_learners", "meta", "ensemble"}


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder far from the checkout."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages of an environment of its own, which borrows only third-party ones from that which tests run in."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    site = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # A line of a .pth file adds a folder after ours, and does not read the .pth files of that folder: an editable
    # installation of the checkout stays out of sight.
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return site


@pytest.fixture(scope="module")
def run(site: Path, empty: Path) -> Run:
    """Runs the interpreter of that environment in the empty folder."""
    python = site.parents[2] / "bin" / "python"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NYU", "STACKDEPTH"))}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), *words], cwd=empty, env=kept, capture_output=True, text=True, check=False, timeout=600
        )

    return run


@pytest.mark.slow
def test_the_installed_wheel_trains(run: Run, site: Path, empty: Path):
    where = run("-c", "from ensemble.settings.layers import config_folder; print(config_folder())")
    assert where.stdout.strip() == str(site / "ensemble" / "configs"), where.stderr
    trained = run("-m", "ensemble.base", "train", "adabins", *NARROW)
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr.startswith("data: generated rooms")
    assert (empty / "cache/runs/rooms/adabins/full/best.safetensors").is_file()
    assert (empty / "cache/runs/rooms/adabins/full/result.json").is_file()


LIGHT = ("encoder.name=lcnet_050", "encoder.weights=none")
"""An encoder of fewer layers than that which the demo begins with."""

STACKDEPTH = (
    "import sys; from importlib.metadata import entry_points; "
    "(script,) = entry_points(group='console_scripts', name='stackdepth'); "
    "sys.argv[0] = 'stackdepth'; script.load()()"
)
"""What the console script of an installation does."""


@pytest.mark.slow
def test_the_console_command_finds_packaged_files_by_name(run: Run):
    assert run("-c", STACKDEPTH, "--version").stdout.startswith("stackdepth ")
    assert run("-c", STACKDEPTH, "base", "train", "-h").stdout.startswith("Usage: stackdepth base train ")
    jobs = run("-c", STACKDEPTH, "base", "jobs", "adabins", "--config", "rooms_tiny")
    assert "stackdepth base train adabins --config rooms_tiny\n" in jobs.stdout, jobs.stderr
    assert "ready ones: distil, " in run("-c", STACKDEPTH, "study", "list").stderr


@pytest.mark.slow
def test_the_installed_wheel_predicts_a_photograph_with_a_saved_stack(run: Run, empty: Path, job: Job):
    """Nothing but the wheel and OUT.stack; the photograph is one of a phone that was held upright."""
    calm("tiny/meta-rgb+d", job).save(empty / "OUT.stack")
    exif = Image.Exif()
    exif[0x0112] = 6  # the sensor lay on its side
    exif.get_ifd(0x8769)[0xA405] = 26  # millimetres, as on a film of 36x24 mm
    sensor = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(sensor).save(empty / "phone.jpg", exif=exif)
    for words in (("meta", "predict", "OUT.stack", "phone.jpg", "--out", "o"), ("predict", "phone.jpg")):
        predicted = run("-c", STACKDEPTH, *words)
        assert predicted.returncode == 0, predicted.stderr
        assert "1 of 1 predicted" in predicted.stderr
    for path in ("o/phone_depth.npy", "o/phone_error.npy", "depth/phone_depth.npy"):
        assert np.load(empty / path).shape == (90, 60)


@pytest.mark.slow
def test_the_installed_wheel_runs_the_demo(run: Run, empty: Path):
    few = ("training.max_steps=1", "training.batch_size=2", "data.rooms.scenes=6", "data.rooms.frames=1", *LIGHT)
    words = [word for each in (*few, "data.rooms.test_scenes=2") for word in ("--set", each)]
    shown = run("-c", STACKDEPTH, "demo", *words)
    assert shown.returncode == 0, shown.stderr
    assert "stack rgb+d" in shown.stdout
    assert (empty / "cache/reports/demo/table.md").is_file()
