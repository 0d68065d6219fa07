"""The use cases of identity, by concept."""
