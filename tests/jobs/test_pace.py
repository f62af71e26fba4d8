"""Work in the background leaves the way to those who wait."""

from __future__ import annotations

import asyncio

import pytest

from tunewright.jobs.pace import Pacer


@pytest.mark.parametrize(("others", "room"), [(0, 8), (3, 5), (7, 1), (20, 1), (32, 0), (50, 0)])
def test_others_make_room_smaller(others: int, room: int) -> None:
    assert Pacer(8, 32, lambda: others).room == room


def test_our_own_questions_are_no_others() -> None:
    held = [0]
    pacer = Pacer(4, 32, lambda: held[0])

    async def ask() -> int:
        async with pacer.turn():
            held[0] += 1
            return pacer.room

    async def both() -> list[int]:
        return [await ask(), await ask()]

    assert asyncio.run(both()) == [4, 3]


def test_no_more_than_the_most_run_and_all_get_their_turn_in_order() -> None:
    running, seen, order = 0, 0, []

    async def ask(number: int, pacer: Pacer) -> None:
        nonlocal running, seen
        async with pacer.turn():
            order.append(number)
            running += 1
            seen = max(seen, running)
            await asyncio.sleep(0.001)
            running -= 1

    async def everyone() -> None:
        pacer = Pacer(3, 32, lambda: running)
        await asyncio.gather(*(ask(number, pacer) for number in range(20)))

    asyncio.run(everyone())
    assert seen == 3
    assert order == list(range(20))


def test_nothing_begins_while_there_is_a_crowd_and_all_goes_on_after_it() -> None:
    others = [32]

    async def wait() -> tuple[bool, bool]:
        pacer = Pacer(8, 32, lambda: others[0])
        entered = asyncio.Event()

        async def ask() -> None:
            async with pacer.turn():
                entered.set()

        task = asyncio.create_task(ask())
        await asyncio.sleep(0.15)
        during = entered.is_set()
        others[0] = 0
        await task
        return during, entered.is_set()

    assert asyncio.run(wait()) == (False, True)


def test_who_gives_up_takes_no_turn() -> None:
    others = [32]

    async def leave() -> int:
        pacer = Pacer(1, 32, lambda: others[0])

        async def ask() -> None:
            async with pacer.turn():
                pass

        waiting = [asyncio.create_task(ask()) for _ in range(3)]
        await asyncio.sleep(0.01)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        others[0] = 0
        await ask()
        return pacer.room

    assert asyncio.run(leave()) == 1
