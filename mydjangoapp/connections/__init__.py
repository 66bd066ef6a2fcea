"""The servers that the app talks to: Redis, the message broker, the database."""
