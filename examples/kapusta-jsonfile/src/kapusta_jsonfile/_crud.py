"""The handle: each operation is one opening of the book."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from kapusta.backend import (
    Added,
    AddOutcome,
    BaseCRUD,
    Capabilities,
    Change,
    ChangeAnswer,
    Changed,
    ClaimRequest,
    Claims,
    Clock,
    NewTask,
    Renewal,
    RenewAnswer,
    Renewed,
    RenewRequest,
    StoredTask,
    StoreNotStartedError,
    TaskQuery,
    rules,
)

from ._file import Book, open_book


class JsonFileCRUD(BaseCRUD):
    """Tasks in one JSON file, shared by any number of processes on one machine."""

    protocol = 1
    capabilities = Capabilities(
        shared_between_processes=True, survives_restart=True, poll_interval=timedelta(seconds=0.3)
    )

    def __init__(self, path: str | Path, *, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self.path = Path(path)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self) -> None:
        self._require_home(started=False)
        async with open_book(self.path, create=True):
            self._loop = asyncio.get_running_loop()

    async def shutdown(self) -> None:
        self._require_home(started=False)
        self._loop = None

    def twin(self) -> "JsonFileCRUD":
        return JsonFileCRUD(self.path, clock=self.clock)

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        async with self._book() as (book, now):
            return [_add(book, task, now) for task in tasks]

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        async with self._book() as (book, now):
            wanted = [task for task in book.tasks.values() if rules.takes(request, task, now)]
            slots = dict(request.slots)
            taken = []
            for task in sorted((task for task in wanted if task.eta <= now), key=rules.rank):
                if slots[task.mode] > 0:
                    slots[task.mode] -= 1
                    book.tasks[task.id] = rules.claimed(task, request, now)
                    taken.append(book.tasks[task.id])
            next_due = min((task.eta - now for task in wanted if task.eta > now), default=None)
            return Claims(tasks=taken, now=now, next_due=next_due)

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        async with self._book() as (book, now):
            return [_change(book, change, now) for change in changes]

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        async with self._book() as (book, now):
            return [_renew(book, renewal, request, now) for renewal in request.renewals]

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        async with self._book() as (book, now):
            found = [task for _, task in sorted(book.tasks.items()) if rules.fits(query, task, now)]
            return found[: query.limit]

    async def delete_tasks(self, ids: Sequence[int]) -> int:
        async with self._book() as (book, now):
            final = {id for id in ids if id in book.tasks and book.tasks[id].status.is_final}
            for id in final:
                del book.tasks[id]
            user, uses = book.tasks.get, book.keys.items()
            book.keys = {key: use for key, use in uses if rules.in_use(use, user(use.task_id), now)}
            return len(final)

    def _require_home(self, *, started: bool) -> None:
        away = self._loop is not asyncio.get_running_loop()
        if away and (started or (self._loop and self._loop.is_running())):
            raise StoreNotStartedError(backend="JsonFileCRUD", elsewhere=self._loop is not None)

    @asynccontextmanager
    async def _book(self) -> AsyncIterator[tuple[Book, datetime]]:
        self._require_home(started=True)
        async with open_book(self.path) as book:
            yield book, self.clock.now()


def _add(book: Book, task: NewTask, now: datetime) -> Added:
    if (there := book.tasks.get(task.id)) is not None:
        outcome = AddOutcome.again if there.token == task.token else AddOutcome.id_in_use
        return Added(id=task.id, outcome=outcome)
    if task.unique is not None:
        use = book.keys.get(task.unique.key)
        if use is not None and rules.in_use(use, book.tasks.get(use.task_id), now):
            return Added(id=use.task_id, outcome=AddOutcome.key_in_use)
        book.keys[task.unique.key] = rules.key_use(task, task.unique, now)
    book.tasks[task.id] = rules.stored(task, now)
    return Added(id=task.id, outcome=AddOutcome.new)


def _change(book: Book, change: Change, now: datetime) -> Changed:
    task = book.tasks.get(change.id)
    answer = rules.answer(change, task, now)
    if task is not None and answer is ChangeAnswer.accepted:
        book.tasks[task.id] = rules.changed(task, change, now)
    return Changed(id=change.id, answer=answer)


def _renew(book: Book, renewal: Renewal, request: RenewRequest, now: datetime) -> Renewed:
    task = book.tasks.get(renewal.id)
    if task is None or not rules.is_held(task, request.worker, renewal.run):
        return Renewed(id=renewal.id, answer=RenewAnswer.lost)
    book.tasks[task.id] = rules.renewed(task, request, now)
    return Renewed(id=task.id, answer=RenewAnswer.renewed, cancel_requested=task.cancel_requested)
