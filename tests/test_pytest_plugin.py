"""The pytest plugin, as the people see it who use it: whole test files, run by pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import pytest_oa_client
from oa_client.testing import AnswerFault, CallFault, OAServer, Route

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for tests, in which every warning is an error."""
    with OAServer():
        pass  # What is imported now need not be imported again by each run in this process.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of this checkout, whichever is installed
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\naddopts = -p pytest_oa_client --strict-markers\nfilterwarnings = error\n")
    return pytester


def test_first_test(inner: pytest.Pytester) -> None:
    """A program is tested with what the fixture says of the server, and a client of it is there."""
    inner.makepyfile(
        """
        import requests
        from oa_client import Client

        def test_bot(oa_server, oa_client):
            oa_server.reply("Hello", tokens=["Hel", "lo"])
            oa_server.reply("Bye")
            with Client(oa_server.url, **oa_server.credentials) as client:
                assert list(client.stream("Hi")) == ["Hel", "lo"]
            assert str(oa_client.ask("Bye")) == "Bye"
            assert oa_server.prompts == ["Hi", "Bye"]

        def test_fresh(oa_server):
            assert oa_server.requests == oa_server.chats == []
        """
    )

    inner.runpytest_inprocess().assert_outcomes(passed=2)


def test_question_without_a_reply(inner: pytest.Pytester) -> None:
    """The test fails, and says which question it was, also if the program lets nothing out."""
    inner.makepyfile(
        """
        from oa_client import OAError

        def test_bot(oa_client):
            try:
                oa_client.ask("What is this?")
            except OAError as error:
                assert "the test has no reply to 'What is this?'" in str(error)
        """
    )
    result = inner.runpytest_inprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*oa_server: nobody scripted an answer to 'What is this?'*"])


def test_reply_without_a_question(inner: pytest.Pytester) -> None:
    """The test fails; if it has failed already, that is all that is said."""
    inner.makepyfile(
        """
        def test_forgotten(oa_server):
            oa_server.reply("Hello")

        def test_failed(oa_server):
            oa_server.reply("Hello")
            assert False
        """
    )
    result = inner.runpytest_inprocess()

    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*oa_server: nobody asked for the reply 'Hello'*"])


def test_setup_that_fails(inner: pytest.Pytester) -> None:
    """What another fixture could not do is all that is said, not that its replies were not used."""
    inner.makepyfile(
        """
        import pytest

        @pytest.fixture
        def program(oa_server):
            oa_server.reply("Hello")
            assert False, "there is no program"

        def test_it(program):
            pass
        """
    )
    result = inner.runpytest_inprocess()

    result.assert_outcomes(errors=1)
    result.stdout.no_fnmatch_line("*nobody asked for*")


def test_a_test_that_is_run_again(inner: pytest.Pytester) -> None:
    """What is left is said of the last run, whatever came of the one before."""
    inner.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            runtestprotocol(item, log=False, nextitem=nextitem)
            for report in runtestprotocol(item, log=False, nextitem=nextitem):
                item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )
    inner.makepyfile(
        """
        runs = []

        def test_it(oa_server):
            oa_server.reply("Hello")
            runs.append(1)
            assert len(runs) == 2
        """
    )
    result = inner.runpytest_inprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*oa_server: nobody asked for the reply 'Hello'*"])


def test_marker_of_the_surface(inner: pytest.Pytester) -> None:
    """One surface is chosen, two run the test twice; there are fixtures that do the same."""
    inner.makepyfile(
        test_marked="""
        import pytest

        def test_default(oa_server, oa_client):
            assert oa_server.surface == "inference"

        @pytest.mark.oa_surface("website")
        def test_website(oa_server, oa_client):
            assert oa_client.list_models()
            assert oa_server.requests[0].path == "/api/chat/models"

        @pytest.mark.oa_surface("website", "inference")
        def test_both(oa_server):
            pass

        @pytest.mark.oa_surface("website", "inference")
        def test_without_a_server():
            pass
        """,
        test_fixture="""
        import pytest

        @pytest.fixture(params=["website", "inference"])
        def oa_surface(request):
            return request.param

        def test_both(oa_server, oa_surface):
            assert oa_server.surface == oa_surface
        """,
    )
    result = inner.runpytest_inprocess("-v")

    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(["*::test_both[[]website]*", "*::test_both[[]inference]*"])


@pytest.mark.parametrize("arguments", ["'web'", "", "website=True"])
def test_marker_that_is_wrong(inner: pytest.Pytester, arguments: str) -> None:
    """It is an error that names the test."""
    inner.makepyfile(
        f"""
        import pytest

        @pytest.mark.oa_surface({arguments})
        def test_it(oa_server):
            pass
        """
    )
    result = inner.runpytest_inprocess()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*::test_it: the marker oa_surface takes*"])


