import logging

import pytest


@pytest.mark.parametrize(
    "file",
    [
        "",
        "nothing",
        "a" * 255,
        "a" * 256,
        "ä" * 200,
        "a" * 5000,
        "/".join("a" * 2000),
        "logo-64x64.png/inside",
        "%00",
        "loop",
        "../outside.txt",
        "%2e%2e/%2e%2e/outside.txt",
        "link.txt",
        "scripts/kernel-pod.yaml.j2",
        ".hidden",
    ],
)
def test_a_file_that_a_browser_cannot_have_is_404_whatever_its_name(gateway, answer, kernelspec_folder, caplog, file):
    (kernelspec_folder / "broken" / "loop").symlink_to("loop")
    with caplog.at_level(logging.ERROR):
        found = answer(gateway().request("GET", f"/kernelspecs/broken/{file}"))
    assert (found.status, found.reason) == (404, "Not Found")
    assert not caplog.records


@pytest.mark.parametrize("name", ["a" * 256, "a" * 5000, "ä" * 300, "%00", "..%2f..", "%2e%2e"])
@pytest.mark.parametrize("path", ["/kernelspecs/{}/logo-64x64.png", "/api/kernelspecs/{}", "/api/kernels/{}", "/api/sessions/{}"])
def test_a_name_or_id_that_nothing_has_is_404_however_long(gateway, answer, path, name):
    found = answer(gateway().request("GET", path.format(name)))
    assert found.status == 404
    assert len(found.message) < 1000


def test_a_logo_is_served_to_a_browser(gateway):
    found = gateway().request("GET", "/kernelspecs/broken/logo-64x64.png")
    assert (found.status_code, found.content, found.headers["Content-Type"]) == (200, b"png", "image/png")


def test_why_a_user_sees_no_kernelspec_is_logged_at_the_first_request(gateway, caplog, kernelspec_folder):
    running = gateway(unauthorized_users=frozenset({"root"}))
    for _ in range(2):
        assert running.request("GET", "/api/kernelspecs?user=root").json()["kernelspecs"] == {}
    assert running.request("GET", "/api/kernelspecs?user=ada").json()["kernelspecs"] != {}
    (told,) = [record for record in caplog.records if record.getMessage() == "A user sees no kernelspec"]
    assert (told.levelname, told.user, told.setting) == ("WARNING", "root", "EG_UNAUTHORIZED_USERS")
    assert "KERNEL_USERNAME" in told.advice


def test_each_reason_for_an_empty_list_names_its_setting(gateway, caplog, kernelspec_folder):
    gateway(authorized_users=frozenset({"ada"}), allowed_kernels=frozenset({"broken"})).request(
        "GET", "/api/kernelspecs?user=bob"
    )
    gateway(allowed_kernels=frozenset({"restricted"})).request("GET", "/api/kernelspecs?user=bob")
    settings = [record.setting for record in caplog.records if record.getMessage() == "A user sees no kernelspec"]
    assert settings == ["EG_AUTHORIZED_USERS", "the kernelspecs' authorized_users and unauthorized_users"]
