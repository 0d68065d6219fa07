"""Money, identifiers, time and errors: pure values that every room may use and that use no room."""
