import re
from typing import get_args

from enterprise_gateway.links.link import LinkDropReason
from enterprise_gateway.metrics import GatewayMetrics
from enterprise_gateway.websocket.kernel import DropReason


def exposition(act=None):
    metrics = GatewayMetrics(version="1.2.3")
    if act:
        act(metrics)
    return metrics.exposition().decode()


def test_counters_exist_before_the_first_event():
    text = exposition()
    assert 'enterprise_gateway_kernel_restarts_total{cause="died"} 0.0' in text
    assert 'enterprise_gateway_kernels_culled_total{reason="idle"} 0.0' in text
    assert 'enterprise_gateway_websocket_messages_total{channel="iopub",direction="to_client"} 0.0' in text


def test_every_reason_to_drop_a_message_has_its_counter_before_the_first_one():
    reasons = re.findall(r'messages_dropped_total\{reason="(\w+)"\} 0\.0', exposition())
    assert sorted(reasons) == sorted({*get_args(LinkDropReason), *get_args(DropReason)})


def test_a_failed_start_is_counted_by_its_reason():
    text = exposition(lambda metrics: metrics.launch_finished("python3", 2.0, "LaunchTimeout", {"process": 0.5}))
    assert 'enterprise_gateway_kernel_launch_failures_total{reason="LaunchTimeout"} 1.0' in text
    failed = 'kernelspec="python3",outcome="failure"'
    assert f'enterprise_gateway_kernel_launch_duration_seconds_count{{{failed},phase="total"}} 1.0' in text
    assert f'enterprise_gateway_kernel_launch_duration_seconds_sum{{{failed},phase="process"}} 0.5' in text


def test_kernels_are_counted_when_they_are_asked_for():
    states = [("python3", "idle"), ("python3", "idle"), ("r", "busy")]
    text = exposition(lambda metrics: metrics.observe_kernels(lambda: iter(states)))
    assert 'enterprise_gateway_kernels{kernelspec="python3",state="idle"} 2.0' in text
    assert 'enterprise_gateway_kernels{kernelspec="r",state="busy"} 1.0' in text


def test_what_kernels_use_is_added_up_when_it_is_asked_for():
    usage = [("python3", 1 << 20, 0.5), ("python3", 3 << 20, 1.0), ("r", 1 << 20, 0.0)]
    text = exposition(lambda metrics: metrics.observe_usage(lambda: iter(usage)))
    assert 'enterprise_gateway_kernels_memory_bytes{kernelspec="python3"} 4.194304e+06' in text
    assert 'enterprise_gateway_kernels_cpu_cores{kernelspec="python3"} 1.5' in text
    assert 'enterprise_gateway_kernels_cpu_cores{kernelspec="r"} 0.0' in text


def test_two_gateways_of_one_process_count_for_themselves():
    first, second = GatewayMetrics(version="1"), GatewayMetrics(version="1")
    first.kernel_culled("idle")
    assert 'kernels_culled_total{reason="idle"} 0.0' in second.exposition().decode()


def test_the_delay_of_the_event_loop_is_asked_for_at_each_scrape():
    assert "enterprise_gateway_event_loop_lag_seconds 2.5" in exposition(lambda metrics: metrics.observe_loop_lag(lambda: 2.5))
