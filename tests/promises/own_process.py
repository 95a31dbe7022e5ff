"""Runs pieces of code, each in a process of its own, and says how each ended.

A server is a process that has imported fastff and used its kernels once. It forks a child for each piece, which begins
within milliseconds; where there is no fork, each piece has a new interpreter. A piece ends well if it runs through, or
with one clear line: an error that fastff raises on purpose, or one that Python or NumPy raises in the piece's own code,
such as the TypeError of a call with unknown arguments. All else is a finding.
"""

import contextlib
import faulthandler
import gc
import importlib.util
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
PATIENCE = 10.0  # seconds that a piece may take
MEMORY = 16 << 30  # bytes of address space that it may take; fences take most of it
LENIENT = "# not by the public API"
CODE = "<misuse>"  # the file name of a piece in tracebacks
# The fastff that this process would import, so that tests of an installed one are not of the checkout's beside them.
_SPEC = importlib.util.find_spec("fastff")
HOME = Path(_SPEC.origin).resolve().parents[1] if _SPEC and _SPEC.origin else HERE.parents[2]
ROOTS = [str(HOME / name) + os.sep for name in ("fastff", "kernels")]
WARM_UP = """
for kind in ("plain", "all", "own"):
    net = network(kind)
    for rows in (X, X.astype(np.float64), (X * 9 + 99).astype(np.uint8)):
        sound(net, rows)
        sound(net, rows[:3])
    for settings in ({}, {"monitor": "val_loss"}, {"threads": 2, "optimizer": SGD(0.5)}):
        fit(trainer(net=net, **settings))
    net.backward(np.ones(net.forward(X).shape, np.float32))
    net.step(0.001)
    net.layers[-1].grad_weights
together(lambda: 0, lambda: 0)
if MLPClassifier is not None:
    MLPClassifier((9,), max_iter=2).fit(MANY, MANY[:, 0] > 0).predict(MANY)
    MLPRegressor((9,), max_iter=2).fit(MANY, MANY[:, :2])
"""


@dataclass
class End:
    """How a piece ended: "right", "refused", "crash", "hang", "wrong" or "error"; and what is to be said of it."""

    how: str
    message: str = ""

    @property
    def good(self) -> bool:
        return self.how in ("right", "refused")


class Server:
    """A context; `run` runs a piece of code in a process of its own."""

    def __enter__(self) -> "Server":
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        environment["PYTHONPATH"] = os.pathsep.join([str(HOME), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, str(HERE)]
        self._folder = tempfile.TemporaryDirectory()  # for what a piece saves under some name
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, env=environment, cwd=self._folder.name, **pipes)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        self._folder.cleanup()

    def run(self, code: str) -> End:
        """Run a piece. One with LENIENT reaches behind the public API: only its crash or hang is a finding."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(code).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server of misuses has ended with {self._process.wait()}")
        end = End(*json.loads(line))
        return End("refused", end.message) if LENIENT in code and end.how in ("wrong", "error") else end


def run_code(code: str, names: dict[str, Any]) -> End:
    """Run a piece in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(code, CODE, "exec"), names)
            names.clear()
            gc.collect()
        except BaseException as error:
            return judged(error)
    return End("right")


def judged(error: BaseException) -> End:
    """What an exception is worth that came out of a piece."""
    from misused import FastffError, Mine, Wrong

    text = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames[-5:]))
    if isinstance(error, Wrong):
        return End("wrong", str(error))
    if isinstance(error, FastffError):
        bad = "\n" in str(error) or not str(error).strip()
        return End("error", f"not one line: {text!r}") if bad else End("refused", text)
    if isinstance(error, Mine | FrozenInstanceError):
        return End("refused", text)
    # what stands around a call to refuse unknown arguments is as the call itself
    frames = [f for f in frames if f.filename.rpartition("fastff" + os.sep)[2] != f"system{os.sep}names.py"]
    own = [f for f in frames if f.filename.startswith(tuple(ROOTS))]
    last = frames[-1].filename if frames else ""
    innermost_own = bool(own) and last.startswith(tuple(ROOTS))
    raised = innermost_own and (frames[-1].line or "").startswith("raise ")
    kinds = (AttributeError, ValueError, RuntimeError) if f"fastff{os.sep}sklearn" in last else AttributeError
    if raised and isinstance(error, kinds) and "\n" not in str(error):
        return End("refused", text)
    if isinstance(error, Exception) and f"{os.sep}sklearn{os.sep}" in last and not innermost_own:
        return End("refused", text)  # scikit-learn's own checks
    if not own or last in (CODE, str(HERE.with_name("misused.py"))):
        return End("refused", text)  # by Python or NumPy, in the user's own code
    return End("error", f"{text}  [{where}]")


