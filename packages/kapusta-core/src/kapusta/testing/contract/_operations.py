"""Every operation on tasks, with ordinary arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from kapusta._crud import BaseCRUD
from kapusta._errors import StoreUnavailableError
from kapusta._records import Renewal, RenewRequest, StoredTask, TaskQuery

from .._examples import LEASE, request, settled, task


def operations_on(store: BaseCRUD, given: StoredTask) -> Mapping[str, Callable[[], Awaitable[object]]]:
    """Return calls of all operations, by name; *given* is a task that its worker has claimed."""
    renewal = Renewal(id=given.id, run=given.run)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "add_tasks": lambda: store.add_tasks([task()]),
        "claim_tasks": lambda: store.claim_tasks(request()),
        "renew_leases": lambda: store.renew_leases(
            RenewRequest(worker=str(given.worker), lease=LEASE, renewals=[renewal])
        ),
        "change_tasks": lambda: store.change_tasks([settled(given)]),
        "find_tasks": lambda: store.find_tasks(TaskQuery()),
        "delete_tasks": lambda: store.delete_tasks([given.id]),
    }
    if store.capabilities.starts_tasks:
        calls["start_task"] = lambda: store.start_task(task(), request())
    return calls


async def cannot(store: BaseCRUD, given: StoredTask) -> dict[str, object]:
    """Call all operations; return what those did that did not raise `StoreUnavailableError`."""
    otherwise: dict[str, object] = {}
    for name, call in operations_on(store, given).items():
        try:
            otherwise[name] = await call()
        except StoreUnavailableError:
            pass
        except Exception as error:  # noqa: BLE001 - of any other error the law says which it was
            otherwise[name] = error
    return otherwise
