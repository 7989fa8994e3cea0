#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Services in other languages behind Mica's doors: called as if they ran here."""

import json
import threading
import time

import grpc
import harness
from harness import SLOW
from outside_backend import Backend, Outside, echo, echo_rpc

CODE = grpc.StatusCode

CALLER = """local mica = require "mica"
local Caller = {}
local echo = mica.client "echo"
function Caller.Ask(ctx, req)
  local answer = echo.Unary { text = req.text, n = 7 }
  local stream = echo.Server { n = 3 }
  local n = 0
  for item in stream:messages() do n = n + item.n end
  local both = echo.Both()
  both:send { text = "a" }
  both:send { text = "b" }
  both:close_send()
  local texts = {}
  for item in both:messages() do table.insert(texts, item.text) end
  local client = echo.Client()
  client:send { text = "x" }
  client:send { text = "y" }
  client:close_send()
  local sum = client:recv()
  local ok, err = mica.try(function() return echo.Fail { n = 9, text = "not so" } end)
  return { text = ("%s %d %s %s %s %s"):format(answer.text, n, table.concat(texts, ","), sum.text, err.code, err.message) }
end
return mica.service { handlers = { Caller = Caller }, public = true, uses = { call = { "echo" } } }
"""
CALLER_PROTO = """syntax = "proto3";
package caller;
service Caller { rpc Ask(Text) returns (Text); }
message Text { string text = 1; }
"""


