"""The embedded PostgreSQL, tried with real servers, real kills and real full disks."""
