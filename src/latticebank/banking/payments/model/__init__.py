"""The rules of payments: their states, the limits, the reasons, and what a stored signature must prove. Pure."""
