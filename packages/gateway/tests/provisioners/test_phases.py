from enterprise_gateway.provisioners.phases import LaunchPhases


def test_each_phase_begins_where_the_one_before_ended():
    times = iter([10.0, 10.5, 13.5])
    phases = LaunchPhases(clock=lambda: next(times))
    phases.ended("create")
    phases.ended("pod")
    assert phases.seconds == {"create": 0.5, "pod": 3.0}


def test_a_phase_that_comes_again_adds_up():
    times = iter([0.0, 1.0, 3.0, 7.0])
    phases = LaunchPhases(clock=lambda: next(times))
    phases.ended("pod")
    phases.ended("create")
    phases.ended("pod")
    assert phases.seconds == {"pod": 5.0, "create": 2.0}
