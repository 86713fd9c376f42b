"""Every test leaves the process as it found it: what can be restored is restored, what can't fails the test that did it.

A pytest plugin; the conftest.py at the top loads it for all tests. The snapshot is taken when fixtures of a wider scope are
set up already, and compared after a test's own fixtures are gone. So a test need not clean up after `main()`, a handler of
signals or a logging configuration, and no test finds what another one left.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A thread whose work is done may need a moment to end, on a machine that others load a long one.
_END_OF_A_THREAD_SECONDS = 10.0


@dataclass(frozen=True)
class _Aspect:
    """One piece of the process' state: how to read it, and how to put back what was read."""

    read: Callable[[], Any]
    restore: Callable[[Any], None]


def _loggers() -> list[logging.Logger]:
    known = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    return [logging.root, *known]


def _read_logging() -> dict[str, Any]:
    return {
        "loggers": {
            logger: (logger.level, logger.handlers[:], logger.filters[:], logger.propagate, logger.disabled)
            for logger in _loggers()
        },
        "disabled below": logging.root.manager.disable,
        "class": logging.getLoggerClass(),
        "record factory": logging.getLogRecordFactory(),
        # Set while warnings are captured; public functions change it, and none reads it.
        "warnings": logging._warnings_showwarning,
    }


def _restore_logging(before: dict[str, Any]) -> None:
    untouched = (logging.NOTSET, [], [], True, False)
    for logger in _loggers():
        # A logger of the test's own is like one that nobody configured.
        level, logger.handlers[:], logger.filters[:], logger.propagate, logger.disabled = before["loggers"].get(logger, untouched)
        logger.setLevel(level)
    logging.disable(before["disabled below"])
    logging.setLoggerClass(before["class"])
    logging.setLogRecordFactory(before["record factory"])
    # Not by captureWarnings(), which would put back a function that belongs to a phase of the test that is over.
    logging._warnings_showwarning = before["warnings"]


def _read_signals() -> dict[str, Any]:
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    # A handler that wasn't installed by Python is None, and nobody could install it again.
    handlers = {number: handler for number in signal.valid_signals() if (handler := signal.getsignal(number)) is not None}
    return {"handlers": handlers, "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, []), "wakeup": wakeup}


def _restore_signals(before: dict[str, Any]) -> None:
    for number, handler in before["handlers"].items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, before["blocked"])
    signal.set_wakeup_fd(before["wakeup"])


def _read_environment() -> dict[str, str]:
    # pytest itself changes this one from phase to phase.
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _restore_environment(before: dict[str, str]) -> None:
    for name in _read_environment().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _read_garbage_collector() -> dict[str, Any]:
    return {
        "enabled": gc.isenabled(),
        "thresholds": gc.get_threshold(),
        "debug": gc.get_debug(),
        "callbacks": gc.callbacks[:],
        "frozen": gc.get_freeze_count() > 0,
    }


def _restore_garbage_collector(before: dict[str, Any]) -> None:
    (gc.enable if before["enabled"] else gc.disable)()
    gc.set_threshold(*before["thresholds"])
    gc.set_debug(before["debug"])
    gc.callbacks[:] = before["callbacks"]
    if not before["frozen"]:
        gc.unfreeze()


def _restore_event_loop_policy(_before: object) -> None:
    # A new one for each test: a policy remembers whether a loop was ever set, and nothing makes it forget that.
    asyncio.set_event_loop_policy(None)


def _read_umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _singleton_types() -> list[type]:
    # Looked up, because most packages have nothing to do with traitlets and don't install it.
    configurable = sys.modules.get("traitlets.config.configurable")
    found = [configurable.SingletonConfigurable] if configurable else []
    for singleton in found:
        found += [subclass for subclass in singleton.__subclasses__() if subclass not in found]
    return found


def _read_singletons() -> dict[type, Any]:
    return {singleton: singleton.__dict__.get("_instance") for singleton in _singleton_types()}


def _restore_singletons(before: dict[type, Any]) -> None:
    for singleton in _singleton_types():
        if singleton.__dict__.get("_instance") is not before.get(singleton):
            singleton._instance = before.get(singleton)


def _restore_import_path(before: list[str]) -> None:
    sys.path[:] = before


_ASPECTS = (
    _Aspect(_read_logging, _restore_logging),
    _Aspect(_read_signals, _restore_signals),
    _Aspect(_read_environment, _restore_environment),
    _Aspect(_read_garbage_collector, _restore_garbage_collector),
    _Aspect(asyncio.get_event_loop_policy, _restore_event_loop_policy),
    _Aspect(_read_umask, os.umask),
    _Aspect(os.getcwd, os.chdir),
    _Aspect(lambda: sys.path[:], _restore_import_path),
    _Aspect(_read_singletons, _restore_singletons),
    _Aspect(socket.getdefaulttimeout, socket.setdefaulttimeout),
    _Aspect(lambda: tempfile.tempdir, lambda before: setattr(tempfile, "tempdir", before)),
    _Aspect(lambda: sys.excepthook, lambda before: setattr(sys, "excepthook", before)),
    _Aspect(
        lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
        lambda before: resource.setrlimit(resource.RLIMIT_NOFILE, before),
    ),
)


def _still_running(before: set[threading.Thread]) -> list[str]:
    """Return the threads that a test started and that don't end."""
    started = [thread for thread in threading.enumerate() if thread not in before]
    if started:
        # The other end of its connection may be garbage.
        gc.collect()
    for thread in started:
        # One that another thread only registered can't be waited for.
        with contextlib.suppress(RuntimeError):
            thread.join(_END_OF_A_THREAD_SECONDS)
    return sorted(thread.name for thread in started if thread.is_alive())


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Restore what a test changed of the process; fail one that leaves a thread behind."""
    before = [aspect.read() for aspect in _ASPECTS]
    threads = set(threading.enumerate())
    yield
    for aspect, value in zip(_ASPECTS, before, strict=True):
        aspect.restore(value)
    # What was left open warns now, while this test is the one that is blamed, and not in the middle of another.
    gc.collect(1)
    if running := _still_running(threads):
        pytest.fail(f"the test left threads running, which may disturb every later test: {', '.join(running)}", pytrace=False)


@pytest.fixture(autouse=True, scope="module")
def _nothing_left_open_by_a_module() -> Iterator[None]:
    """Have what a test left in an older generation warn in its own module."""
    yield
    gc.collect()
