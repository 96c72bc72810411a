"""DDL over a whole node: what statements make of the Table documents."""
import json


def test_a_comment_is_the_description_of_the_table(node_factory):
    node = node_factory()
    node.sql("CREATE STABLE meters (time timestamp, volts double) TAGS (site varchar(20))")
    node.sql("COMMENT ON TABLE meters IS 'of the plant'")
    node.sql("COMMENT ON COLUMN meters.volts IS 'phase 1'")
    spec = json.loads(node.request("GET", "/apis/millrace.io/v1/namespaces/default/tables/meters")[1])["spec"]
    assert spec["description"] == "of the plant" and spec["columns"][0]["description"] == "phase 1"
