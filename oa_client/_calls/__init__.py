"""One request of a user, from its first call to its last: clocks, turns, the reply, the clean-up."""
