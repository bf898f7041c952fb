"""
The command line: a program runs under it as it does without, and its trace is written.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import fgtrace
from fgtrace._sampling.choose import VARIABLE
from fgtrace.cli import main
from fgtrace.cli._commands import parse
from fgtrace.cli._plans import RunPlan
from fgtrace.cli._progress import ProgressBar
from fgtrace.cli._until_exit import summary
from programs import CASES, Case, one

#: The launcher is the same whatever the core; these tests are of what a core has a part in.
with_both_cores = pytest.mark.usefixtures("core")

ENV = {**os.environ, "PYTHONPATH": str(Path(fgtrace.__file__).parents[1])}
#: Tracebacks without carets: a signal may come at any point of a line.
SIGNAL_ENV = {**ENV, "PYTHONNODEBUGRANGES": "1"}
TRACE = "out/trace.json"
SPIN = "import time\ndef spin():\n    end = time.monotonic() + 0.1\n    while time.monotonic() < end: pass\n"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """
    All that can be seen of a process.
    """

    code: int
    stdout: str
    stderr: str


def run(
    cwd: Path, *words: str, case: Case | None = None, flags: tuple[str, ...] = (), core: str | None = None
) -> Outcome:
    case = case or one("")
    pipe = subprocess.PIPE
    command = [sys.executable, *flags, *words]
    core = os.environ.get(VARIABLE, "") if core is None else core  # of now: a fixture may have set it
    env = {**(SIGNAL_ENV if case.signal else ENV), VARIABLE: core}
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            first = _interrupt(process, case.signal) if case.signal else b""
            stdout, stderr = process.communicate(case.stdin.encode(), timeout=60)
        finally:
            process.kill()
    return Outcome(code=process.returncode, stdout=(first + stdout).decode(), stderr=stderr.decode())


def _interrupt(process: subprocess.Popen[bytes], number: signal.Signals) -> bytes:
    """
    Wait for the first line, then send a signal.
    """
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    return first


def traced(cwd: Path, *words: str, **options: Any) -> Outcome:
    return run(cwd, "-m", "fgtrace", "run", *words, **options)


def lay_out(cwd: Path, files: Mapping[str, str]) -> None:
    for name, source in files.items():
        path = cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source), encoding="utf-8")
    (cwd / "out").mkdir(exist_ok=True)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_runs_as_without(tmp_path: Path, case: Case) -> None:
    """Output, traceback and exit code are the program's; the trace is whole unless it was killed."""
    lay_out(tmp_path, case.files)
    plain = run(tmp_path, *case.command, case=case, flags=case.flags)
    assert plain.code == case.code
    for core in case.cores:
        words = ("-q", "-o", TRACE, *case.command)
        assert traced(tmp_path, *words, case=case, flags=case.flags, core=core) == plain
        left = os.listdir(tmp_path / "out")
        assert left == (["trace.json.partial"] if case.killed else ["trace.json"])
        assert metadata(tmp_path / "out" / left[0])["complete"] is not case.killed
        os.rename(tmp_path / "out" / left[0], tmp_path / f"{core}{left[0]}")


@with_both_cores
def test_started_by_its_script(tmp_path: Path) -> None:
    """
    Started as the installed command is, by a script, it survives a program that ends before its first line.
    """
    script = "import sys\nfrom fgtrace.cli import main\nsys.exit(main())"
    lay_out(tmp_path, {"prog.py": "def broken(:", "fgtrace_script.py": script})
    flags = ("-X", "dev")  # memory that is used after it was freed ends the process
    outcome = run(tmp_path, "fgtrace_script.py", "run", "-q", "-o", TRACE, "prog.py", flags=flags)
    assert outcome == run(tmp_path, "prog.py", flags=flags)
    assert os.listdir(tmp_path / "out") == ["trace.json"]


def metadata(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())["metadata"]["fgtrace"]
    return found


