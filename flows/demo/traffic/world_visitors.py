"""The simulated world's people on the running platform: they come, look, answer, and come again or not. Simulated traffic.

A closed loop: what the platform serves today moves everyone's satisfaction, and with it tomorrow's visits. All that the people
do goes through the gateway's HTTP API, as any client's doings would; only new posts take another way (see new_posts.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from feature_repo.datasets.world import World
from feature_repo.datasets.world.day_curve import DAY_US
from flows.demo.traffic.front_door import FrontDoor, NoAnswer, Page
from flows.demo.traffic.new_posts import NewPosts
from flows.demo.traffic.page_answers import Answered, Look, answer_looks, moment
from flows.demo.traffic.visitor_state import VisitorFile, VisitorState
from flows.demo.traffic.world_arrivals import Arrival, arrivals
from flows.demo.traffic.world_clock import TICK_S, WorldClock

PAGE_POSTS = 10  # that the app asks for at a time
ANSWERS_EVERY_S = 0.1  # of real time: looks that began since then are answered together
SAVE_EVERY_S = 5.0
PUBLISH_EVERY_US = 15 * 60_000_000  # of world time
PUBLISH_EVERY_S = 2.0  # and of real time: mixers look for new posts every second
GRACE_S = 5.0  # that visits under way have to end when the process is asked to leave
_LEFT = np.zeros(1, bool)  # what a page that did not come is worth: a post that was not clicked


@dataclass(frozen=True)
class Life:
    """How the people live. people: ids of who lives here, int64; seed: of when they come and what they open."""

    people: np.ndarray
    seed: int


class WorldVisitors:
    """The people of `world` from where `state` stands."""

    def __init__(
        self,
        world: World,
        life: Life,
        state: VisitorState,
        clock: WorldClock,
        door: FrontDoor,
        posts: NewPosts,
        file: VisitorFile,
    ) -> None:
        self.world, self.life, self.state, self.clock = world, life, state, clock
        self.door, self.posts, self.file = door, posts, file
        self._due: dict[object, int] = {}  # when each page was wanted that is not there yet
        self._looks: list[tuple[Look, asyncio.Future[Answered]]] = []
        self._pageless: set[asyncio.Task[None]] = set()  # visits that wait for their first page
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def live(self, stop: Callable[[], str | None], watch: Callable[[], Awaitable[None]]) -> str:
        """Live on until `stop` gives a reason, which is returned; `watch` runs beside it. What was lived is kept then.

        Raises what went wrong on this side, such as a full disk; what goes wrong on the platform's is counted.
        """
        reasons: list[str] = []
        beside = [self._keep_time(stop, reasons), self._answer_looks(), self._keep(), self._publish(), watch()]
        tasks = [asyncio.create_task(one) for one in (self._live_days(), *beside)]
        try:
            done, _ = await asyncio.wait([*tasks, self._broken], return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.door.close()
            self._save()
        return reasons[0] if reasons else "nothing is left to live"

    # ---- days and visits ----------------------------------------------------------------------------------------
    async def _live_days(self) -> None:
        while not self.clock.hurries:
            day, under_way = self.state.day, set()
            for arrival in arrivals(self.world, day, self.state.satisfaction, self.life.people, self.life.seed):
                if (arrival.user_id, arrival.number) in self.state.done:
                    continue
                await self.clock.until(arrival.at_us)
                if self.clock.hurries:
                    break
                task = asyncio.create_task(self._visit(arrival))
                under_way.add(task)
                self._pageless.add(task)
                task.add_done_callback(under_way.discard)
                task.add_done_callback(self._pageless.discard)
                task.add_done_callback(self._note_fault)
            await self.clock.until(self.world.start_us + (day + 1) * DAY_US)
            await self._end_of(under_way)
            if not self.clock.hurries:
                self.state.end_day(self.world)

    async def _end_of(self, under_way: set[asyncio.Task[None]]) -> None:
        """Wait for the last visits. In a hurry, those without a page are broken off, after a grace all; they come again."""
        waited_s = 0.0
        while under_way and waited_s < GRACE_S:
            await asyncio.sleep(TICK_S)
            if self.clock.hurries:
                waited_s += TICK_S
                for task in self._pageless.copy():
                    task.cancel()
        for task in under_way.copy():
            task.cancel()

    def _note_fault(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not self._broken.done():
            self._broken.set_exception(task.exception())

    async def _visit(self, arrival: Arrival) -> None:
        """Page after page until the person has seen enough, or the platform has nothing more."""
        seen: list[int | str] = []
        answers: list[Answered] = []
        at_us, product, left = arrival.at_us, arrival.product, False
        while len(seen) < arrival.length:
            request_id = f"v{self.life.seed}-{arrival.day}-{arrival.user_id}-{arrival.number}-{len(answers)}"
            page = await self._page(arrival.user_id, product, request_id, at_us, seen)
            self._pageless.discard(asyncio.current_task())
            if page is not None and not page.post_ids and product == "following":
                product = "for_you"  # nothing new of those one follows: the person turns to the other timeline
                continue
            if page is None or not page.post_ids:
                left = True
                break
            looked = page.post_ids[: arrival.length - len(seen)]
            look = Look(arrival.user_id, request_id, product, looked, len(seen), max(self.clock.now_us, at_us))
            answers.append(await self._answer(look))
            await self.clock.until(look.end_us)
            self.state.follows += [
                (arrival.user_id, post) for post, did in zip(looked, answers[-1].followed, strict=True) if did
            ]
            self.state.tally.looked(page.release, answers[-1].clicked, answers[-1].not_interested)
            await self._send(arrival.user_id, answers[-1].events)
            seen, at_us = seen + looked, look.end_us
            if len(page.post_ids) < PAGE_POSTS:
                break
        clicked = [one.clicked for one in answers] + [_LEFT] * left
        annoyed = [one.not_interested for one in answers] + [_LEFT] * left
        self.state.visited(arrival.user_id, arrival.number, np.concatenate(clicked), np.concatenate(annoyed))

    async def _page(self, user_id: int, product: str, request_id: str, at_us: int, seen: list[int | str]) -> Page | None:
        """A page, None where the platform gave none."""

        def body() -> dict:
            at = moment(max(self.clock.now_us, at_us))
            return {
                "user_id": user_id,
                "count": PAGE_POSTS,
                "seen_post_ids": seen,
                "requested_at": at,
                "request_id": request_id,
            }

        wanted = object()
        self._due[wanted] = at_us
        try:
            page = await self.door.page(product, body)
        except NoAnswer as error:
            self.state.tally.error(str(error))
            return None
        finally:
            del self._due[wanted]
        self.state.tally.page(page.release, page.latency_ms)
        self.state.tally.empty_pages += not page.post_ids
        return page

    async def _send(self, user_id: int, events: list[dict]) -> None:
        tally = self.state.tally
        try:
            accepted, refused = await self.door.send(user_id, events)
        except NoAnswer as error:
            tally.events_lost += len(events)
            tally.first_error = tally.first_error or str(error)
            return
        tally.events_accepted += accepted
        tally.events_rejected += len(refused)
        tally.first_rejection = tally.first_rejection or next(iter(refused), None)

    def _answer(self, look: Look) -> asyncio.Future[Answered]:
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._looks.append((look, answer))
        return answer

    # ---- beside them --------------------------------------------------------------------------------------------
    async def _keep_time(self, stop: Callable[[], str | None], reasons: list[str]) -> None:
        while True:
            self.clock.tick(min(self._due.values(), default=None), away=self.door.away)
            self.state.world_us = self.clock.now_us
            if not reasons and (reason := stop()) is not None:
                reasons.append(reason)
                self.clock.hurry()
            await asyncio.sleep(TICK_S)

    async def _answer_looks(self) -> None:
        while True:
            await asyncio.sleep(ANSWERS_EVERY_S)
            looks, self._looks = self._looks, []
            if not looks:
                continue
            for (_, answer), answered in zip(looks, answer_looks(self.world, [look for look, _ in looks]), strict=True):
                if not answer.done():
                    answer.set_result(answered)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            self._save()

    def _save(self) -> None:
        self.file.save(self.state)

    async def _publish(self) -> None:
        while True:
            now_us = self.clock.now_us
            self.state.tally.posts_published += await asyncio.to_thread(self.posts.publish, now_us)
            await asyncio.sleep(PUBLISH_EVERY_S)
            await self.clock.until(now_us + PUBLISH_EVERY_US)
