"""How the two servers look from outside: routes, bodies, refusals, and the chat page."""
