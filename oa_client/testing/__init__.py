"""
Test your own program against an Open-Assistant that answers what you tell it, and fails how you tell it.

    from oa_client.testing import Drop

    def test_my_bot(oa_server):
        oa_server.reply("Hello!", tokens=["Hel", "lo!"], fault=Drop(after=1))
        assert my_bot.ask(oa_server.url, **oa_server.credentials) == "Hello!"

With the extra `testing` pytest has the fixtures `oa_server`, `oa_client` and `oa_async_client`.
Without pytest, `OAServer` is a context manager.
"""

try:
    from oa_client.testing._answer import Reply
    from oa_client.testing._faults import (
        AnswerFault,
        CallFault,
        Cancelled,
        Cut,
        Drop,
        ErrorEvent,
        Pause,
        Pings,
        Queued,
        RateLimit,
        Refuse,
        Stall,
        Then,
        TimedOut,
    )
    from oa_client.testing._routes import Request, Route, Surface
    from oa_client.testing._script import Function, SeenChat
    from oa_client.testing._server import OAServer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"oa_client.testing needs an extra: pip install 'oa-client[testing]' ({error})", name=error.name
    ) from error

__all__ = [
    "AnswerFault",
    "CallFault",
    "Cancelled",
    "Cut",
    "Drop",
    "ErrorEvent",
    "Function",
    "OAServer",
    "Pause",
    "Pings",
    "Queued",
    "RateLimit",
    "Refuse",
    "Reply",
    "Request",
    "Route",
    "SeenChat",
    "Stall",
    "Surface",
    "Then",
    "TimedOut",
]
