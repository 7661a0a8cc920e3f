"""Composing the configuration: typed nodes, checks, messages."""
