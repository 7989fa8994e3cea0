#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What callers do wrong and what handlers do wrong: a clear error each, and the server goes on."""


import grpc
import harness
from harness import EXAMPLES, SERVICES, SLOW

hello_pb, hello_rpc = harness.stubs(EXAMPLES / "helloworld/proto/helloworld.proto")
faults_pb, faults_rpc = harness.stubs(SERVICES / "faults/proto/faults.proto")
probe_pb, probe_rpc = harness.stubs(SERVICES / "probe/proto/probe.proto")

raw = {"request_serializer": bytes, "response_deserializer": bytes}


class Serving(harness.Case):
    """Checks after each test that the server still answers."""

    services = [EXAMPLES / "helloworld", SERVICES / "faults", SERVICES / "probe"]

    def setUp(self):
        self.channel = self.server.channel()
        self.faults = faults_rpc.FaultsStub(self.channel)

    def tearDown(self):
        self.channel.close()
        self.assertEqual(self.server.post("/helloworld/call", {"name": "Ada"}).json, {"message": "Hello Ada"})


class CallersFault(Serving):
    def test_malformed_json(self):
        for body in ('{"name":', "{", "nonsense", '{"name":"Ada"', '{"name":"Ada"}}', '{"name" "Ada"}', "[1]", '"x"', "3",
                     '{"name":"\\ud800"}', '{"name":"a\nb"}', "{'name':'Ada'}", '{"name":"Ada","name":"Bob"}'):
            with self.subTest(body=body):
                answer = self.server.http("POST", "/helloworld/call", body, {"Content-Type": "application/json"})
                self.assert_error(answer, 400, "helloworld.Helloworld.Call")

    def test_broken_utf8(self):
        answer = self.server.http("POST", "/helloworld/call", b'{"name":"\xff\xfe"}', {"Content-Type": "application/json"})
        self.assert_error(answer, 400, "helloworld.Helloworld.Call")

    def test_wrong_type(self):
        self.assert_error(self.server.post("/helloworld/call", {"name": 42}), 400, "helloworld.Helloworld.Call", "name")
        self.assert_error(self.server.post("/helloworld/call", {"name": ["a"]}), 400, "helloworld.Helloworld.Call", "name")
        self.assert_error(self.server.post("/probe/length", {"text": {}}), 400, "probe.Probe.Length", "text")
        for seconds in ("soon", True, {}):
            self.assert_error(self.server.post("/probe/sleep", {"seconds": seconds}), 400, None, "seconds")

    def test_unknown_field(self):
        self.assert_error(self.server.post("/helloworld/call", {"naem": "Ada"}), 400, "helloworld.Helloworld.Call", "naem")

    def test_unknown_service_endpoint_and_path(self):
        for path in ("/nobody", "/nobody/call", "/helloworld/nothing", "/helloworld/Nothing/Call", "/a/b/c/d/e",
                     "/helloworld/call/more/and/more", "/helloworld/%2e%2e", "/~"):
            with self.subTest(path=path):
                self.assert_error(self.server.post(path, {}), 404)

    def test_malformed_path(self):
        for path in ("/%00", "/a%2fb", "/%ff"):
            with self.subTest(path=path):
                self.assert_error(self.server.post(path, {}), 400)

    def test_unknown_method_over_grpc(self):
        for path in ("/helloworld.Helloworld/Nothing", "/nobody.Nobody/Call", "/Helloworld/Call", "/x"):
            with self.subTest(path=path):
                self.assert_rpc_error(grpc.StatusCode.UNIMPLEMENTED, self.channel.unary_unary(path, **raw), b"")

    def test_body_over_the_limit(self):
        big = "x" * (5 * 1024 * 1024)
        answer = self.server.post("/probe/length", {"text": big})
        self.assertIn(answer.status, (413, 429), answer)
        self.assertEqual(sorted(answer.json), ["code", "detail", "id", "status"])
        err = self.assert_rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, probe_rpc.ProbeStub(self.channel).Length,
                                    probe_pb.Text(text=big))
        self.assertRegex(err.details(), "(?i)larger|limit|most|bytes|MB")

    def test_body_within_the_limit(self):
        size = 3 * 1024 * 1024
        self.assertEqual(self.server.post("/probe/length", {"text": "x" * size}).json, {"n": str(size)})
        answer = probe_rpc.ProbeStub(self.channel).Length(probe_pb.Text(text="x" * size), timeout=10 * SLOW)
        self.assertEqual(answer.n, size)

    def test_nesting_without_end(self):
        depth = 100_000
        body = '{"child":' * depth + "{}" + "}" * depth
        answer = self.server.http("POST", "/probe/depth", body, {"Content-Type": "application/json"})
        self.assert_error(answer, 400, "probe.Probe.Depth")
        unclosed = self.server.http("POST", "/probe/depth", "[" * depth, {"Content-Type": "application/json"})
        self.assert_error(unclosed, 400, "probe.Probe.Depth")

        wire = b""
        for _ in range(9000):
            size, length = len(wire), b""
            while size > 127:
                length, size = length + bytes([size & 127 | 128]), size >> 7
            wire = b"\x0a" + length + bytes([size]) + wire
        call = self.channel.unary_unary("/probe.Probe/Depth", **raw)
        self.assert_rpc_error(grpc.StatusCode.INVALID_ARGUMENT, call, wire)

    def test_nesting_that_is_allowed(self):
        body = '{"child":' * 50 + "{}" + "}" * 50
        answer = self.server.http("POST", "/probe/depth", body, {"Content-Type": "application/json"})
        self.assertEqual(answer.json, {"n": "50"})

    def test_bytes_that_are_no_message(self):
        for wire in (b"\xff", b"\x0a\x05ab", b"\x0b", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x00\x00",
                     b"\x0a\x02\xff\xfe"):
            with self.subTest(wire=wire):
                call = self.channel.unary_unary("/helloworld.Helloworld/Call", **raw)
                self.assert_rpc_error(grpc.StatusCode.INVALID_ARGUMENT, call, wire)

    def test_garbage_instead_of_http(self):
        for noise in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64, b"GARBAGE\r\n\r\n", b"\0" * 4096,
                      b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
                      b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 512,
                      b"POST /helloworld/call HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"):
            with self.subTest(noise=noise[:20]):
                with self.server.connect() as connection:
                    connection.sendall(noise)
                    connection.settimeout(5 * SLOW)
                    try:
                        while connection.recv(65536):
                            pass  # an error answer, then the end
                    except ConnectionResetError:
                        pass

    def test_connection_lost_in_a_request(self):
        for part in (b"POST /helloworld/call HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", b"PO",
                     b"POST /probe/sleep HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n" + b'{"seconds":1}'):
            with self.server.connect() as connection:
                connection.sendall(part)


