#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""WebSocket at the gateway: every kind of endpoint, JSON and protobuf, half close, close codes, back-pressure, origins."""

import json
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

import certificates
import harness
import raw_http2
import raw_websocket
from harness import EXAMPLES, SANITIZER, SERVICES, SLOW
from raw_websocket import BINARY, CLOSE, PING, PONG, TEXT, frame

FLOW = SERVICES / "flow"
pb, _ = harness.stubs(FLOW / "proto/flow.proto")


class Conversations(harness.Case):
    services = [FLOW, EXAMPLES / "helloworld", SERVICES / "closed"]

    def open(self, path, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        return raw_websocket.open(self.server.api, path, headers, timeout=20 * SLOW)

    def note(self, socket):
        got = socket.receive()
        self.assertEqual(got.opcode, TEXT, got)
        return json.loads(got.data)

    def test_two_way(self):
        with self.open("/flow/echo") as socket:
            for i in range(3):
                socket.send(json.dumps({"number": i, "text": "grüße"}))
                self.assertEqual(self.note(socket), {"number": str(i), "text": "grüße", "data": ""})
            socket.send("")
            self.assertEqual(socket.end(), ([], 1000, ""))

    def test_half_close(self):
        # The answers come after the client has finished.
        with self.open("/flow/sum") as socket:
            socket.raw(frame(TEXT, '{"text":"ab"}') + frame(TEXT, '{"text":"c"}') + frame(TEXT))
            self.assertEqual(socket.end(), (['{"count":"2","bytes":"3"}'], 1000, ""))
        with self.open("/flow/sum") as socket:
            socket.send("")
            self.assertEqual(socket.end(), (['{"count":"0","bytes":"0"}'], 1000, ""))

    def test_one_message(self):
        with self.open("/helloworld/call") as socket:
            socket.send('{"name":"Ada"}')
            self.assertEqual(socket.end(), (['{"message":"Hello Ada"}'], 1000, ""))
        with self.open("/helloworld/call") as socket:
            socket.send("")  # a request with nothing in it
            self.assertEqual(socket.end(), (['{"message":"Hello "}'], 1000, ""))
        with self.open("/flow/count") as socket:
            socket.send('{"to":3}')
            messages, code, _ = socket.end()
            self.assertEqual([json.loads(m)["number"] for m in messages], ["1", "2", "3"])
            self.assertEqual(code, 1000)
        with self.open("/flow/count?to=2") as socket:  # the query is a part of the request
            socket.send("")
            self.assertEqual(len(socket.end()[0]), 2)
        with self.open("/flow/count?to=2") as socket:
            socket.send('{"to":3}')
            self.assertEqual(len(socket.end()[0]), 3)
        with self.open("/flow/greet") as socket:
            socket.raw(frame(TEXT, '{"wait":20}') + frame(TEXT, "{}"))
            messages, code, reason = socket.end()
            self.assertEqual((code, reason), (4003, "INVALID_ARGUMENT: this endpoint takes one message"))

    def test_protobuf(self):
        with self.open("/flow/echo") as socket:  # the first message says what is spoken
            socket.send(pb.Note(number=7, data=b"\0\xff").SerializeToString())
            got = socket.receive()
            self.assertEqual((got.opcode, pb.Note.FromString(got.data)), (BINARY, pb.Note(number=7, data=b"\0\xff")))
            socket.send(b"")  # an empty message is a message
            self.assertEqual(socket.receive(), (BINARY, b""))
            socket.send("")  # and the empty text is the end
            self.assertEqual(socket.end(), ([], 1000, ""))
        with self.open("/flow/echo") as socket:  # errors are texts
            socket.send(pb.Note(text="fail:NOT_FOUND").SerializeToString())
            messages, code, _ = socket.end()
            self.assertEqual((json.loads(messages[0])["error"]["code"], code), (404, 4005))

    def test_subprotocols(self):
        with self.open("/flow/meet", Sec_WebSocket_Protocol="chat, mica.json") as socket:
            self.assertEqual(socket.headers["sec-websocket-protocol"], "mica.json")
            self.assertEqual(self.note(socket)["text"], "who are you")  # it speaks first
            socket.send('{"text":"Ada"}')
            self.assertEqual(self.note(socket)["text"], "hello Ada unmarked")
            self.assertEqual(socket.end()[1], 1000)
        with self.open("/flow/meet", Sec_WebSocket_Protocol="mica.proto") as socket:
            self.assertEqual(socket.receive().opcode, BINARY)
        with self.open("/flow/meet", Sec_WebSocket_Protocol="token123") as socket:
            self.assertNotIn("sec-websocket-protocol", socket.headers)

    def test_kinds_do_not_mix(self):
        with self.open("/flow/echo") as socket:
            socket.raw(frame(TEXT, "{}") + frame(BINARY, b""))
            self.assertEqual(socket.end()[1], 1003)

    def test_failures(self):
        codes = {"CANCELLED": 4001, "INVALID_ARGUMENT": 4003, "NOT_FOUND": 4005, "PERMISSION_DENIED": 4007, "INTERNAL": 4013,
                 "UNAVAILABLE": 4014, "UNAUTHENTICATED": 4016}
        for name, code in codes.items():
            with self.open("/flow/echo") as socket:
                socket.send('{"number":1}')
                self.note(socket)
                socket.send(json.dumps({"text": "fail:" + name}))
                messages, got, reason = socket.end()
                self.assertEqual((got, reason), (code, name + ": as asked"))
                self.assertEqual(json.loads(messages[-1])["error"]["id"], "flow.Flow.Echo")

    def test_broken_json(self):
        with self.open("/flow/echo") as socket:
            socket.send('{"number":')
            self.assertEqual(socket.end()[1], 4003)

    def test_the_service_ends(self):
        with self.open("/flow/echo") as socket:
            socket.send('{"text":"end"}')
            self.assertEqual(socket.end(), ([], 1000, ""))

    def test_the_client_closes(self):
        for payload in (b"\x03\xe8bye", b"\x0f\xa0", b""):
            with self.open("/flow/echo") as socket:
                socket.send("{}")
                self.note(socket)
                socket.raw(frame(CLOSE, payload))
                got = socket.receive()
                self.assertEqual((got.opcode, got.data), (CLOSE, payload[:2]))
                self.assertRaises(EOFError, socket.receive)

    def test_large_and_fragmented(self):
        text = json.dumps({"text": "x" * 300_000})
        with self.open("/flow/echo") as socket:
            socket.send(text)
            self.assertEqual(len(self.note(socket)["text"]), 300_000)
            data = text.encode()
            socket.raw(b"".join([frame(TEXT, data[:1], fin=False), frame(PING, b"in between"),
                                 *(frame(0, data[i:i + 60_000], fin=False) for i in range(1, len(data), 60_000)), frame(0)]))
            self.assertEqual(socket.receive(), (PONG, b"in between"))
            self.assertEqual(len(self.note(socket)["text"]), 300_000)

    def test_with_the_handshake(self):
        # What comes right behind the request belongs to the socket.
        with raw_websocket.open(self.server.api, "/helloworld/call", first=frame(TEXT, '{"name":"Ada"}')) as socket:
            self.assertEqual(socket.end()[0], ['{"message":"Hello Ada"}'])

    def test_encodings_mean_nothing(self):
        # What comes is frames, whatever the handshake says about content.
        for encoding in ("gzip", "br", "unknown"):
            with self.open("/flow/sum", Content_Encoding=encoding, Accept_Encoding="gzip, br") as socket:
                socket.raw(frame(TEXT, json.dumps({"text": "x" * 100_000})) + frame(TEXT))
                self.assertEqual(json.loads(socket.end()[0][0])["bytes"], "100000")

    def test_too_long(self):
        for head in (frame(TEXT, b"x", length=4 * 1024 * 1024 + 1), frame(BINARY, b"x", length=1 << 62)):
            with self.open("/flow/echo") as socket:
                socket.raw(head)
                got = socket.receive()
                self.assertEqual(got.data, b"\x03\xf1the message is too long")

    def refused(self, status, path="/flow/echo", **headers):
        with self.assertRaises(raw_websocket.Refused) as caught:
            self.open(path, **headers)
        self.assertEqual(caught.exception.status, status, caught.exception)
        return caught.exception

    def test_handshakes(self):
        self.refused(404, "/nothing/here")
        self.assertEqual(self.refused(426, Sec_WebSocket_Version="8").headers["sec-websocket-version"], "13")
        self.refused(400, Sec_WebSocket_Key="short")
        self.refused(400, Sec_WebSocket_Key=None)
        for missing in ({"Upgrade": None}, {"Connection": "keep-alive"}):  # an ordinary GET
            self.refused(405, **missing)

    def test_origins(self):
        api = self.server.api
        self.open("/flow/echo", Origin=f"http://{api}").socket.close()
        self.refused(403, Origin="https://evil.example")
        self.refused(403, Origin="null")
        self.refused(401, "/closed/shut", Origin="https://evil.example")  # nobody, so no account
        with self.open("/closed/shut", Origin=f"http://{api}") as socket:
            socket.send("")
            self.assertEqual(socket.end()[0], ['{"account":"admin"}'])

    def test_node(self):
        # node's own client, as browsers have it.
        script = """
          const socket = new WebSocket(process.argv[1], ["mica.json"]), seen = [];
          socket.onopen = () => { socket.send('{"number":1}'); socket.send('{"number":2}'); socket.send(""); };
          socket.onmessage = (event) => seen.push(JSON.parse(event.data).number);
          socket.onclose = (event) => console.log(JSON.stringify([seen, socket.protocol, event.code, event.wasClean]));
        """
        done = subprocess.run(["node", "--experimental-websocket", "--no-warnings", "-e", script,
                               f"ws://{self.server.api}/flow/echo"], capture_output=True, text=True, timeout=30 * SLOW)
        self.assertEqual(json.loads(done.stdout or "null"), [["1", "2"], "mica.json", 1000, True], done)

    def test_metadata(self):
        # The service sees the headers, but nothing of the handshake, in which a token may stand.
        with self.open("/flow/meet", X_Mark="here", Sec_WebSocket_Protocol="secret, mica.json") as socket:
            socket.send("")
            self.assertEqual([json.loads(m)["text"] for m in socket.end()[0]], ["who are you", "hello nobody here", "no secrets"])

    def test_counted(self):
        def calls(code):
            page = self.server.http("GET", "/metrics").body.decode()
            return sum(float(line.split()[-1]) for line in page.splitlines() if "Flow.Sum" in line and "_total" in line and code in line)
        before = calls("OK")
        with self.open("/flow/sum") as socket:
            socket.send("")
            socket.end()
        self.assertEqual(calls("OK"), before + 1)


class Http2(harness.Case):
    """RFC 8441: WebSockets as streams of an HTTP/2 connection."""
    services = [FLOW]

    def test_conversation(self):
        with raw_http2.connect(self.server.api) as connection:
            self.assertTrue(connection.until(lambda: connection.settings.get(8) == 1))
            first, second = (connection.connect("websocket", "/flow/echo", [("sec-websocket-version", "13")]) for _ in range(2))
            connection.data(first, frame(TEXT, '{"number":1}'))
            connection.data(second, frame(TEXT, '{"number":2}'))
            for sid, number in ((first, 1), (second, 2)):
                stream = connection.streams[sid]
                answer = b'{"number":"%d","text":"","data":""}' % number
                self.assertTrue(connection.until(lambda s=stream, a=answer: bytes(s.data) == b"\x81" + bytes([len(a)]) + a))
                self.assertEqual(stream.header(":status"), "200")
            connection.data(first, frame(TEXT))
            self.assertTrue(connection.until(lambda: connection.streams[first].ended))
            self.assertTrue(bytes(connection.streams[first].data).endswith(b"\x88\x02\x03\xe8"))
            connection.end(second)  # gone without a close frame
            self.assertTrue(connection.until(lambda: connection.streams[second].ended))

    def test_refused(self):
        with raw_http2.connect(self.server.api) as connection:
            for protocol, fields, status in (("websocket", [], "426"), ("connect-udp", [], "405"),
                                             ("websocket", [("sec-websocket-version", "13"), ("origin", "https://evil.example")],
                                              "403")):
                sid = connection.connect(protocol, "/flow/echo", fields)
                self.assertTrue(connection.until(lambda s=sid: connection.streams[s].headers is not None, 5 * SLOW))
                self.assertEqual(connection.streams[sid].header(":status"), status)


@unittest.skipIf(SANITIZER, "sanitizers keep memory that was freed")
class BackPressure(harness.Case):
    services = [FLOW]

    def test_slow_service(self):
        # 20 MB for a service that does not read for half a second.
        before, most = self.server.memory(), 0
        with raw_websocket.open(self.server.api, "/flow/sum") as socket:
            message = frame(TEXT, json.dumps({"text": "x" * 10000}))

            def send():
                socket.send('{"text":"wait"}')
                for _ in range(200):
                    socket.raw(message * 10)
                socket.send("")

            sender = threading.Thread(target=send)
            sender.start()
            while sender.is_alive():
                most = max(most, self.server.memory())
                time.sleep(0.01)
            self.assertEqual(socket.end()[0], ['{"count":"2001","bytes":"20000004"}'])
        self.assertLess(most - before, 12 << 20)

    def test_slow_reader(self):
        before = self.server.memory()
        with raw_websocket.open(self.server.api, "/flow/count") as socket_:
            socket_.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            socket_.send('{"to":20000,"size":10000}')
            time.sleep(0.6)
            self.assertLess(self.server.memory() - before, 8 << 20)


class Heartbeats(harness.Case):
    services = [FLOW]
    args = ["--heartbeat", "0.2s"]

    def test_pings(self):
        with raw_websocket.open(self.server.api, "/flow/echo") as socket:
            for _ in range(2):
                got = socket.receive()
                self.assertEqual(got.opcode, PING)
                socket.raw(frame(PONG, got.data))
            socket.send('{"number":1}')
            while (got := socket.receive()).opcode == PING:
                socket.raw(frame(PONG, got.data))
            self.assertEqual(got.opcode, TEXT)

    def test_silent_peer_is_given_up(self):
        began = time.monotonic()
        with raw_websocket.open(self.server.api, "/flow/echo") as socket:
            with self.assertRaises((EOFError, ConnectionResetError)):
                while True:
                    self.assertEqual(socket.receive().opcode, PING)
        self.assertLess(time.monotonic() - began, 3 * SLOW)


class Elsewhere(unittest.TestCase):
    """A service on another server, reached over gRPC; and TLS on the way to this one."""

    def test_all(self):
        authority = certificates.Authority()
        own = authority.issue("/CN=localhost")
        with harness.Server([FLOW]) as other, \
             harness.Server([], ["--tls-cert", own.cert, "--tls-key", own.key], ca=authority.cert) as server:
            done = server.mica("register", "flow", other.proxy, "--public", "--ttl", "1h")
            self.assertEqual(done.returncode, 0, done)
            context = ssl.create_default_context(cafile=authority.cert)

            def open_socket(path):
                return raw_websocket.open(server.api, path, timeout=20 * SLOW, context=context)

            with open_socket("/flow/echo") as socket:
                socket.send(json.dumps({"number": 7, "text": "x" * 100_000}))
                self.assertEqual(len(json.loads(socket.receive().data)["text"]), 100_000)
                socket.send('{"text":"fail:NOT_FOUND"}')
                self.assertEqual(socket.end()[1], 4005)
            with open_socket("/flow/echo") as socket:
                socket.send(pb.Note(number=7).SerializeToString())
                self.assertEqual(pb.Note.FromString(socket.receive().data).number, 7)
            with open_socket("/flow/echo") as socket:
                socket.send('{"numbre":7}')
                self.assertEqual(socket.end()[1], 4003)
            answer = server.http("POST", "/flow/sum", '{"text":"abc"}\n{"text":"d"}', {"Content-Type": "application/x-ndjson"})
            self.assertEqual(answer.json, {"count": "2", "bytes": "4"})


class Leaving(unittest.TestCase):
    def test_drain(self):
        server = harness.Server([FLOW]).start()
        with raw_websocket.open(server.api, "/flow/echo") as talk, raw_websocket.open(server.api, "/flow/count") as count, \
             raw_websocket.open(server.api, "/flow/echo") as silent:
            talk.send("{}")
            talk.receive()
            count.send('{"to":1,"wait":0.5}')
            time.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(talk.end()[1], 1001)
            self.assertEqual(silent.end()[1], 1001)
            messages, code, _ = count.end()  # has a natural end and comes to it
            self.assertEqual((len(messages), code), (1, 1000))
        server.stop(ask=False)


if __name__ == "__main__":
    harness.main()
