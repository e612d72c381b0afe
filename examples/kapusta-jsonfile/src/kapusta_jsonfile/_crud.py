"""The handle: six operations on the tasks in a file, each within one opening of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

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
    RenewAnswer,
    Renewed,
    RenewRequest,
    StoredTask,
    StoreNotStartedError,
    StoreUrlError,
    TaskQuery,
)

from . import _rules as rules
from ._file import Book, open_book


class JsonFileCRUD(BaseCRUD):
    """Tasks in one JSON file, which handles in any number of processes share."""

    capabilities = Capabilities(
        shared_between_processes=True, survives_restart=True, poll_interval=timedelta(milliseconds=300)
    )

    def __init__(self, path: str | Path, *, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self.path = Path(path)
        self._started = False

    async def startup(self) -> None:
        async with open_book(self.path, create=True):
            self._started = True

    async def shutdown(self) -> None:
        self._started = False

    def twin(self) -> "JsonFileCRUD":
        return JsonFileCRUD(self.path, clock=self.clock)

    @asynccontextmanager
    async def _book(self) -> AsyncIterator[tuple[Book, datetime]]:
        if not self._started:
            raise StoreNotStartedError(backend="JsonFileCRUD")
        async with open_book(self.path) as book:
            yield book, self.clock.now()

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        async with self._book() as (book, now):
            return [_added(book, task, now) for task in tasks]

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        async with self._book() as (book, now):
            wanted = [task for task in book.tasks.values() if rules.can_take(request, task, now)]
            due = sorted(
                (task for task in wanted if task.eta <= now), key=lambda it: (-it.priority, it.eta, it.id)
            )
            next_eta = min((task.eta for task in wanted if task.eta > now), default=None)
            slots = dict(request.slots)
            taken = []
            for task in due:
                if slots[task.mode] > 0:
                    slots[task.mode] -= 1
                    book.tasks[task.id] = rules.claimed(task, request, now)
                    taken.append(book.tasks[task.id])
            return Claims(tasks=taken, now=now, next_due=None if next_eta is None else next_eta - now)

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        async with self._book() as (book, now):
            answers = []
            for change in changes:
                task = book.tasks.get(change.id)
                answer = rules.answer(change, task, now)
                if task is not None and answer is ChangeAnswer.accepted:
                    book.tasks[task.id] = rules.changed(task, change, now)
                answers.append(Changed(id=change.id, answer=answer))
            return answers

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        async with self._book() as (book, now):
            answers = []
            for renewal in request.renewals:
                task = book.tasks.get(renewal.id)
                if (
                    task is None
                    or task.lease is None
                    or (task.run, task.worker) != (renewal.run, request.worker)
                ):
                    answers.append(Renewed(id=renewal.id, answer=RenewAnswer.lost))
                    continue
                book.tasks[task.id] = task.replace(lease=request.lease, lease_end=now + request.lease)
                answers.append(
                    Renewed(id=task.id, answer=RenewAnswer.renewed, cancel_requested=task.cancel_requested)
                )
            return answers

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        async with self._book() as (book, now):
            return [book.tasks[id] for id in sorted(book.tasks) if rules.fits(query, book.tasks[id], now)][
                : query.limit
            ]

    async def delete_tasks(self, ids: Sequence[int]) -> int:
        async with self._book() as (book, now):
            gone = {id for id in ids if id in book.tasks and book.tasks[id].status.is_final}
            for id in gone:
                del book.tasks[id]
            book.keys = {
                key: use for key, use in book.keys.items() if rules.in_use(use, book.tasks.get(use.task), now)
            }
            return len(gone)


def _added(book: Book, task: NewTask, now: datetime) -> Added:
    there = book.tasks.get(task.id)
    if there is not None:
        return Added(
            id=task.id, outcome=AddOutcome.again if there.token == task.token else AddOutcome.id_in_use
        )
    if task.unique is not None:
        use = book.keys.get(task.unique.key)
        if use is not None and in_use(use, book.tasks.get(use.task), now):
            return Added(id=use.task, outcome=AddOutcome.key_in_use)
        book.keys[task.unique.key] = KeyUse(task.id, task.unique.until, _after(now, task.unique.period))
    book.tasks[task.id] = rules.stored(task, now)
    return Added(id=task.id, outcome=AddOutcome.new)


def open_url(url: str, clock: Clock | None) -> JsonFileCRUD:
    parts = urlsplit(url)
    if parts.netloc or not parts.path.strip("/"):
        raise StoreUrlError(...)
    return JsonFileCRUD(unquote(parts.path), clock=clock)
