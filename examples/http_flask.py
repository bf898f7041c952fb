"""
A Flask application that is traced over HTTP while it serves.

    python examples/http_flask.py [OUT] [--port PORT] [--stay]

The program requests a trace of itself, and some users meanwhile. With --stay it goes on until Ctrl-C: open
the page that it prints, or send requests yourself:

    curl 'http://127.0.0.1:8081/debug/fgtrace?seconds=5' >trace.json
    go tool pprof 'http://127.0.0.1:8081/debug/fgprof?seconds=5'

Open the trace in https://ui.perfetto.dev: the server's threads are `idle` or serve a user, and one serves
the trace. Any WSGI server works, with one more thread than it needs otherwise; waitress is a small one that
reports when a client goes away (`channel_request_lookahead`).
"""

import argparse
import threading
import time
from urllib.request import urlopen, urlretrieve

import flask
from waitress.server import create_server

import fgtrace.wsgi

app = flask.Flask(__name__)
app.wsgi_app = fgtrace.wsgi.DebugMiddleware(app.wsgi_app)  # type: ignore[method-assign]


@app.route("/users/<number>")
def user(number: str) -> str:
    time.sleep(0.05)
    return f"user {number}\n"


def ask_for_users(url: str, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        urlopen(f"{url}/users/{number}").read()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", default="http_flask.json")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--stay", action="store_true")
    options = parser.parse_args()

    server = create_server(app, host="127.0.0.1", port=options.port, threads=5, channel_request_lookahead=1)
    serving = threading.Thread(target=server.run, name="server", daemon=True)
    serving.start()
    url = f"http://127.0.0.1:{server.effective_port}"

    stop = threading.Event()
    asking = threading.Thread(target=ask_for_users, args=(url, stop), name="client")
    asking.start()
    urlretrieve(f"{url}/debug/fgtrace?seconds=1", options.out)
    stop.set()
    asking.join()
    print(f"{options.out}: open it at https://ui.perfetto.dev")

    if options.stay:
        print(f"{url}/debug/ until Ctrl-C", flush=True)
        serving.join()


if __name__ == "__main__":
    main()
