import logging

from enterprise_gateway.links.complaints import Complaints


def test_a_complaint_is_logged_once_with_its_first_case_and_another_one_too(caplog):
    complain = Complaints("1")
    with caplog.at_level(logging.WARNING):
        complain("bad", cause="first")
        complain("bad", cause="second")
        complain("worse")
    assert [(record.message, getattr(record, "cause", None)) for record in caplog.records] == [("bad", "first"), ("worse", None)]
    assert {record.kernel_id for record in caplog.records} == {"1"}
