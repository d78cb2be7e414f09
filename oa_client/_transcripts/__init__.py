"""The messages of a chat: as a tree, and as a file."""
