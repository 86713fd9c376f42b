"""The connection file of a kernel that only its supervisor speaks with."""

import json
import stat

from enterprise_gateway_common.connection import PORTS
from kernel_launchers.link.loopback import write_loopback_file


def test_ports_are_free_different_and_on_the_loopback_interface(tmp_path):
    path = tmp_path / "connection.json"
    info = write_loopback_file(str(path), key="key", kernel_name="ir")
    assert (info["transport"], info["ip"], info["key"], info["kernel_name"]) == ("tcp", "127.0.0.1", "key", "ir")
    assert len({info[name] for name in PORTS}) == len(PORTS)
    assert json.loads(path.read_text()) == info
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_start_has_sockets_of_its_own_where_the_kernel_can_use_files(tmp_path):
    path = tmp_path / "connection.json"
    first, second = (
        write_loopback_file(str(path), key="key", kernel_name="", unix_sockets=True, start=start) for start in (1, 2)
    )
    assert (first["transport"], second["transport"]) == ("ipc", "ipc")
    assert first["ip"] != second["ip"]
    assert json.loads(path.read_text()) == second


def test_a_folder_whose_path_is_too_long_for_a_socket_gets_ports(tmp_path):
    path = tmp_path / ("x" * 100) / "connection.json"
    path.parent.mkdir()
    assert write_loopback_file(str(path), key="key", kernel_name="", unix_sockets=True)["transport"] == "tcp"


def test_a_file_that_the_kernel_removed_is_written_again(tmp_path):
    path = tmp_path / "connection.json"
    write_loopback_file(str(path), key="key", kernel_name="")
    path.unlink()
    write_loopback_file(str(path), key="key", kernel_name="")
    assert path.exists()
