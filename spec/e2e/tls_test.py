#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS: both doors, the command line, dialled servers, client certificates as accounts, and peers that do it wrong."""

import concurrent.futures
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import unittest

import grpc
import harness
from certificates import Authority
from harness import EXAMPLES, ROOT, SANITIZER, SERVICES, SLOW, Server
from public_test import outer_address

pb, rpc = harness.stubs(EXAMPLES / "helloworld/proto/helloworld.proto")
probe_pb, probe_rpc = harness.stubs(SERVICES / "probe/proto/probe.proto")
away_pb, away_rpc = harness.stubs(SERVICES / "away/proto/away.proto")

WHO_PROTO = """syntax = "proto3";
package who;
service Who { rpc Call(Empty) returns (Account); }
message Empty {}
message Account { string id = 1; string name = 2; string type = 3; string issuer = 4; repeated string scopes = 5; }
"""
WHO_MAIN = """local mica = require "mica"
local Who = {}
function Who.Call(ctx)
  local a = ctx.account
  return { id = a.id, name = a.name, type = a.type, issuer = a.issuer, scopes = a.scopes }
end
return mica.service { handlers = { Who = Who } }
"""
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def tls_args(own, client_ca=None):
    args = ["--tls-cert", own.cert, "--tls-key", own.key]
    return args + (["--tls-client-ca", client_ca.cert] if client_ca else [])


def receive(sock):
    """Everything until the peer ends, and whether it ended well (close_notify)."""
    got = b""
    try:
        while chunk := sock.recv(65536):
            got += chunk
    except ssl.SSLEOFError:
        return got, False
    return got, True


