import pytest

from kernel_launchers.spark.scala_names import wants_session


@pytest.mark.parametrize(
    "code",
    [
        "spark.range(3)",
        "val x = sc.parallelize(1 to 3)",
        'sql("select 1").show()',
        'df.select($"id")',
        "Seq(1).toDF",
        's"${spark.version}"',
        "val spark2 = spark.newSession()\nval spark = spark2",
    ],
)
def test_a_cell_that_uses_one_of_sparks_names_wants_a_session(code):
    assert wants_session(code)


@pytest.mark.parametrize(
    "code",
    [
        "1 + 1",
        '"spark.range"',
        '"""spark\nsc"""',
        "// spark",
        "/* sc */ 1",
        "x.spark",
        "import org.apache.spark.sql.SparkSession",
        "val spark = SparkSession.builder.getOrCreate()\nspark.range(3)",
        "sparkle",
        "`spark`",
    ],
)
def test_a_cell_that_only_looks_like_it_wants_none(code):
    assert not wants_session(code)
