"""
The clients for async code: the blocking ones, in threads.

Nothing is implemented twice: an ordinary call is a blocking call in a thread. Only the reading of a stream is more than
that, because a hop for each token would cost ten times as much as the token. It works like this:

- The user's tasks use `client`, `chat`, `stream` and `items`, in the event loop.
- `loop` is that event loop, and the threads of anyio's that a client may have in it. Any thread may call `Loop.set`, to
  wake tasks; all else is for the event loop.
- `poller` is the one thread that reads all replies of a client, whenever bytes of one are there. It makes no calls, and
  waits for nothing else. Any thread may hand it a reply.
- `feed` is one reply on its way into the event loop. At each moment one thread is at work on it, or nobody is; its head
  says which thread may call what.
"""