class ServicesFault(Serving):
    def both(self, name, code, http, detail=None, request=None):
        """The same fault by gRPC and by JSON."""
        request = request or {}
        kind = faults_pb.DESCRIPTOR.services_by_name["Faults"].methods_by_name[name].input_type.name
        err = self.assert_rpc_error(code, getattr(self.faults, name), getattr(faults_pb, kind)(**request))
        answer = self.server.post("/faults/" + name[0].lower() + name[1:], request)
        self.assert_error(answer, http, f"faults.Faults.{name}")
        if detail:
            self.assertRegex(err.details(), detail)
            self.assertRegex(answer.json["detail"], detail)
        return err

    def internal(self, name, logged, request=None):
        self.both(name, grpc.StatusCode.INTERNAL, 500, "^internal error$", request)
        self.assertTrue(self.server.wait_log(logged), self.server.log()[-2000:])

    def test_raises_text(self):
        self.internal("Raise", r"main\.lua:\d+: a plain text")

    def test_indexes_nil(self):
        self.internal("NilIndex", r"main\.lua:\d+: attempt to index local 'nothing'")

    def test_reads_a_field_that_does_not_exist(self):
        self.internal("Misspelled", r'has no field "mesage" \(did you mean "message"\?\)')

    def test_answers_the_wrong_type(self):
        self.internal("WrongType", r"text.*(number|string)")

    def test_answers_a_field_that_does_not_exist(self):
        self.internal("WrongField", r'has no field "txet" \(did you mean "text"\?\)')

    def test_answers_no_message(self):
        self.internal("WrongValue", r"faults\S*.*string")

    def test_answers_nothing(self):
        self.internal("Nothing", r"(?i)faults.*(nothing|nil|returned|answer)")

    def test_has_no_handler(self):
        self.both("Missing", grpc.StatusCode.UNIMPLEMENTED, 501)

    def test_traceback_stays_in_the_log(self):
        err = self.assert_rpc_error(grpc.StatusCode.INTERNAL, self.faults.Raise, faults_pb.Empty())
        self.assertNotIn("main.lua", err.details() + str(err.trailing_metadata()))
        self.assertTrue(self.server.wait_log("stack traceback|in function"))


