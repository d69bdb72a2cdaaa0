"""Readers: one capture format a file, each with `detect(path) -> bool` and `read(path, ...) -> Capture`."""
