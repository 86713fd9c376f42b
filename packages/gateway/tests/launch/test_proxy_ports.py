import pytest

from enterprise_gateway.launch.proxy_ports import proxy_ports_of
from enterprise_gateway.launch.template import Dialect, PodTemplate

ANNOTATION = "enterprise-gateway.jupyter.org/proxy-ports"
POD = "kind: Pod\nmetadata: {annotations: {%s: '22'}}\nspec: {%scontainers: [{name: a, image: b}]}"


def pod_annotations(make_plan, ports, text="", template=None):
    template = template or PodTemplate(POD % (ANNOTATION, text), Dialect.JINJA)
    return make_plan(template=template, facts_of_kernelspec={"proxy_ports": ports}).pod["metadata"]["annotations"]


def test_the_ports_of_the_kernelspec_stand_on_the_pod(make_plan):
    assert proxy_ports_of(pod_annotations(make_plan, (4040, 6006))) == (4040, 6006)


def test_a_template_opens_no_port(make_plan):
    assert ANNOTATION not in pod_annotations(make_plan, ())


def test_a_pod_on_its_nodes_network_opens_none(make_plan):
    assert ANNOTATION not in pod_annotations(make_plan, (4040,), "hostNetwork: true, ")


def test_nothing_else_of_the_kernel_carries_the_ports(make_plan):
    plan = make_plan(facts_of_kernelspec={"proxy_ports": (4040,)})
    assert ANNOTATION not in plan.secret["metadata"]["annotations"]


@pytest.mark.parametrize("text", ["", "x", ",", "4040x", "-1", "\u0664\u0660"])
def test_what_is_no_port_opens_none(text):
    assert proxy_ports_of({ANNOTATION: text}) == ()
