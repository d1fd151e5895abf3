"""The notebook of the first hour runs from an empty folder, and is kept without outputs."""

import re
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "first_hour.ipynb"


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) >= 5
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


def few_steps() -> str:
    """The experiment of the notebook with few scenes and two steps of everything."""
    plain = yaml.safe_load((ROOT / "configs/experiments/rooms_tiny.yaml").read_text(encoding="utf-8"))
    plain["data"]["rooms"] |= {"scenes": 6, "test_scenes": 2}
    for training in (plain["training"], plain["meta"]["training"]):
        training["max_steps"] = 2
    return yaml.safe_dump(plain)


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["few", pytest.param("its own", marks=pytest.mark.long)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: str):
    """Every cell; with its own steps the stack also beats the mean."""
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.delenv("STACKDEPTH_CACHE", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if steps == "few":
        (tmp_path / "few.yaml").write_text(few_steps())
        for cell in notebook.cells:
            cell.source = cell.source.replace('"rooms_tiny"', '"few.yaml"')
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    rel = {name.strip(): float(value) for name, value in re.findall(r"^(.+?) +REL (\d\.\d+)", printed, re.M)}
    assert {"BTS", "LDRN", "mean", "first (stack rgb+d)"} <= set(rel)
    assert steps == "few" or rel["weights per image"] < rel["mean"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
