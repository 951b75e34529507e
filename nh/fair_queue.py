"""A queue of many clients: they take turns, and where it is full, the client with most gives way.

So a client with very many requests delays another one by one of them, and keeps none out. It is fair queuing
with longest queue drop (RFC 970; RFC 7806 3.2), of requests in place of packets.
"""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class FairQueue(Generic[ItemT]):
    """What waits, by client.

    Args:
        most: most items; 0: none may wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._number = 0
        self._waiting: OrderedDict[str, deque[ItemT]] = OrderedDict()  # the client whose turn is next first
        self._by_number: list[dict[str, None]] = [{}]  # clients by how many items they have

    def __len__(self) -> int:
        return self._number

    def put(self, client: str, item: ItemT) -> ItemT | None:
        """Add an item behind the others of its client.

        Args:
            client: whose item it is, see nh.fair_shares.client_at().
            item: what waits.

        Returns:
            The item that gives way: the latest one of the client with most, which may be `item`; None: there
            is room.
        """
        items = self._waiting.setdefault(client, deque())
        items.append(item)
        self._note(client, len(items) - 1, len(items))
        return self.give_way(client) if self._number > self._most else None

    def give_way(self, client: str) -> ItemT:
        """Take the latest item of the client with most out.

        Args:
            client: for whom; it gives way itself where none has more. It has an item.
        """
        most = len(self._by_number) - 1
        if len(self._waiting[client]) < most:
            client = next(iter(self._by_number[most]))
        items = self._waiting[client]
        item = items.pop()
        self._note(client, len(items) + 1, len(items))
        if not items:
            del self._waiting[client]
        return item

    def take(self) -> ItemT:
        """Take the next item out. Raises StopIteration if there is none."""
        client = next(iter(self._waiting))
        items = self._waiting[client]
        item = items.popleft()
        self._note(client, len(items) + 1, len(items))
        if items:
            self._waiting.move_to_end(client)
        else:
            del self._waiting[client]
        return item

    def discard(self, client: str, item: ItemT) -> None:
        """Take an item of a client out; no effect if it does not wait."""
        items = self._waiting.get(client)
        if items is None or item not in items:
            return
        items.remove(item)
        self._note(client, len(items) + 1, len(items))
        if not items:
            del self._waiting[client]

    def _note(self, client: str, before: int, now: int) -> None:
        """Note how many items a client has: to look for the one with most would take as long as all have."""
        self._number += now - before
        by_number = self._by_number
        by_number[before].pop(client, None)
        if now == len(by_number):
            by_number.append({})
        if now:
            by_number[now][client] = None
        while len(by_number) > 1 and not by_number[-1]:
            by_number.pop()
