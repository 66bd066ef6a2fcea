"""Events in Redis Streams: a stream per topic, a group per channel."""
