"""Which server, and what signs its requests: credentials in every form that people have them."""
