"""The stage store: files, keys, entries, committed layers."""
