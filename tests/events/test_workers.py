"""Finding and running workers by command, in processes of their own."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from devtools.servers import wait_until
from mydjangoapp.events import Worker, action, option, publish, publish_many
from mydjangoapp.events.discovery import find
from mydjangoapp.events.registry import for_topic
from mydjangoapp.exceptions import BadEvent, UnknownWorker
from tests.events.conftest import Run, channel_of_numbers, lines, said


def test_a_worker_is_found_by_topic_and_channel(shop: None) -> None:
    worker = find("photos", "search")
    assert (worker.__name__, worker.topic, worker.channel) == ("PhotosSearchWorker", "photos", "search")
    assert [one.flags for one in worker.options()] == [("--index",)]
    assert worker().index == "main"  # type: ignore[attr-defined]


def test_a_broken_neighbour_is_a_warning(shop: None, caplog: pytest.LogCaptureFixture) -> None:
    find("photos", "search")
    assert "tests.shop/workers/torn_page_worker.py is broken and left out: RuntimeError" in caplog.text


def test_an_unknown_worker_is_an_error_that_lists_the_known_ones(shop: None) -> None:
    with pytest.raises(UnknownWorker, match=r"There are: .*numbers record, .*photos search") as caught:
        find("photos", "serach")
    assert "workers/photos_serach_worker.py" in str(caught.value)


def test_a_broken_worker_says_what_is_broken(shop: None) -> None:
    with pytest.raises(UnknownWorker, match="this file is broken"):
        find("torn", "page")


def test_names_with_hyphens_and_dots_find_their_file(shop: None) -> None:
    assert find("numbers", "record").__name__ == "NumbersRecordWorker"
    with pytest.raises(UnknownWorker, match=r"workers/my_topic_my_channel_worker\.py"):
        find("my-topic", "my.channel")
    with pytest.raises(BadEvent, match="channel: must be 1 to 64"):
        find("photos", "../secret")


def test_mistakes_in_a_worker_are_found_when_it_is_loaded() -> None:
    with pytest.raises(TypeError, match="has an action, so its name has to end in _handler"):

        class Misnamed(Worker):
            @action("a")
            def handle_it(self, message: Any) -> None: ...

    with pytest.raises(TypeError, match="both first_handler and second_handler take 'a'"):

        class Doubled(Worker):
            @action("a")
            def first_handler(self, message: Any) -> None: ...

            @action("a")
            def second_handler(self, message: Any) -> None: ...

    with pytest.raises(TypeError, match="action\\(\\) takes the actions as text"):
        action()
    with pytest.raises(TypeError, match="begins with two hyphens"):
        option("index")


def test_run_worker_takes_own_options_and_messages(run: Run, tmp_path: Path, make_users: Any) -> None:
    index = tmp_path / "index"
    run("run_worker", "photos", "search", "--index", str(index), "--from-beginning")
    for number in range(3):
        publish("photos", "photo.published", {"id": number})
        publish("photos", "photo.liked", {"id": number})
    wait_until(lambda: lines(index) == ["0", "1", "2"], seconds=30, what="the worker has taken them")


def test_run_worker_help_shows_own_options(run: Run) -> None:
    shown = run("run_worker", "photos", "search", "--help")
    wait_until(lambda: not shown.running, seconds=30, what="the help has been shown")
    assert "--index INDEX" in shown.log.read_text()
    assert "index to write to" in shown.log.read_text()
    assert "--max-in-flight N" in shown.log.read_text()


def test_run_worker_says_what_is_wrong(shop: None, redis: Any) -> None:
    with pytest.raises(CommandError, match="There is no worker for topic photos and channel none"):
        call_command("run_worker", "photos", "none")
    with pytest.raises(CommandError, match="channel: must be"):
        call_command("run_worker", "photos", "not a name")


def test_sigterm_drains(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    publish_many("numbers", "number", ({"n": n} for n in range(400)))
    worker = run("run_worker", "numbers", "record", "--to", str(file), "--pause", "0.02", "--from-beginning")
    wait_until(lambda: len(lines(file)) > 20, seconds=30, what="the worker is at work")
    worker.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]  # it was started
    wait_until(lambda: not worker.running, seconds=15, what="it has ended")
    assert worker.process.returncode == 0, worker.last_words()  # type: ignore[union-attr]
    [found] = json.loads(said("topics", "--json"))
    assert found["in_flight"] == 0
    assert found["depth"] + found["deferred"] == 400 - len(lines(file))
    run("run_worker", "numbers", "record", "--to", str(file))
    wait_until(lambda: len(lines(file)) == 400, seconds=30, what="another does the rest")
    assert sorted(map(int, lines(file))) == list(range(400)), "each once"


@pytest.mark.parametrize(
    ("carried_by", "number", "kills"),
    [
        pytest.param("redis", 5_000, 5),
        pytest.param("redis", 100_000, 25, marks=pytest.mark.slow),
        pytest.param("nsq", 5_000, 5, marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(240)
def test_workers_killed_all_the_time_handle_each_message_and_remember_it_once(
    run: Run, tmp_path: Path, nsqd: str, settings: Any, carried_by: str, number: int, kills: int
) -> None:
    """Killed by progress, not by time: whenever so many more have been handled, with more to come."""
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    environ = {"MYDJANGOAPP_EVENTS_MAX_ATTEMPTS": "1000", **_carried_by(carried_by, nsqd, settings)}
    chance = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
    file = tmp_path / "numbers"
    transport = for_topic("numbers")
    assert transport is not None
    transport.subscribe("numbers", "record")
    words = ("run_worker", "numbers", "record", "--to", str(file))
    consumer = transport.consumer("numbers", "record", timeout=2)
    running = [run(*words, **environ), run(*words, **environ)]
    parts = [range(number)[part :: kills + 1] for part in range(kills + 1)]
    sent: list[str] = []
    for kill, part in enumerate(parts):
        sent += publish_many("numbers", "number", ({"n": n} for n in part))
        enough = len(sent) - len(part) // 2
        wait_until(lambda enough=enough: len(lines(file)) >= enough, seconds=200, what="they are at work")  # type: ignore[misc]
        if kill < kills:
            running.pop(chance.randrange(2)).kill()
            running.append(run(*words, **environ))
    wait_until(lambda: len(consumer.remembered(sent)) == number, seconds=200, what="all are remembered")
    handled = list(map(int, lines(file)))
    assert set(handled) == set(range(number)), "none is lost"
    wait_until(lambda: channel_of_numbers()["lag"] == 0, seconds=30, what="all are acknowledged")
    assert channel_of_numbers()["dead"] == 0
    assert len(handled) - number <= kills * 256, "more came again than may have been in hand"
    print(f"{kills} kills, {len(handled) - number} handled twice")


@pytest.mark.parametrize("carried_by", ["redis", "nsq"])
def test_a_message_that_kills_its_process_takes_none_of_its_neighbours_with_it(
    run: Run, tmp_path: Path, nsqd: str, settings: Any, carried_by: str
) -> None:
    """Of six messages the fourth is poison: it alone becomes a dead letter, the others are handled."""
    environ = _carried_by(carried_by, nsqd, settings)
    file = tmp_path / "numbers"
    transport = for_topic("numbers")
    assert transport is not None
    transport.subscribe("numbers", "poison")
    publish_many("numbers", "number", ({"n": n} for n in range(6)))

    def is_over() -> bool:
        return len(set(lines(file))) == 5 and len(list(transport.dead_letters("numbers", "poison"))) == 1

    deaths = 0
    while not is_over():
        assert deaths <= 8, "it goes on and on"
        worker = run("run_worker", "numbers", "poison", "--to", str(file), **environ)
        wait_until(lambda: not worker.running or is_over(), seconds=60, what="it dies, or all is over")  # noqa: B023
        deaths += not worker.running
    [letter] = transport.dead_letters("numbers", "poison")
    assert (letter.body, deaths) == ({"n": 3}, 5), "as many deaths as it has attempts"
    handled = lines(file)
    assert set(handled) == {"0", "1", "2", "4", "5"}
    assert len(handled) <= 8, "three may have come twice: they were not acknowledged at the first death"


def _carried_by(name: str, nsqd: str, settings: Any) -> dict[str, str]:
    """Lets events of this process go by it; the environment that does the same for another."""
    if name == "redis":
        return {}
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "EVENTS_URL": nsqd}
    return {"MYDJANGOAPP_EVENTS_URL": nsqd}


def test_topics_are_shown(redis: Any) -> None:
    assert "No channel is subscribed." in said("topics")
    assert "search is subscribed to photos" in said("subscribe", "photos", "search")
    assert "search was subscribed already" in said("subscribe", "photos", "search")
    publish("photos", "photo.published", {"id": 1})
    [found] = json.loads(said("topics", "--json"))
    age = found.pop("oldest_age")
    assert found == {
        "topic": "photos",
        "channel": "search",
        "depth": 1,
        "in_flight": 0,
        "deferred": 0,
        "dead": 0,
        "lag": 1,
    }
    assert 0 <= age < 60
    assert "photos" in said("topics")
    assert "no longer subscribed" in said("unsubscribe", "photos", "search")
    with pytest.raises(CommandError, match="has no channel search"):
        said("unsubscribe", "photos", "search")


@pytest.mark.django_db(transaction=True)
def test_publish_by_command(redis: Any) -> None:
    transport = for_topic("orders")
    assert transport is not None
    consumer = transport.consumer("orders", "mine", timeout=30)
    [id_] = said("publish", "orders", "order.paid", '{"id": 7}').split()
    [taken] = consumer.take(5, 1)
    assert (taken.id, taken.action, taken.opened()) == (id_, "order.paid", {"id": 7})
    for body, what in (("{", "JSON: "), ("[1]", "body: must be a JSON object"), ("7", "body: must be")):
        with pytest.raises(CommandError, match=what):
            said("publish", "orders", "order.paid", body)
    with pytest.raises(CommandError, match="topic: must be"):
        said("publish", "or ders", "order.paid", "{}")


@pytest.mark.django_db(transaction=True)
def test_dead_letters_by_command(redis: Any) -> None:
    transport = for_topic("orders")
    assert transport is not None
    consumer = transport.consumer("orders", "mine", timeout=30)
    id_ = publish("orders", "order.paid", {"id": 7})
    consumer.bury(consumer.take(1, 1)[0], "no such order")
    assert json.loads(said("dead_letters", "orders", "mine", "--json")) == [
        {"id": id_, "action": "order.paid", "body": {"id": 7}, "attempts": 1, "reason": "no such order"}
    ]
    assert "after 1 attempts: no such order" in said("dead_letters", "orders", "mine")
    assert "1 dead letters come again" in said("dead_letters", "orders", "mine", "--replay")
    assert [one.id for one in consumer.take(1, 1)] == [id_]
    assert "0 dead letters thrown away" in said("dead_letters", "orders", "mine", "--purge")


def test_commands_say_when_events_are_away_or_off(redis: Any, settings: Any) -> None:
    here = settings.MYDJANGOAPP
    settings.MYDJANGOAPP = {**here, "EVENTS_URL": "redis://127.0.0.1:1/3"}
    with pytest.raises(CommandError, match=r"The events' Redis at 127\.0\.0\.1:1 does not answer"):
        said("topics")
    settings.MYDJANGOAPP = {**here, "EVENTS_URL": "off"}
    with pytest.raises(CommandError, match="switched off"):
        said("subscribe", "photos", "search")
