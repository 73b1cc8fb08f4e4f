"""One process that asks a server: as fast as it answers, or at Poisson arrivals that do not wait for answers.

locust's users wait for their answers; so one user starts a greenlet for each arrival, which asks by locust's client.
A request's time counts from its intended arrival. The result goes to standard output as JSON.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from typing import Any

import click
import gevent
import msgspec
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

from benchmarks.load.requests import body, mentions

_JSON = {"Content-Type": "application/json"}
_MOST = 1800  # requests that are out at the same time, each on a connection of its own


class _Asker:
    """Asks one server, and keeps what came of each request: begun, seconds, status, links."""

    def __init__(self, host: str, per_request: int, first: int) -> None:
        class User(FastHttpUser):
            abstract = False
            network_timeout = connection_timeout = 120.0
            concurrency = _MOST

        User.host = host
        environment = Environment(user_classes=[User])
        self.client: Any = User(environment).client
        self._mentions = mentions(first)
        self._per_request = per_request
        self.began = time.perf_counter()
        self.rows: list[tuple[float, float, int, int]] = []

    def ask(self, due: float) -> float:
        """Ask once, and return the seconds after which the server wants to be asked again, if it refused."""
        part = [next(self._mentions) for _ in range(self._per_request)]
        with self.client.post("/v1/link", data=body(part), headers=_JSON, catch_response=True) as answer:
            status = answer.status_code
            found = answer.text.count('"link":{') if status == 200 else 0
            answer.success()
            pause = float(answer.headers.get("Retry-After", 0)) if status == 429 else 0.0
        self.rows.append((due, time.perf_counter() - self.began - due, status, found))
        return pause

    def now(self) -> float:
        return time.perf_counter() - self.began


def closed(asker: _Asker, clients: int, seconds: float) -> None:
    """Ask with so many clients, each again as soon as it has its answer, or may after a refusal."""

    def client() -> None:
        while (now := asker.now()) < seconds:
            gevent.sleep(asker.ask(now))

    gevent.joinall([gevent.spawn(client) for _ in range(clients)])


def poisson(asker: _Asker, rate: float, seconds: float, seed: int) -> None:
    """Ask at so many requests a second, whose pauses are exponentially distributed."""
    draw = random.Random(seed)  # noqa: S311
    due, out = 0.0, []
    while (due := due + draw.expovariate(rate)) < seconds:
        gevent.sleep(max(0.0, due - asker.now()))
        out.append(gevent.spawn(asker.ask, due))
    gevent.joinall(out)


@click.command()
@click.option("--host", required=True)
@click.option("--rate", type=float, help="Requests a second; default: as fast as they are answered.")
@click.option("--clients", type=int, default=128, show_default=True, help="Where no rate is given.")
@click.option("--seconds", type=float, required=True)
@click.option("--mentions", "per_request", type=int, default=1, show_default=True)
@click.option("--first", type=int, default=0, help="Number of the first prompt.")
@click.option("--seed", type=int, default=0)
def main(host: str, rate: float | None, clients: int, seconds: float, per_request: int, first: int, seed: int) -> None:
    """Ask, and print what came of it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * _MOST), hard))
    asker = _Asker(host, per_request, first)
    if rate is None:
        closed(asker, clients, seconds)
    else:
        poisson(asker, rate, seconds, seed)
    told = {"rows": asker.rows, "seconds": asker.now(), "processor_seconds": time.process_time()}
    sys.stdout.buffer.write(msgspec.json.encode(told))


if __name__ == "__main__":
    main()
