@transient val spark = org.apache.spark.sql.SparkSession.builder().getOrCreate()
@transient val sc = spark.sparkContext
@transient val sqlContext = spark.sqlContext
import org.apache.spark.SparkContext._
import spark.implicits._
import spark.sql
import org.apache.spark.sql.functions._
