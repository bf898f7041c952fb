"""
The options: what is allowed, and what is said where something is not.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import io
import math
import pickle
import tempfile
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import fgtrace
import fgtrace.aiohttp
import fgtrace.asgi
import fgtrace.wsgi
from fgtrace._formats.write import MODULES, VIEWERS, encoder_of
from fgtrace._options.options import CHECKS, FORMATS, format_of
from fgtrace._output.live_report import of_file

pytestmark = pytest.mark.pure

BAD: list[tuple[str, Any, str]] = [
    ("hz", 0, "number above 0"),
    ("hz", -1, "number above 0"),
    ("hz", math.nan, "number above 0"),
    ("hz", math.inf, "number above 0"),
    ("hz", "x", "number above 0"),
    ("hz", 20_000, "up to 10000"),
    ("hz", True, "number above 0"),
    ("hz", None, "number above 0"),
    ("state_frames", "middle", "'root' or 'leaf' or 'no'"),
    ("format", "xml", "None or 'json' or 'json.gz'"),
    ("dst", 7, "path or a binary file object"),
    ("dst", "", "path or a binary file object"),
    ("dst", "trace.png", ".json, .json.gz"),
    ("include_self", "yes", "True or False"),
    ("threads", 1, "True or False"),
    ("tasks", None, "True or False"),
    ("lines", 2, "True or False"),
    ("awaits", "exactly", "'sampled' or 'exact'"),
    ("tracks", "few", "'auto' or 'task' or 'lane'"),
    ("slow_callback_duration", 0, "number above 0"),
    ("slow_callback_duration", "0.1", "number above 0"),
    ("labels", ("request",), "ContextVar"),
    ("rules", {"app.pool": "pool wait"}, "module:qualname"),
    ("rules", {"app:Pool.": "siesta"}, "name of a state"),
    ("max_overhead", 0, "fraction above 0"),
    ("max_overhead", 1.5, "up to 1"),
    ("max_memory", 1000, "1048576 or more"),
    ("max_memory", 1e9, "whole number"),
]


@pytest.mark.parametrize(("field", "value", "allowed"), BAD, ids=[f"{row[0]}-{row[1]}" for row in BAD])
def test_bad_option(field: str, value: Any, allowed: str) -> None:
    """
    A bad option names the field, the value and what is allowed, before anything starts.
    """
    with pytest.raises(fgtrace.ConfigError) as caught:
        fgtrace.trace(**{field: value})
    assert caught.value.field == field
    assert str(caught.value).startswith(f"bad {field}: {value!r}: allowed is ")
    assert allowed in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_both_off() -> None:
    """
    A trace of neither threads nor tasks is refused.
    """
    with pytest.raises(fgtrace.ConfigError, match="bad tasks: False: allowed is True where threads is off"):
        fgtrace.Config(threads=False, tasks=False)


def test_exact_without_tasks() -> None:
    """
    Exact awaits are refused where no tasks are traced.
    """
    with pytest.raises(fgtrace.ConfigError, match="bad awaits: 'exact': allowed is 'sampled' where tasks"):
        fgtrace.Config(awaits="exact", tasks=False)


FUNCTIONS: dict[str, Callable[..., object]] = {
    "fgtrace.Config": fgtrace.Config,
    "fgtrace.trace": fgtrace.trace,
    "fgtrace.FlightRecorder": fgtrace.FlightRecorder,
    "fgtrace.install": fgtrace.install,
    "fgtrace.serve": fgtrace.serve,
    "fgtrace.asgi.DebugApp": fgtrace.asgi.DebugApp,
    "fgtrace.asgi.DebugMiddleware": partial(fgtrace.asgi.DebugMiddleware, None),  # type: ignore[arg-type]
    "fgtrace.wsgi.DebugApp": fgtrace.wsgi.DebugApp,
    "fgtrace.wsgi.DebugMiddleware": partial(fgtrace.wsgi.DebugMiddleware, None),  # type: ignore[arg-type]
    "fgtrace.aiohttp.add_routes": partial(fgtrace.aiohttp.add_routes, web.Application()),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_unknown_option(function: str) -> None:
    """
    An option that does not exist is refused by its name, with the function that was called and its options.
    """
    for name in ("hertz", "max_hertz"):
        with pytest.raises(fgtrace.UnknownOptionError) as caught:
            FUNCTIONS[function](**{name: 99})
        assert str(caught.value).startswith(f"{function}() has no option {name!r}: ")
        assert str(caught.value).endswith(f"the options are {', '.join(caught.value.known)}")
        signature = inspect.signature(FUNCTIONS[function]).parameters.values()
        assert {each.name for each in signature if each.default is not each.empty} <= set(caught.value.known)


def test_unknown_option_is_a_type_error() -> None:
    """
    An error is also the builtin that a caller would expect.
    """
    with pytest.raises(TypeError, match="herz"):
        fgtrace.trace(herz=99)


def test_nearest_option() -> None:
    """
    An error names the option that was probably meant, also for a report.
    """
    with pytest.raises(
        fgtrace.UnknownOptionError, match=r"Config\(\) has no option 'format_': did you mean 'format'"
    ):
        fgtrace.Config(format_="json")  # type: ignore[call-arg]
    with pytest.raises(
        TypeError, match=r"Trace\.report\(\) has no option 'tops': did you mean 'top'\? the options are"
    ):
        of_file(fgtrace.Config(), {"tops": 3})


def test_options_are_values() -> None:
    """
    They can be copied, pickled and changed.
    """
    config = fgtrace.Config(hz=7)
    assert copy.deepcopy(config) == config == pickle.loads(pickle.dumps(config))  # noqa: S301 - our own
    assert dataclasses.replace(config, hz=8).hz == 8


@pytest.mark.parametrize("hz", [0.1, 1, 99, 99.9, 10_000])
def test_good_rate(hz: float) -> None:
    """
    Any rate up to 10,000 is fine, also below one.
    """
    assert fgtrace.Config(hz=hz).hz == hz


def test_no_option_is_needed() -> None:
    """
    The defaults are those that the documentation names.
    """
    config = fgtrace.Config()
    assert (config.hz, config.dst, config.state_frames) == (99, "fgtrace.json", "root")
    assert (config.threads, config.tasks, config.include_self) == (True, True, False)


def test_frozen() -> None:
    """
    Options do not change after they were checked.
    """
    with pytest.raises(dataclasses.FrozenInstanceError):
        fgtrace.Config().hz = 5  # type: ignore[misc]


def test_every_field_is_checked() -> None:
    """
    There is a check for each field, and no other.
    """
    assert set(CHECKS) == {field.name for field in dataclasses.fields(fgtrace.Config)}


def test_formats_have_encoders() -> None:
    """
    Every format that may be asked for can be written.
    """
    assert set(FORMATS) == set(MODULES)
    assert all(callable(encoder_of(name)) for name in FORMATS)
    assert {name for name in FORMATS if not name.endswith(".gz")} <= set(VIEWERS)


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("a.json", "json"),
        ("a.JSON.GZ", "json.gz"),
        ("a.pftrace", "perfetto"),
        ("a.pftrace.gz", "perfetto.gz"),
        ("a.speedscope.json", "speedscope"),
        ("a.folded", "folded"),
        ("a.pb.gz", "pprof"),
        ("a", "json"),
        ("dir.d/a", "json"),
        ("a.txt", None),
        ("a.gz", None),
    ],
    ids=str,
)
def test_format_by_suffix(name: str, format_: str | None) -> None:
    """
    The suffix chooses the format.
    """
    assert format_of(name) == format_


def test_format_beats_suffix() -> None:
    """
    A format that is given holds, whatever the name.
    """
    assert fgtrace.Config(dst="trace.txt", format="json").effective_format == "json"
    assert fgtrace.Config(dst=io.BytesIO()).effective_format == "json"


def test_config_makes_the_trace() -> None:
    """
    `trace(dst, **options)` is `Config(dst=dst, **options).trace()`.
    """
    config = fgtrace.Config(
        dst=Path("x.json"), hz=7, labels=(ContextVar("a"),), rules={"app:Pool.": "pool wait"}
    )
    assert fgtrace.trace(Path("x.json"), hz=7, labels=config.labels, rules=config.rules).config == config
    assert config.trace().config is config


def test_as_dict() -> None:
    """
    The effective options are plain values, fit for the trace's metadata.
    """
    config = fgtrace.Config(dst=io.BytesIO(), labels=(ContextVar("user"),), rules={"app:Pool.": "pool wait"})
    plain = config.as_dict()
    assert (plain["dst"], plain["labels"], plain["rules"]) == (None, "user", "app:Pool. = pool wait")
    assert (plain["hz"], plain["format"]) == (99, "json")


def test_name_of_a_file_object(tmp_path: Path) -> None:
    """
    A file object is known by its name in the metadata, where it has one.
    """
    with (tmp_path / "t.json").open("wb") as named, tempfile.TemporaryFile() as nameless:
        found = [fgtrace.Config(dst=file).as_dict()["dst"] for file in (named, nameless)]
    assert found == [str(tmp_path / "t.json"), None]
