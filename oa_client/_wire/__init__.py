"""The protocol of both servers: every path, query and body, and how to read an answer."""
