"""The gateway: the one door from outside. It exchanges opaque session tokens for internal ones and forwards.

Owns nothing durable; its cache of exchanged tokens lives for seconds. Port 8000; publishes and consumes nothing.
"""
