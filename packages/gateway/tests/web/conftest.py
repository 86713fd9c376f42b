import asyncio
import json
import threading
from types import SimpleNamespace

import pytest
import requests

from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway.wiring import build_gateway


class RunningGateway:
    """A gateway of this process, in an event loop of its own thread."""

    def __init__(self, **settings):
        self._settings = GatewaySettings(**{"ip": "127.0.0.1", "port": 0, "list_kernels": True, **settings})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._http = requests.Session()

    def start(self):
        self._thread.start()
        self.call(self._start())

    async def _start(self):
        self._gateway = build_gateway(
            self._settings, environment={"PATH": "/bin", "EG_AUTH_TOKEN": "canary"}, default_user="nobody"
        )
        await self._gateway.start()

    def stop(self):
        self._http.close()
        self.call(self._gateway.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def drain(self):
        self._gateway._parts.kernels.draining = True

    @property
    def address(self):
        return "127.0.0.1", self._gateway._port

    def request(self, method, path, **arguments):
        return self._http.request(method, self._gateway.url + path, timeout=30, **arguments)


@pytest.fixture
def kernelspec_folder(tmp_path, monkeypatch):
    """A folder with two kernelspecs whose kernels can't be started, and nothing else that Jupyter would find."""
    folder = tmp_path / "data" / "kernels"
    for name, metadata in {
        "broken": {},
        "yarn": {"process_proxy": {"class_name": "x.YarnClusterProcessProxy"}},
        "restricted": {"process_proxy": {"class_name": "LocalProcessProxy", "config": {"authorized_users": "alice"}}},
    }.items():
        (folder / name / "scripts").mkdir(parents=True)
        (folder / name / "scripts" / "kernel-pod.yaml.j2").write_text("secret")
        (folder / name / "logo-64x64.png").write_bytes(b"png")
        content = {"argv": ["/no/such/program"], "display_name": name, "language": "x", "metadata": metadata}
        (folder / name / "kernel.json").write_text(json.dumps(content))
    (tmp_path / "outside.txt").write_text("secret")
    (folder / "broken" / "link.txt").symlink_to(tmp_path / "outside.txt")
    monkeypatch.setattr("enterprise_gateway.wiring_settings.jupyter_path", lambda *parts: [str(tmp_path / "data" / parts[0])])
    return folder


@pytest.fixture
def gateway(kernelspec_folder):
    """Return a function that starts a gateway with settings; it is stopped at the end."""
    del kernelspec_folder
    running = []

    def start(**settings):
        one = RunningGateway(**settings)
        one.start()
        running.append(one)
        return one

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def answer():
    """Return what is compared of an answer: status, reason and message."""

    def of(response):
        body = response.json()
        return SimpleNamespace(status=response.status_code, reason=body["reason"], message=body["message"], keys=set(body))

    return of
