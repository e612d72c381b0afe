"""From a call to a stored task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any

import msgspec

from ._clock import ZERO
from ._enums import OnCrash
from ._errors import (
    ArgumentError,
    KapustaValueError,
    LaunchUnknownError,
    PayloadTooLargeError,
    StoreUnavailableError,
)
from ._handle import TaskClient, TaskHandle
from ._ids import Ids, new_token
from ._options import Policy, TaskOptions
from ._records import Added, AddOutcome, NewTask
from ._role import refuse_in_import
from ._spec import TaskSpec
from ._store import Store

Call = tuple[tuple[Any, ...], Mapping[str, Any]]
"""Positional and keyword arguments."""


class Launcher:
    """Turns calls into stored tasks; used on the loop that the store was started on.

    Ids are drawn before the write, so a write whose reply was lost is repeated as it is, and makes no second
    task.
    """

    def __init__(
        self,
        store: Store,
        client: TaskClient,
        *,
        max_payload_bytes: int,
        start: Callable[[NewTask], Awaitable[bool]],
        stored: Callable[[], object],
    ) -> None:
        self._store, self._client, self._start = store, client, start
        self._ids = Ids(store.now)
        self._max_payload_bytes = max_payload_bytes
        self._stored = stored

    async def launch(self, spec: TaskSpec, options: TaskOptions, call: Call) -> TaskHandle[Any]:
        """Store one task; answer its handle.

        Raises:
            ArgumentError, PayloadTooLargeError, KapustaValueError: nothing was stored.
            StoreNotStartedError: nothing was stored; the store is not started.
            LaunchUnknownError: the store did not answer; ``await error.launch_again()`` repeats the launch.
            TransactionError: the transaction that was given cannot be joined; nothing was stored.
        """
        tasks = self._new_tasks(spec, options, [call])
        if options.transaction is not None:
            return (await self._join(options.transaction, tasks))[0]
        began = self._store.clock.monotonic()
        if starts_at_once(options) and await self._start(tasks[0]):
            return TaskHandle(tasks[0].id, self._client)
        return await self._send_one(tasks, began)

    async def launch_many(
        self, spec: TaskSpec, options: TaskOptions, calls: Iterable[Mapping[str, Any]]
    ) -> list[TaskHandle[Any]]:
        """Store one task per call, all or none; answer their handles in order. Raises as `launch` does."""
        listed = _listed(spec.name, calls)
        tasks = self._new_tasks(spec, options, [((), each) for each in listed], are_many=True)
        if options.transaction is not None and tasks:
            return await self._join(options.transaction, tasks)
        return await self._send(tasks) if tasks else []

    def _new_tasks(
        self, spec: TaskSpec, options: TaskOptions, calls: Sequence[Call], *, are_many: bool = False
    ) -> list[NewTask]:
        refuse_in_import("launch()")
        self._check_eta(spec, options)
        token, codec, policy = new_token(), spec.arguments.written_by, _encoded(options.policy)
        delay = (options.eta_delta or ZERO) if options.eta is None else ZERO
        payloads = [
            self._payload(spec, call, number if are_many else None) for number, call in enumerate(calls)
        ]
        return [
            NewTask(
                id=task_id,
                token=token,
                name=spec.name,
                payload=payload,
                codec=codec,
                mode=options.execution_mode,
                eta=options.eta,
                delay=delay,
                overdue_after=options.policy.overdue_time,
                options=policy,
            )
            for task_id, payload in zip(self._ids.draw_many(len(payloads)), payloads, strict=True)
        ]

    async def _join(self, transaction: object, tasks: list[NewTask]) -> list[TaskHandle[Any]]:
        """Store *tasks* within the caller's transaction; the worker is woken after its commit."""
        joined = self._store.within(transaction, self._stored)
        while True:
            added = await joined.add_tasks(tasks)
            if all(answer.outcome is not AddOutcome.id_in_use for answer in added):
                return [TaskHandle(answer.id, self._client) for answer in added]
            tasks = self._redrawn(tasks, added)

    def _redrawn(self, tasks: Sequence[NewTask], added: Sequence[Added]) -> list[NewTask]:
        # A task whose id another launch has gets a new one; the others are stored, and are answered `again`.
        return [
            task.replace(id=self._ids.draw()) if answer.outcome is AddOutcome.id_in_use else task
            for task, answer in zip(tasks, added, strict=True)
        ]

    async def _send_one(self, tasks: list[NewTask], began: float | None = None) -> TaskHandle[Any]:
        (handle,) = await self._send(tasks, began, again=self._send_one)
        return handle

    async def _send(
        self,
        tasks: list[NewTask],
        began: float | None = None,
        again: Callable[[list[NewTask]], Awaitable[Any]] | None = None,
    ) -> list[TaskHandle[Any]]:
        while True:
            try:
                added = await self._store.add(tasks, began)
            except StoreUnavailableError as problem:
                raise LaunchUnknownError(
                    task_ids=[task.id for task in tasks],
                    problem=problem.problem,
                    again=partial(again or self._send, tasks),
                ) from problem
            if all(answer.outcome is not AddOutcome.id_in_use for answer in added):
                self._stored()
                return [TaskHandle(answer.id, self._client) for answer in added]
            tasks = self._redrawn(tasks, added)

    def _payload(self, spec: TaskSpec, call: Call, number: int | None) -> bytes:
        try:
            payload = spec.arguments.encode(*call)
        except ArgumentError as problem:
            if number is None:
                raise
            raise ArgumentError(
                task=problem.task,
                parameter=problem.parameter,
                problem=problem.problem,
                remedy=problem.remedy,
                call=number,
            ) from problem.__cause__
        if len(payload) > self._max_payload_bytes:
            raise PayloadTooLargeError(
                task=spec.name, size=len(payload), limit=self._max_payload_bytes, call=number
            )
        return payload

    def _check_eta(self, spec: TaskSpec, options: TaskOptions) -> None:
        overdue_time = options.policy.overdue_time
        if options.eta is None or overdue_time is None:
            return
        wait: timedelta = options.eta - self._store.now()
        if wait >= overdue_time:
            raise KapustaValueError(
                option="eta",
                value=options.eta,
                problem=f"is at or past the deadline of task '{spec.name}', {overdue_time} from now: it could never run",
                remedy="Make overdue_time longer, or None for no deadline.",
            )


