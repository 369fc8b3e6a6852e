"""The channel's client for acknowledgements."""

from worker.broker import Connection
from worker.broker_channel import Channel
from worker.local.redis_server import EmbeddedRedis


def test_its_client_is_made_once_for_each_pool_of_connections(redis_server: EmbeddedRedis) -> None:
    with Connection(redis_server.broker_url(1)) as connection:
        channel = connection.default_channel
        assert isinstance(channel, Channel)
        with channel.conn_or_acquire() as client, channel.conn_or_acquire() as again:
            assert again is client
            assert client.ping()
        assert channel.client is not client, "what reads the queue holds a connection: it must have its own"
        channel._disconnect_pools()  # type: ignore[attr-defined] # its stubs lack it
        with channel.conn_or_acquire() as after:
            assert after is not client
            assert after.ping()
