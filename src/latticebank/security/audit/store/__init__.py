"""All SQL of audit. Every statement names the book first, as every key of a table does."""
