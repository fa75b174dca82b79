"""Leftovers: working files that nothing names any more, found and, only if asked, removed."""
