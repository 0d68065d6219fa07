"""The SQL of identity. Every statement names the book first, as every key does."""
