import pytest

from enterprise_gateway.errors import BadRequest, Forbidden, GatewayError, LaunchFailed


@pytest.mark.parametrize("uid", ["0 ", "+0", " 0", "0x0", "0.0", "1_000", "\u0660", "-1", "4294967296", "1e3", "9" * 5000])
def test_what_is_not_written_in_plain_digits_is_no_user_id(make_request, uid):
    with pytest.raises(Forbidden, match="KERNEL_UID"):
        make_request(KERNEL_UID=uid)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KERNEL_CPUS", "many"),
        ("KERNEL_CPUS", "-1"),
        ("KERNEL_MEMORY", "1GB"),
        ("KERNEL_MEMORY", "1e999"),
        ("KERNEL_GPUS", "0.5"),
        ("KERNEL_GPUS_LIMIT", "1\nx: y"),
        ("KERNEL_VOLUMES", "{}"),
        ("KERNEL_VOLUMES", "[1]"),
        ("KERNEL_VOLUMES", "[&a {name: x}, *a]"),
        ("KERNEL_VOLUME_MOUNTS", "{["),
        ("KERNEL_NAMESPACE", "Kube_System"),
        ("KERNEL_NAMESPACE", "../x"),
        ("KERNEL_SERVICE_ACCOUNT_NAME", "a b"),
        ("KERNEL_IMAGE", "--flag"),
        ("KERNEL_IMAGE", "http://x/y z"),
    ],
)
def test_what_cant_be_read_is_refused_by_its_name(make_request, variable, value):
    with pytest.raises(BadRequest, match=variable if variable != "KERNEL_IMAGE" else "image"):
        make_request(**{variable: value})


@pytest.mark.parametrize("kernel_id", ["", "../x", "a b", "x" * 64, "-a", "a\n"])
def test_a_kernel_id_that_is_no_label_is_refused(make_request, kernel_id):
    with pytest.raises(BadRequest, match="KERNEL_ID"):
        make_request(kernel_id=kernel_id)


@pytest.mark.parametrize("username", ["", "a\nb", "\x00", "x" * 2000])
def test_a_user_name_that_cant_be_shown_is_refused(make_request, username):
    with pytest.raises(BadRequest, match="KERNEL_USERNAME"):
        make_request(username=username)


def test_a_start_without_an_image_says_what_to_set(make_request):
    with pytest.raises(LaunchFailed, match="image_name"):
        make_request(image=None)


def test_a_relative_working_directory_is_refused_where_working_directories_are_mirrored(make_request):
    with pytest.raises(GatewayError, match="absolute"):
        make_request(mirror_working_dirs=True, KERNEL_WORKING_DIR="../x")


def test_the_working_directory_of_the_client_is_dropped_unless_it_is_mirrored(make_request):
    request = make_request(KERNEL_WORKING_DIR="/home/alice")
    assert request.working_dir is None
    assert "KERNEL_WORKING_DIR" not in request.environment


def test_a_template_finds_only_what_was_asked_for(make_request):
    variables = make_request(KERNEL_CPUS="2", KERNEL_FOO="bar").template_variables()
    assert variables["kernel_cpus"] == "2"
    assert variables["kernel_foo"] == "bar"
    assert "kernel_memory" not in variables
    assert "kernel_volumes" not in variables
    assert (variables["kernel_uid"], variables["kernel_gid"]) == (1000, 100)
