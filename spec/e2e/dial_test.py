# SPDX-License-Identifier: Apache-2.0
"""Calls to gRPC servers elsewhere (mica.client.dial): a service in Lua calls servers made with grpcio, several of them that die
and come back, and one that breaks every rule."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc

import dial_server
import harness

FRONT = """syntax = "proto3";
package front;

service Front {
  rpc Run(Order) returns (Result);
  rpc Relay(Order) returns (stream Result);
}

message Order { string what = 1; string server = 2; string method = 3; string name = 4; int64 n = 5; string do = 6; string opts = 7; }
message Result { string text = 1; }
"""

MAIN = """
local mica = require "mica"
local json = mica.json

local ADDRESSES = json.decode '@ADDRESSES@'
local servers = {}
for name, addresses in pairs(ADDRESSES) do
  servers[name] = mica.client.dial(addresses, { proto = "weather.Weather", metadata = { ["x-all"] = "calls" } })
end
servers.by_file = mica.client.dial(ADDRESSES.main, { proto = "weather.proto" })

local Front = {}
local runs = {}

local function told(err)
  return { code = err.code, message = err.message, id = err.id, reason = err.reason,
    domain = err.details[1] and err.details[1].domain }
end

-- One unary call: its answer, or its error, and how long it took.
function runs.call(server, req)
  local info, began = {}, mica.time.now()
  local opts = json.decode(req.opts ~= "" and req.opts or "{}")
  opts.info = info
  local answer, err = mica.try(server[req.method ~= "" and req.method or "Today"],
    { name = req.name, n = req.n, ["do"] = req["do"] }, opts)
  if info.header["x-raw-bin"] then info.header["x-raw-bin"] = #info.header["x-raw-bin"] end -- no JSON
  return { text = answer and answer.text, n = answer and answer.n, size = answer and #answer.ballast,
    err = err and told(err), seconds = mica.time.now() - began, header = info.header, trailer = info.trailer }
end