def test_zip_file(tmp_path: Path) -> None:
    """A zip file with a __main__.py runs."""
    lay_out(tmp_path, {})
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as file:
        file.writestr("__main__.py", "import sys; print(sys.argv, sys.path[0])")
    assert traced(tmp_path, "-q", "app.zip", "a") == run(tmp_path, "app.zip", "a")


def test_summary_line(tmp_path: Path) -> None:
    """One line on stderr says what was written; stdout is the program's alone."""
    lay_out(tmp_path, {"prog.py": "print(1)"})
    outcome = traced(tmp_path, "prog.py")
    assert outcome.stdout == "1\n"
    figures = r"\d+ tracks?, \d+ observations?, \d+\.\d Hz, \d+\.\d % overhead"
    line = rf"fgtrace: wrote fgtrace\.json \({figures}\); open it at ui\.perfetto\.dev\n"
    assert re.fullmatch(line, outcome.stderr)
    assert (tmp_path / "fgtrace.json").exists()


def test_summary_of_failed_collector() -> None:
    """A collector that was unplugged is told of."""
    stats = fgtrace.Stats(tracks=1, observations=2, failed={"tasks": "ValueError: x"})
    figures = "1 track, 2 observations, 0.0 Hz, 0.0 % overhead, tasks given up: ValueError: x"
    assert f"({figures})" in summary("a", stats, "json")


def test_options_reach_the_trace(tmp_path: Path) -> None:
    """What is said on the command line is in the trace's metadata."""
    lay_out(tmp_path, {"prog.py": ""})
    words = "--hz 12.5 --format json --state-frames leaf --include-self --no-tasks --lines"
    words += " --max-overhead 0.5 --max-memory 2000000 --slow-callback-duration 0.2 prog.py"
    assert traced(tmp_path, "-o", TRACE, *words.split()).code == 0
    config = metadata(tmp_path / TRACE)["config"]
    wanted = {"hz": 12.5, "format": "json", "state_frames": "leaf", "include_self": True, "threads": True}
    wanted |= {"tasks": False, "lines": True, "max_overhead": 0.5, "max_memory": 2_000_000}
    wanted |= {"slow_callback_duration": 0.2, "awaits": "sampled"}
    assert {name: config[name] for name in wanted} == wanted


@with_both_cores
def test_exact_awaits(tmp_path: Path) -> None:
    """A program is traced with every step of its tasks, though asyncio comes only with it."""
    source = "import asyncio\nasync def main():\n    for _ in range(3): await asyncio.sleep(0.001)\n"
    lay_out(tmp_path, {"prog.py": source + "asyncio.run(main())"})
    assert traced(tmp_path, "-q", "-o", TRACE, "--awaits", "exact", "--hz", "1", "prog.py").code == 0
    assert metadata(tmp_path / TRACE)["awaits"] == "exact"
    slices = list(fgtrace.load(tmp_path / TRACE))
    assert sum(each.track.name == "Task-1 main" and each.frame.name == "sleep" for each in slices) == 3


@with_both_cores
def test_own_frames_are_left_out(tmp_path: Path) -> None:
    """The program's outermost frame is the first below the state; no thread of fgtrace is there."""
    lay_out(tmp_path, {"prog.py": SPIN + "spin()"})
    assert traced(tmp_path, "-q", "-o", TRACE, "--hz", "500", "prog.py").code == 0
    slices = list(fgtrace.load(tmp_path / TRACE))
    assert {"__main__.<module>", "__main__.spin"} <= {each.frame.name for each in slices}
    program = next(each for each in slices if each.frame.name == "__main__.<module>")
    same = [each for each in slices if each.track == program.track and each.start <= program.start]
    assert {each.frame.category for each in same if each.end > program.end} <= {"state"}
    seen = [each for each in slices if each.track.kind != "tracer"]  # that one tells of gaps
    assert not [each for each in seen if "fgtrace" in each.frame.name or "fgtrace" in each.track.name]


