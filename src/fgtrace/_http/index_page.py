"""
The index page of the debug endpoints: links to them, and a button that opens a trace in the Perfetto UI.

The Perfetto UI takes a trace from another page by ``postMessage`` (https://perfetto.dev/docs/visualization/
deep-linking-to-perfetto-ui): the page opens the UI's window, sends it PING until the UI answers PONG, and
then sends the bytes, which the page has fetched. So nothing needs CORS, and nothing is uploaded. A browser
opens a window only shortly after a click; where the trace took longer, the page asks for another click.

The page loads nothing from elsewhere, and its policy allows its own script and style only.
"""

from __future__ import annotations

import base64
import hashlib

__all__ = ["PAGE", "PAGE_HEADERS"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46em; margin: 3em auto; padding: 0 1em; }
code, input, select, button { font: inherit; }
code { font-family: ui-monospace, monospace; font-size: 0.95em; }
input { width: 5em; }
dt { margin-top: 0.8em; }
"""

_SCRIPT = """
"use strict";
const PERFETTO = "https://ui.perfetto.dev";
const form = document.querySelector("form");
const status = document.querySelector("output");
const open = document.querySelector("#open");
const save = document.querySelector("#save");
let trace = null;

function say(text) { status.textContent = text; }

async function make() {
  const seconds = form.seconds.value, hz = form.hz.value, awaits = form.awaits.value;
  const query = new URLSearchParams({seconds, hz, awaits});
  form.start.disabled = true; open.hidden = true; save.hidden = true;
  say(`tracing for ${seconds} s ...`);
  try {
    const response = await fetch(`fgtrace?${query}`);
    if (!response.ok) throw new Error(await response.text());
    const disposition = response.headers.get("Content-Disposition") || "";
    trace = {buffer: await response.arrayBuffer(), fileName: (disposition.match(/filename="(.*)"/) || [])[1]};
    save.href = URL.createObjectURL(new Blob([trace.buffer]));
    save.download = trace.fileName;
    open.hidden = false; save.hidden = false;
    say("");
    if (!show()) say("The browser wants a click to open another window:");
  } catch (error) {
    say(error.message);
  }
  form.start.disabled = false;
}

function show() {
  const ui = window.open(PERFETTO);
  if (!ui) return false;
  const ping = setInterval(() => ui.postMessage("PING", PERFETTO), 100);
  window.addEventListener("message", function answered(event) {
    if (event.source !== ui || event.origin !== PERFETTO || event.data !== "PONG") return;
    clearInterval(ping);
    window.removeEventListener("message", answered);
    const {buffer, fileName} = trace;
    ui.postMessage({perfetto: {buffer, fileName, title: `${location.host} ${fileName}`}}, PERFETTO);
  });
  return true;
}

form.addEventListener("submit", event => { event.preventDefault(); make(); });
open.addEventListener("click", show);
"""

PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>fgtrace</title>
<style>{_STYLE}</style>
<h1>fgtrace</h1>
<form>
  Trace for <input name="seconds" type="number" min="0.1" step="any" value="5"> s
  at <input name="hz" type="number" min="1" step="any" value="99"> ticks a second,
  awaits <select name="awaits"><option>sampled<option>exact</select>
  <button name="start">and open it in the Perfetto UI</button>
</form>
<p><output></output> <button id="open" hidden>Open in the Perfetto UI</button>
  <a id="save" hidden>Save the trace</a></p>
<dl>
  <dt><a href="fgtrace?seconds=5">fgtrace?seconds=5</a>
  <dd>A trace. Also <code>hz</code>, <code>format</code>, <code>awaits</code>, <code>state_frames</code>,
    <code>threads</code>, <code>tasks</code>, <code>tracks</code>, <code>lines</code>,
    <code>include_self</code>; or <code>last</code>: the last seconds, this many, of a flight recorder.
  <dt><a href="fgprof?seconds=5">fgprof?seconds=5</a>
  <dd>A wall-clock profile for <code>go tool pprof</code>; <code>format=folded</code> or
    <code>speedscope</code>.
  <dt><a href="tasks">tasks</a>
  <dd>What every task does right now; <code>format=json</code>.
</dl>
<script>{_SCRIPT}</script>
</html>
""".encode()


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
