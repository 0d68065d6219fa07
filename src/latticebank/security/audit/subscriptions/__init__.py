"""The events that audit consumes, and the entries that they lead to: one room for each service that publishes them."""