class Refused(harness.Case):
    """Folders that are no service are refused while the server runs, with the place of the fault."""

    services = [EXAMPLES / "helloworld"]
    proto = 'syntax = "proto3";\npackage bad;\nservice Bad { rpc Call(Empty) returns (Empty); }\nmessage Empty {}\n'
    main = ('local mica = require "mica"\nlocal Bad = {}\nfunction Bad.Call() return {} end\n'
            "return mica.service { handlers = { Bad = Bad }, public = true }\n")

    def refused(self, proto, main, pattern):
        folder = harness.write_service(harness.work_folder("refused"), "bad", proto, main)
        done = self.server.mica("run", str(folder))
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stderr, pattern)
        self.assert_error(self.server.post("/bad/call", {}), 404)
        self.assertEqual(self.server.post("/helloworld/call", {"name": "Ada"}).json, {"message": "Hello Ada"})

    def test_syntax_error(self):
        self.refused(self.proto, 'local mica = require "mica"\nlocal x = = 3\n', r"main\.lua:2: unexpected symbol near '='")

    def test_error_while_loading(self):
        self.refused(self.proto, "local x\nreturn x.y\n", r"main\.lua:2: ")

    def test_proto_error(self):
        self.refused(self.proto.replace("message Empty {}", "message Empty { strin name = 1; }"), self.main,
                     r'bad\.proto:4:17: "strin" is not defined')

    def test_unknown_method(self):
        self.refused(self.proto, self.main.replace("Bad.Call", "Bad.Cal"), r'(?s)Cal\b.*(did you mean "Call"|Call)')

    def test_unknown_key(self):
        self.refused(self.proto, self.main.replace("public", "pubic"), r'pubic')

    def test_no_service(self):
        self.refused(self.proto, "return 3\n", "main.lua")

    def test_global(self):
        self.refused(self.proto, "oops = 1\n" + self.main, r"main\.lua:1: .*oops")

    def test_waiting_while_loading(self):
        self.refused(self.proto, "local mica = require 'mica'\nmica.sleep(1)\n", r"main\.lua:2: ")

    def test_no_folder(self):
        done = self.server.mica("run", "/nonexistent/service")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent/service", done.stderr)

    def test_accepted_when_right(self):
        folder = harness.write_service(harness.work_folder("right"), "good", self.proto.replace("bad", "good"), self.main)
        done = self.server.mica("run", str(folder))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.server.post("/good/bad/call", {}).status, 200)
        done = self.server.mica("kill", "good")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_error(self.server.post("/good/bad/call", {}), 404)


if __name__ == "__main__":
    harness.main()