def test_marker_of_chats(inner: pytest.Pytester) -> None:
    """A test with it fails if a chat is left, after the fixture's client is closed; others do not."""
    inner.makepyfile(
        """
        import pytest
        from oa_client.testing import Stall

        @pytest.mark.oa_no_chat_left
        def test_leaves(oa_client):
            oa_client.create_chat()

        @pytest.mark.oa_no_chat_left
        def test_leaves_early(oa_server, oa_client):
            oa_server.reply("Hello", fault=Stall(after=1))
            with oa_client.stream("Hi") as stream:
                assert next(stream) == "Hello"

        def test_keeps(oa_client):
            oa_client.create_chat()
        """
    )
    result = inner.runpytest_inprocess()

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_leaves *", "*chats are left on the server: *"])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async(inner: pytest.Pytester, backend: str) -> None:
    """Both fixtures serve async tests, and the client is closed without their event loop."""
    inner.makepyfile(
        f"""
        import pytest

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "{backend}"

        @pytest.mark.oa_no_chat_left
        async def test_bot(oa_server, oa_async_client):
            oa_server.reply("Hello there")
            assert [text async for text in oa_async_client.stream("Hi")] == ["Hello", " there"]

        @pytest.mark.oa_no_chat_left
        async def test_closed(oa_server, oa_async_client):
            oa_server.reply("Hello there")
            async with oa_async_client.stream("Hi") as stream:
                assert await anext(stream) == "Hello"
            await oa_async_client.aclose()

        @pytest.mark.oa_no_chat_left
        async def test_left_open(oa_server, oa_async_client):
            oa_server.reply("Hello there")
            stream = oa_async_client.stream("Hi")
            assert await anext(stream) == "Hello"
        """
    )

    inner.runpytest_inprocess("-p", "anyio").assert_outcomes(passed=3)


def test_several_processes(inner: pytest.Pytester) -> None:
    """It works with pytest-xdist."""
    inner.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(8))
        def test_it(oa_server, oa_client, number):
            oa_server.reply(str(number))
            assert str(oa_client.ask("Hi")) == str(number)
        """
    )

    inner.runpytest_subprocess("-n", "2", "-p", "xdist").assert_outcomes(passed=8)


def test_nothing_is_left(inner: pytest.Pytester) -> None:
    """After a test there is no thread and no socket that was not there before, whatever stalls."""
    inner.makepyfile(
        """
        import gc, os, threading
        import pytest, requests
        from oa_client.testing import Stall

        FOLDER = "/proc/self/fd"

        def sockets():
            gc.collect()
            names = [os.path.join(FOLDER, name) for name in os.listdir(FOLDER)]
            return sorted(os.readlink(name) for name in names if os.path.islink(name) and "socket" in os.readlink(name))

        @pytest.fixture
        def nothing_left():
            before = threading.active_count(), sockets()
            yield
            assert (threading.active_count(), sockets()) == before

        @pytest.mark.skipif(not os.path.isdir(FOLDER), reason="there is no /proc here")
        @pytest.mark.parametrize("number", range(2))
        def test_it(nothing_left, oa_server, oa_client, number):
            oa_server.reply("Hello there", fault=Stall(after=1))
            stream = oa_client.stream("Hi")
            assert next(stream) == "Hello"
            oa_server.fail("models", Stall())
            with pytest.raises(requests.Timeout):
                requests.get(oa_server.url + "/configs/model_configs", timeout=0.05)
        """
    )

    inner.runpytest_subprocess().assert_outcomes(passed=2)


def test_without_the_extra(inner: pytest.Pytester) -> None:
    """The fixture says how to install it."""
    inner.makepyfile(
        """
        import sys

        def test_no_web(oa_server):
            pass
        """
    )
    inner.makeconftest("import sys\nsys.modules['uvicorn'] = None\n")
    result = inner.runpytest_subprocess()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pip install 'oa-client[[]testing]'*"])


def test_markers_are_listed(inner: pytest.Pytester) -> None:
    """`pytest --markers` explains them."""
    inner.runpytest_inprocess("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.oa_surface(*surfaces)*", "@pytest.mark.oa_no_chat_left*"]
    )


PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", [pytest.param(block, id=str(index)) for index, block in enumerate(BLOCKS)])
def test_documentation(inner: pytest.Pytester, block: str) -> None:
    """Each block of the page is a test file that passes."""
    inner.makepyfile(block)
    outcomes = inner.runpytest_inprocess().parseoutcomes()

    assert set(outcomes) == {"passed"}


def test_documentation_names_everything() -> None:
    """The page has every fault and every route."""
    faults = {fault.__name__ for fault in (*get_args(AnswerFault), *get_args(CallFault))}
    routes = set(get_args(Route)) - {"other"}

    assert sorted(name for name in faults if f"{name}(" not in PAGE) == []
    assert sorted(name for name in routes if f"`{name}`" not in PAGE) == []


def test_it_costs_nothing_when_it_is_not_used() -> None:
    """Importing the plugin imports nothing of the package."""
    code = (
        f"import sys, pytest; sys.path.insert(0, {str(ROOT)!r}); import pytest_oa_client\n"
        "print([name for name in ('oa_client', 'requests', 'anyio', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
    assert pytest_oa_client.__doc__