def starts_at_once(options: TaskOptions) -> bool:
    """Whether a launch may be stored as started, by a worker of this process that has a slot for it.

    If the process dies between the write and the body, that counts as a crash: a task that a crash holds waits for a
    claim, which comes after the launch has been confirmed.
    """
    policy = options.policy
    return (
        options.eta is None
        and not options.eta_delta
        and policy.overdue_time is None
        and policy.on_crash is not OnCrash.hold
        and policy.max_crashes != 1
    )


@lru_cache(maxsize=256)  # many launches share few policies
def _encoded(policy: Policy) -> bytes:
    return msgspec.json.encode(policy)


def _listed(task: str, calls: object) -> list[Mapping[str, Any]]:
    """*calls*, if they are many, and each a mapping; a mapping, too, can be gone through, and so can text."""
    remedy = 'Write [{"order_id": 7}, {"order_id": 8}].'
    if isinstance(calls, (Mapping, str, bytes)) or not isinstance(calls, Iterable):
        problem = f"of type {type(calls).__name__}, where a list of mappings should be"
        raise ArgumentError(task=task, parameter=None, problem=problem, remedy=remedy)
    listed = list(calls)
    for number, call in enumerate(listed):
        if not isinstance(call, Mapping):
            problem = f"of type {type(call).__name__}, where a mapping should be"
            raise ArgumentError(task=task, parameter=None, problem=problem, remedy=remedy, call=number)
    return listed
