"""A witness of transparency logs (C2SP tlog-witness): run by somebody else than the bank whose log it watches.

It remembers the latest checkpoint of each log that its policy names, and cosigns a later one only with proof that nothing
of the log was changed or taken away. It uses nothing of the bank but its cryptography.
"""
