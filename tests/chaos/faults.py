"""What goes wrong in a run, in an order that a seed decides."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from kapusta.testing import Proxy
from tests.chaos.crew import Member
from tests.chaos.engines import Engine
from tests.chaos.events import Death, Fault
from tests.chaos.journal import Journal
from tests.chaos.phases import PHASES, POINTS
from tests.chaos.watch import Watch
from tests.worker.eventually import eventually

_PATIENCE: Final = 25.0
"""So many seconds a worker may take to get to the place where it is to die; then it dies where it is."""

_MARKS: Final = {"postgresql": b"nonce-", "mariadb": b"nonce-".hex().encode()}
"""What only the outcomes of bodies have in them, as it is sent."""


class Faults:
    """Makes faults, one after the other in each of several lanes; all that is drawn is drawn from one seed.

    Attributes:
        lease: of the workers, in seconds.
    """

    def __init__(
        self,
        engine: Engine,
        crew: Sequence[Member],
        journal: Journal,
        watch: Watch,
        chance: random.Random,
        *,
        lease: float,
        seconds: float,
        least: int,
    ) -> None:
        self._engine, self._crew, self._chance = engine, crew, chance
        self._journal, self._watch = journal, watch
        self.lease = lease
        self._end, self._least = time.monotonic() + seconds, least
        self._made: Counter[str] = Counter()
        self._deck: list[str] = []

    # --- which, and when ------------------------------------------------------------------------

    @property
    def on_workers(self) -> dict[str, Callable[[Member], Awaitable[bool]]]:
        """What can happen to one worker here; each answers whether it did."""
        deaths = {f"kill {phase}": self._kill_in(phase) for phase in PHASES}
        kinds = {**deaths, "kill": self._kill, "freeze": self._freeze}
        if self._engine.server is None:
            return {**kinds, "full": self._fill_disk}
        return {**kinds, "drop": self._drop, "lost reply": self._lose_reply, "black hole": self._black_hole}

    async def lane(self) -> None:
        """Make one fault after the other in workers, until it is time to end and there were enough of each kind.

        All lanes draw from one deck, which has each kind once.
        """
        while kind := self._drawn():
            member = self._chance.choice(self._crew)
            async with member.taken:
                await member.working.wait()
                if not await self.on_workers[kind](member):
                    self._made[kind] -= 1
            await asyncio.sleep(self._chance.uniform(0, self.lease / 2))

    async def restart_server(self) -> None:
        """Crash the server again and again, and have it recover; as long as `lane`."""
        while not self._is_time or self._made["restart"] < self._least:
            await asyncio.sleep(self._chance.uniform(1, 6) * self.lease)
            self._made["restart"] += 1
            self._note("restart")
            await self._engine.restart()

    @property
    def _is_time(self) -> bool:
        return time.monotonic() >= self._end

    def _drawn(self) -> str | None:
        """The next kind; ``None`` if it is over. It counts as made while it is made."""
        kinds = sorted(self.on_workers)
        if self._is_time and all(self._made[kind] >= self._least for kind in kinds):
            return None
        if not self._deck:
            self._deck = self._chance.sample(kinds, len(kinds))
        kind = self._deck.pop()
        self._made[kind] += 1
        return kind

    async def disturb(self, proxy: Proxy, while_these: Sequence[asyncio.Task[None]]) -> None:
        """Cut and swallow the launcher's connections, too, until *while_these* are over."""
        while not all(task.done() for task in while_these):
            await asyncio.wait(while_these, timeout=self._chance.uniform(1, 4) * self.lease)
            if self._chance.random() < 1 / 2:
                await proxy.drop()
                continue
            proxy.hold()
            await asyncio.sleep(self._chance.uniform(0.2, 2) * self.lease)
            proxy.flow()

    # --- in one worker --------------------------------------------------------------------------

    def _note(self, kind: str, detail: str = "") -> None:
        self._journal.write(Fault(kind=kind, detail=detail))

    def _kill_in(self, phase: str) -> Callable[[Member], Awaitable[bool]]:
        async def kill(member: Member) -> bool:
            point = self._chance.choice(POINTS) if phase in ("settling", "renewing") else "inside"
            member.tell("die", phase, point)
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await member.ended.wait()
                    self._note(f"kill {phase}", point)
                    return True
            await self._kill(member)
            return False

        return kill

    async def _kill(self, member: Member) -> bool:
        self._note("kill")
        self._journal.write(Death(phase="anywhere", point="from outside"))
        member.signal(signal.SIGKILL)
        await member.ended.wait()
        return True

    async def _freeze(self, member: Member) -> bool:
        """Stop a worker that has tasks, until one of them has been taken from it; then let it go on, and answer late.

        Nobody can take them while it has the lock of a SQLite file in its hand: then this was no such fault.
        """
        await _until(lambda: self._watch.is_at_work(member.pid), "it has a body", _PATIENCE)
        self._note("freeze")
        member.signal(signal.SIGSTOP)
        before, refused = self._watch.robbed(member.pid), self._watch.refused(member.pid)
        try:
            await _until(lambda: self._watch.robbed(member.pid) > before, "it was robbed", 8 * self.lease)
            await asyncio.sleep(self._chance.uniform(0, self.lease / 2))
        finally:
            member.signal(signal.SIGCONT)
        late = "its late answer was refused"
        await _until(lambda: self._watch.refused(member.pid) > refused, late, 4 * self.lease)
        return self._watch.refused(member.pid) > refused

    async def _fill_disk(self, member: Member) -> bool:
        self._note("full")
        member.tell("full")
        await asyncio.sleep(self._chance.uniform(0.2, 2) * self.lease)
        member.tell("roomy")
        return True

    async def _drop(self, member: Member) -> bool:
        assert member.proxy is not None
        for _ in range(self._chance.randint(1, 4)):
            self._note("drop", f"{member.proxy.open} connections")
            await member.proxy.drop()
            await asyncio.sleep(self._chance.uniform(0, 0.3))
        return True

    async def _lose_reply(self, member: Member) -> bool:
        """Have the store write an outcome, and nobody hear of it."""
        assert member.proxy is not None
        lost = member.proxy.lose_reply(_MARKS[self._engine.name])
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await lost.wait()
                self._note("lost reply")
        return lost.is_set()

    async def _black_hole(self, member: Member) -> bool:
        """For a while nothing arrives; after it, what was sent is late, or lost, or its connection is dead and open."""
        assert member.proxy is not None
        after = self._chance.choice(["late", "lost", "never"])
        self._note("black hole", after)
        member.proxy.hold()
        try:
            await asyncio.sleep(self._chance.uniform(0.2, 3) * self.lease)
            if after == "lost":
                await member.proxy.drop()
            if after == "never":
                member.proxy.strand()
        finally:
            member.proxy.flow()
        return True


async def _until(holds: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until it holds, but no longer than that: whoever makes faults goes on in any case."""
    with suppress(AssertionError):
        await eventually(holds, what, within=seconds)
