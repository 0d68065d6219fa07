"""The use cases of audit."""