@with_both_cores
def test_own_frames_are_there_when_asked_for(tmp_path: Path) -> None:
    """With --include-self the launcher is part of the stack."""
    lay_out(tmp_path, {"prog.py": SPIN + "spin()"})
    assert traced(tmp_path, "-q", "-o", TRACE, "--hz", "500", "--include-self", "prog.py").code == 0
    names = {each.frame.name for each in fgtrace.load(tmp_path / TRACE)}
    assert {"fgtrace.cli._main.main", "fgtrace.cli._program.run", "__main__.spin"} <= names


@with_both_cores
def test_trace_goes_on_until_the_last_thread_ends(tmp_path: Path) -> None:
    """What a thread does after the end of the main script is in the trace."""
    source = "import threading\ndef later():\n    threading.main_thread().join()\n    spin()\n"
    lay_out(tmp_path, {"prog.py": SPIN + source + "threading.Thread(target=later).start()"})
    assert traced(tmp_path, "-q", "-o", TRACE, "--hz", "500", "prog.py").code == 0
    assert "__main__.spin" in {each.frame.name for each in fgtrace.load(tmp_path / TRACE)}


@with_both_cores
def test_trace_goes_on_until_the_last_exit_callback(tmp_path: Path) -> None:
    """What the program does at exit is in the trace, after an error too."""
    lay_out(tmp_path, {"prog.py": SPIN + "import atexit\natexit.register(spin)\n1/0"})
    assert traced(tmp_path, "-q", "-o", TRACE, "--hz", "500", "prog.py").code == 1
    assert "__main__.spin" in {each.frame.name for each in fgtrace.load(tmp_path / TRACE)}


@with_both_cores
@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("", 0),
        ("raise SystemExit", 0),
        ("raise SystemExit(3)", 3),
        ("raise KeyboardInterrupt", -signal.SIGINT),
    ],
    ids=["good-end", "exit-none", "exit-code", "keyboard-interrupt"],
)
def test_trace_cannot_be_written(tmp_path: Path, source: str, code: int) -> None:
    """A line says so at once and at the end; the exit code is the program's; its objects die in peace."""
    object_ = "class A:\n    def __del__(self): print('gone')\na = A()\n"
    file = "file = open('kept', 'w')\nfile.write('x')\n"
    lay_out(tmp_path, {"prog.py": object_ + file + source})
    outcome = traced(tmp_path, "-o", "no/where.json", "prog.py")
    assert (outcome.code, outcome.stdout) == (code, "gone\n")
    lines = outcome.stderr.splitlines()
    why = "fgtrace: cannot write the trace to no/where.json: [Errno 2] No such file or directory: "
    assert lines[0].startswith(why)
    assert lines[0].endswith("; the program runs, and a second attempt follows at its end")
    assert lines[-1].startswith(why)
    assert outcome.stderr.count("fgtrace") == 2
    assert (tmp_path / "kept").read_text() == "x"


def test_place_is_made_meanwhile(tmp_path: Path) -> None:
    """What stood in the way at the start, and is gone at the end, costs nobody a trace."""
    lay_out(tmp_path, {"prog.py": "import os\nos.mkdir('no')"})
    outcome = traced(tmp_path, "-q", "-o", "no/where.json", "prog.py")
    assert re.fullmatch("fgtrace: cannot write .*; the program runs, .*\n", outcome.stderr)
    assert metadata(tmp_path / "no" / "where.json")["complete"]


def test_place_is_a_folder(tmp_path: Path) -> None:
    """So is a folder, which no file can replace."""
    lay_out(tmp_path, {"prog.py": "print(1)"})
    outcome = traced(tmp_path, "-o", str(tmp_path), "--format", "json", "prog.py")
    assert outcome.stdout == "1\n"
    assert outcome.stderr.count("Is a directory") == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
def test_disk_full(tmp_path: Path) -> None:
    """A full disk is told of as well."""
    lay_out(tmp_path, {"prog.py": "print(1)"})
    outcome = traced(tmp_path, "-o", "/dev/full", "prog.py")
    assert (outcome.code, outcome.stdout) == (0, "1\n")
    assert outcome.stderr.startswith("fgtrace: cannot write the trace to /dev/full: ")


