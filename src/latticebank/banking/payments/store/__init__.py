"""All SQL of payments. Every function works within the unit of work or the reading transaction that it is given."""
