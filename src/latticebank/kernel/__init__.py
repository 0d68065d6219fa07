"""What every service stands on: settings, database and unit of work, outbox and event bus, HTTP plumbing, policy."""
