"""
The most that a server may send.

No answer makes the client use memory or time without bounds, whether the server is broken or hostile. Each limit is far
above anything that an honest server sends.
"""

from __future__ import annotations

_MIB = 1024 * 1024

# A body.

#: bytes of an answer, except an event stream. The longest is a chat with all of its messages.
ANSWER_LIMIT = 64 * _MIB
#: bytes of a line between two chunks, which has a size and seldom an extension.
CHUNK_LINE_LIMIT = 8192
#: digits of the size of a chunk; more would be a size that no machine can hold.
CHUNK_DIGITS_LIMIT = 15

# An event stream.

#: bytes of one event; the final event of an answer of a million tokens has 5 million.
EVENT_LIMIT = 64 * _MIB
#: lines of one event, without comments; Open-Assistant sends one. sseclient-py takes quadratic time for them.
EVENT_LINES_LIMIT = 100
#: characters of the text of an answer, which the client keeps, as tokens and in the message.
TEXT_LIMIT = 64 * _MIB
#: bytes, and seconds, that the client reads on for the end of the body after the last event, to keep the connection.
DRAIN_BYTES, DRAIN_SECONDS = 64 * 1024, 0.05

# A value.

#: characters of an id, which goes into paths; the real ids have 36.
ID_LIMIT = 200
#: cookies, and characters in all of them, that a server may set; the client sends them with each request.
COOKIE_LIMIT, COOKIES_SIZE = 50, 16 * 1024
#: seconds of a Retry-After header, a year; `time.sleep` refuses some higher values.
LONGEST_RETRY_AFTER = 366 * 86400.0
#: levels of the JSON that explains an error; deeper JSON stays text, as it cannot be printed and pickled everywhere.
DEPTH_LIMIT = 50
#: characters of that explanation that a message repeats; all of it is in `APIError.detail`.
DETAIL_LIMIT = 2000
