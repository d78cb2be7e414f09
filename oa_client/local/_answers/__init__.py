"""How an answer is made: the rules, the queue, the work, its events."""
