"""
Our files in the viewers that people use: the Perfetto UI, speedscope, `go tool pprof`, and our own page.
"""

from __future__ import annotations

import asyncio
import filecmp
import gzip
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from drawn import MAIN, SLICES, Drawn
from evented import profiles
from fgtrace._formats.conversion.convert import convert
from fgtrace._formats.read import open_trace
from fgtrace._formats.write import encoder_of
from fgtrace._model.values import Frame, Slice, Track
from fgtrace.cli._plans import ViewPlan
from fgtrace.cli._serve import HOST, FileTable, serve_files
from trace_processor import bundled_ui
from viewing import ARTIFACTS, ROOT, Viewers, served

pytestmark = [pytest.mark.viewers, pytest.mark.timeout(300)]

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
RUNNING, FOUND = "#4caf50", "#ffea00"  # src/page/colors.js


@pytest.fixture(scope="session")
def viewers() -> Viewers:
    return Viewers()


async def _work() -> None:
    lock = asyncio.Lock()

    async def hold() -> None:
        async with lock:
            await asyncio.sleep(0.03)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(hold(), name=f"holder {number}")
        group.create_task(asyncio.sleep(0.05), name=EVIL)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A trace of a program, one of whose tasks has a name that a page must not believe. Every step is in it.
    """
    path = tmp_path_factory.mktemp("traced") / "app.json"
    with fgtrace.trace(path, awaits="exact"):
        asyncio.run(_work())
    return path


def lives(path: Path) -> dict[str, int]:
    """
    Track's name -> how long it was there (ns).
    """
    return {track.name: track.end - track.start for track in open_trace(path).tracks}


def test_perfetto_ui(viewers: Viewers, traced: Path) -> None:
    """
    `fgtrace view --offline` opens the UI with the trace: its tracks by name, and what a search finds.
    """
    with served(ViewPlan(source=str(traced), offline=True)) as address:
        job = {"expand": True, "select": "lock wait", "from": None, "to": None, "search": "Lock.acquire"}
        seen = viewers.drive("shot.cjs", url=address, out=str(ARTIFACTS / "perfetto.png"), **job)
    assert seen["complaints"] == []
    assert seen["errors"] == 0
    assert seen["slices"] == len(fgtrace.load(traced))
    assert seen["found"]
    assert seen["results"] > 0
    for name in lives(traced):
        assert any(name in each for each in seen["names"]), name
    own = address.partition("#")[0]
    assert {each for each in seen["requests"] if not each.startswith(own)} <= {
        "http://127.0.0.1:9001/status",  # asked by the UI, and blocked by our server's policy
        "https://storage.cloud.google.com/perfetto-ui-internal/is-internal-user/is_internal_user.js",
    }


def test_perfetto_ui_by_its_link(viewers: Viewers, traced: Path) -> None:
    """
    `fgtrace view`: a page of ui.perfetto.dev reads the trace from this machine, by the link that we print.
    """
    job: dict[str, Any] = {"expand": False, "select": None, "from": None, "to": None, "search": None}
    site = {"origin": "https://ui.perfetto.dev", "folder": str(bundled_ui())}
    with served(ViewPlan(source=str(traced))) as address:
        assert address.startswith(site["origin"])
        seen = viewers.drive("shot.cjs", url=address, out=str(ARTIFACTS / "link.png"), site=site, **job)
    assert seen["errors"] == 0
    assert seen["slices"] == len(fgtrace.load(traced))


def test_index_page(viewers: Viewers) -> None:
    """
    The index page makes a trace and hands it to the Perfetto UI, by one click; it asks nobody else.
    """
    site = {"origin": "https://ui.perfetto.dev", "folder": str(bundled_ui())}
    with fgtrace.serve() as server:
        seen = viewers.drive(
            "index_page.cjs", url=server.url, out=str(ARTIFACTS / "index_page.png"), site=site, seconds="0.5"
        )
        assert all(each.startswith(server.url) for each in seen["requests"])
        assert seen["title"].startswith(f"{server.host}:{server.port} {seen['save']} (")
    assert seen["complaints"] == []
    assert (seen["errors"], seen["said"]) == (0, "")
    assert seen["slices"] > 0


def test_speedscope_by_its_link(viewers: Viewers, traced: Path, tmp_path: Path) -> None:
    """
    `fgtrace view --speedscope`: the same of www.speedscope.app.
    """
    out = tmp_path / "out.speedscope"
    site = {"origin": "https://www.speedscope.app", "folder": str(viewers.speedscope)}
    with served(ViewPlan(source=str(traced), speedscope=True)) as address:
        assert address.startswith(site["origin"])
        picture = str(ARTIFACTS / "speedscope-link.png")
        seen = viewers.drive("speedscope.cjs", url=address, export=str(out), out=picture, site=site)
    assert seen["complaints"] == []
    assert set(profiles(out.read_bytes()))


def page(viewers: Viewers, path: Path, **job: Any) -> dict[str, Any]:
    """
    What is seen of a page, which complains of nothing and asks for nothing but itself.
    """
    job = {"colors": [RUNNING, FOUND], "filter": "", **job}
    seen = viewers.drive("page.cjs", url=path.as_uri(), out=str(ARTIFACTS / f"{path.stem}.png"), **job)
    assert seen["complaints"] == []
    assert seen["requests"] == [path.as_uri()]
    return seen


def test_page(viewers: Viewers, traced: Path, tmp_path: Path) -> None:
    """
    From a file: all tracks by name, the states with their totals and colours, and what a search finds.
    """
    path = tmp_path / "page.html"
    convert(traced, str(path))
    seen = page(viewers, path, find="Lock.acquire", filter="holder")
    assert set(seen["tracks"]) == set(lives(traced))
    assert seen["summary"].startswith(f"{len(seen['tracks'])} tracks, {len(fgtrace.load(traced))} slices, ")
    states = {line.rsplit(" ", 2)[0] for line in seen["keys"].splitlines()}
    assert {"lock wait", "sleep", "running"} <= states
    assert RUNNING in seen["before"]
    assert FOUND not in seen["before"]
    assert FOUND in seen["after"]
    assert seen["count"].startswith("1 of ")
    assert seen["detail"].splitlines()[0].endswith("Lock.acquire")
    assert lives(traced)[seen["longest"]] == max(lives(traced).values())
    assert set(seen["filtered"]) == {name for name in lives(traced) if "holder" in name}


def test_page_of_ten_thousand_tracks(viewers: Viewers, tmp_path: Path) -> None:
    """
    Only what is in sight is drawn, and the slowest task is the first where the longest are.
    """
    frames = [Frame("sleep", "state"), Frame("m.handler", "python", "a.py", 3), Frame("m.needle")]
    slices = []
    for number in range(10_000):
        start, end = number * 1000, number * 1000 + 50_000 + (10**9 if number == 7777 else 0)
        track = Track(
            kind="task", id=number, name=f"Task-{number}", tid=number + 1, pid=9, start=start, end=end
        )
        face = frames[2 if number == 7777 else 1]
        slices += [Slice(track, start, end, 0, frames[0]), Slice(track, start, end, 1, face)]
    path = tmp_path / "many.html"
    path.write_bytes(b"".join(encoder_of("html")(Drawn(slices), {})))
    seen = page(viewers, path, find="needle", filter="Task-77")
    assert seen["summary"].startswith("10000 tracks, 20000 slices, ")
    assert seen["drawn"] < 100
    assert len(seen["tracks"]) == 10_000
    assert seen["count"] == "1 of 1 found"
    assert "Task-7777" in seen["detail"]
    assert seen["longest"] == "Task-7777"
    assert seen["shown"] == "111 of 10000"


def test_page_of_nothing(viewers: Viewers, tmp_path: Path) -> None:
    """
    A trace in which nothing was seen is a page that says so.
    """
    path = tmp_path / "empty.html"
    path.write_bytes(b"".join(encoder_of("html")(Drawn([], tracks=[MAIN]), {})))
    seen = viewers.drive("empty.cjs", url=path.as_uri())
    assert seen["complaints"] == []
    assert seen["summary"].startswith("1 tracks, 0 slices, ")


def test_page_is_what_the_script_makes(viewers: Viewers, tmp_path: Path) -> None:
    """
    The page in the package is made of src/page and the packages that it names, and of nothing else.
    """
    subprocess.run([str(ROOT / "scripts/viewer-bundle"), str(tmp_path)], check=True)
    kept = ROOT / "src/fgtrace/_formats/write/_page"
    found = filecmp.dircmp(tmp_path, kept)
    assert (found.left_only, found.right_only, found.diff_files) == ([], [], [])


def imported(viewers: Viewers, tmp_path: Path, data: bytes) -> bytes:
    """
    A speedscope file, read by speedscope's importer and written down by speedscope again.
    """
    path, out = tmp_path / "in.speedscope.json", tmp_path / "out.speedscope"
    path.write_bytes(data)
    files = {f"/{each.name}": each for each in viewers.speedscope.iterdir()}
    with closing(serve_files(FileTable(files={**files, "/in.speedscope.json": path}))) as server:
        own = f"http://{HOST}:{server.port}"
        url = f"{own}/index.html#profileURL={own}/in.speedscope.json"
        seen = viewers.drive(
            "speedscope.cjs", url=url, export=str(out), out=str(ARTIFACTS / "speedscope.png")
        )
    assert seen["complaints"] == []
    return out.read_bytes()


def test_speedscope(viewers: Viewers, tmp_path: Path) -> None:
    """
    Speedscope's importer finds the same profiles in our file, with the same weights.
    """
    data = b"".join(encoder_of("speedscope")(Drawn(SLICES), {}))
    assert profiles(imported(viewers, tmp_path, data)) == profiles(data) != {}


def test_speedscope_of_a_program(viewers: Viewers, traced: Path, tmp_path: Path) -> None:
    """
    The same of a program's trace.
    """
    path = tmp_path / "app.speedscope.json"
    convert(traced, str(path))
    data = path.read_bytes()
    assert profiles(imported(viewers, tmp_path, data)) == profiles(data) != {}


def test_go_tool_pprof(viewers: Viewers, tmp_path: Path) -> None:
    """
    `go tool pprof` reads the profile and its labels.
    """
    path = tmp_path / "t.pb.gz"
    path.write_bytes(gzip.compress(b"".join(encoder_of("pprof")(Drawn(SLICES), {}))))
    top = viewers.pprof("-top", "-unit=ns", "-nodecount=10", str(path))
    assert "600ns 58.25% 58.25%     1000ns 97.09%  m.main" in top
    assert "400ns 38.83% 97.09%      400ns 38.83%  m.f" in top
    tags = viewers.pprof("-tags", "-unit=ns", str(path))
    assert all(word in tags for word in ("thread", "task", "state", "lock wait", "Task-1 f"))
