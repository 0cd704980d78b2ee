"""Annotations and masks as programs save them: a reader per file."""
