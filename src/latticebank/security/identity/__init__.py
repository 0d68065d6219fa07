"""Identity: who someone is to the bank, by which sessions and devices, and with which rights.

Owns users with their sealed profiles, devices with the evidence of their enrolment, sessions, staff proposals and the
rights they lead to, and the counters against guessing. Issues the internal tokens by which services know callers.
Port 8001; database `identity`; calls keys and the ledger; publishes the events of `events`, consumes nothing.
"""
