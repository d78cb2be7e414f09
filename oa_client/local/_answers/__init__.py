"""How an answer comes about: the rules, the queue, the work, its events."""
