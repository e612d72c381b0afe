"""A store that is nothing but the rules: what any backend is held against."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kapusta import _rules as rules
from kapusta._records import (
    Added,
    AddOutcome,
    Change,
    ChangeAnswer,
    Changed,
    ClaimRequest,
    Claims,
    NewTask,
    RenewAnswer,
    Renewed,
    RenewRequest,
    StoredTask,
    TaskQuery,
)


class Model:
    """Tasks in a dict, looked through from end to end; written by the test that asks it.

    It is told the time, and is as slow and as plain as can be: it has no index that could be wrong.
    """

    def __init__(self) -> None:
        self.tasks: dict[int, StoredTask] = {}
        self._keys: dict[str, rules.KeyUse] = {}

    def add(self, tasks: Sequence[NewTask], now: datetime) -> list[Added]:
        return [self._add(task, now) for task in tasks]

    def claim(self, request: ClaimRequest, now: datetime) -> Claims:
        wanted = [task for task in self.tasks.values() if rules.takes(request, task, now)]
        left = dict(request.slots)
        taken = []
        for task in sorted((task for task in wanted if task.eta <= now), key=rules.rank):
            if left[task.mode] > 0:
                left[task.mode] -= 1
                self.tasks[task.id] = rules.claimed(task, request, now)
                taken.append(self.tasks[task.id])
        next_due = min((task.eta - now for task in wanted if task.eta > now), default=None)
        return Claims(tasks=taken, now=now, next_due=next_due)

    def change(self, changes: Sequence[Change], now: datetime) -> list[Changed]:
        answers = []
        for change in changes:
            task = self.tasks.get(change.id)
            answer = rules.answer(change, task, now)
            if task is not None and answer is ChangeAnswer.accepted:
                self.tasks[task.id] = rules.changed(task, change, now)
            answers.append(Changed(id=change.id, answer=answer))
        return answers

    def renew(self, request: RenewRequest, now: datetime) -> list[Renewed]:
        answers = []
        for renewal in request.renewals:
            task = self.tasks.get(renewal.id)
            if task is None or not rules.is_held(task, request.worker, renewal.run):
                answers.append(Renewed(id=renewal.id, answer=RenewAnswer.lost))
                continue
            self.tasks[task.id] = rules.renewed(task, request, now)
            answer = RenewAnswer.renewed
            answers.append(Renewed(id=task.id, answer=answer, cancel_requested=task.cancel_requested))
        return answers

    def find(self, query: TaskQuery, now: datetime) -> list[StoredTask]:
        found = [task for _, task in sorted(self.tasks.items()) if rules.fits(query, task, now)]
        return found[: query.limit]

    def delete(self, ids: Sequence[int], now: datetime) -> int:
        final = [id for id in set(ids) if id in self.tasks and self.tasks[id].status.is_final]
        for id in final:
            del self.tasks[id]
        uses = self._keys.items()
        self._keys = {key: use for key, use in uses if rules.in_use(use, self.tasks.get(use.task_id), now)}
        return len(final)

    def _add(self, task: NewTask, now: datetime) -> Added:
        there = self.tasks.get(task.id)
        if there is not None:
            outcome = AddOutcome.again if there.token == task.token else AddOutcome.id_in_use
            return Added(id=task.id, outcome=outcome)
        if task.unique is not None:
            use = self._keys.get(task.unique.key)
            if use is not None and rules.in_use(use, self.tasks.get(use.task_id), now):
                return Added(id=use.task_id, outcome=AddOutcome.key_in_use)
            self._keys[task.unique.key] = rules.key_use(task, task.unique, now)
        self.tasks[task.id] = rules.stored(task, now)
        return Added(id=task.id, outcome=AddOutcome.new)
