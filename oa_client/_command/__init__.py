"""The `oa-client` command."""