def _child(code: str, names: dict[str, Any], report: int, log: Any) -> None:
    """Run a piece as the server's child, and end."""
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    faulthandler.enable(log)
    with contextlib.suppress(ImportError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if fence is not None:
        fence()
        if ".base" not in code:  # which must be the package's own
            panels.aligned = fenced.aligned
    end = run_code(code, names)
    os.write(report, json.dumps([end.how, end.message[:2000]]).encode())
    os._exit(0)


def _forked(code: str, names: dict[str, Any]) -> End:
    with tempfile.TemporaryFile() as log:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                _child(code, names, writing, log)
            finally:
                os._exit(9)
        os.close(writing)
        said, hangs, deadline = b"", False, time.monotonic() + PATIENCE
        while True:
            ready, _, _ = select.select([reading], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                hangs = True
                os.kill(child, signal.SIGABRT)  # faulthandler then says where it stands
                time.sleep(0.3)
                os.kill(child, signal.SIGKILL)
                break
            part = os.read(reading, 1 << 16)
            if not part:
                break
            said += part
        os.close(reading)
        _, status = os.waitpid(child, 0)
        log.seek(0)
        trace = _places(log.read().decode(errors="replace"))
    if hangs:
        return End("hang", f"not over after {PATIENCE:g} s  [{trace}]")
    if os.WIFSIGNALED(status):
        return End("crash", f"{signal.Signals(os.WTERMSIG(status)).name}  [{trace}]")
    return End(*json.loads(said)) if said else End("crash", f"ended with {os.WEXITSTATUS(status)}  [{trace}]")


def _places(log: str) -> str:
    """Where the threads stood, from what faulthandler wrote, in one line."""
    threads = []
    for block in re.split(r"\n(?=(?:Current t|T)hread )", log)[1:]:
        frames = re.findall(r'File "(.*?)", line (\d+) in (\S+)', block)
        threads.append(" < ".join(f"{Path(file).name}:{line} {name}" for file, line, name in frames[:6]))
    return "  |  ".join(threads[:3])


def _alone(code: str) -> End:
    """Run a piece in a new interpreter, where there is no fork."""
    command = [sys.executable, str(HERE), "--one"]
    try:
        done = subprocess.run(command, input=code.encode(), capture_output=True, timeout=60 + PATIENCE)
    except subprocess.TimeoutExpired:
        return End("hang", "not over in time")
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        return End("crash", f"ended with {done.returncode}  [{_places(done.stderr.decode(errors='replace'))}]")
    return End(*json.loads(lines[-1]))


def _serve() -> None:
    """Run the pieces that standard input has, a line each, and say on standard output how they ended."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        code = json.loads(line)
        end = _forked(code, dict(vars(misused))) if hasattr(os, "fork") else _alone(code)
        answers.write(json.dumps([end.how, end.message]).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    import fenced
    import misused

    from fastff.engine import panels

    if sys.argv[1:] == ["--one"]:
        faulthandler.enable()
        ended = run_code(sys.stdin.read(), dict(vars(misused)))
        print("\n" + json.dumps([ended.how, ended.message[:2000]]), flush=True)
        os._exit(0)
    if hasattr(os, "fork"):
        warmed = run_code(WARM_UP, dict(vars(misused)))
        if not warmed.good:
            sys.exit(f"the warm-up does not work: {warmed}")
        fence = fenced.build()
        gc.collect()
        gc.freeze()  # so that collecting in a child does not copy all there is
    _serve()
