"""The concepts and rules of identity: pure, without a database, a clock or a request."""