@with_both_cores
def test_interrupt_while_writing(tmp_path: Path) -> None:
    """A second Ctrl-C ends the writing, in one line."""
    source = "from fgtrace._formats import destination\ndef write(*_): raise KeyboardInterrupt\n"
    source += "destination.FileSink.write = write"
    lay_out(tmp_path, {"prog.py": source})
    outcome = traced(tmp_path, "-o", TRACE, "prog.py")
    said = f"fgtrace: interrupted: no trace was written to {TRACE}\n"
    assert outcome == Outcome(code=0, stdout="", stderr=said)


USAGE = {
    "hz-text": (["--hz", "x", "prog.py"], r"bad hz: 'x': allowed is .*"),
    "hz-nan": (["--hz", "nan", "prog.py"], r"bad hz: nan: allowed is .*"),
    "hz-zero": (["--hz", "0", "prog.py"], r"bad hz: 0: allowed is .*"),
    "hz-negative": (["--hz", "-1", "prog.py"], r"bad hz: -1: allowed is .*"),
    "hz-high": (["--hz=20000", "prog.py"], r"bad hz: 20000: allowed is .*"),
    "format": (["--format", "xml", "prog.py"], r"bad format: 'xml': allowed is .*"),
    "suffix": (["-o", "a.xml", "prog.py"], r"bad dst: 'a.xml': allowed is .*"),
    "no-name": (["-o", "", "prog.py"], r"bad dst: '': allowed is .*"),
    "state-frames": (["--state-frames", "top", "prog.py"], r"bad state_frames: 'top': allowed is .*"),
    "awaits": (["--awaits", "some", "prog.py"], r"bad awaits: 'some': allowed is .*"),
    "overhead": (["--max-overhead", "2", "prog.py"], r"bad max_overhead: 2: allowed is .*"),
    "memory": (["--max-memory", "1.5", "prog.py"], r"bad max_memory: 1.5: allowed is .*"),
    "nothing-on": (["--no-tasks", "--no-threads", "prog.py"], r"bad tasks: False: allowed is .*"),
    "option": (["--nope", "prog.py"], r"no such option.*--nope.*; see fgtrace run --help"),
    "option-without-value": (["--hz"], r".*--hz.*; see fgtrace.* --help"),
    "module-without-name": (["-q", "-m"], r".*-m.*; see fgtrace.* --help"),
    "nothing-to-run": (["--hz", "5"], r"say what to run: .*; see fgtrace run --help"),
    "script": (["no.py"], r"cannot read no\.py: No such file or directory"),
}


