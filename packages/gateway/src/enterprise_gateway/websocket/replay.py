"""What outlives a lost connection: the flow between a kernel and a session, waiting for its client to come back."""

import logging
from weakref import WeakValueDictionary

from enterprise_gateway.errors import GatewayError
from enterprise_gateway.websocket.bridge import Bridge, SessionKey
from enterprise_gateway.websocket.kernel import KernelChannels, WebsocketMetrics
from enterprise_gateway.websocket.options import WebsocketOptions
from enterprise_gateway.websocket.replay_buffer import ReplayBudget, ReplayBuffer

__all__ = ["ReplayStore"]

_log = logging.getLogger(__name__)

# Each holds four sockets and checks every message of its kernel, and nobody comes back for that of a page that was
# loaded again.
_MOST_WAITING = 4


class ReplayStore:
    """Makes the flows of all sessions, and holds at most one that waits for each kernel and session.

    Parameters
    ----------
    options
        The bounds of what is kept.
    metrics
        Told how much is kept and dropped.
    """

    def __init__(self, *, options: WebsocketOptions, metrics: WebsocketMetrics) -> None:
        self._options = options
        self._metrics = metrics
        self._waiting: dict[SessionKey, Bridge] = {}
        # A kernel's budget lives as long as one of its buffers does.
        self._budgets: WeakValueDictionary[str, ReplayBudget] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, key: SessionKey, kernel: KernelChannels) -> Bridge:
        """Return the session's flow, with everything that it missed; a new one where nothing waits for it.

        A session that is new to a kernel ends the wait of others there: of those that have missed nothing and that no
        cell goes on for, and of those away longest where many are. One that comes back ends none, because after a
        failure of the network all clients come back.

        Raises
        ------
        GatewayError
            The kernel can't be reached from this process.
        """
        bridge = self._waiting.pop(key, None)
        if bridge is not None and not bridge.closed:
            return bridge
        self._make_room(key[0])
        buffer = ReplayBuffer(budget=self._budget(key[0]))
        bridge = Bridge(key=key, kernel=kernel, buffer=buffer, options=self._options, metrics=self._metrics, forget=self._forget)
        try:
            bridge.open()
        except GatewayError:
            bridge.close()
            raise
        return bridge

    def keep(self, bridge: Bridge) -> None:
        """Let a flow whose client went away wait for it."""
        if bridge.closed or not (self._options.replay_bytes and self._options.replay_messages):
            bridge.close()
        else:
            self._waiting[bridge.key] = bridge

    def _make_room(self, kernel_id: str) -> None:
        missing = []
        for bridge in self._waiting_for(kernel_id):
            if bridge.misses_something:
                missing.append(bridge)
            else:
                self._end(bridge)
        for bridge in missing[:-_MOST_WAITING]:
            _log.info(
                "What waited for a lost client is given up: others of its kernel wait as well", extra={"kernel_id": kernel_id}
            )
            self._end(bridge)

    def _waiting_for(self, kernel_id: str) -> list[Bridge]:
        """Return those of one kernel, the one that is away longest first."""
        return [bridge for key, bridge in self._waiting.items() if key[0] == kernel_id]

    def _end(self, bridge: Bridge) -> None:
        del self._waiting[bridge.key]
        bridge.close()

    def discard(self, kernel_id: str) -> None:
        """Forget all that waits for clients of one kernel."""
        for bridge in self._waiting_for(kernel_id):
            self._end(bridge)

    def close(self) -> None:
        """Forget everything."""
        while self._waiting:
            self._waiting.popitem()[1].close()

    def _forget(self, bridge: Bridge) -> None:
        if self._waiting.get(bridge.key) is bridge:
            del self._waiting[bridge.key]

    def _budget(self, kernel_id: str) -> ReplayBudget:
        budget = self._budgets.get(kernel_id)
        if budget is None:
            budget = self._budgets[kernel_id] = ReplayBudget(
                max_bytes=self._options.replay_bytes,
                max_messages=self._options.replay_messages,
                changed=self._metrics.replay_bytes,
                dropped=lambda: self._metrics.dropped("replay_full"),
            )
        return budget
