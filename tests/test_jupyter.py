"""
``%%fgtrace``, in a real IPython.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fgtrace
from fgtrace._model.values import Frame, Slice, Track
from fgtrace.reports._notebook_cell import CELL, Before, cell_times
from trace_processor import assert_valid_trace
from trace_processor.fixtures import AskTrace

ROOT = Path(__file__).parent.parent

#: Runs cells, and prints a line before each; a shell without colours and without a history.
SHELL = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
config.InteractiveShell.colors = "nocolor"
shell = InteractiveShell.instance(config=config)
for number, cell in enumerate(json.load(sys.stdin)):
    print(f"[{number}]", flush=True)
    shell.run_cell(cell, store_history=True)
    print(end="", flush=True)
"""


def run(folder: Path, *cells: str) -> list[str]:
    """
    Return what IPython shows below each of the cells.
    """
    done = subprocess.run(
        [sys.executable, "-c", SHELL], input=json.dumps(cells), cwd=folder, capture_output=True, text=True,
        timeout=100, check=True, env=os.environ | {"IPYTHONDIR": str(folder / "ipython"), "NO_COLOR": "1"},
    )  # fmt: skip
    shown = done.stdout + done.stderr
    assert "Error in callback" not in shown
    places = [done.stdout.index(f"[{number}]\n") for number in range(len(cells))]
    return [
        done.stdout[start:end].split("\n", 1)[1]
        for start, end in zip(places, [*places[1:], None], strict=True)
    ] + [done.stderr]


LOAD = "%load_ext fgtrace\nimport asyncio, threading, time"


