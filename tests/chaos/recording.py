"""A store that tells the history what is asked of it and what it answers."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec

from kapusta.backend import (
    Added,
    BaseCRUD,
    Change,
    Changed,
    ClaimRequest,
    Claims,
    Guard,
    NewTask,
    Renewed,
    RenewRequest,
    StoredTask,
    TaskQuery,
    WakeKind,
)
from tests.chaos.events import Answered, Asked, Claim
from tests.chaos.journal import Journal
from tests.chaos.phases import Snare

_NONCE: Final = re.compile(r"nonce-[0-9a-f]{16}")
_keys = itertools.count()


def nonce_in(*texts: bytes | str | None) -> str | None:
    """The mark of the body that returned or raised this."""
    for text in texts:
        words = text.decode() if isinstance(text, bytes) else text
        if words and (match := _NONCE.search(words)):
            return match[0]
    return None


class RecordingCRUD(BaseCRUD):
    """Passes everything on to another backend, and writes down claims and changes.

    A claimed task's arguments ``task``, ``run`` and ``failures`` are set to what it was claimed with, so that its body
    can say in whose name it acts. *snare* is where this process dies, if it does.
    """

    def __init__(self, crud: BaseCRUD, journal: Journal, snare: Snare) -> None:
        super().__init__(clock=crud.clock)
        self._crud, self._journal, self._snare = crud, journal, snare
        self.capabilities = crud.capabilities

    async def startup(self) -> None:
        """Open what is behind."""
        await self._crud.startup()

    async def shutdown(self) -> None:
        """Close it."""
        await self._crud.shutdown()

    def twin(self) -> RecordingCRUD:
        """Another handle that writes down the same."""
        return RecordingCRUD(self._crud.twin(), self._journal, self._snare)

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        """As it is: launches are written down by whoever launches."""
        return await self._crud.add_tasks(tasks)

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        """Write down what was claimed, and tell it so."""
        return self._written_down(request, await self._crud.claim_tasks(request))

    async def start_task(self, task: NewTask, request: ClaimRequest) -> Claims | None:
        """Write down what was claimed as it was launched, and tell it so."""
        claims = await self._crud.start_task(task, request)
        return None if claims is None else self._written_down(request, claims)

    def _written_down(self, request: ClaimRequest, claims: Claims) -> Claims:
        if not claims.tasks:
            return claims
        self._snare.pass_through("claimed")
        for task in claims.tasks:
            self._journal.write(Claim(task=task.id, run=task.run, worker=request.worker))
        return claims.replace(tasks=[_told_who_it_is(task) for task in claims.tasks])

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        """Write down what is asked, and then what was answered."""
        keys = [f"{os.getpid()}-{time.monotonic_ns()}-{next(_keys)}" for _ in changes]
        for key, change in zip(keys, changes, strict=True):
            self._journal.write(
                Asked(
                    key=key,
                    task=change.id,
                    run=change.run,
                    guard=str(change.guard),
                    worker=change.worker,
                    status=None if change.status is None else str(change.status),
                    failures=change.failures,
                    raises=change.raise_run,
                    nonce=nonce_in(change.result, change.error if change.failures else None),
                )
            )
        settling = any(change.guard is Guard.holder for change in changes)
        answers = (
            await self._snare.pass_around("settling", lambda: self._crud.change_tasks(changes))
            if settling
            else await self._crud.change_tasks(changes)
        )
        for key, changed in zip(keys, answers, strict=True):
            self._journal.write(Answered(key=key, answer=str(changed.answer)))
        return answers

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        """As it is."""
        return await self._snare.pass_around("renewing", lambda: self._crud.renew_leases(request))

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """As it is."""
        return await self._crud.find_tasks(query)

    async def delete_tasks(self, ids: Sequence[int]) -> int:
        """As it is."""
        return await self._crud.delete_tasks(ids)

    def listen(self, wake: Callable[[WakeKind], None]) -> AbstractAsyncContextManager[None]:
        """As it is."""
        return self._crud.listen(wake)


def _told_who_it_is(task: StoredTask) -> StoredTask:
    arguments = msgspec.json.decode(task.payload)
    arguments |= {"task": task.id, "run": task.run, "failures": task.failures}
    return task.replace(payload=msgspec.json.encode(arguments))
