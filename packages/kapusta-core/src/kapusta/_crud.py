"""The protocol: what Kapusta asks of a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Literal, TypeAlias

from ._clock import Clock, SystemClock
from ._records import (
    Added,
    Capabilities,
    Change,
    Changed,
    ClaimRequest,
    Claims,
    NewTask,
    Renewed,
    RenewRequest,
    StoredTask,
    TaskQuery,
)

WakeKind: TypeAlias = Literal["work", "cancel", "settled"]
"""What a store may wake a worker for."""


class JoinedStore(ABC):
    """Writes that join a transaction of the caller's; what `BaseCRUD.within` gives.

    They are there exactly if the transaction commits. Nothing here commits it, rolls it back, or repeats any
    of it; an error goes to the caller as it is.
    """

    @abstractmethod
    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        """As `BaseCRUD.add_tasks`, but for unique keys, which it refuses.

        Raises:
            TransactionError: the transaction is of another database, or of another store in it.
        """

    @abstractmethod
    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        """As `BaseCRUD.change_tasks`. A row that is changed stays locked until the transaction ends.

        Raises:
            TransactionError: see `add_tasks`.
        """


class BaseCRUD(ABC):
    """A store of tasks: broker and result backend in one.

    Nine operations are abstract. They take records and answer records; a backend compares, writes and
    answers, and decides nothing: what becomes of a task was decided by whoever built the record. This page
    is the specification; ``kapusta.testing.BackendContract`` says the same in tests.

    What holds for every operation:

    - A handle belongs to one event loop at a time, from ``startup()`` to ``shutdown()``. Used before or
      after, or on another event loop, it raises `StoreNotStartedError`.
    - Each operation is atomic, durable when it returns, and may be cancelled at any moment: then it raises
      ``CancelledError``, has happened or not, and the handle works on. A handle may be used by many asyncio
      tasks at once.
    - Instants follow the store's own clock, plus ``clock.offset``. They are kept to
      ``capabilities.time_resolution``, and come back aware and in UTC. Now plus a duration that leads beyond
      ``datetime.max`` is that instant; ``lease`` itself may then be kept as the longest that the store can count.
    - Names, queues, tokens, worker ids and unique keys are compared code point by code point.
    - Rows are locked and written in id order.
    - What the store cannot do *now* (unreachable, busy beyond patience) raises `StoreUnavailableError`, never
      an error of a driver or of the system, and the operation may be repeated. Any other error says that the
      data of a row cannot be stored. Conflicts between writers are repeated inside the backend first. If another
      writer is in the way still, ``busy=True`` says so: of a batch each is then tried by itself.

    - What a backend waits for in the world, such as a lock or a socket, it awaits by asyncio. ``clock.sleep``
      is for what waits for time: a clock that a test moves would never end it.

    Subclasses take ``clock=`` and hand it to ``super().__init__``.
    """

    protocol: ClassVar[int] = 1
    """The version of this page that the class was written for; a class of another distribution states it itself.

    A core that speaks an earlier version refuses the class with `BackendTooNewError`; one that speaks a later
    version takes it.
    """

    capabilities: Capabilities = Capabilities()
    """Facts about this store; see `Capabilities`."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()

    def __repr__(self) -> str:
        """What a log says of the store. A backend that has an address adds it, `masked`."""
        return f"<{type(self).__name__}>"

    @property
    def clock(self) -> Clock:
        """The clock that this backend was given; its worker lives by the same."""
        return self._clock

    # --- starting and stopping ----------------------------------------------------------------------

    @abstractmethod
    async def startup(self) -> None:
        """Open the store, and create or migrate what it needs; twice is once.

        Safe when any number of processes do it at once. Constructing a handle opens nothing, so this is the
        first moment at which a store can be missing. After ``shutdown()`` a handle can be started again, on
        another event loop too.

        Raises:
            StoreUrlError: the address leads to no store that this backend can use, and cannot: a folder is missing.
            MissingDriverError: a library is missing; the error says which extra to install.
            StoreTooNewError: a newer version has migrated the store.
            StoreUnavailableError: the store cannot be reached.
            StoreNotStartedError: this handle is started on another event loop that runs; ``error.elsewhere`` is true.
        """

    @abstractmethod
    async def shutdown(self) -> None:
        """Close what ``startup()`` opened; twice is once, and without ``startup()`` nothing.

        Raises:
            StoreNotStartedError: this handle is started on another event loop that runs; ``error.elsewhere`` is true.
        """

    @abstractmethod
    def twin(self) -> BaseCRUD:
        """A fresh handle, not started, to the same tasks, with the same clock.

        It is used from another event loop, in another thread, and shares no connection with this one. It has
        all parameters of this one, also those that came with a URL.
        """

    # --- tasks --------------------------------------------------------------------------------------

    @abstractmethod
    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        """Store new tasks, ``pending``; answer each, in the order given.

        All or nothing: if the store fails, none is stored. Each answer is one of `AddOutcome`, and one
        task's answer is none of its neighbours' business:

        - ``again``: a task with this id and this token is there, whatever has become of it since. Nothing
          changes, so a launch whose reply was lost can simply be repeated.
        - ``id_in_use``: a task with this id and another token is there.
        - ``key_in_use``: the unique key is in use (see `UniqueUntil`) by the task that ``Added.id`` names; it
          need not exist any more where the key outlives it. Within one call, the first one wins.
        - ``new``: ``run``, ``failures``, ``crashes``, ``interruptions`` are 0, ``created`` is the store's now,
          ``eta`` and ``deadline`` as the record says.
        """

    @abstractmethod
    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        """Claim tasks that are due, for one worker.

        A task can be claimed if it is ``pending``, its eta has come, its deadline has not, its name is in
        ``request.names`` and its queue in ``request.queues``. Of each mode at most ``slots[mode]`` are
        claimed: those of the highest priority, then of the earliest eta, then of the smallest id; ``tasks``
        comes back in that order. Of several workers that ask at once, each task goes to one; one that others
        are just claiming is passed over, not waited for.

        Each claimed task gets: ``status`` started, ``run`` + 1, ``worker``, ``lease``, ``lease_end`` = now +
        lease, ``started`` = now, ``cancel_requested`` false. All else stays.

        ``next_due`` counts only tasks that the request could take once they are due: a row that is due
        already, and was not taken, never shortens it.
        """

    @abstractmethod
    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        """Carry out compare-and-sets; answer each, in the order given.

        Settling, retrying, releasing, holding, rescuing and cancelling are all this. See `Change` for what
        is written and `Guard` for what must hold; a task that does not exist is ``refused``. Each change
        stands alone: a refused one never takes its neighbours along. At most one change per task and call. Under
        ``expired`` a row that somebody has locked may be refused instead of waited for: that its worker still has
        it is likely, and the next look is soon.

        ``already`` is the answer to a change under ``holder`` whose ``run`` is both the task's ``run`` and its
        ``settled_run``, and whose ``worker`` is the task's.
        """

    @abstractmethod
    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        """Extend leases that are still held; answer each, in the order given.

        A lease is held while the task is ``started`` in that run by that worker, even past ``lease_end``: it
        ends when somebody else takes the task. ``lease`` becomes the request's and ``lease_end`` the store's
        now plus it. Never waits for a lock on a row: a locked row is ``busy``.
        """

    @abstractmethod
    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """The tasks that fit the query, in id order, at most ``query.limit``; changes nothing."""

    @abstractmethod
    async def delete_tasks(self, ids: Sequence[int]) -> int:
        """Delete those of these tasks whose status is final; answer how many that were.

        Their unique keys go with them, except those that are still in use ``forever`` or for a ``period``.
        """

    # --- what a backend may offer; each has a capability that is false by default ---------------------

    def listen(self, wake: Callable[[WakeKind], None]) -> AbstractAsyncContextManager[None]:
        """While entered, call *wake* when another handle may have stored something of that kind.

        Only asked of a backend with ``capabilities.pushes_wakeups``. *wake* is safe to call from any thread,
        and cheap. A hint: it may come twice, late, for nothing, or not at all when a connection is lost;
        a worker goes on asking by itself.
        """
        raise NotImplementedError(f"{type(self).__name__} does not push wake-ups")

    async def start_task(self, task: NewTask, request: ClaimRequest) -> Claims | None:
        """Store a new task and claim it, in one write, for the worker that launches it.

        Only asked of a backend with ``capabilities.starts_tasks``, and of a task without ``eta``, ``delay`` and
        ``unique``. The task becomes what ``add_tasks`` and ``claim_tasks`` would make of it at one and the same now.
        The answer is that of ``claim_tasks``, without ``next_due``; ``None``: a task has this id, whatever its token,
        and nothing was stored. A repeat by ``add_tasks`` is answered ``again``. No wake-up is pushed: nothing waits.
        """
        raise NotImplementedError(f"{type(self).__name__} does not start new tasks")

    def within(self, transaction: object, committed: Callable[[], object]) -> JoinedStore:
        """A handle whose writes join *transaction*, which is open and the caller's own.

        Only asked of a backend with ``capabilities.joins_transactions``. Whatever *transaction* is, is between
        the caller and the backend. *committed* is called on the loop that asked, some time after the
        transaction has committed, and never before; after a rollback it need not be.

        Raises:
            TransactionError: *transaction* is nothing that this backend can join.
        """
        raise NotImplementedError(f"{type(self).__name__} does not join transactions")
