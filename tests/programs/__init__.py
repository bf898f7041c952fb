"""
Programs that must run under ``fgtrace run`` as they do without.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CASES", "Case", "one"]

#: One line, wherever the signal comes; naps, for a signal just before a long sleep does not end it.
SLEEP = "for nap in range(1000): nap or print('ready', flush=True); time.sleep(0.05)"

#: 3.13 counts the threads when a fork is over, and so the tracer's, which is back by then.
FORK_FLAGS = ("-W", "ignore::DeprecationWarning") if sys.version_info[:2] == (3, 13) else ()

#: Forced where threads, forks and signals meet the core's own; else the one that serves by itself.
BOTH = ("", "python")


@dataclass(frozen=True, kw_only=True)
class Case:
    """
    A program, and how it is run.
    """

    files: Mapping[str, str]
    command: tuple[str, ...] = ("prog.py",)
    stdin: str = ""
    signal: signal.Signals | None = None  # sent when the program says "ready"
    killed: bool = False
    flags: tuple[str, ...] = ()
    code: int = 0
    cores: tuple[str, ...] = ("",)


def one(source: str, *arguments: str, **more: object) -> Case:
    return Case(files={"prog.py": source}, command=("prog.py", *arguments), **more)  # type: ignore[arg-type]


CASES = {
    "plain": one("print('hello')"),
    "argv": one("import sys; print(sys.argv)", "-q", "--hz", "3", "--", "-m", "ä b"),
    "paths": one("import sys; print(sys.path, __file__)"),
    "safe-path": one("import sys; print(sys.path)", flags=("-P",)),
    "names-of-main": one(
        """
        'Words.'
        for name, value in list(globals().items()):
            print(name, value if isinstance(value, (str, dict, type(None))) else type(value))
        """
    ),
    "name-is-main": one("if __name__ == '__main__': print(__import__('sys').modules['__main__'].__name__)"),
    "no-file-at-exit": one("import atexit; atexit.register(lambda: print('__file__' in globals()))"),
    "exit-code": one("raise SystemExit(3)", code=3, cores=BOTH),
    "exit-none": one("import sys; sys.exit()"),
    "exit-text": one("import sys; sys.exit('no more')", code=1),
    "exit-object": one("import sys; sys.exit([1, 2])", code=1),
    "exception": one("def f(): return 1 / 0\nf()", code=1, cores=BOTH),
    "exception-chain": one(
        """
        try:
            {}['a']
        except KeyError as error:
            raise ValueError('b') from error
        """,
        code=1,
    ),
    "exception-at-import": Case(files={"prog.py": "import other", "other.py": "1 / 0"}, code=1),
    "missing-import": one("import no_such_module", code=1),
    "syntax-error": one("print(1)\nif if\n", code=1),
    "last-error": one(
        """
        import atexit, sys, traceback
        atexit.register(lambda: traceback.print_tb(sys.last_traceback, file=sys.stdout))
        1 / 0
        """,
        code=1,
    ),
    "keyboard-interrupt": one("raise KeyboardInterrupt", code=-signal.SIGINT, cores=BOTH),
    "sigint": one("import time\n" + SLEEP, signal=signal.SIGINT, code=-signal.SIGINT, cores=BOTH),
    "sigint-handled": one(
        f"import time\ntry:\n  {SLEEP}\nexcept KeyboardInterrupt: print('bye')",
        signal=signal.SIGINT,
    ),
    "sigterm": one(
        "import time\n" + SLEEP, signal=signal.SIGTERM, code=-signal.SIGTERM, killed=True, cores=BOTH
    ),
    "signal-handlers": one("import signal; print([signal.getsignal(each) for each in (2, 13, 15)])"),
    "os-exit": one("import os; print('a', flush=True); os._exit(4)", code=4, killed=True, cores=BOTH),
    "own-excepthook": one(
        """
        import sys, traceback
        def hook(kind, error, tb):
            print(kind, error, sys.exc_info(), sys.excepthook is hook)
            print(traceback.format_tb(tb), traceback.format_exception(error))
        sys.excepthook = hook
        1 / 0
        """,
        code=1,
    ),
    "broken-excepthook": one(
        "import sys\ndef hook(*_): {}[1]\nsys.excepthook = hook\n1 / 0",
        code=1,
    ),
    "exiting-excepthook": one("import sys\nsys.excepthook = lambda *_: sys.exit(7)\n1 / 0", code=7),
    "missing-excepthook": one("import sys\ndel sys.excepthook\n1 / 0", code=1),
    "stdin": one("import sys; print(input(), sys.stdin.read())", stdin="a\nb\nc"),
    "program-from-stdin": Case(
        files={}, command=("-", "a"), stdin="import sys; print(sys.argv, __name__)\n1 / 0", code=1
    ),
    "module": Case(
        files={"mod.py": "import sys; print(sys.argv, sys.path[0], __spec__.name, __package__)"},
        command=("-m", "mod", "--flag", "-o", "x", "--"),
    ),
    "module-exception": Case(files={"mod.py": "1 / 0"}, command=("-m", "mod"), code=1),
    "module-interrupt": Case(
        files={"mod.py": "raise KeyboardInterrupt"}, command=("-m", "mod"), code=-signal.SIGINT
    ),
    "package": Case(
        files={
            "pkg/__init__.py": "import sys; print(sys.argv)",
            "pkg/__main__.py": "print(__name__, __package__)",
        },
        command=("-m", "pkg", "a"),
    ),
    "relative-import": Case(
        files={
            "pkg/__init__.py": "",
            "pkg/a.py": "x = 1",
            "pkg/b.py": "from .a import x\nprint(x, __spec__.name)",
        },
        command=("-m", "pkg.b"),
    ),
    "directory": Case(
        files={"app/__main__.py": "import near, sys; print(sys.argv, sys.path[0])", "app/near.py": ""},
        command=("app", "a"),
    ),
    "safe-directory": Case(
        files={"app/__main__.py": "import near, sys; print(sys.argv, sys.path[0])", "app/near.py": ""},
        command=("app", "a"),
        flags=("-P",),
    ),
    "neighbour": Case(
        files={"sub/prog.py": "import near", "sub/near.py": "print(__file__)"}, command=("sub/prog.py",)
    ),
    "path-with-spaces": Case(
        files={"a dir/my prog.py": "print(__file__)\n1/0"}, command=("a dir/my prog.py",), code=1
    ),
    "no-inherited-future": one("def f(x: print): pass\nprint(f.__annotations__)"),
    "encoding": one("# coding: latin-1\nprint('é')"),
    "warnings": one("import warnings\nwarnings.warn('old', DeprecationWarning)\nwarnings.warn('odd')"),
    "pickle-of-main-class": one(
        "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)"
    ),
    **{
        f"multiprocessing-{method}": one(
            f"""
            import multiprocessing, sys
            class A:
                x = 1
            def work(a):
                print('child', sys.argv, flush=True)
                return a
            if __name__ == '__main__':
                with multiprocessing.get_context({method!r}).Pool(1) as pool:
                    print(type(pool.map(work, [A()])[0]) is A)
                    pool.close()
                    pool.join()
            """,
            "b",
            cores=BOTH,
        )
        for method in ("fork", "spawn")
    },
    "multiprocessing-of-module": Case(
        files={
            "pkg/__init__.py": "",
            "pkg/a.py": """
                import multiprocessing
                def work():
                    print('child', __name__, flush=True)
                if __name__ == '__main__':
                    child = multiprocessing.get_context('spawn').Process(target=work)
                    child.start()
                    child.join()
                """,
        },
        command=("-m", "pkg.a"),
    ),
    "atexit": one(
        "import atexit\natexit.register(print, 'first')\natexit.register(print, 'second')\n1/0",
        code=1,
        cores=BOTH,
    ),
    "thread-outlives-main": one(
        """
        import threading
        def later():
            threading.main_thread().join()
            print('later')
        threading.Thread(target=later).start()
        print('main')
        """,
        cores=BOTH,
    ),
    "thread-exception": one("import threading\nthreading.Thread(target=lambda: 1 / 0, name='a').start()"),
    "daemon-thread": one(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()", cores=BOTH
    ),
    "fork": one(
        """
        import atexit, os, sys
        atexit.register(lambda: print('bye', flush=True))
        child = os.fork()
        if child:
            print(os.waitpid(child, 0)[1], flush=True)
        """,
        flags=FORK_FLAGS,
        cores=BOTH,
    ),
    "fork-of-fork": one(
        """
        import os
        for _ in range(2):
            child = os.fork()
            if child:
                print(os.waitpid(child, 0)[1], flush=True)
        """,
        flags=FORK_FLAGS,
    ),
    "fork-at-exit": one(
        """
        import atexit, os
        def last():
            try:
                child = os.fork()
            except RuntimeError as error:  # 3.12
                return print(error)
            if not child:
                os._exit(0)
            print(os.waitpid(child, 0)[1], flush=True)
        atexit.register(last)
        """,
        flags=FORK_FLAGS,
        cores=BOTH,
    ),
    "fork-exception": one("import os\nif os.fork(): os.wait()\nelse: 1 / 0", flags=FORK_FLAGS, cores=BOTH),
    "closed-streams": one("import sys; sys.stdout.close(); sys.stderr.close()"),
    "replaced-streams": one("import io, sys; sys.stdout = sys.stderr = io.StringIO(); print(1)"),
    "changed-directory": one("import os, sys; os.chdir('/'); sys.path.clear(); print(1)"),
}
