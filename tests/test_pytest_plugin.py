"""
``pytest --fgtrace``, in real runs of pytest.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgtrace
from fgtrace.pytest_plugin import LONGEST_NAME, file_name
from trace_processor import assert_valid_trace
from trace_processor.fixtures import AskTrace

ROOT = Path(__file__).parent.parent
#: In a checkout there is no entry point.
PLUGIN = [] if entry_points(group="pytest11", name="fgtrace") else ["-p", "_fgtrace_pytest"]

SUITE = """
import time
import pytest

def test_passes():
    time.sleep(0.05)

def test_fails():
    time.sleep(0.05)
    assert 1 == 2

@pytest.mark.parametrize("path", ["../../etc/passwd", "\\0", "a" * 500, "größe", "a b", "a-b", "A b"])
def test_odd(path):
    pass

@pytest.mark.xfail
def test_expected():
    assert False

@pytest.fixture
def broken():
    raise ValueError

def test_setup(broken):
    pass

@pytest.fixture
def breaks():
    yield
    raise ValueError

def test_teardown(breaks):
    pass
"""


class Ran(NamedTuple):
    """
    A run of pytest: its exit code, what it printed, and the traces in its folder.
    """

    code: int
    printed: str
    traces: dict[str, Path]


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """
    Run pytest on a suite in a folder of its own.
    """

    def do(
        suite: str,
        *options: str,
        plugins: str = "no:asyncio no:anyio no:xdist",
        folder: str = "fgtrace-traces",
    ) -> Ran:
        (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
        (tmp_path / "test_it.py").write_text(suite)
        blocked = [word for plugin in plugins.split() for word in ("-p", plugin)]
        command = [
            sys.executable,
            "-m",
            "pytest",
            *PLUGIN,
            *blocked,
            "-p",
            "no:cacheprovider",
            "-q",
            *options,
        ]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PY_COLORS": "0"},
        )  # fmt: skip
        found = sorted((tmp_path / folder).glob("*.*")) if (tmp_path / folder).exists() else []
        traces = {re.sub(r"-[0-9a-f]{8}\..*", "", path.name): path for path in found if path.name[0] != "."}
        return Ran(done.returncode, done.stdout + done.stderr, traces)

    return do


def test_all(run: Run, ask_trace: AskTrace) -> None:
    """
    Each test has a trace from its setup to its teardown, whatever its name and outcome.
    """
    ran = run(SUITE, "--fgtrace")
    assert ran.code == 1
    assert len(ran.traces) == 12
    folder = next(iter(ran.traces.values())).parent
    assert len(list(folder.glob("*.json"))) == 12
    assert "12 traces in fgtrace-traces: fgtrace view FILE" in ran.printed
    for path in folder.glob("*.json"):
        assert_valid_trace(ask_trace(path), empty=True)
        assert len(path.name) < LONGEST_NAME + 20
    frames = {each.frame.name for each in fgtrace.load(ran.traces["test_it.py.test_fails"])}
    assert {"test_it.test_fails", "time.sleep"} <= frames


def test_failed(run: Run) -> None:
    """
    With ``failed`` only failed tests keep a trace; report and summary name it, and a mended test loses its
    own.
    """
    ran = run(SUITE, "--fgtrace=out", "--fgtrace-when=failed", folder="out")
    assert ran.code == 1
    assert set(ran.traces) == {f"test_it.py.test_{name}" for name in ("fails", "setup", "teardown")}
    for name, path in ran.traces.items():
        assert f"the trace is in {path}" in ran.printed
        assert f"{name.replace('.py.', '.py::')}: out/{path.name}" in ran.printed
    mended = run(SUITE.replace("1 == 2", "1 == 1"), "--fgtrace=out", "--fgtrace-when=failed", folder="out")
    assert set(mended.traces) == {"test_it.py.test_setup", "test_it.py.test_teardown"}


def test_slow(run: Run) -> None:
    """
    With ``slow`` only tests that took long keep a trace.
    """
    suite = "import time\ndef test_a(): pass\ndef test_b(): time.sleep(3.1)\n"
    ran = run(
        suite, "--fgtrace", "--fgtrace-when", "slow", "--fgtrace-slow=3", "--fgtrace-set=format=perfetto"
    )
    assert ran.code == 0
    assert list(ran.traces) == ["test_it.py.test_b"]
    path = ran.traces["test_it.py.test_b"]
    assert path.suffix == ".pftrace"
    assert f"test_it.py::test_b: fgtrace-traces/{path.name}" in ran.printed


ASYNC = {
    "asyncio": """
import asyncio, pytest
pytestmark = pytest.mark.asyncio
async def test_nap(): await asyncio.gather(asyncio.sleep(0.2), asyncio.sleep(0.1))
""",
    "anyio": """
