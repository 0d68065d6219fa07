"""What the gateway answers with: the door, and the way on to services that run elsewhere."""
