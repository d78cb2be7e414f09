"""The one place that does network I/O: requests, on connections that another thread can wake."""
