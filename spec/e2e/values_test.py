#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every type of field through a handler, by protobuf and by JSON."""

import harness
from google.protobuf import json_format, struct_pb2, timestamp_pb2
from harness import SERVICES, SLOW

pb, rpc = harness.stubs(SERVICES / "values/proto/values.proto")

I32, I64, U32, U64 = 2**31, 2**63, 2**32, 2**64


def messages():
    """Messages with the extremes of each type, by name."""
    yield "empty", pb.Everything()
    yield "largest", pb.Everything(
        f_double=1.7976931348623157e308, f_float=3.3999999521443642e38, f_int32=I32 - 1, f_int64=I64 - 1, f_uint32=U32 - 1,
        f_uint64=U64 - 1, f_sint32=I32 - 1, f_sint64=I64 - 1, f_fixed32=U32 - 1, f_fixed64=U64 - 1, f_sfixed32=I32 - 1,
        f_sfixed64=I64 - 1, f_bool=True, f_string="é日本\U0001f600\x00end", f_bytes=bytes(range(256)), f_enum=pb.GREEN,
        f_id=I64 - 1)
    yield "smallest", pb.Everything(
        f_double=-5e-324, f_float=-1.401298464324817e-45, f_int32=-I32, f_int64=-I64, f_sint32=-I32, f_sint64=-I64,
        f_sfixed32=-I32, f_sfixed64=-I64, f_enum=pb.BELOW, f_id=-I64)
    yield "around 2^53", pb.Everything(f_int64=2**53, f_uint64=2**53 + 1, f_sint64=-(2**53) - 1, f_sfixed64=-(2**53))
    yield "infinite", pb.Everything(f_double=float("inf"), f_float=float("-inf"))
    yield "unknown enum", pb.Everything(f_enum=77, r_enum=[1, 99, 0])
    yield "present zeros", pb.Everything(o_int32=0, o_string="", o_bool=False, f_message=pb.Point())
    yield "lists", pb.Everything(
        r_int32=[0, 1, -1, I32 - 1], r_string=["", "a"], r_message=[pb.Point(), pb.Point(x=1)], r_unpacked=[0.5, -1],
        r_enum=[pb.RED, pb.NONE])
    yield "maps", pb.Everything(
        m_string={"": "empty", "k": ""}, m_message={0: pb.Point(), -5: pb.Point(y=2)}, m_bool={True: I64 - 1, False: 0},
        m_uint64={0: pb.RED, U64 - 1: pb.GREEN, 2**53: pb.NONE})
    yield "oneof string", pb.Everything(email="")
    yield "oneof number", pb.Everything(phone=0)
    yield "oneof message", pb.Everything(place=pb.Point(x=1))
    known = pb.Everything(
        w_timestamp=timestamp_pb2.Timestamp(seconds=253402300799, nanos=999999999), w_string={"value": ""},
        w_int64={"value": I64 - 1}, w_bool={"value": False}, w_bytes={"value": b"\x00"}, w_double={"value": 0.1})
    known.w_duration.FromMilliseconds(-1500)
    known.w_struct.update({"a": None, "b": [1, "x", {}, []], "c": {"d": True}, "e": 1.5})
    known.w_value.list_value.extend([None, 1])
    known.w_list.extend([[], "x", None])
    known.w_mask.paths.extend(["a.b", "c_d"])
    known.w_empty.SetInParent()
    known.w_any.Pack(pb.Point(x=7))
    yield "well-known types", known
    yield "null value", pb.Everything(w_value=struct_pb2.Value(null_value=0))


class Values(harness.Case):
    services = [SERVICES / "values"]

    def setUp(self):
        self.channel = self.server.channel()
        self.values = rpc.ValuesStub(self.channel)

    def tearDown(self):
        self.channel.close()

    def test_echo_over_grpc(self):
        for name, message in messages():
            with self.subTest(name=name):
                self.assertEqual(self.values.Echo(message, timeout=10 * SLOW), message)

    def test_rebuilt_in_lua(self):
        for name, message in messages():
            with self.subTest(name=name):
                self.assertEqual(self.values.Rebuild(message, timeout=10 * SLOW), message)

    def test_echo_in_json(self):
        for name, message in messages():
            for names in (True, False):
                with self.subTest(name=name, names=names):
                    text = json_format.MessageToJson(message, preserving_proto_field_name=names)
                    answer = self.server.http("POST", "/values/values/echo", text.encode(),
                                              {"Content-Type": "application/json"})
                    self.assertEqual(answer.status, 200, answer)
                    self.assertEqual(json_format.Parse(answer.body, pb.Everything()), message)

    def test_not_a_number(self):
        answer = self.values.Echo(pb.Everything(f_double=float("nan")), timeout=10 * SLOW)
        self.assertNotEqual(answer.f_double, answer.f_double)
        self.assertEqual(self.server.post("/values/values/echo", {"f_double": "NaN"}).json["f_double"], "NaN")

    def test_unknown_fields_are_kept(self):
        echo = self.channel.unary_unary("/values.Values/Echo", request_serializer=bytes, response_deserializer=bytes)
        wire = b"\xf8\x3f\x2a"  # field 1023, 42
        self.assertEqual(echo(wire, timeout=10 * SLOW), wire)

    def test_what_lua_sees(self):
        got = self.values.Describe(pb.Everything(f_int64=41, f_enum=pb.GREEN, phone=1, f_id=5, o_int32=0), timeout=10 * SLOW)
        self.assertEqual((got.contact, got.color, got.absent, got.id, got.big), ("phone", "GREEN", "0", "string", "42"))
        self.assertEqual(got.unset, '"" 0 table')
        got = self.values.Describe(pb.Everything(f_int64=2**53 + 3, f_enum=77), timeout=10 * SLOW)
        self.assertEqual((got.contact, got.color, got.absent, got.big), ("nil", "77", "nil", str(2**53 + 4)))

    def test_numbers_out_of_range_in_json(self):
        for body in ({"f_int32": I32}, {"f_uint32": -1}, {"f_int64": str(I64)}, {"f_uint64": "-1"}, {"f_int32": 1.5},
                     {"f_float": 1e39}, {"f_enum": "PURPLE"}, {"f_bytes": "***"}, {"m_message": {"x": {}}},
                     {"email": "a", "phone": 1}, {"w_timestamp": "yesterday"}, {"w_duration": "2"}):
            with self.subTest(body=body):
                self.assert_error(self.server.post("/values/values/echo", body), 400, "values.Values.Echo")

    def test_numbers_written_otherwise_in_json(self):
        body = {"f_int32": 1e3, "f_int64": 12, "f_uint32": "7", "f_double": "1.5", "f_enum": 5, "f_bytes": "_-8", "f_string": None}
        got = self.server.post("/values/values/echo", body).json
        self.assertEqual((got["f_int32"], got["f_int64"], got["f_uint32"], got["f_double"]), (1000, "12", 7, 1.5))
        self.assertEqual((got["f_enum"], got["f_bytes"], got["f_string"]), ("GREEN", "/+8=", ""))


if __name__ == "__main__":
    harness.main()
