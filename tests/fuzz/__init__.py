"""Looks for inputs that crash, hang or fool what reads strangers' bytes (docs/fuzzing.md)."""
