"""What has to be known of the library `websocket-client`, on which `jupyter_kernel_client` stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import websocket

if TYPE_CHECKING:
    import pytest

__all__ = ["short_select"]


def short_select(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it wait a second instead of ten when it has read the closing frame before its reading thread could."""
    create = websocket.WebSocketApp.create_dispatcher
    monkeypatch.setattr(
        websocket.WebSocketApp, "create_dispatcher", lambda self, timeout, *rest: create(self, timeout or 1, *rest)
    )