@pytest.mark.parametrize(("words", "line"), USAGE.values(), ids=USAGE)
def test_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    line: str,
) -> None:
    """A mistake gets one line and the exit code 2, and nothing starts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prog.py").write_text("1 / 0")
    assert main(["run", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(rf"fgtrace: {line}\n", said.err)
    assert os.listdir(tmp_path) == ["prog.py"]


def test_refuses_an_unknown_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The environment may be wrong, too: one line, exit code 2, and nothing starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FGTRACE_CORE", "rust")
    (tmp_path / "prog.py").write_text("1 / 0")
    assert main(["run", "prog.py"]) == 2
    assert capsys.readouterr().err == "fgtrace: bad FGTRACE_CORE: 'rust': allowed is 'c' or 'python'\n"
    assert os.listdir(tmp_path) == ["prog.py"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-m", "no_such"], "No module named no_such"),
        (["-m", "pkg.no"], "No module named pkg.no"),
        (["-m", "pkg"], "No module named pkg.__main__; 'pkg' is a package and cannot be directly executed"),
        (["pkg"], "can't find '__main__' module in .*"),
    ],
    ids=["module", "submodule", "package-without-main", "directory-without-main"],
)
def test_module_is_not_there(tmp_path: Path, words: list[str], reason: str) -> None:
    """So is a module that cannot be found, and no file is left behind."""
    lay_out(tmp_path, {"pkg/__init__.py": ""})
    outcome = traced(tmp_path, "-o", TRACE, *words)
    assert (outcome.code, outcome.stdout, os.listdir(tmp_path / "out")) == (2, "", [])
    assert re.fullmatch(rf"fgtrace: cannot run {words[-1]}: {reason}\n", outcome.stderr)


def test_refusal_is_the_exit_code(tmp_path: Path) -> None:
    """The exit code of a mistake is that of the process."""
    outcome = traced(tmp_path, "--hz", "x", "prog.py")
    assert (outcome.code, outcome.stdout, outcome.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("words", "plan"),
    [
        (["a.py", "--hz", "3", "--"], RunPlan(target="a.py", arguments=("--hz", "3", "--"))),
        (["--", "-a.py", "-q"], RunPlan(target="-a.py", arguments=("-q",))),
        (["--hz", "0.5", "a.py"], RunPlan(target="a.py", options={"hz": 0.5})),
        (
            ["--hz", "5", "-m", "a.b", "-o", "-m"],
            RunPlan(target="a.b", is_module=True, arguments=("-o", "-m"), options={"hz": 5}),
        ),
        (["-ma", "-q"], RunPlan(target="a", is_module=True, arguments=("-q",))),
        (["-qm", "a", "--", "b"], RunPlan(target="a", is_module=True, arguments=("--", "b"), quiet=True)),
        (["-o", "-m", "a.py"], RunPlan(target="a.py", options={"dst": "-m"})),
        (
            ["-qo", "x", "a.py", "-m"],
            RunPlan(target="a.py", arguments=("-m",), options={"dst": "x"}, quiet=True),
        ),
        (["-", "-q"], RunPlan(target="-", arguments=("-q",))),
    ],
    ids=[
        "script-ends-options",
        "dashes-end-options",
        "number",
        "module-ends-options",
        "module-attached",
        "module-behind-flag",
        "value-that-looks-like-module",
        "value-behind-flag",
        "stdin",
    ],
)
def test_parse(words: list[str], plan: RunPlan) -> None:
    """Options end where the program's begin."""
    assert parse(["run", *words]) == plan


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "Usage: fgtrace "),
        (["--help"], "Usage: fgtrace "),
        (["run", "-h"], "Usage: fgtrace run "),
        (["--version"], f"fgtrace {fgtrace.__version__}\n"),
    ],
    ids=["nothing", "help", "help-of-run", "version"],
)
def test_help(capsys: pytest.CaptureFixture[str], words: list[str], text: str) -> None:
    """Help and version go to stdout."""
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out.startswith(text)
    assert said.err == ""


def test_import_is_light(tmp_path: Path) -> None:
    """Only the command line imports click, and not even that imports rich without need."""
    look = "import sys, fgtrace; print(sorted({'click', 'rich'} & set(sys.modules)))"
    assert run(tmp_path, "-c", look).stdout == "[]\n"
    lay_out(tmp_path, {"prog.py": look})
    assert traced(tmp_path, "-q", "-o", TRACE, "prog.py").stdout == "['click']\n"


class Terminal(io.StringIO):
    """
    A stream that is a terminal.
    """

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.mark.parametrize(
    ("stream", "seconds", "shown"),
    [(Terminal(), 2.0, True), (Terminal(), 0.5, False), (io.StringIO(), 2.0, False)],
    ids=["slow", "fast", "no-terminal"],
)
def test_progress(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, seconds: float, shown: bool) -> None:
    """A bar is drawn on a terminal where writing takes more than a second, and wiped in the end."""
    monkeypatch.setenv("TERM", "xterm")
    times = iter([0.0, *([seconds] * 10)])
    with ProgressBar(stream, sys.path, clock=lambda: next(times)) as progress:
        progress.update(1, 2)
    assert ("fgtrace: writing" in stream.getvalue()) is shown