import anyio, pytest
@pytest.fixture
def anyio_backend(): return "asyncio"
@pytest.mark.anyio
async def test_nap(): await anyio.sleep(0.2)
""",
}


@pytest.mark.parametrize("name", ASYNC)
def test_async(run: Run, name: str) -> None:
    """
    Coroutine tests show their tasks with states, under either plugin.
    """
    plugins = "no:xdist " + ("no:anyio" if name == "asyncio" else "no:asyncio")
    ran = run(ASYNC[name], "--fgtrace", plugins=plugins)
    assert ran.code == 0, ran.printed
    [path] = ran.traces.values()
    tasks = [each for each in fgtrace.load(path) if each.track.kind == "task"]
    assert "sleep" in {each.frame.name for each in tasks}
    assert any(each.frame.name == "test_it.test_nap" for each in tasks)


def test_xdist(run: Run) -> None:
    """
    Workers trace, and the terminal says where the failed test's trace is.
    """
    ran = run(SUITE, "--fgtrace", "-n2", plugins="no:asyncio no:anyio")
    assert ran.code == 1
    path = ran.traces["test_it.py.test_fails"]
    assert f"test_it.py::test_fails: fgtrace-traces/{path.name}" in ran.printed
    assert f"the trace is in {path}" in ran.printed
    assert "12 traces in fgtrace-traces" in ran.printed
    assert len(list(path.parent.glob("*.json"))) == 12


def test_xdist_each(run: Run) -> None:
    """
    If each worker runs each test, each has its own traces.
    """
    ran = run(
        "def test_a(): pass\n", "--fgtrace", "--dist=each", "--tx=2*popen", plugins="no:asyncio no:anyio"
    )
    assert ran.code == 0, ran.printed
    assert set(ran.traces) == {"gw0.test_it.py.test_a", "gw1.test_it.py.test_a"}


def test_interrupted(run: Run) -> None:
    """
    Ctrl-C leaves the trace of the test that hung.
    """
    suite = "import time\ndef test_hangs():\n    time.sleep(0.1)\n    raise KeyboardInterrupt\n"
    ran = run(suite, "--fgtrace", "--fgtrace-when=failed")
    assert ran.code == 2
    [path] = ran.traces.values()
    assert f"interrupted: fgtrace-traces/{path.name}" in ran.printed
    assert any(each.frame.name == "time.sleep" for each in fgtrace.load(path))


def test_options_reach_the_trace(run: Run) -> None:
    """
    ``--fgtrace-set`` is an option of `Config`.
    """
    ran = run("def test_a(): pass\n", "--fgtrace", "--fgtrace-set", "hz=500", "--fgtrace-set", "threads=no")
    text = next(iter(ran.traces.values())).read_text()
    assert '"hz":500' in text
    assert '"threads":false' in text


def test_junit(run: Run, tmp_path: Path) -> None:
    """
    Reports for machines have the path as a property.
    """
    ran = run("def test_a(): pass\n", "--fgtrace", "--junit-xml=report.xml")
    [prop] = ET.parse(tmp_path / "report.xml").iter("property")  # noqa: S314 -- of our own making
    assert prop.attrib == {"name": "fgtrace", "value": str(*ran.traces.values())}


@pytest.mark.once
@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--fgtrace-set=hz=fast"], "--fgtrace-set: bad hz: 'fast': allowed is a number above 0"),
        (["--fgtrace-set=fast"], "--fgtrace-set: bad option: 'fast': allowed is NAME=VALUE"),
        (["--fgtrace-set=speed=1"], "--fgtrace-set: bad option: 'speed': the options are hz"),
        (["--fgtrace-set=dst=x"], "--fgtrace-set: bad option: 'dst': the options are hz"),
        (["--fgtrace-when=never"], "invalid choice: 'never'"),
        (["--fgtrace=."], "holds other files; allowed is a new folder"),
        (["--fgtrace=test_it.py"], "--fgtrace: cannot use"),
    ],
)
def test_bad_options(run: Run, options: list[str], why: str) -> None:
    """
    A bad value is one clear error before any test runs.
    """
    ran = run("def test_a(): pass\n", "--fgtrace", *options)
    assert ran.code == 4
    assert why in ran.printed
    assert "Traceback" not in ran.printed
    assert ran.traces == {}


def test_not_asked(run: Run) -> None:
    """
    A run without traces does not import fgtrace.
    """
    ran = run("import sys\ndef test_a(): assert 'fgtrace' not in sys.modules\n")
    assert ran.code == 0, ran.printed


def test_under_fgtrace_run(tmp_path: Path) -> None:
    """
    A whole run of pytest can be traced, too, with warnings as errors.
    """
    (tmp_path / "test_it.py").write_text("def test_a(): pass\n")
    options = ["-q", "-W", "error", "-p", "no:asyncio", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(
        [sys.executable, "-m", "fgtrace", "run", "-o", "run.json", "-m", "pytest", *PLUGIN, *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("Warning")) == (0, 0), done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_no_room(run: Run) -> None:
    """
    If a trace cannot be written, the tests go on, and the summary says so.
    """
    suite = "import shutil\ndef test_a(): shutil.rmtree('fgtrace-traces')\ndef test_b(): pass\n"
    ran = run(suite, "--fgtrace")
    assert ran.code == 0, ran.printed
    assert "2 passed" in ran.printed
    assert "not written: " in ran.printed


def test_example(run: Run) -> None:
    """
    The slow test among the examples is the one that keeps a trace, which shows why it is slow.
    """
    suite = (ROOT / "examples" / "pytest_traces.py").read_text()
    ran = run(suite, "--fgtrace", "--fgtrace-when=slow")
    assert ran.code == 0, ran.printed
    path = ran.traces["test_it.py.test_held"]
    waits = [each for each in fgtrace.load(path) if each.frame.name == "lock wait"]
    assert sum(each.end - each.start for each in waits) > 1e9


@given(test=st.text(max_size=300))
def test_file_names(test: str) -> None:
    """
    Any id of a test gives a file name that every system allows.
    """
    name = file_name(test, ".json")
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,140}", name)
    assert not name.startswith(".")


def test_file_names_differ() -> None:
    """
    Similar ids have files of their own.
    """
    tests = ["a[b]", "a(b)", "A[b]", "x" * 300, "y" + "x" * 299, "a/b.py::c", "a.b.py::c"]
    assert len({file_name(test, ".json").lower() for test in tests}) == len(tests)
