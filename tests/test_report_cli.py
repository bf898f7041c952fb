"""
``fgtrace report`` and ``fgtrace diff``: tables for people, JSON for programs, an exit code for CI.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import fastjsonschema
import pytest

import fgtrace
from drawn import Drawn
from fgtrace._formats.write import encoder_of
from fgtrace._model.values import Frame, Instant, Slice, Track
from fgtrace.cli import main
from fgtrace.cli._commands import parse
from fgtrace.cli._formatting import format_chain, format_time
from fgtrace.cli._plans import DiffPlan, ReportPlan
from fgtrace.cli._report_tables import show_report
from fgtrace.cli._until_exit import short_report
from fgtrace.reports import Ask, make_report, report
from test_report_answers import EXACT, row, state

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parent.parent
ENV = {**os.environ, "PYTHONPATH": str(Path(fgtrace.__file__).parents[1])}
MS = 1_000_000


def drawing(factor: int = 1) -> Drawn:
    """
    Return two tasks, of which one waits for the other's lock; one is slower by a factor, and both are stuck
    then.
    """
    lock = state("lock wait", on="asyncio.Lock", woken_by="x")
    one = row(0, [("sleep", 20 * MS), ("running", 150 * MS), (lock, 100 * MS * factor)], name="one")
    two = row(1, [(lock, 170 * MS), ("running", 1 * MS), (lock, 100 * MS * factor - MS)], name="two")
    end = one[0].track.end
    flags = [
        Instant("lock held", one[0].track, end - 1, (("by", "two"),)),
        Instant("lock held", two[0].track, end - 1, (("by", "one"),)),
    ]
    thread = Track("thread", 9, "MainThread", tid=7, pid=7, end=end)
    loop = Slice(thread, 0, end, 0, Frame("select", "state"))
    return Drawn([*one, *two, loop], instants=flags)


@pytest.fixture
def trace(tmp_path: Path) -> Callable[..., str]:
    """
    Return a function that writes the drawing to a file.
    """

    def write(factor: int = 1) -> str:
        path = tmp_path / f"{factor}.json"
        path.write_bytes(b"".join(encoder_of("json")(drawing(factor), EXACT)))
        return str(path)

    return write


Writer = Callable[..., str]


def test_tables(trace: Writer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Piped tables are plain lines of the requested width.
    """
    monkeypatch.setenv("COLUMNS", "100")
    folder, path = os.path.split(trace())
    monkeypatch.chdir(folder)  # a whole path may be wider than that
    assert main(["report", path, "--task", "one"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out == dedent(f"""\
        {path}: 270 ms, 2 tasks, awaits exact, a tick each 1 ns

        Deadlock: one f0 -> two f1 -> one f0
        task    waits for
        one f0  lock wait asyncio.Lock at a.py:4 f0
        two f1  lock wait asyncio.Lock at a.py:4 f1

        Critical path of one f0
        270 ms  one f0
        ├── 150 ms 55.6 %  one: running at a.py:8 f0
        ├── 100 ms 37.0 %  one: lock wait asyncio.Lock at a.py:4 f0
        │   ├── 99.0 ms 36.7 %  two: lock wait asyncio.Lock at a.py:4 f1
        │   └── 1.00 ms 0.4 %  two: running at a.py:8 f1
        └── 20.0 ms 7.4 %  one: sleep at a.py:9 f0

        Tasks by coroutine
                     tasks    total   share      p50      p95      max
        m.f0             1   270 ms           270 ms   270 ms   270 ms
          running            150 ms  55.6 %   150 ms   150 ms   150 ms
          lock wait          100 ms  37.0 %   100 ms   100 ms   100 ms
          sleep             20.0 ms   7.4 %  20.0 ms  20.0 ms  20.0 ms
        m.f1             1   270 ms           270 ms   270 ms   270 ms
          lock wait          269 ms  99.6 %   269 ms   269 ms   269 ms
          running           1.00 ms   0.4 %  1.00 ms  1.00 ms  1.00 ms

        What blocked a loop
           for       at  kept waiting  who            in
        150 ms  0.020 s             0  task one m.f0  f0

        Where tasks wait
                     total  waits      p50      p95      max  where
        lock wait   269 ms      2  99.0 ms   170 ms   170 ms  asyncio.Lock at a.py:4 f1
                                                                held 99.0 ms by one f0, waited 99.0 ms
        lock wait   100 ms      1   100 ms   100 ms   100 ms  asyncio.Lock at a.py:4 f0
                                                                held 100 ms by two f1, waited 100 ms
        sleep      20.0 ms      1  20.0 ms  20.0 ms  20.0 ms  at a.py:9 f0

        Loops
                                     busy           idle  steps  late p99  max  longest step  queue  max
        asyncio loop 1 (MainThread)     0  0.0 %  270 ms      2         0    0        150 ms      3    3

        Threads
                      life  running  GIL wait  blocked    idle
        MainThread  270 ms        0         0        0  270 ms
        """)


class Terminal(io.StringIO):
    """
    A stream that is a terminal.
    """

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [40, 60, 100, 200])
def test_widths(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On a terminal there is colour, and no line is wider than the terminal.
    """
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    show_report(make_report(drawing(), EXACT, Ask(task="*")), "t.json", stream)
    assert "\x1b[" in stream.getvalue()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert max(len(line) for line in plain.splitlines()) <= columns


def validator(name: str) -> Callable[[Any], Any]:
    schema = json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))
    compiled: Callable[[Any], Any] = fastjsonschema.compile(schema)
    return compiled


def test_json_of_a_report(trace: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The JSON of a report fits its schema, and equals the value.
    """
    assert main(["report", trace(), "--json", "--task", "*", "--group", "state", "--top", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    validator("report.schema.json")(found)
    assert (found["schema"], found["version"]) == ("fgtrace.report", 1)
    assert found == report(trace(), Ask(task="*", group="state", top=3)).to_dict()
    assert [cycle["tasks"] for cycle in found["cycles"]] == [["one f0", "two f1"]]
    broken = {**found, "tasks": "two"}
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        validator("report.schema.json")(broken)


def test_json_of_a_diff(trace: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The JSON of a comparison fits its schema, and equals the value.
    """
    assert main(["diff", trace(1), trace(3), "--json", "--threshold", "0.5"]) == 1
    found = json.loads(capsys.readouterr().out)
    validator("diff.schema.json")(found)
    assert found["threshold"] == 0.5
    assert {each["state"] for each in found["states"] if each["is_slower"]} == {"lock wait"}


@pytest.mark.parametrize(
    ("factors", "words", "code"),
    [
        ((1, 3), [], 0),
        ((1, 3), ["--threshold", "0.2"], 1),
        ((1, 3), ["--threshold", "5"], 0),
        ((3, 1), ["--threshold", "0.2"], 0),
        ((1, 1), ["--threshold", "0"], 0),
    ],
    ids=["no-threshold", "slower", "not-so-much", "faster", "same"],
)
def test_exit_code(
    trace: Writer, capsys: pytest.CaptureFixture[str], factors: tuple[int, int], words: list[str], code: int
) -> None:
    """
    A comparison exits with 1 if something became slower and a threshold was given.
    """
    before, after = map(trace, factors)
    assert main(["diff", before, after, *words]) == code
    said = capsys.readouterr().out
    assert ("slower" in said) is ((factors == (1, 3) and code == 1) or not words)
    assert "By place" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "T", "--top", "x"], r"bad top: 'x': allowed is .*"),
        (["report", "T", "--group", "loop"], r"bad group: 'loop': allowed is coroutine, task, state"),
        (["report", "T", "--from", "-1"], r"bad from: -1: allowed is .*"),
        (["report", "T", "--from", "2", "--to", "1"], r"bad to: 1: allowed is .*"),
        (["report", "T", "--task", "nobody"], r"bad task: 'nobody': no task .*"),
        (["report", "T", "--slow-callback-duration", "0"], r"bad slow_callback_duration: 0: .*"),
        (["report", "no/such.json"], r"cannot read no/such\.json: No such file or directory"),
        (["report", __file__], r".*test_report_cli\.py: not a trace that can be read: .*"),
        (["report"], r"missing argument 'TRACE'; see fgtrace report --help"),
        (["diff", "T", "T", "--top", "0"], r"bad top: 0: allowed is .*"),
        (["diff", "T", "T", "--threshold", "much"], r"bad threshold: 'much': allowed is .*"),
        (["diff", "T", "no/such.json"], r"cannot read no/such\.json: .*"),
        (["diff", "T"], r"missing argument 'B'; see fgtrace diff --help"),
    ],
    ids=[
        "top", "group", "from", "to", "task", "slow", "no-file", "no-trace", "no-argument", "diff-top",
        "threshold", "diff-no-file", "diff-no-argument",
    ],
)  # fmt: skip
def test_refused_in_one_line(
    trace: Writer, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """
    A command that cannot be carried out exits with 2, one line on stderr, and nothing on stdout.
    """
    assert main([trace() if word == "T" else word for word in words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert re.fullmatch(f"fgtrace: {said}\n", found.err)


def test_another_tools_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A trace without states is refused, with the reason.
    """
    event = {"ph": "X", "name": "f", "cat": "x", "ts": 0, "dur": 5, "pid": 1, "tid": 1}
    (tmp_path / "t.json").write_text(json.dumps([event]))
    assert main(["report", str(tmp_path / "t.json")]) == 2
    assert "the trace has no states" in capsys.readouterr().err


def test_parsed() -> None:
    """
    Arguments become plans.
    """
    words = (
        "report t.json --json --top 3 --from 0.5 --to 2 --group task --task 1 --slow-callback-duration 0.2"
    )
    asked = {"top": 3, "start": 0.5, "end": 2, "group": "task", "task": "1", "slow_callback_duration": 0.2}
    assert parse(words.split()) == ReportPlan(source="t.json", ask=asked, as_json=True)
    assert parse(["diff", "a", "b"]) == DiffPlan(before="a", after="b")
    assert parse(["diff", "a", "b", "--json", "--threshold", "0.1", "--top", "5"]) == DiffPlan(
        before="a", after="b", threshold=0.1, top=5, as_json=True
    )


def test_reader_that_has_seen_enough(trace: Writer) -> None:
    """
    A pipe that is closed ends the output without an error.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "fgtrace", "report", trace()],
        env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


PROGRAM = """
import asyncio, time

async def want(lock):
    async with lock:
        await asyncio.sleep(0.05)

async def main():
    lock = asyncio.Lock()
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(want(lock))
    time.sleep(0.2)

asyncio.run(main())
"""


def traced(folder: Path, *words: str) -> list[str]:
    (folder / "prog.py").write_text(PROGRAM)
    found = subprocess.run(
        [sys.executable, "-m", "fgtrace", "run", *words, "prog.py"],
        env=ENV, cwd=folder, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert found.stdout == ""
    return found.stderr.splitlines()


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("format_", ["json", "folded"])
def test_end_of_a_run(tmp_path: Path, format_: str) -> None:
    """
    A program that was traced ends with the most important lines of the report, in every format.
    """
    said = traced(tmp_path, "--awaits", "exact", "-o", f"out.{format_}")
    assert said[0].startswith(f"fgtrace: wrote out.{format_} ")
    for pattern in (
        r"  loop blocked \d+ ms by task Task-1 __main__.main",
        r"  lock wait .* in \d+ waits?: asyncio.Lock at prog.py:5 want",
    ):
        assert any(re.match(pattern, line) for line in said)
    assert traced(tmp_path, "-q") == []


def test_short_report_of_a_deadlock() -> None:
    """
    A deadlock is the first line.
    """
    assert short_report(make_report(drawing(), EXACT, Ask())) == [
        "  deadlock: one f0 -> two f1 -> one f0",
        "  loop blocked 150 ms by task one m.f0 in f0",
        "  lock wait 269 ms in 2 waits: asyncio.Lock at a.py:4 f1",
        "  lock wait 100 ms in 1 wait: asyncio.Lock at a.py:4 f0",
    ]


@pytest.mark.parametrize(
    ("nanoseconds", "words"),
    [(0, "0"), (7, "7 ns"), (1500, "1.50 us"), (50_400_000, "50.4 ms"), (123_456_789_000, "123 s")],
    ids=["none", "ns", "us", "ms", "s"],
)
def test_times_in_words(nanoseconds: int, words: str) -> None:
    """
    Times have three digits.
    """
    assert format_time(nanoseconds) == words


def test_names_in_words() -> None:
    """
    Functions are named without their module, methods with their class.
    """
    names = ["app.db.Pool.acquire", "app.handler", "m.main.<locals>.one", "main"]
    assert format_chain(names) == "Pool.acquire <- handler <- one <- main"


class TestDocs:
    """
    The pages say what the code does.
    """

    def test_made_pages(self) -> None:
        """
        Pages and schemas that are made from the code are up to date.
        """
        script = ROOT / "scripts" / "docs-options"
        found = subprocess.run(
            [sys.executable, str(script), "--check"], env=ENV, capture_output=True, text=True, check=False
        )
        assert (found.returncode, found.stderr) == (0, "")

    def test_every_option_is_explained(self) -> None:
        """
        The page about reports names each option of both commands.
        """
        page = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
        for command in ("report", "diff"):
            found = subprocess.run(
                [sys.executable, "-m", "fgtrace", command, "--help"],
                env=ENV, capture_output=True, text=True, check=True,
            )  # fmt: skip
            for option in set(re.findall(r"--[a-z-]+", found.stdout)) - {"--help"}:
                assert f"`{option}" in page, option

    @pytest.mark.parametrize("name", ["report.schema.json", "diff.schema.json"])
    def test_every_field_is_explained(self, name: str) -> None:
        """
        The page about reports names each field of the JSON.
        """
        page = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
        schema = json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))
        for each in (schema, *schema["$defs"].values()):
            for field in each["properties"]:
                assert f"`{field}`" in page, field

    def test_the_page_is_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Each example of the page runs, one after the other.
        """
        monkeypatch.chdir(tmp_path)
        page = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
        blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
        assert blocks
        names: dict[str, Any] = {}
        for block in blocks:
            exec(compile(block, "report.md", "exec"), names)  # noqa: S102 -- the page's own


def test_progress_is_told(trace: Writer) -> None:
    """
    Long work reports how much of it is done, and its total.
    """
    told: list[tuple[str, int, int]] = []
    report(trace(), progress=lambda what, done, total: told.append((what, done, total)))
    assert told
    assert all(what and 0 <= done <= total for what, done, total in told)