class Doors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority, cls.stranger = Authority(), Authority("stranger")
        cls.own = cls.authority.issue("/CN=server")
        cls.clients = Authority("clients")
        who = harness.write_service(harness.work_folder("who"), "who", WHO_PROTO, WHO_MAIN)
        cls.server = Server([EXAMPLES / "helloworld", SERVICES / "probe", SERVICES / "away", who],
                            ["--log-level", "debug", *tls_args(cls.own, cls.clients)], ca=cls.authority.cert).start()
        # Peers that never finish their handshake: what becomes of them is looked at in the end.
        cls.slow = concurrent.futures.ThreadPoolExecutor(4)
        cls.silent = cls.slow.submit(cls.dial_silence)
        cls.unfinished = [cls.slow.submit(cls.never_finish, sent) for sent in ([], [HALF_HELLO], [b"%c" % b for b in HALF_HELLO])]

    @classmethod
    def tearDownClass(cls):
        cls.slow.shutdown()
        cls.server.stop()

    @classmethod
    def raw(cls, door="api"):
        host, port = getattr(cls.server, door).rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=20 * SLOW)

    @classmethod
    def never_finish(cls, pieces):
        """Sends the pieces, one in a second, and waits: how long until the server ends it."""
        began = time.monotonic()
        with cls.raw() as sock:
            for piece in pieces:
                sock.settimeout(1)
                sock.sendall(piece)
                try:
                    if not sock.recv(1):
                        break
                except TimeoutError:
                    continue
            sock.settimeout(20 * SLOW)
            assert sock.recv(1) == b""
        return time.monotonic() - began

    def tls(self, alpn=(), door="api", identity=None):
        """A TLS connection of Python's own, to look at what it does exactly."""
        context = ssl.create_default_context(cafile=self.authority.cert)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if identity:
            context.load_cert_chain(identity.cert, identity.key)
        return context.wrap_socket(self.raw(door), server_hostname="localhost", suppress_ragged_eofs=False)

    # ---- clients

    def test_python_all_kinds_of_call(self):
        with self.server.channel() as channel:
            stub, probe = rpc.HelloworldStub(channel), probe_rpc.ProbeStub(channel)
            self.assertEqual(stub.Call(pb.CallRequest(name="Ada"), timeout=10 * SLOW).message, "Hello Ada")
            got = [m.message for m in stub.Stream(pb.StreamRequest(name="Ada", messages=5), timeout=10 * SLOW)]
            self.assertEqual(got, ["Hello Ada"] * 5)
            numbers = (probe_pb.Number(n=i) for i in range(1, 101))
            self.assertEqual(probe.Sum(numbers, timeout=10 * SLOW).n, 5050)
            balls = (pb.Ping(stroke=i) for i in range(100))
            self.assertEqual([m.stroke for m in stub.PingPong(balls, timeout=20 * SLOW)], list(range(100)))

    def test_grpc_js(self):
        done = subprocess.run(
            ["node", ROOT / "spec/e2e/node/client.js", self.server.proxy, EXAMPLES / "helloworld/proto/helloworld.proto",
             SERVICES / "probe/proto/probe.proto", self.authority.cert],
            capture_output=True, text=True, timeout=60 * SLOW)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("all 7 done", done.stdout)

    def curl(self, *args):
        return subprocess.run(["curl", "-sS", "-m", str(20 * SLOW), "--cacert", self.authority.cert, "-d", '{"name":"Ada"}',
                               "-w", " %{http_version}", f"https://{self.server.api}/helloworld/call", *args],
                              capture_output=True, text=True)

    def test_curl(self):
        for flags, version in ((["--http1.1"], "1.1"), (["--http2"], "2"), (["--no-alpn"], "1.1"),
                               (["--tls-max", "1.2", "--http2"], "2"), (["--http2-prior-knowledge"], "2")):
            done = self.curl(*flags)
            self.assertEqual(done.stdout, '{"message":"Hello Ada"} ' + version, (flags, done.stderr))

    def test_old_versions_and_ciphers_are_refused(self):
        for flags in (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_2", "-cipher", "ECDHE+AES+SHA256"]):
            done = subprocess.run(["openssl", "s_client", "-connect", self.server.api, *flags], input="", capture_output=True,
                                  text=True, timeout=20 * SLOW)
            self.assertRegex(done.stderr, "alert (protocol version|handshake failure)")

    def test_large_messages(self):
        with self.server.channel(**{"max_receive_message_length": -1}) as channel:
            probe = probe_rpc.ProbeStub(channel)
            self.assertEqual(probe.Length(probe_pb.Text(text="x" * 3_000_000), timeout=20 * SLOW).n, 3_000_000)
            stream = probe.Endless(probe_pb.Empty(), timeout=60 * SLOW)
            for _ in range(2000):
                self.assertEqual(next(stream).data, b"x" * 16384)
            stream.cancel()

    def test_a_slow_reader_stops_the_writer(self):
        with self.server.channel() as channel:
            probe = probe_rpc.ProbeStub(channel)
            next(probe.Endless(probe_pb.Empty(), timeout=60 * SLOW)).data  # memory that is used once anyway
            before = self.server.memory()
            streams = [probe.Endless(probe_pb.Empty(), timeout=60 * SLOW) for _ in range(5)]
            time.sleep(1)
            self.assertLess(self.server.memory() - before, (24 << 20) * (3 if SANITIZER else 1))
            for stream in streams:
                stream.cancel()

    def test_graceful_end(self):
        with self.tls(["http/1.1"]) as sock:
            sock.sendall(b"GET /helloworld?name=Ada HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            got, well = receive(sock)
        self.assertIn(b'{"message":"Hello Ada"}', got)
        self.assertTrue(well)

    def test_no_alpn(self):
        with self.tls() as sock:
            self.assertIsNone(sock.selected_alpn_protocol())
            sock.sendall(b"GET /helloworld?name=Ada HTTP/1.0\r\nHost: localhost\r\n\r\n")
            self.assertIn(b"Hello Ada", receive(sock)[0])
        with self.tls() as sock:
            sock.sendall(PREFACE + bytes(3) + b"\x04" + bytes(5))
            self.assertEqual(sock.recv(9)[3], 4)  # SETTINGS

    def test_alpn_holds(self):
        for door in ("api", "proxy"):
            with self.tls(["spdy/3", "h2", "http/1.1"], door) as sock:
                self.assertEqual(sock.selected_alpn_protocol(), "h2")
                sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertNotIn(b"HTTP/1", receive(sock)[0])
        with self.tls(["http/1.1"]) as sock:
            sock.sendall(PREFACE)
            self.assertRegex(receive(sock)[0], b"^HTTP/1.1 400")
        with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
            self.tls(["spdy/3"])

    # ---- the command line

    def mica(self, *args, env=None):
        return harness.mica(*args, env=env)

    def test_command_line(self):
        call = ["call", "helloworld", "call", '{"name":"Ada"}']
        port = self.server.proxy.rsplit(":", 1)[1]
        for args, env in ((["--address", f"https://{self.server.proxy}", "--ca", self.authority.cert], None),
                          (["--address", f"https://localhost:{port}/"], {"MICA_CA": str(self.authority.cert)}),
                          ([], {"MICA_ADDRESS": f"https://{self.server.proxy}", "MICA_CA": str(self.authority.cert)})):
            done = self.mica(*args, *call, env=env)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, '{"message":"Hello Ada"}\n', ""))
        done = self.server.mica("helloworld", "stream", "--name", "Ada", "--messages", "2")
        self.assertEqual(done.stdout, '{"message":"Hello Ada"}\n' * 2, done.stderr)

    def test_environment(self):
        home = harness.work_folder("home")
        env = {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        done = subprocess.run([*harness.launcher(), harness.BINARY, "--ca", "ca.pem", "env", "add", "safe",
                               f"https://{self.server.proxy}"], env=harness.environment(env), cwd=home, capture_output=True,
                              text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        shutil.copy(self.authority.cert, home / "ca.pem")
        self.assertIn(f"https://{self.server.proxy}", self.mica("env", env=env).stdout)
        done = self.mica("-e", "safe", "helloworld", "--name", "Ada", env=env)
        self.assertEqual((done.stdout, done.stderr), ('{"message":"Hello Ada"}\n', ""))
        # The environment's authority is for its own address only.
        done = self.mica("-e", "safe", "--address", f"https://{self.server.proxy}", "services", env=env)
        self.assertIn("unknown authority", done.stderr)

    def test_command_line_faults(self):
        misnamed = self.other_server(self.authority.issue("/CN=b", names="DNS:b.example"))
        broken = harness.work_folder("ca") / "broken.pem"
        broken.write_text("nothing")
        cases = [
            (["--address", f"https://{self.server.proxy}"], 3, "unknown authority.*\ntry: .*--ca"),
            (["--address", f"https://{self.server.proxy}", "--ca", self.stranger.cert], 3, "unknown authority"),
            (["--address", f"https://{misnamed}", "--ca", self.authority.cert], 3,
             "its certificate is not for localhost, but for b.example"),
            (["--address", f"https://{self.server.proxy}", "--ca", "/nowhere"], 2, "no file \"/nowhere\""),
            (["--address", f"https://{self.server.proxy}", "--ca", broken], 2, "holds no certificate"),
            (["--address", self.server.proxy, "--ca", self.authority.cert], 2, "--ca is for servers with TLS"),
            (["--address", self.server.proxy], 3, "UNAVAILABLE"),
            (["--address", "https://"], 2, "is no address"),
            (["--address", "http://x:1"], 2, "is no address"),
        ]
        for args, code, text in cases:
            done = self.mica(*args, "services")
            self.assertEqual((done.returncode, done.stdout), (code, ""), (args, done.stderr))
            self.assertRegex(done.stderr, text)

    # ---- client certificates

    def who(self, channel, namespace=None):
        call = channel.unary_unary("/who.Who/Call", lambda m: m, lambda b: b)
        metadata = [("mica-namespace", namespace)] if namespace else []
        return call(b"", timeout=20 * SLOW, metadata=metadata)

    def who_over_http(self, *args):
        done = subprocess.run(["curl", "-sS", "-m", str(20 * SLOW), "--cacert", self.authority.cert, "-d", "{}",
                               f"https://{self.server.api}/who/call", *map(str, args)], capture_output=True, text=True)
        return done.returncode, done.stdout

    def test_certificate_is_the_account(self):
        ada = self.clients.issue("/CN=ada l\u00e9")
        with self.server.channel(identity=ada.identity()) as channel:
            for _ in range(2):  # made, and kept with the connection
                self.assertEqual(self.who(channel), b"\n\x07ada l\xc3\xa9\x12\x07ada l\xc3\xa9\x1a\x0bcertificate\x22\x04mica")
        code, answer = self.who_over_http("--cert", ada.cert, "--key", ada.key)
        self.assertEqual(json.loads(answer), {"id": "ada l\u00e9", "name": "ada l\u00e9", "type": "certificate",
                                              "issuer": "mica", "scopes": []})
        # Whoever shows none is who their address makes them, as ever.
        self.assertEqual(json.loads(self.who_over_http()[1])["id"], "admin")

    def test_certificate_is_good_for_its_namespace(self):
        def services(channel, namespace):
            call = channel.unary_unary("/mica.registry.v1.Registry/ListServices", lambda m: m, lambda b: b)
            return call(b"", timeout=20 * SLOW, metadata=[("mica-namespace", namespace)])

        for subject, mine, other in (("/O=shop/CN=ada", "shop", "mica"), ("/O=mica/CN=ada", "mica", "shop"),
                                     ("/CN=ada", "mica", "shop")):
            with self.server.channel(identity=self.clients.issue(subject).identity()) as channel:
                services(channel, mine)
                with self.assertRaises(grpc.RpcError) as caught:
                    services(channel, other)
                self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED, subject)

    def test_certificate_that_names_nobody_is_nobody(self):
        for subject in ("/O=mica", "/CN=ada/CN=eve", "/O=mica/O=shop/CN=ada", "/O=Not A Namespace/CN=ada"):
            odd = self.clients.issue(subject)
            code, answer = self.who_over_http("--cert", odd.cert, "--key", odd.key)
            self.assertEqual(json.loads(answer)["status"], "Unauthorized", subject)

    def test_certificate_is_not_for_pages_of_other_sites(self):
        ada = self.clients.issue("/CN=ada")
        for header in ("Origin: https://evil.example", "Sec-Fetch-Site: cross-site"):
            code, answer = self.who_over_http("--cert", ada.cert, "--key", ada.key, "-H", header)
            self.assertEqual(json.loads(answer)["status"], "Unauthorized", header)

    def test_certificate_of_an_unknown_authority_is_refused(self):
        for odd in (self.stranger.issue("/CN=ada"), self.clients.issue("/CN=ada", days=-1)):
            code, answer = self.who_over_http("--cert", odd.cert, "--key", odd.key)
            self.assertNotEqual(code, 0)
            self.assertEqual(answer, "")
            with self.tls(["http/1.1"], identity=odd) as sock:
                with self.assertRaises(ssl.SSLError):  # in TLS 1.3 the client learns it when it reads
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    sock.recv(1)

    # ---- dialled servers

    def away(self, address, path="/helloworld.Helloworld/Call", body='{"name":"Ada"}', **fields):
        with self.server.channel() as channel:
            request = away_pb.CallRequest(address=address, path=path, json=body, **fields)
            return away_rpc.AwayStub(channel).Call(request, timeout=20 * SLOW).json

    def away_fails(self, address, code, text, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            self.away(address, **fields)
        self.assertRegex(caught.exception.details(), text)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())

    def test_dial(self):
        ca = self.authority.cert.read_text()
        for fields in ({}, {}, {"name": "localhost"}):
            self.assertEqual(json.loads(self.away(self.server.proxy, ca=ca, **fields)), {"message": "Hello Ada"})
        bob = self.clients.issue("/CN=bob")
        answer = self.away(self.server.proxy, "/who.Who/Call", "{}", ca=ca, cert=bob.cert.read_text(), key=bob.key.read_text())
        self.assertEqual(json.loads(answer)["id"], "bob")
        # Other settings are another connection.
        self.assertEqual(json.loads(self.away(self.server.proxy, "/who.Who/Call", "{}", ca=ca))["id"], "admin")

    def test_dial_faults(self):
        ca = self.authority.cert.read_text()
        code, bob = grpc.StatusCode, self.stranger.issue("/CN=bob")
        self.away_fails(self.server.proxy, code.UNAVAILABLE, "signed by an unknown authority")  # not the system's
        self.away_fails(self.server.proxy, code.UNAVAILABLE, "unknown authority", ca=self.stranger.cert.read_text())
        self.away_fails(self.server.proxy, code.UNAVAILABLE, "not for b.example", ca=ca, name="b.example")
        self.away_fails(self.server.proxy, code.INVALID_ARGUMENT, "tls.ca holds no certificate in PEM", ca="nonsense")
        self.away_fails(self.server.proxy, code.INVALID_ARGUMENT, "tls.key does not belong", ca=ca,
                        cert=bob.cert.read_text(), key=self.own.key.read_text())
        self.away_fails(self.server.proxy, code.UNAVAILABLE, "the server refused: unknown CA", ca=ca,
                        cert=bob.cert.read_text(), key=bob.key.read_text())
        self.away_fails(self.server.proxy, code.UNAVAILABLE, "broke off|cannot connect", plain=True)

    def other_server(self, own, clients=None):
        """A gRPC server of Python's that answers with what it got."""
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        handler = grpc.method_handlers_generic_handler(
            "other.Other", {"Echo": grpc.unary_unary_rpc_method_handler(lambda request, context: request)})
        server.add_generic_rpc_handlers((handler,))
        trusted = clients.cert.read_bytes() if clients else None
        credentials = grpc.ssl_server_credentials([own.identity()], trusted, clients is not None)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        self.addCleanup(lambda: server.stop(0).wait())
        return f"localhost:{port}"

    def test_dial_another_server(self):
        ca, bob = self.authority.cert.read_text(), self.clients.issue("/CN=bob")
        echo = {"path": "/other.Other/Echo", "body": '{"a":1}'}
        plain = self.other_server(self.own)
        self.assertEqual(self.away(plain, ca=ca, **echo), '{"a":1}')
        named = self.other_server(self.authority.issue("/CN=b", names="DNS:b.example"))
        self.assertEqual(self.away(named, ca=ca, name="b.example", **echo), '{"a":1}')
        self.away_fails(named, grpc.StatusCode.UNAVAILABLE, "its certificate is not for localhost", ca=ca, **echo)
        strict = self.other_server(self.own, self.clients)
        self.assertEqual(self.away(strict, ca=ca, cert=bob.cert.read_text(), key=bob.key.read_text(), **echo), '{"a":1}')
        self.away_fails(strict, grpc.StatusCode.UNAVAILABLE, "broke off", ca=ca, **echo)
        expired = self.other_server(self.authority.issue("/CN=old", days=-1))
        self.away_fails(expired, grpc.StatusCode.UNAVAILABLE, "its certificate has expired", ca=ca, **echo)

    def test_dial_a_server_without_tls(self):
        with Server() as plain:
            self.away_fails(plain.proxy, grpc.StatusCode.UNAVAILABLE, "the server does not speak TLS",
                            ca=self.authority.cert.read_text())

    @classmethod
    def dial_silence(cls):
        with socket.create_server(("127.0.0.1", 0)) as silent, cls.server.channel() as channel:
            request = away_pb.CallRequest(address=f"127.0.0.1:{silent.getsockname()[1]}", path="/a.B/C", json="{}")
            try:
                return away_rpc.AwayStub(channel).Call(request, timeout=20 * SLOW).json
            except grpc.RpcError as error:
                return error.details()

    def test_zy_dial_a_server_that_says_nothing(self):
        self.assertRegex(self.silent.result(30 * SLOW), "cannot connect to 127.0.0.1:.*: no TLS handshake in time")

    def test_metrics_tell_the_expiry(self):
        page = self.server.http("GET", "/metrics").body.decode()
        left = float(re.search(r"^mica_tls_certificate_expires_in_seconds (\S+)$", page, re.M).group(1))
        self.assertTrue(2 * 86400 - 600 * SLOW < left <= 2 * 86400, left)

    # ---- peers that do it wrong

    def test_plain_text_to_the_tls_doors(self):
        for door in ("api", "proxy"):
            with self.raw(door) as sock:
                sock.sendall(b"GET /helloworld HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertRegex(receive(sock)[0], b"(?s)^HTTP/1.1 400 .*This address speaks TLS only: use https")
            for bytes_ in (PREFACE, b"\x00" * 100, os.urandom(500), b"\x16\x03\x01\xff\xff" + b"x" * 100):
                with self.raw(door) as sock:
                    sock.sendall(bytes_)
                    self.assertNotIn(b"HTTP", receive(sock)[0], bytes_)
        self.assertTrue(self.server.wait_log("DEBUG .*TLS handshake with 127.0.0.1:.*does not speak TLS"))

    def test_zz_unfinished_handshakes_are_cut_off(self):
        for unfinished in self.unfinished:
            took = unfinished.result(30 * SLOW)
            self.assertTrue(9 < took < 13 * SLOW, took)
        self.assertTrue(self.server.wait_log("DEBUG .*TLS handshake with .*: it was not complete in time"))
        # However many there were, in this minute there was one line of each loop.
        warned = re.findall("WARN .*TLS handshake", self.server.log())
        self.assertIn(len(warned), (1, 2), warned)


class Plain(harness.Case):
    services = [EXAMPLES / "helloworld"]

    def test_tls_to_a_plain_door(self):
        for address in (self.server.api, self.server.proxy):
            host, port = address.rsplit(":", 1)
            began = time.monotonic()
            with socket.create_connection((host, int(port)), timeout=10 * SLOW) as sock:
                with self.assertRaises((ssl.SSLError, ConnectionError)):
                    ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
            self.assertLess(time.monotonic() - began, 5 * SLOW)
        self.assertEqual(self.server.post("/helloworld/call", {"name": "Ada"}).status, 200)


class Reload(unittest.TestCase):
    def setUp(self):
        self.authority = Authority()
        self.folder = harness.work_folder("reload")
        self.first, self.second = self.authority.issue("/CN=first"), self.authority.issue("/CN=second")
        self.own = self.place(self.first)
        self.server = Server([EXAMPLES / "helloworld"], ["--io", "2", *tls_args(self.own)],
                             ca=self.authority.cert).start()
        self.addCleanup(self.server.stop)

    def place(self, certificate):
        """Puts the files of a certificate where the server looks, each in one step."""
        own = type(certificate)(self.folder, "own")
        for source, target in ((certificate.cert, own.cert), (certificate.key, own.key)):
            shutil.copy(source, f"{target}.new")
            os.replace(f"{target}.new", target)
        return own

    def presented(self):
        host, port = self.server.proxy.rsplit(":", 1)
        context = ssl.create_default_context(cafile=self.authority.cert)
        with socket.create_connection((host, int(port)), timeout=20 * SLOW) as sock:
            with context.wrap_socket(sock, server_hostname="localhost") as tls:
                return dict(field[0] for field in tls.getpeercert()["subject"])["commonName"]

    def logged(self, text, times):
        end = time.monotonic() + 10 * SLOW
        while self.server.log().count(text) < times and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(self.server.log().count(text), times, self.server.log())

    def test_under_load(self):
        stop, done, failed = threading.Event(), [], []

        def call(fresh):
            channel = self.server.channel()
            try:
                while not stop.is_set():
                    rpc.HelloworldStub(channel).Call(pb.CallRequest(name="Ada"), timeout=20 * SLOW)
                    done.append(1)
                    if fresh:
                        channel.close()
                        channel = self.server.channel()
            except Exception as error:
                failed.append(repr(error))
            channel.close()

        threads = [threading.Thread(target=call, args=(fresh,)) for fresh in (False, False, True)]
        for thread in threads:
            thread.start()
        names = [self.presented()]
        for turn, certificate in enumerate((self.second, self.first), 1):
            self.place(certificate)
            self.logged("new connections get the certificate", turn)
            names.append(self.presented())
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertGreater(len(done), 50 if not SANITIZER else 5)
        self.assertEqual(names, ["first", "second", "first"])

    def test_broken_files_keep_the_old_certificate(self):
        text = self.own.cert.read_text()
        refusal = "the new certificate is not taken, the old one stays"
        for turn, spoil in enumerate((lambda: self.own.cert.write_text(text[:300]),
                                      lambda: (self.own.cert.write_text(text), shutil.copy(self.second.key, self.own.key)),
                                      lambda: self.own.key.unlink()), 1):
            spoil()
            self.logged(refusal, turn)
            self.assertEqual(self.presented(), "first")
        self.place(self.second)
        self.logged("new connections get the certificate", 1)
        self.assertEqual(self.presented(), "second")
        self.assertEqual(self.server.log().count(refusal), 3)  # each is said once


class Start(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.own, cls.other = cls.authority.issue("/CN=own"), cls.authority.issue("/CN=other")

    def refused(self, cert, key, pattern, *more):
        server = Server(args=["--tls-cert", cert, "--tls-key", key, *more])
        done = subprocess.run(list(map(str, server.command)), env=server.env, capture_output=True, text=True,
                              timeout=20 * SLOW)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertRegex(done.stderr, r"\Amica: .*" + pattern + r".*\n\Z")

    def test_faults(self):
        folder = harness.work_folder("faults")
        locked = folder / "locked.key"
        subprocess.run(["openssl", "pkey", "-in", self.own.key, "-aes256", "-passout", "pass:secret", "-out", locked],
                       check=True)
        (folder / "empty").write_text("")
        (folder / "large").write_bytes(b"x" * (2 << 20))
        own, other = self.own, self.other
        self.refused("/nowhere.pem", own.key, "--tls-cert /nowhere.pem: no such file")
        self.refused(own.cert, "/nowhere.key", "--tls-key /nowhere.key: no such file")
        self.refused(own.cert, other.key, "--tls-key .* does not belong to the certificate in --tls-cert")
        self.refused(own.cert, locked, "--tls-key .*locked.key is encrypted")
        self.refused(folder / "empty", own.key, "--tls-cert .*empty holds no certificate in PEM form")
        self.refused(own.cert, folder / "empty", "--tls-key .*empty holds no private key in PEM form")
        self.refused(folder, own.key, "--tls-cert .* is a folder")
        self.refused(folder / "large", own.key, "--tls-cert .*large is larger than 1 MB")
        self.refused(own.cert, own.key, "--tls-client-ca .*empty is empty", "--tls-client-ca", folder / "empty")
        self.refused(own.cert, own.key, "--tls-client-ca .* holds no certificate", "--tls-client-ca", own.key)

    def test_unreadable(self):
        if os.geteuid() == 0:
            if not shutil.which("setpriv"):
                self.skipTest("needs setpriv")
            prefix = ["setpriv", "--reuid", "65534", "--clear-groups"]
        else:
            prefix = []
        place = harness.work_folder("unreadable")
        for path in (place, place.parent, self.authority.folder):
            path.chmod(0o755)
        binary = place / "mica"
        shutil.copy(harness.BINARY, binary)
        self.own.key.chmod(0o000)
        self.addCleanup(self.own.key.chmod, 0o600)
        command = [*prefix, *harness.launcher(), binary, "server", "--data", place / "data", "--tls-cert", self.own.cert,
                   "--tls-key", self.own.key]
        done = subprocess.run(list(map(str, command)), env=harness.environment(), capture_output=True, text=True, cwd="/")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"\Amica: --tls-key .*: the server may not read this file.*\n\Z")

    def test_flags_belong_together(self):
        for flags, text in ((["--tls-cert", "x"], "--tls-cert needs --tls-key"), (["--tls-key", "x"], "--tls-key needs --tls-cert"),
                            (["--tls-client-ca", "x"], "--tls-client-ca needs --tls-cert")):
            done = harness.mica("server", *flags)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(text, done.stderr)

    def test_beyond_this_machine(self):
        ada = self.authority.issue("/CN=ada")
        with Server([SERVICES / "closed"], tls_args(self.own, self.authority), api="0.0.0.0:0", proxy="0.0.0.0:0") as server:
            port = server.api.rsplit(":", 1)[1]

            def shut(host, *args):
                return json.loads(harness.curl("--cacert", self.authority.cert, "--connect-to", f"::{host}:", "-d", "{}",
                                               f"https://localhost:{port}/closed/shut", *args))

            identity = ["--cert", ada.cert, "--key", ada.key]
            self.assertEqual(shut("127.0.0.1")["account"], "admin")
            self.assertEqual(shut("127.0.0.1", *identity)["account"], "ada")
            outer = outer_address()
            if outer:
                self.assertEqual(shut(outer)["status"], "Unauthorized")
                self.assertEqual(shut(outer, *identity)["account"], "ada")

    def test_variables_and_the_address_of_a_service(self):
        env = {"MICA_TLS_CERT": str(self.own.cert), "MICA_TLS_KEY": str(self.own.key)}
        with Server(env=env, ca=self.authority.cert) as server:
            done = server.mica("run", EXAMPLES / "helloworld")
            self.assertRegex(done.stdout, rf"https://{server.api}/helloworld", done.stderr)
            self.assertEqual(server.post("/helloworld/call", {"name": "Ada"}).json, {"message": "Hello Ada"})

    def test_expired(self):
        old = self.authority.issue("/CN=old", days=-1)
        with Server(args=tls_args(old), ca=self.authority.cert) as server:
            self.assertTrue(server.wait_log("WARN .*--tls-cert .*: the certificate has expired"))


if __name__ == "__main__":
    harness.main()