class Kinds(Outside):
    """All kinds of call, through both doors and from Lua."""

    @classmethod
    def setUpClass(cls):
        folder = harness.write_service(harness.work_folder("services"), "caller", CALLER_PROTO, CALLER)
        cls.services = [folder]
        super().setUpClass()
        cls.backend = Backend()

    @classmethod
    def tearDownClass(cls):
        cls.backend.stop()
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.assertEqual(self.register(self.backend.address).fault, "")

    # ---- gRPC
    def test_unary(self):
        for door in (self.server.proxy, self.server.api):
            with grpc.insecure_channel(door) as channel:
                answer, call = echo_rpc.EchoStub(channel).Unary.with_call(
                    echo.Request(text="ä", n=-3, big=2**62, data=b"\0\xff", mood=echo.GLAD), timeout=3 * SLOW,
                    metadata=[("x-one", "1"), ("x-raw-bin", b"\1\2"), ("authorization", "Bearer secret")])
                self.assertEqual((answer.text, answer.n, answer.big, answer.data, answer.mood, answer.who),
                                 ("ä", -3, 2**62, b"\0\xff", echo.GLAD, "one"))
                self.assertEqual((answer.metadata["x-one"], answer.metadata["x-raw-bin"]), ("1", "0102"))
                self.assertNotIn("authorization", answer.metadata)
                self.assertTrue(0 < answer.remaining < 3 * SLOW + 0.5, answer.remaining)
                head = [(k, v) for k, v in call.initial_metadata() if k.startswith("x-")]
                self.assertEqual(sorted(head), [("x-blob-bin", b"\0\1\xff"), ("x-head", "first"), ("x-head", "second")])
                self.assertIn(("x-tail", "last"), call.trailing_metadata())

    def test_server_stream(self):
        items = list(self.echo.Server(echo.Request(n=1000, text="t"), timeout=20 * SLOW))
        self.assertEqual([i.n for i in items], list(range(1000)))
        stream = self.echo.Server(echo.Request(n=2, text="then fail"), timeout=10 * SLOW)
        self.assertEqual((next(stream).n, next(stream).n), (0, 1))
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual((caught.exception.code(), caught.exception.details()), (CODE.DATA_LOSS, "after the items"))
        self.assertEqual(list(self.echo.Server(echo.Request(n=0), timeout=10 * SLOW)), [])

    def test_client_stream(self):
        answer = self.echo.Client((echo.Request(text=t) for t in "abc"), timeout=10 * SLOW)
        self.assertEqual((answer.n, answer.text), (3, "a+b+c"))
        self.assertEqual(self.echo.Client(iter(()), timeout=10 * SLOW).n, 0)

    def test_both_streams(self):
        turn = threading.Semaphore(1)

        def requests():
            for i in range(50):
                turn.acquire(timeout=10 * SLOW)  # one at a time: nothing is held back on the way
                yield echo.Request(n=i)
        seen = []
        for answer in self.echo.Both(requests(), timeout=20 * SLOW):
            seen.append(answer.n)
            turn.release()
        self.assertEqual(seen, list(range(50)))

    def test_errors(self):
        for code in (CODE.CANCELLED, CODE.NOT_FOUND, CODE.UNIMPLEMENTED, CODE.UNAVAILABLE, CODE.UNAUTHENTICATED):
            error = self.assert_rpc_error(code, self.echo.Fail, echo.Request(n=code.value[0], text="größer\n%", data=b"\x08\x05"))
            self.assertEqual(error.details(), "größer\n%")
            trailing = dict(error.trailing_metadata())
            self.assertEqual(trailing["grpc-status-details-bin"], b"\x08\x05")
            self.assertEqual(trailing["x-tail"], "sad")

    def test_deadline(self):
        self.assert_rpc_error(CODE.DEADLINE_EXCEEDED, self.echo.Sleep, echo.Request(seconds=20), timeout=0.3)
        self.assertTrue(self.backend.echo.cancelled.wait(5 * SLOW))

    def test_cancellation(self):
        self.backend.echo.cancelled.clear()
        call = self.echo.Sleep.future(echo.Request(seconds=20), timeout=30)
        time.sleep(0.3)
        call.cancel()
        self.assertTrue(self.backend.echo.cancelled.wait(5 * SLOW))

    def test_unknown_method(self):
        call = self.p.channel.unary_unary("/echo.Echo/Nothing", bytes, bytes)
        self.assert_rpc_error(CODE.UNIMPLEMENTED, call, b"")

    def test_large(self):
        data = bytes(range(256)) * 8192  # 2 MB each way
        self.assertEqual(self.unary(data=data).data, data)

    # ---- JSON
    def test_json(self):
        answer = self.server.post("/echo/unary", {"text": "ä", "big": "4611686018427387904", "mood": "GLAD", "data": "AP8=",
                                                  "at": "2026-11-25T10:00:00Z"}, {"X-One": "1"})
        self.assertEqual(answer.status, 200, answer)
        body = answer.json
        self.assertEqual(answer.headers["x-head"], "first, second")
        self.assertEqual(body["metadata"]["x-one"], "1")
        del body["metadata"], body["remaining"]
        self.assertEqual(body, {"text": "ä", "n": 0, "big": "4611686018427387904", "data": "AP8=", "who": "one",
                                "mood": "GLAD", "at": "2026-11-25T10:00:00Z"})
        self.assertEqual(self.server.http("GET", "/echo/Echo/Unary?text=q&n=4").json["n"], 4)
        self.assertEqual(self.server.post("/echo/unary").json["text"], "")
        proto = self.server.http("POST", "/echo/unary", echo.Request(text="p").SerializeToString(),
                                 {"Content-Type": "application/protobuf"})
        self.assertEqual(echo.Answer.FromString(proto.body).text, "p")

    def test_json_is_strict(self):
        for body, text in (({"txet": "x"}, 'did you mean "text"'), ({"n": "x"}, "n: "), ({"n": 2**31}, "n: "),
                           ({"mood": "SAD"}, "mood"), ("{", "JSON|end|expected"), ({"labels": {"a": 1}}, "labels")):
            self.assert_error(self.server.post("/echo/unary", body, {"Content-Type": "application/json"}), 400,
                              "echo.Echo.Unary", text)

    def test_json_errors(self):
        self.assert_error(self.server.post("/echo/fail", {"n": 5, "text": "no such thing"}), 404, None, "no such thing")
        self.assert_error(self.server.post("/echo/nothing"), 404)

    def test_json_stream(self):
        answer = self.server.post("/echo/server", {"n": 3, "text": "t"})
        lines = [json.loads(line) for line in answer.body.splitlines()]
        self.assertEqual([(line["n"], line["text"]) for line in lines], [(0, "t"), (1, "t"), (2, "t")])
        lines = self.server.post("/echo/server", {"n": 1, "text": "then fail"}).body.splitlines()
        self.assertEqual(json.loads(lines[1])["error"]["detail"], "after the items")

    def test_grpc_json(self):
        """The command line speaks application/grpc+json."""
        done = self.server.mica("call", "echo", "Unary", '{"text":"by hand"}')
        self.assertEqual((done.returncode, json.loads(done.stdout)["text"]), (0, "by hand"), done.stderr)
        done = self.server.mica("echo", "unary", "--text", "dynamic", "--mood", "GLAD", "--big", "9007199254740993")
        answer = json.loads(done.stdout)
        self.assertEqual((answer["text"], answer["mood"], answer["big"]), ("dynamic", "GLAD", "9007199254740993"), done.stderr)
        done = self.server.mica("echo", "server", "--n", "3")
        self.assertEqual([json.loads(line)["n"] for line in done.stdout.splitlines()], [0, 1, 2], done.stderr)
        done = self.server.mica("call", "echo", "Client", "-", input='{"text":"a"}\n{"text":"b"}\n')
        self.assertEqual(json.loads(done.stdout)["text"], "a+b", done.stderr)
        done = self.server.mica("call", "echo", "Client", "-", input='{"text":"a"}\n{"txet":"b"}\n')
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("txet", done.stderr)
        done = self.server.mica("describe", "echo")
        self.assertIn("Both", done.stdout, done.stderr)

    def test_long_json_stream(self):
        """Credit is for what goes to the backend, which is shorter than its JSON."""
        lines = "".join(json.dumps({"mood": "GLAD", "labels": {}, "n": i, "text": ""}) + "\n" for i in range(7_000))
        done = self.server.mica("call", "echo", "Both", "-", input=lines, timeout=60 * SLOW)
        self.assertEqual(len(done.stdout.splitlines()), 7_000, done.stderr)

    # ---- Lua
    def test_lua(self):
        answer = self.server.post("/caller/ask", {"text": "hello"})
        self.assertEqual(answer.json, {"text": "hello 3 a,b x+y FAILED_PRECONDITION not so"}, answer)


if __name__ == "__main__":
    harness.main()
