"""The queue: who is let in, what is linked together, and that nobody waits for ever."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cielo.options import LinkOptions
from cielo.records import Mention
from cielo.server.admission import Call, Item, OverloadedError, Queue, Rate
from hypothesis import given
from hypothesis import strategies as st

OPTIONS = (LinkOptions(), LinkOptions(top_k=1))


def call_of(lengths: Sequence[int], options: LinkOptions = OPTIONS[0], begin: float = 0.0) -> Call:
    call = Call()
    call.expect([Item(Mention("tos"), tokens, options, call, place, begin) for place, tokens in enumerate(lengths)])
    return call


def queue_of(most: int | None = 100, *calls: Call) -> Queue:
    queue = Queue(Rate(10.0), most_tokens=most, most_seconds=5.0)
    for call in calls:
        queue.admit(call.items)
    return queue


def test_a_request_is_let_in_whole_or_not_at_all() -> None:
    queue = queue_of(100, call_of([30, 30]))
    with pytest.raises(OverloadedError) as caught:
        queue.admit(call_of([20, 21]).items)
    assert (queue.tokens, len(queue)) == (60, 2)
    assert caught.value.retry_after == 1
    queue.admit(call_of([20, 20]).items)
    assert queue.tokens == 100


def test_the_time_to_wait_is_computed_from_the_rate() -> None:
    queue = queue_of(100, call_of([100]))
    assert queue.retry_after(50) == 5
    assert queue.retry_after(500) == 10  # then it is empty, and lets any request in


def test_what_is_worked_at_counts_in_what_is_let_in() -> None:
    queue = queue_of(100, call_of([10]))
    queue.at_work = 80
    assert (queue.has_room(10), queue.has_room(11)) == (True, False)
    assert queue.retry_after(60) == 1  # more than the ten that wait cannot be waited for


def test_where_nothing_waits_any_request_is_let_in() -> None:
    queue = queue_of(100, call_of([5000]))
    assert [item.tokens for item in queue.take(64)] == [5000]
    assert (queue.tokens, len(queue)) == (0, 0)


def test_the_room_follows_the_rate_where_no_number_is_given() -> None:
    rate = Rate(10.0)
    queue = Queue(rate, most_tokens=None, most_seconds=5.0)
    assert queue.most_tokens == 50
    for _ in range(100):
        rate.add(100, 1.0)
    assert queue.most_tokens == pytest.approx(500, rel=0.01)


def test_the_options_of_a_batch_agree() -> None:
    queue = queue_of(None, call_of([3, 3]), call_of([3, 3], OPTIONS[1]), call_of([3]))
    assert [len(queue.take(100)) for _ in range(3)] == [3, 2, 0]


def test_a_caller_who_left_takes_his_mentions_along() -> None:
    gone, stays = call_of([5, 5]), call_of([7])
    queue = queue_of(100, gone, stays)
    queue.leave(gone)
    queue.leave(gone)
    assert (queue.tokens, len(queue)) == (7, 1)
    assert queue.take(100) == stays.items


@given(
    lengths=st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=400),
    budget=st.integers(1, 100),
)
def test_every_batch_keeps_the_budget_and_holds_the_oldest(lengths: list[tuple[int, bool]], budget: int) -> None:
    calls = [call_of([tokens], OPTIONS[other], number) for number, (tokens, other) in enumerate(lengths)]
    queue = queue_of(10**9, *calls)
    waiting = [call.items[0] for call in calls]
    while waiting:
        batch = queue.take(budget)
        assert batch[0] is waiting[0]
        assert len(batch) == 1 or sum(item.tokens for item in batch) <= budget
        assert {item.options for item in batch} == {batch[0].options}
        waiting = [item for item in waiting if item not in batch]
        assert (queue.tokens, len(queue)) == (sum(item.tokens for item in waiting), len(waiting))
    assert queue.take(budget) == []


def test_a_batch_is_of_like_length() -> None:
    queue = queue_of(1000, *(call_of([tokens]) for tokens in (10, 90, 11, 80, 9, 10)))
    assert [item.tokens for item in queue.take(40)] == [10, 10, 11, 9]
