"""Security: who people are, the bank's keys, certificates, and the log of what the bank did."""
