"""When a session is made, and who is told; Spark itself is tested in pods."""

import ast
import threading
from types import SimpleNamespace

import pytest

from kernel_launchers.spark.own import SparkSessionFailed
from kernel_launchers.spark.session import SparkSessions, names_of


class Made:
    def __init__(self):
        self.count, self.failure, self.said = 0, None, []
        self.may_come = threading.Event()
        self.may_come.set()
        self.namespace = {}
        self.sessions = SparkSessions(self.namespace, make=self, say=self.said.append)

    def __call__(self):
        self.count += 1
        self.may_come.wait(10)
        if self.failure:
            raise self.failure
        return SimpleNamespace(sparkContext="context", sql="sql")


@pytest.fixture
def made():
    return Made()


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("spark.range(3)", {"spark"}),
        ("def f():\n    return sc.parallelize([1])", {"sc"}),
        ("spark = 1", set()),
        ("spark = SparkSession.builder.getOrCreate()\nspark.range(3)", set()),
        ("spark = spark.newSession()", {"spark"}),
        ("from mine import sql\nsql('x')", set()),
        ("def f(sc):\n    return sc.x", set()),
        ("x.spark; 'sql'", set()),
        ("sql('select 1')", {"sql"}),
    ],
)
def test_a_cell_wants_spark_when_it_uses_one_of_its_names(code, names):
    assert names_of(ast.parse(code)) == names


def test_a_session_is_made_once_and_its_names_are_the_real_things(made):
    made.sessions.begin()
    made.sessions.begin()
    assert made.count == 1
    assert (made.namespace["sc"], made.namespace["sql"]) == ("context", "sql")
    assert made.namespace["spark"].sparkContext == "context"


def test_what_a_user_has_bound_stays(made):
    made.namespace["sql"] = made.namespace["spark"] = "the user's"
    made.sessions.begin()
    assert made.namespace["sql"] == made.namespace["spark"] == "the user's"
    assert made.namespace["sc"] == "context"


def test_names_that_were_deleted_come_again_with_the_same_session(made):
    made.sessions.begin()
    first = made.namespace["spark"]
    made.namespace.clear()
    made.sessions.begin()
    assert made.namespace["spark"] is first
    assert made.count == 1


def test_a_failure_is_told_in_its_words_and_the_next_cell_tries_again(made):
    made.failure = SparkSessionFailed("no room")
    with pytest.raises(SparkSessionFailed, match="no room") as caught:
        made.sessions.begin()
    assert caught.value._render_traceback_() == ["SparkSessionFailed: no room"]
    made.failure = None
    made.sessions.begin()
    assert made.count == 2


def test_a_session_that_is_made_beside_the_start_is_waited_for(made):
    made.may_come.clear()
    made.sessions.begin_beside()
    cell = threading.Thread(target=made.sessions.begin)
    cell.start()
    made.may_come.set()
    cell.join(10)
    assert made.count == 1
    assert "spark" in made.namespace


def test_the_cell_that_names_spark_makes_the_session_first_and_no_other_does(made):
    plain = made.sessions.visit(ast.parse("1 + 1"))
    assert ast.unparse(plain) == "1 + 1"
    wants = made.sessions.visit(ast.parse("spark.range(3)"))
    assert ast.unparse(wants).splitlines()[1:] == ["spark.range(3)"]
    made.namespace["spark"] = object()
    assert len(made.sessions.visit(ast.parse("spark.range(3)")).body) == 1
