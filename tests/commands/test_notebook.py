"""docs/quickstart.ipynb runs from top to bottom in any folder, and shows the outputs that such a run gives."""

import os
import re
from pathlib import Path

import pytest

import fastff

pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")
pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")

import nbclient
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

NOTEBOOK = Path(__file__).parents[2] / "docs" / "quickstart.ipynb"


def execute(notebook, folder):
    """Run all cells in a folder, in a kernel of this Python with this fastff, whatever the user has set up."""
    # Where it has no folders to look in it finds one kernel, ipykernel's own, and that runs sys.executable
    kernels = KernelSpecManager(kernel_dirs=[])
    connection = str(folder / "connection.json")
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels, connection_file=connection)
    client = nbclient.NotebookClient(notebook, timeout=300, km=manager, resources={"metadata": {"path": str(folder)}})
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    own = {"IPYTHONDIR": str(folder), "TMPDIR": str(folder), "PYTHONPATH": str(Path(fastff.__file__).parents[1])}
    client.execute(cleanup_kc=True, env=inherited | own)  # raises where a cell fails


@pytest.fixture(scope="module", params=["saved", pytest.param("executed", marks=pytest.mark.slow)])
def cells(request, tmp_path_factory):
    """The code cells by name: as they are in the file, and as a run now leaves them."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if request.param == "executed":
        execute(notebook, tmp_path_factory.mktemp("notebook"))
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def printed(cell, stream="stdout"):
    return "".join(output.text for output in cell.outputs if output.get("name") == stream)


def test_every_cell_ran_in_order_and_without_a_warning(cells):
    assert [cell.execution_count for cell in cells.values()] == [*range(1, len(cells) + 1)]
    assert all(cell.outputs for cell in cells.values())
    warnings = "".join(printed(cell, "stderr") for cell in cells.values()).splitlines()
    assert [line for line in warnings if not line.startswith("compiling the kernels")] == []


def test_what_the_cells_say(cells):
    backward, slope = map(float, re.findall(r"-?\d\.\d+", printed(cells["gradient"])))
    assert backward == pytest.approx(slope, abs=2e-4)  # two losses near 3, rounded in float32, over 0.002
    assert printed(cells["trainer"]) == "equal weights: True\n"
    assert printed(cells["save"]) == "equal predictions: True\n"
    for name in ("by-hand", "evaluate", "sklearn", "swap"):
        accuracies = [float(figure) for figure in re.findall(r"accuracy (\d\.\d+)", printed(cells[name]))]
        assert accuracies
        assert min(accuracies) > 0.95
        assert max(accuracies) <= 1


def test_pictures_are_there(cells):
    kinds = {name: {kind for output in cell.outputs for kind in output.get("data", ())} for name, cell in cells.items()}
    assert [name for name, own in kinds.items() if "image/png" in own] == ["look", "curves", "mistakes"]


def test_the_file_is_small_enough_for_a_web_page():
    assert NOTEBOOK.stat().st_size < 300_000
