import pytest

from enterprise_gateway.links.start_notices import Told
from enterprise_gateway.links.state import LinkState


@pytest.mark.parametrize(
    ("state", "holds", "told"),
    [
        (LinkState.STARTING, True, Told.STARTING),
        (LinkState.UP, False, None),
        # To JupyterLab the word means that the kernel died and that it has to connect anew, which would never end.
        (LinkState.RESTARTING, True, None),
        (LinkState.ENDED, False, Told.DEAD),
    ],
)
def test_a_message_waits_for_a_kernel_that_is_to_come_and_a_client_is_told_what_the_log_doesnt_say(state, holds, told):
    assert (state.holds, state.told) == (holds, told)