function runs.kinds(server)
  local texts = { server.Today({ name = "Oslo" }).text }
  for report in server.Watch({ name = "Rome", n = 3 }):messages() do texts[#texts + 1] = report.text .. report.n end
  local gather = server.Gather()
  for i = 1, 4 do gather:send { n = i } end
  gather:close_send()
  texts[#texts + 1] = gather:recv().n
  assert(gather:recv() == nil)
  local talk = server.Talk()
  for _, name in ipairs { "a", "b" } do
    talk:send { name = name }
    texts[#texts + 1] = talk:recv().text
  end
  talk:close_send()
  assert(talk:recv() == nil)
  return texts
end

function runs.strict(server)
  local faults = {}
  local function fault(fn, ...) faults[#faults + 1] = tostring(select(2, pcall(fn, ...))) end
  fault(server.Today, { nam = "Oslo" })
  fault(function() return server.Today({ name = "Oslo" }).txt end)
  fault(function() return server.Tody end)
  fault(server.Watch, {}, { info = {} })
  fault(server.Today, {}, { timout = 1 })
  fault(mica.client.dial, "10.1.2.3:4", { proto = "weather.Weather" })
  fault(mica.client.dial, ADDRESSES.main, { proto = "weather.Wether" })
  fault(mica.client.dial, "10.1.2.3", { proto = "weather.Weather" })
  return faults
end

function runs.wide(server)
  return tostring(server.Today({ n = mica.int64 "9007199254740993" }).n)
end

function runs.metadata(server)
  local watch = server.Watch({ n = 1, ["do"] = "metadata" }, { metadata = { ["x-list"] = { "1", "2" }, ["x-b-bin"] = "\\0\\1" } })
  local header = watch:header()
  watch:recv()
  assert(watch:recv() == nil)
  return { many = header["x-many"], raw = #header["x-raw-bin"], one = header["x-one"], last = watch:trailer()["x-last"] }
end

function runs.watch(server, req)
  local got = {}
  local ok, err = pcall(function()
    for report in server.Watch({ name = req.name, n = req.n, ["do"] = req["do"] }):messages() do got[#got + 1] = report.n end
  end)
  return { got = got, err = not ok and told(err) or nil }
end

function runs.header(server, req)
  local watch = server.Watch { n = req.n, ["do"] = req["do"] }
  watch:header()
  return watch:recv().n
end

function runs.leave(server)
  local watch = server.Watch { ["do"] = "forever" }
  watch:recv()
  watch:cancel()
  local _, err = mica.try(watch.recv, watch)
  return err.code
end

function runs.many(server, req)
  local calls, began = {}, mica.time.now()
  for i = 1, req.n do calls[i] = function() return server.Today { n = 200, ["do"] = "sleep" } end end
  mica.all(calls)
  return mica.time.now() - began
end

-- Calls after each other, or beside each other: how often which server answered.
function runs.spread(server, req)
  local by = {}
  for _ = 1, req.n do
    local answer = mica.try(server[req.method ~= "" and req.method or "Today"], { name = "by" })
    local name = answer and answer.text or "none"
    by[name] = (by[name] or 0) + 1
  end
  return by
end

-- Calls for a while from many tasks: how many were answered, and what went wrong.
function runs.load(server, req)
  local until_, answered, wrong = mica.time.now() + req.n / 1000, 0, {}
  local tasks = {}
  for i = 1, 16 do
    tasks[i] = function()
      while mica.time.now() < until_ do
        local answer, err = mica.try(server.Today, { name = "x" }, { timeout = 5 })
        if answer then answered = answered + 1 else wrong[#wrong + 1] = tostring(err) end
      end
    end
  end
  mica.all(tasks)
  return { answered = answered, wrong = json.array(wrong) }
end

function runs.uncaught(server, req)
  return server.Today { ["do"] = req["do"] }.text
end

function Front.Run(ctx, req)
  return { text = json.encode(runs[req.what](servers[req.server ~= "" and req.server or "main"], req)) }
end

function Front.Relay(ctx, req, stream)
  for report in servers.main.Watch({ ["do"] = "forever" }):messages() do stream:send { text = tostring(report.n) } end
end

return mica.service {
  handlers = { Front = Front },
  public = true,
  limits = { message = "1MB" },
  uses = { dial = json.decode '@GRANTED@' },
}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Process:
    """A Weather server that can be killed."""

    def __init__(self, port):
        self.port, self.process = port, None

    def start(self):
        script = pathlib.Path(dial_server.__file__)
        self.process = subprocess.Popen([sys.executable, str(script), str(harness._work / "stubs"), str(self.port)],
                                        stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()
            self.process = None


class DialTest(harness.Case):
    @classmethod
    def setUpClass(cls):
        folder = harness.work_folder("dial")
        (folder / "weather.proto").write_text(dial_server.PROTO)
        pb, rpc = harness.stubs(folder / "weather.proto")
        cls.main, cls.left, cls.right, cls.tight = (dial_server.Weather(pb, n) for n in ("", "left", "right", "tight"))
        cls.servers = []

        def serve(weather, **options):
            server, port = dial_server.serve(rpc, weather, **options)
            cls.servers.append(server)
            return f"127.0.0.1:{port}"
        cls.rude = dial_server.Rude()
        cls.processes = [Process(free_port()), Process(free_port())]
        cls.late = free_port()
        two = [serve(cls.left), serve(cls.right)]
        cls.addresses = {
            "main": serve(cls.main), "two": two, "tight": serve(cls.tight, streams=1), "rude": f"127.0.0.1:{cls.rude.port}",
            "processes": [f"127.0.0.1:{p.port}" for p in cls.processes], "closed": f"127.0.0.1:{free_port()}",
            "late": f"127.0.0.1:{cls.late}", "unknown": "no-such-host.invalid:1",
            "half": [f"127.0.0.1:{free_port()}", two[0]],
        }
        cls.addresses["local"] = "localhost:" + cls.addresses["main"].rsplit(":", 1)[1]
        granted = [a for v in cls.addresses.values() for a in (v if isinstance(v, list) else [v])]
        main = MAIN.replace("@ADDRESSES@", json.dumps(cls.addresses)).replace("@GRANTED@", json.dumps(granted))
        cls.folder = harness.write_service(folder, "front", FRONT, main)
        (cls.folder / "proto/weather.proto").write_text(dial_server.PROTO)
        cls.services = [cls.folder]
        cls.rpc = rpc
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        for process in cls.processes:
            process.kill()
        super().tearDownClass()
        for server in cls.servers:
            server.stop(0)

    def setUp(self):
        for weather in (self.main, self.left, self.right, self.tight):
            weather.calls.clear()
            weather.times.clear()
            weather.cancelled.clear()
            weather.fail_all = False

    def run_it(self, what, server="", **more):
        opts = more.pop("opts", None)
        answer = self.server.post("/front/run", {"what": what, "server": server, "opts": json.dumps(opts) if opts else "", **more})
        self.assertEqual(answer.status, 200, answer)
        return json.loads(answer.json["text"])

    def call(self, server="", **more):
        return self.run_it("call", server, **more)

    # ---- what it is for

    def test_all_kinds(self):
        expected = ["Oslo", "Rome1", "Rome2", "Rome3", 10, "a", "b"]
        for server in ("main", "by_file", "local"):
            self.assertEqual(self.run_it("kinds", server), expected)

    def test_strict(self):
        faults = self.run_it("strict")
        for fault, part in zip(faults, [
                'weather.City has no field "nam" (did you mean "name"?)', 'weather.Report has no field "txt" (did you mean "text"?)',
                'the proto service "weather.Weather" has no method "Tody" (did you mean "Today"?)',
                "a stream has header() and trailer()", 'has no option "timout" (did you mean "timeout"?)',
                'this service may not dial "10.1.2.3:4": name it in its definition, uses = { dial = { "10.1.2.3:4" } }',
                'have no service "weather.Wether" (did you mean "weather.Weather"?)', "wants an address"]):
            self.assertIn(part, fault)
        self.assertEqual(self.run_it("wide"), "9007199254740993")

    def test_contract_of_others_is_not_ours(self):
        self.assertNotIn("has no handler", self.server.log())
        described = self.server.mica("describe", "front").stdout
        self.assertIn("Front.Run", described)
        self.assertNotIn("Weather", described)
        self.assertEqual(self.server.post("/front/weather/today", {}).status, 404)
        with self.server.channel() as channel:
            self.assert_rpc_error(grpc.StatusCode.UNIMPLEMENTED, self.rpc.WeatherStub(channel).Today,
                                  harness.stubs(self.folder / "proto/weather.proto")[0].City())
        checked = self.server.mica("check", str(self.folder)).stdout
        self.assertNotIn("no handler", checked)
        self.server.mica("types", str(self.folder))
        types = (self.folder / ".mica/types/front_service.lua").read_text()
        self.assertIn("---@class weather.Weather.Client\n", types)
        self.assertIn("---@class front.Front.Server\n", types)
        self.assertNotIn("weather.Weather.Server", types)
        self.assertNotIn('group: "Weather"', types)

    def test_undeclared_address(self):
        folder = harness.write_service(harness.work_folder("undeclared"), "front", FRONT, """
local mica = require "mica"
local weather = mica.client.dial("127.0.0.1:1", { proto = "weather.Weather" })
return mica.service { handlers = { Front = {} } }
""")
        (folder / "proto/weather.proto").write_text(dial_server.PROTO)
        checked = harness.mica("check", str(folder))
        self.assertEqual(checked.returncode, 1)
        self.assertIn('main.lua:4: "127.0.0.1:1" is dialled, but the definition does not say so: '
                      'uses = { dial = { "127.0.0.1:1" } }', checked.stdout)

    def test_metadata(self):
        answer = self.call(do="metadata", opts={"metadata": {"x-own": ["a", "b"]}})
        self.assertEqual(answer["header"]["x-one"], "1")
        self.assertEqual((answer["header"]["x-many"], answer["header"]["x-raw-bin"]), (["a", "b"], 2))
        self.assertEqual(answer["trailer"], {"x-last": "t"})
        sent = [(k, v) for k, v in self.main.metadata if k.startswith(("x-", "mica-"))]  # where we live is not told
        self.assertEqual(sorted(sent), [("mica-chain", "2"), ("x-all", "calls"), ("x-own", "a"), ("x-own", "b")])
        self.assertEqual(self.run_it("metadata"), {"many": ["a", "b"], "raw": 2, "one": "1", "last": "t"})
        sent = [(k, v) for k, v in self.main.metadata if k.startswith("x-")]
        self.assertEqual(sorted(sent), [("x-all", "calls"), ("x-b-bin", b"\0\1"), ("x-list", "1"), ("x-list", "2")])

    def test_errors(self):
        answer = self.call(do="fail")
        self.assertEqual(answer["err"], {"code": "FAILED_PRECONDITION", "message": "\t\nUnicode \u263a and \U0001f608\t\n",
                                         "id": "weather.Weather.Today", "reason": "RAIN", "domain": "weather"})
        self.assertEqual(answer["trailer"], {"x-why": "rain"})
        answer = self.call(method="Missing")
        self.assertEqual(answer["err"]["code"], "UNIMPLEMENTED")
        # Uncaught it goes on to our caller, but for what would be a lie from here.
        self.assert_error(self.server.post("/front/run", {"what": "uncaught", "do": "fail"}), 400, "weather.Weather.Today")
        self.assert_error(self.server.post("/front/run", {"what": "uncaught", "do": "unauthenticated"}), 500)

    # ---- time

    def test_deadlines(self):
        self.call(opts={"timeout": "9s"})
        self.assertTrue(7 < self.main.remaining <= 9.1, self.main.remaining)
        self.call()
        self.assertTrue(25 < self.main.remaining <= 30.1, self.main.remaining)  # inherited: unary calls have 30 s
        answer = self.call(do="sleep", n=1000, opts={"timeout": "150ms"})
        self.assertEqual(answer["err"]["code"], "DEADLINE_EXCEEDED")
        self.assertLess(answer["seconds"], 0.9 * harness.SLOW)
        self.assertTrue(self.main.cancelled.wait(5))

    def test_cancellation(self):
        self.assertEqual(self.run_it("leave"), "CANCELLED")
        self.assertTrue(self.main.cancelled.wait(5))
        self.main.cancelled.clear()
        pb, rpc = harness.stubs(self.folder / "proto/front.proto")
        with self.server.channel() as channel:
            stream = rpc.FrontStub(channel).Relay(pb.Order())
            self.assertEqual(next(stream).text, "1")
            self.assertFalse(self.main.cancelled.is_set())
            stream.cancel()
            self.assertTrue(self.main.cancelled.wait(5))

    # ---- attempts

    def test_retries(self):
        self.assertEqual(self.call(do="twice")["text"], "")
        self.assertEqual(self.main.calls["twice"], 3)
        for more, attempts in (({"method": "Set"}, 1), ({"opts": {"retries": 1}}, 2), ({"opts": {"retries": 0}}, 1)):
            self.main.calls.clear()
            answer = self.call(do="twice", **more)
            self.assertEqual((answer["err"]["code"], self.main.calls["twice"]), ("UNAVAILABLE", attempts), more)

    def test_streams_are_begun_again(self):
        self.assertEqual(self.run_it("watch", n=2, do="twice"), {"got": [1, 2]})
        self.assertEqual(self.main.calls["twice"], 3)
        self.main.calls.clear()
        self.assertEqual(self.run_it("header", n=1, do="twice"), 1)
        broken = self.run_it("watch", do="break")  # not once something has come
        self.assertEqual((broken["got"], broken["err"]["code"], self.main.calls["break"]), ([1], "UNAVAILABLE", 1))

    def test_pushback(self):
        self.assertEqual(self.call(do="pushback -1")["err"]["code"], "UNAVAILABLE")
        self.assertEqual(self.main.calls["pushback -1"], 1)
        self.main.times.clear()
        self.call(do="pushback 250")
        self.assertEqual(self.main.calls["pushback 250"], 3)
        self.assertGreater(self.main.times[1] - self.main.times[0], 0.24)
        # Not beyond the deadline: then the failure is told at once.
        answer = self.call(do="pushback 5000", opts={"timeout": 1})
        self.assertEqual((answer["err"]["code"], self.main.calls["pushback 5000"]), ("UNAVAILABLE", 1))
        self.assertLess(answer["seconds"], 0.9 * harness.SLOW)

    def test_nobody_there(self):
        answer = self.call("closed")
        self.assertEqual(answer["err"]["code"], "UNAVAILABLE")
        self.assertIn("connection refused", answer["err"]["message"])
        self.assertEqual(answer["err"]["id"], "weather.Weather.Today")
        self.assertIn("no-such-host.invalid:1", self.call("unknown", opts={"retries": 0})["err"]["message"])
        self.assertEqual(self.run_it("watch", "closed")["err"]["code"], "UNAVAILABLE")

    def test_wait(self):
        answer = {}

        def ask():
            answer.update(self.call("late", method="Set", opts={"wait": "20s"}))
        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.6)
        server, _ = dial_server.serve(self.rpc, self.main, f"127.0.0.1:{self.late}")
        thread.join()
        server.stop(0)
        self.assertEqual(answer.get("text"), "", answer)
        self.assertEqual(self.main.calls[""], 1)

    # ---- several addresses

    def test_spread(self):
        self.run_it("spread", "two", n=2)  # both are connected to
        time.sleep(0.2 * harness.SLOW)
        self.assertEqual(self.run_it("spread", "two", n=20), {"by left": 10, "by right": 10})
        self.assertEqual(self.run_it("spread", "half", n=20), {"by left": 20})

    def test_outlier(self):
        self.left.fail_all = True
        self.run_it("spread", "two", n=2)
        by = self.run_it("spread", "two", method="Set", n=200)
        self.assertLess(by["none"], 12, by)  # five in a row, then it is left out for a second, and so on
        self.left.fail_all = False
        deadline = time.monotonic() + 10 * harness.SLOW
        while "by left" not in self.run_it("spread", "two", n=4):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        self.right.fail_all = self.left.fail_all = True  # all are: none is left out
        self.assertEqual(self.run_it("spread", "two", method="Set", n=20), {"none": 20})
        self.right.fail_all = self.left.fail_all = False
        self.assertNotIn("none", self.run_it("spread", "two", method="Set", n=20))

    def test_killed_and_restarted(self):
        for process in self.processes:
            process.start()
        loaded = {}

        def load():
            loaded.update(self.run_it("load", "processes", n=2800 * min(harness.SLOW, 3)))
        thread = threading.Thread(target=load)
        thread.start()
        for process in self.processes:
            time.sleep(0.3)
            process.kill()
            time.sleep(0.2)
            process.start()
            time.sleep(0.3 * min(harness.SLOW, 3))
        thread.join()
        self.assertEqual(loaded["wrong"], [])
        self.assertGreater(loaded["answered"], 20)

    def test_one_stream_a_connection(self):
        seconds = self.run_it("many", "tight", n=24)  # of 0.2 s each, over 8 connections
        self.assertGreater(seconds, 0.55)
        self.assertLess(seconds, 2.4 * harness.SLOW)
        self.assertEqual(self.tight.calls["sleep"], 24)

    # ---- what servers do

    def test_message_limit(self):
        answer = self.call(do="ballast", n=900_000)
        self.assertEqual(answer["size"], 900_000)
        answer = self.call(do="ballast", n=2_000_000)
        self.assertEqual(answer["err"]["code"], "RESOURCE_EXHAUSTED")
        self.assertIn("longer than the limit", answer["err"]["message"])

    def test_rude_answers(self):
        cases = {
            "good": None, "pieces": None, "goaway and answer": None, "goaway storm": "INTERNAL",
            "http 401": "UNAUTHENTICATED", "http 403": "PERMISSION_DENIED", "http 404": "UNIMPLEMENTED",
            "http 429": "UNAVAILABLE", "http 500": "UNKNOWN", "http 502": "UNAVAILABLE", "http 503": "UNAVAILABLE",
            "no grpc": "UNKNOWN", "no trailers": "UNKNOWN", "trailers only": "NOT_FOUND", "strange status": "UNKNOWN",
            "unknown status": "UNKNOWN", "no message": "INTERNAL", "two messages": "INTERNAL", "cut off": "INTERNAL",
            "strange flags": "INTERNAL", "not protobuf": "INTERNAL", "announces 4 GB": "RESOURCE_EXHAUSTED",
            "long headers": "RESOURCE_EXHAUSTED", "long trailers": "RESOURCE_EXHAUSTED", "endless headers": "INTERNAL",
            "endless hints": "RESOURCE_EXHAUSTED", "reset": "INTERNAL", "reset for calm": "RESOURCE_EXHAUSTED",
            "reset by cancel": "CANCELLED", "refused": "UNAVAILABLE", "goaway": "UNAVAILABLE", "wrong frames": "INTERNAL",
            "push": "INTERNAL", "garbage": "INTERNAL", "pings": "INTERNAL", "settings": "INTERNAL", "hang up": "UNAVAILABLE", "silence": "DEADLINE_EXCEEDED",
            "speaks HTTP/1.1": "UNAVAILABLE", "closes": "UNAVAILABLE", "says nothing": "DEADLINE_EXCEEDED",
            "goes away at once": "UNAVAILABLE",
        }
        before = self.server.memory()
        for mode, code in cases.items():
            for what in ("call", "watch"):
                with self.subTest(mode=mode, what=what):
                    self.rude.be(mode)
                    again = mode in ("refused", "goaway", "goes away at once")
                    opts = {"timeout": "300ms"} if code == "DEADLINE_EXCEEDED" else {"retries": 2 if again else 0}
                    if what == "watch" and (code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")):
                        continue
                    answer = self.run_it(what, "rude", method="Set", opts=opts)
                    streams = what == "watch" and mode in ("no message", "two messages")
                    self.assertEqual((answer.get("err") or {}).get("code"), None if streams else code, answer)
                    if mode in ("refused", "goaway"):
                        self.assertEqual(self.rude.requests, 3)
                    self.assertLessEqual(self.rude.connections, 3 if again else 1, mode)
        self.rude.be("good")
        self.assertEqual(self.call("rude", method="Set")["text"], "hi")
        self.assertLess(self.server.memory() - before, (16 if not harness.SANITIZER else 200) << 20)


if __name__ == "__main__":
    harness.main()
