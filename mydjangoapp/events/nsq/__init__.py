"""Events on NSQ (https://nsq.io): published over nsqd's HTTP, taken over its TCP protocol.

Own code, because no kept Python client can be used from a program that handles a message in its own
thread for as long as it takes. pynsq 0.9.1 needs Tornado's loop, which a handler stops, heartbeats with
it (nsqio/pynsq issues 104, 151), and its Reader connects again after close() (issue 196); ansq 0.3.0
and asyncnsq 1.2.1 want an asyncio loop of their own beside Django and never send CLS; gnsq 1.0.2 wants
gevent; nsq-py's close() closes nothing on Python 3. None has had a release for three years.

The protocol: https://nsq.io/clients/tcp_protocol_spec.html.
"""