def test_cell(tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    A cell shows its value, then where its time went, by state and by function, and where the trace is.
    """
    _, shown, _ = run(tmp_path, LOAD, "%%fgtrace hz=500\ntime.sleep(0.3)\n6 * 7")
    value, _, rest = shown.partition("\n")
    assert value.endswith("42")
    assert "s traced" in rest
    assert " sleep\n" in rest
    assert " time.sleep  (sleep)\n" in rest
    assert "fgtrace-cell.json: open it at https://ui.perfetto.dev" in rest
    assert_valid_trace(ask_trace(tmp_path / "fgtrace-cell.json"))
    assert {each.frame.name for each in fgtrace.load(tmp_path / "fgtrace-cell.json")} >= {CELL, "time.sleep"}


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_await(tmp_path: Path, awaits: str) -> None:
    """
    A cell with an ``await`` runs as in IPython; its task counts, and those that it creates.
    """
    both = "asyncio.gather(asyncio.sleep(0.2, 'a'), asyncio.sleep(0.3))"
    cell = f"%%fgtrace out.pftrace awaits={awaits}\nawait {both}"
    _, shown, _ = run(tmp_path, LOAD, cell)
    assert "['a', None]" in shown
    assert "on 3 tracks" in shown
    assert " asyncio.tasks.sleep  (sleep)\n" in shown
    assert " (the cell)  (task wait)\n" in shown
    assert "out.pftrace: open it" in shown


def test_threads_of_the_cell_count(tmp_path: Path) -> None:
    """
    Threads that a cell starts are in the table.
    """
    cell = "%%fgtrace hz=500\nt = threading.Thread(target=time.sleep, args=(0.3,))\nt.start()\nt.join()"
    _, shown, _ = run(tmp_path, LOAD, cell)
    assert "on 2 tracks" in shown
    assert "(thread wait)" in shown


def test_error_in_the_cell(tmp_path: Path) -> None:
    """
    A cell that raises shows its traceback, its line numbers, and its table; the next cell is not traced.
    """
    _, shown, after, _ = run(tmp_path, LOAD, "%%fgtrace\ntime.sleep(0.1)\n1 / 0", "print('next')")
    assert "ZeroDivisionError" in shown
    assert "line 3" in shown
    assert "s traced" in shown
    assert after.strip() == "next"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hz=fast", "bad hz: 'fast': allowed is a number above 0"),
        ("speed=1", "bad option: 'speed': the options are hz"),
        ("a.json b.json", "bad path: 'a.json b.json': allowed is one"),
        ("a.folded", "bad format: 'folded': allowed is json or json.gz or perfetto or perfetto.gz"),
        ("'a", "No closing quotation"),
    ],
)
def test_bad_line(tmp_path: Path, line: str, why: str) -> None:
    """
    A bad option is one clear error, and the cell is not run.
    """
    _, shown, errors = run(tmp_path, LOAD, f"%%fgtrace {line}\nprint('ran')")
    assert why in errors
    assert "Traceback" not in errors
    assert "ran" not in shown
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_cannot_write(tmp_path: Path) -> None:
    """
    If the trace cannot be written, the cell still runs, and one line says why.
    """
    _, shown, _ = run(tmp_path, LOAD, "%%fgtrace no/where.json\nprint('ran')")
    assert "ran" in shown or "cannot" in shown
    assert "fgtrace: " in shown


def test_unload(tmp_path: Path) -> None:
    """
    Unloading removes the magic, and loading adds it again.
    """
    cells = [LOAD, "%unload_ext fgtrace", "%%fgtrace\nprint(1)", "%load_ext fgtrace", "%%fgtrace\nprint(2)"]
    shown = run(tmp_path, *cells, "print(threading.active_count())")
    assert "Cell magic `%%fgtrace` not found" in shown[-1]
    assert "s traced" not in shown[2]
    assert "s traced" in shown[4]
    assert shown[5].strip() == "1"


def test_notebook(tmp_path: Path) -> None:
    """
    The notebook among the examples shows what it promises.
    """
    cells = json.loads((ROOT / "examples" / "notebook.ipynb").read_text())["cells"]
    shown = run(tmp_path, *("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    assert "time.sleep  (sleep)" in shown[2]
    assert "compute" in shown[2]
    assert "asyncio.tasks.sleep  (sleep)" in shown[3]
    assert (tmp_path / "asked.json").exists()


MAIN = Track("thread", 0, "MainThread", tid=1, start=5, end=1000)
TASK = Track("task", 1, "Task-1 <main>", tid=1, start=5, end=1000)
BEFORE = Before(frozenset([1]), frozenset(["Task-9"]))
MACHINE, INSIDE = Frame("IPython.core.interactiveshell.InteractiveShell.run_code"), Frame(CELL)


def test_a_task_that_runs_is_counted_once() -> None:
    """
    Of a cell's task only its waits count: while it runs, its thread shows its frames.
    """
    rows = [
        (MAIN, 5, 60, [Frame("select", "state"), Frame("selectors.select")]),
        (MAIN, 60, 100, [Frame("running", "state"), MACHINE, INSIDE, Frame("m.f")]),
        (TASK, 5, 60, [Frame("sleep", "state"), MACHINE, INSIDE, Frame("asyncio.sleep")]),
        (TASK, 60, 100, [Frame("running", "state"), MACHINE, INSIDE, Frame("m.f")]),
    ]  # fmt: skip
    slices = [
        Slice(track, start, end, depth, frame)
        for track, start, end, stack in rows
        for depth, frame in enumerate(stack)
    ]
    found = cell_times(slices, Before(frozenset([1]), frozenset(["Task-1"])), 100, "t.json", "t.json")
    assert [(row.name, row.time) for row in found.states] == [("sleep", 55), ("running", 40)]
    assert [(row.name, row.time) for row in found.functions] == [("asyncio.sleep", 55), ("m.f", 40)]
    assert found.tracks == 1


def test_machinery_is_left_out() -> None:
    """
    Threads and tasks from before the cell do not count, nor do those of the notebook itself.
    """
    late = Track("thread", 2, "history", tid=2, start=9, end=1000)
    mine = Track("thread", 3, "mine", tid=3, start=9, end=1000)
    slices = [
        Slice(MAIN, 5, 50, 0, Frame("running", "state")),
        Slice(late, 9, 50, 0, Frame("event wait", "state")),
        Slice(late, 9, 50, 1, Frame("IPython.core.history.HistorySavingThread.run")),
        Slice(Track("task", 4, "Task-9 f"), 9, 50, 0, Frame("lock wait", "state")),
        Slice(mine, 9, 50, 0, Frame("sleep", "state")),
    ]
    found = cell_times(slices, BEFORE, 50, "t.json", "t.json")
    assert [(row.name, row.time) for row in found.states] == [("sleep", 41)]
    assert found.functions == ()


def test_html_is_escaped() -> None:
    """
    Names and paths are shown as text in a notebook, whatever they contain.
    """
    mine = Track("thread", 3, "mine", tid=3, start=9, end=1000)
    evil = "<script>alert(1)</script>"
    slices = [
        Slice(MAIN, 5, 50, 0, Frame("running", "state")),
        Slice(mine, 9, 50, 0, Frame("sleep", "state")),
        Slice(mine, 9, 50, 1, Frame(evil)),
    ]
    found = cell_times(slices, BEFORE, 50, f"'{evil}.json", f"javascript:'{evil}.json")
    page = found._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "href='javascript%3A%27%3Cscript" in page
    assert evil in str(found)


def test_empty() -> None:
    """
    A cell that was too short for a tick has an empty table.
    """
    found = cell_times([], BEFORE, 0, "t.json", "t.json")
    assert (found.states, found.functions) == ((), ())
    assert "0.000 s traced" in str(found)
