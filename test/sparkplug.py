"""Sparkplug B payloads made by Google's protobuf library, from field numbers of the specification (6.4) written down here."""
from google.protobuf import descriptor_pb2, descriptor_pool

try:  # protobuf 3.20 and later have no MessageFactory.GetPrototype in the end
    from google.protobuf.message_factory import GetMessageClass
except ImportError:
    from google.protobuf.message_factory import MessageFactory
    GetMessageClass = None

U32, U64, I32, F32, F64, BOOL, TEXT, BYTES, MESSAGE = 13, 4, 5, 2, 1, 8, 9, 12, 11
FIELDS = {
    "PropertyValue": [("type", 1, U32), ("is_null", 2, BOOL), ("int_value", 3, U32), ("long_value", 4, U64)],
    "PropertySet": [("keys", 1, TEXT, "*"), ("values", 2, "PropertyValue", "*")],
    "DataSet": [("num_of_columns", 1, U64)],
    "Metric": [("name", 1, TEXT), ("alias", 2, U64), ("timestamp", 3, U64), ("datatype", 4, U32), ("is_historical", 5, BOOL), ("is_transient", 6, BOOL),
               ("is_null", 7, BOOL), ("properties", 9, "PropertySet"), ("int_value", 10, U32), ("long_value", 11, U64), ("float_value", 12, F32),
               ("double_value", 13, F64), ("boolean_value", 14, BOOL), ("string_value", 15, TEXT), ("bytes_value", 16, BYTES), ("dataset_value", 17, "DataSet")],
    "Payload": [("timestamp", 1, U64), ("metrics", 2, "Metric", "*"), ("seq", 3, U64), ("uuid", 4, TEXT), ("body", 5, BYTES)],
}
TYPES = {"Int8": (1, "int_value"), "Int16": (2, "int_value"), "Int32": (3, "int_value"), "Int64": (4, "long_value"), "UInt8": (5, "int_value"),
         "UInt16": (6, "int_value"), "UInt32": (7, "int_value"), "UInt64": (8, "long_value"), "Float": (9, "float_value"), "Double": (10, "double_value"),
         "Boolean": (11, "boolean_value"), "String": (12, "string_value"), "DateTime": (13, "long_value"), "Text": (14, "string_value"),
         "UUID": (15, "string_value"), "DataSet": (16, None), "Bytes": (17, "bytes_value"), "Int16Array": (23, "bytes_value"),
         "DoubleArray": (31, "bytes_value"), "BooleanArray": (32, "bytes_value"), "StringArray": (33, "bytes_value")}


def file_of(package, messages, syntax="proto2"):
    """A FileDescriptorProto of {message: [(field, number, type or message name[, "*"])]}."""
    file = descriptor_pb2.FileDescriptorProto(name=package + ".proto", package=package, syntax=syntax)
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind, *more in fields:
            made = message.field.add(name=field, number=number, label=3 if more else 1)
            if isinstance(kind, str):
                made.type, made.type_name = MESSAGE, f".{package}.{kind}"
            else:
                made.type = kind
    return file


def classes_of(file):
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [pool.FindMessageTypeByName(f"{file.package}.{m.name}") for m in file.message_type]
    return {d.name: GetMessageClass(d) if GetMessageClass else MessageFactory(pool).GetPrototype(d) for d in found}


CLASSES = classes_of(file_of("sparkplug", FIELDS))


def payload(*metrics, seq=None, ts=None):
    """A payload's bytes; a metric is a dict of name, alias, type, value, ts, null, historical, transient, quality."""
    made = CLASSES["Payload"]()
    if seq is not None:
        made.seq = seq
    if ts is not None:
        made.timestamp = ts
    for given in metrics:
        m = made.metrics.add()
        for key, field in (("name", "name"), ("alias", "alias"), ("ts", "timestamp"), ("historical", "is_historical"), ("transient", "is_transient"), ("null", "is_null")):
            if key in given:
                setattr(m, field, given[key])
        number, field = TYPES[given.get("type", "Double")]
        if not given.get("untyped"):
            m.datatype = number
        if "value" in given:
            value = given["value"]
            setattr(m, field, value & (2**64 - 1 if field == "long_value" else 2**32 - 1) if isinstance(value, int) and field in ("int_value", "long_value") else value)
        if given.get("type") == "DataSet":
            m.dataset_value.num_of_columns = 1
        if "quality" in given:
            m.properties.keys.append("Quality")
            m.properties.values.add(type=3, int_value=given["quality"])
    return made.SerializeToString()


def parse(data):
    made = CLASSES["Payload"]()
    made.ParseFromString(data)
    return made
