"""Signals while a model is loaded: the process ends, or goes on with its next call, and never hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from oa_client.local import MODEL, LocalServer
from tests.local.gguf import TEMPLATE, write_gguf
from tests.local.test_embedded import Chunks, fake_runtime, real

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")

MOST_SECONDS = 200  # until a process counts as one that hangs: the machine may be busy
SCRIPT = "from oa_client import Client; client = Client(); client.ask('Count to a hundred.')"
COMMANDS = {
    "script": ("-c", SCRIPT),
    "serve": ("-m", "oa_client", "serve", "--json"),
    "ask": ("-m", "oa_client", "ask", "Count to a hundred."),
}
UP = {"script": "no address given", "serve": '{"url"', "ask": "no address given"}


class AlarmError(Exception):
    """What the handler of a job queue may raise."""


@pytest.fixture
def handler() -> Iterator[None]:
    """SIGUSR1 raises `AlarmError`, as long as the test runs."""

    def alarm(number: int, frame: FrameType | None) -> None:
        raise AlarmError

    before = signal.signal(signal.SIGUSR1, alarm)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGUSR1, AlarmError)])
def test_a_signal_never_strikes_where_a_model_is_made(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, number: int, error: type[BaseException]
) -> None:
    """What its handler raises comes out of `start`, the model goes where no handler runs, and `start` works again."""
    path = write_gguf(tmp_path / "tiny.gguf", {"llama.context_length": 512, **TEMPLATE})
    places: list[threading.Thread] = []
    strikes = [number]
    gone = threading.Event()

    class Struck(Chunks):
        def __init__(self, _: object) -> None:
            super().__init__()
            places.append(threading.current_thread())
            if strikes:
                signal.pthread_kill(threading.main_thread().ident or 0, strikes.pop())

        def __del__(self) -> None:
            places.append(threading.current_thread())
            gone.set()

    fake_runtime(monkeypatch, Struck)
    server = LocalServer(model=path)
    with pytest.raises(error):
        server.start()
    server.start()
    with server:
        assert server.url
    assert gone.wait(MOST_SECONDS)
    assert threading.main_thread() not in places


@real
@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="looks into processes by Linux's way")
@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("script", signal.SIGINT),
        *((mode, number) for mode in ("serve", "ask") for number in (signal.SIGINT, signal.SIGTERM)),
    ],
)
@pytest.mark.parametrize(
    "moment",
    [
        # While the model is loaded.
        MODEL.path.name,
        "a thread more",
        *(
            pytest.param(moment, marks=pytest.mark.full)
            for moment in (" requests\n", " uvicorn\n", " xllamacpp\n", "up")
        ),
    ],
    ids=str.strip,
)
def test_a_process_ends_whenever_a_signal_comes(tmp_path: Path, mode: str, number: signal.Signals, moment: str) -> None:
    """It comes during the imports, the load or the answer; a command ends with 130 or 143, without a traceback."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OA_")}
    output = tmp_path / "output"
    moment = UP[mode] if moment == "up" else moment
    # Each import writes a line, by which the process is seen to have come so far.
    command = [sys.executable, "-X", "importtime", *COMMANDS[mode]]
    with (
        output.open("wb") as file,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        ) as process,
    ):
        _wait_for(process, moment, output, UP[mode])
        process.send_signal(number)
        try:
            process.wait(MOST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    # A script's status is Python's own: -2 or 1, or 0 if it swallowed the error in a finalizer of an import.
    if mode != "script":
        assert process.returncode == 128 + number
        assert "Traceback" not in output.read_text()


def _wait_for(process: subprocess.Popen[bytes], moment: str, output: Path, up: str) -> None:
    """Wait until a process has printed or opened something, or has a thread more than when it opened the model."""
    threads = None
    while True:
        assert process.poll() is None, output.read_text()
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        seen = output.read_text() + maps
        if moment in seen or up in seen:
            return
        if MODEL.path.name in maps:
            count = len(os.listdir(f"/proc/{process.pid}/task"))
            threads = threads or count
            if count > threads:
                return


@real
def test_a_cell_that_is_interrupted_leaves_a_good_kernel() -> None:
    """The model goes on loading, and the next cell is answered by it."""
    manager_module = pytest.importorskip("jupyter_client.manager")
    manager, kernel = manager_module.start_new_kernel(env={**os.environ, "PYTHONWARNINGS": "ignore"})
    try:
        code = "from oa_client import Client\nclient = Client()\nprint('go')\nclient.list_models()"
        kernel.execute(code, stop_on_error=False)
        while kernel.get_iopub_msg(timeout=MOST_SECONDS)["content"].get("text") != "go\n":
            pass
        manager.interrupt_kernel()
        kernel.get_shell_msg(timeout=MOST_SECONDS)
        reply = kernel.execute_interactive(
            "[model.name for model in client.list_models()]", timeout=MOST_SECONDS, output_hook=lambda message: None
        )
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)

    assert reply["content"]["status"] == "ok"
