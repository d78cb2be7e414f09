"""The two servers from outside: routes, bodies, refusals, and the chat page."""
