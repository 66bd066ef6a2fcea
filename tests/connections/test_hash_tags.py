"""Keys of one user lie in one slot of a cluster, whatever the user's id is: asked of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from devtools.servers import RedisServer, free_port
from mydjangoapp.connections import hash_tags
from mydjangoapp.connections.redis_server import Script
from mydjangoapp.homefeed import feeds_redis, keys

PLAIN = ["1990", "0b9c7d4e-7f6f-4d4c-9d5e-3b1f0e2a7c11", "ada", "a:b", "", "ünï", "a b", "17:1990"]
WITH_BRACES = [
    "a{b}c",
    "{b}",
    "a{b",
    "a}b",
    "}",
    "{",
    "{}",
    "{}{b}",
    "}{b}",
    "a}{b",
    "a{b}c}d",
    "{{b}}",
    "x{}y",
    "a{b}:1",
]
OF_LIST = [keys.marks, keys.state, keys.rewrite, keys.next_followers, keys.next_marks, keys.running]
OF_FEED = [keys.floor, keys.token, keys.build, keys.relations, keys.likes]


@pytest.fixture(scope="module")
def cluster_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory = tmp_path_factory.mktemp("node")
    with RedisServer.at(
        directory, options=["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    ) as server:
        yield redis_py.Redis(port=server.port, protocol=2)


def private_keys(user: str) -> list[tuple[str, str]]:
    """Each private key of a user with the public key that it belongs to."""
    of_list = [make(user) for make in OF_LIST]
    of_list += [
        keys.fanout(user, 17),
        keys.built(user, 17),
        keys.left(user, 17),
        keys.followers_seen(user, "ab12"),
    ]
    of_feed = [make(user) for make in OF_FEED]
    return [(key, keys.followers(user)) for key in of_list] + [(key, keys.homefeed(user)) for key in of_feed]


@pytest.mark.parametrize("prefix", ["", "shop:"])
@pytest.mark.parametrize("user", PLAIN + WITH_BRACES)
def test_private_keys_lie_in_the_slot_of_the_public_one(
    user: str, prefix: str, cluster_node: Any, settings: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "KEY_PREFIX": prefix}
    for key, public in private_keys(user):
        assert key.startswith(prefix)
        slot = cluster_node.cluster("KEYSLOT", public)
        assert cluster_node.cluster("KEYSLOT", key) == slot == hash_tags.slot_of(public), key


def test_the_layout_of_the_design() -> None:
    assert keys.floor(1990) == "floor:{homefeed:1990}"
    assert keys.fanout(343, 17) == "fanout:{followers:343}:17"
    assert (keys.followers(343), keys.homefeed(1990)) == ("followers:343", "homefeed:1990")


def test_no_two_users_share_a_key() -> None:
    users = PLAIN + WITH_BRACES
    every_key = [key for user in users for pair in private_keys(user) for key in pair[:1]]
    assert len(set(every_key)) == len(every_key)


@pytest.mark.parametrize("prefix", ["", "shop:"])
def test_scripts_make_the_same_keys(prefix: str, redis: Any, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "KEY_PREFIX": prefix}
    home, floor, token = keys.homefeed_words()
    fragment = Script("private_key", "mydjangoapp.homefeed", feeds_redis.store).plain
    returned = "return {private_key(ARGV[2], ARGV[4]), private_key(ARGV[3], ARGV[4])}"
    script = f"local HOME = ARGV[1]\n{fragment}\n{returned}"
    for user in PLAIN + WITH_BRACES:
        made = redis.eval(script, 0, home, floor, token, user)
        assert [key.decode() for key in made] == [keys.floor(user), keys.token(user)]


def test_many_keys_are_made_as_one_is() -> None:
    users = PLAIN + WITH_BRACES
    one_by_one = [make(user) for user in users for make in (keys.homefeed, keys.floor, keys.marks)]
    assert list(keys.of_many((keys.homefeed, keys.floor, keys.marks), users)) == one_by_one


def test_there_is_a_text_for_every_slot() -> None:
    texts = [hash_tags.text_in(slot) for slot in range(hash_tags.SLOTS)]
    assert [hash_tags.slot_of(text) for text in texts] == list(range(hash_tags.SLOTS))
    assert all(set(text) <= set("@ABCDEFGHIJKLMNO") for text in texts)
