#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Certificates by ACME: ordered, proved both ways, renewed, stored; and an authority that refuses, is slow, or is not there."""

import email.utils
import http.client
import json
import re
import shutil
import socket
import ssl
import stat
import time

import grpc
import harness
from acme_server import AcmeServer, alpn_certificate, rebase64
from certificates import Authority
from harness import EXAMPLES, SLOW, Server

pb, rpc = harness.stubs(harness.ROOT / "proto/mica/acme/v1/acme.proto")

# What the pieces say that need neither a server nor an authority: they are run as a service of their own.
PIECES = harness.ROOT / "services/platform/acme"
PIECES_PROTO = """syntax = "proto3";
package pieces;
service Pieces { rpc Call(Empty) returns (Answer); }
message Empty {}
message Answer { string json = 1; }
"""
PIECES_MAIN = """local mica = require "mica"
local jose, schedule, authority = require "jose", require "schedule", require "authority"
local Pieces = {}
function Pieces.Call()
  local signed
  local rsa = { e = "AQAB", kty = "RSA", n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc"
    .. "_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7"
    .. "d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awap"
    .. "JzKnqDKgw" }
  local input = { jose.input('{"alg":"ES256"}', '{"iss":"joe",\\r\\n "exp":1300819380,\\r\\n "http://example.com/is_root":true}') }
  local message = jose.sign({ url = "u", alg = "ES256" }, "", function(bytes) signed = bytes return "\\255\\254" end)
  local year = { not_before = 0, not_after = 900 }
  local refused, unreachable = mica.errors.failed_precondition "x", mica.errors.unavailable "x"
  local limited = mica.errors.resource_exhausted "x"
  limited.retry_after = 100
  local at_once = mica.errors.unavailable "x"
  at_once.retry_after = 0
  return { json = mica.json.encode {
    thumbprint = jose.thumbprint(rsa), input = input, message = mica.json.decode(message), signed = signed,
    renewal = { schedule.renewal(year, 0), schedule.renewal(year, 1) },
    suggested = { schedule.suggested({ from = 100, to = 200 }, 0.5), schedule.latest(year) },
    pauses = {
      schedule.pause(1, unreachable, nil, 0.5), schedule.pause(3, unreachable, nil, 0.5), schedule.pause(100, unreachable, nil, 0.5),
      schedule.pause(1, refused, nil, 0), schedule.pause(2, refused, nil, 1), schedule.pause(100, refused, nil, 0.5),
      schedule.pause(1, refused, { left = 40, life = 100 }, 0.5), schedule.pause(1, refused, { left = 40, life = 900 }, 0.5),
      schedule.pause(50, refused, { left = 40, life = 9e6 }, 0.5), schedule.pause(1, refused, { left = 1, life = 4 }, 0.5),
      schedule.pause(9, limited, { left = 40, life = 900 }, 1), schedule.pause(1, at_once, nil, 1), schedule.pause(9, at_once, nil, 1),
    },
    retry_after = {
      authority.retry_after("17", 0), authority.retry_after("Thu, 01 Jan 1970 00:01:40 GMT", 40),
      authority.retry_after("Thu, 01 Jan 1970 00:01:40 GMT", 400),
      authority.retry_after("Thu, 32 Jan 1970 00:01:40 GMT", 0) or "none", authority.retry_after("-1", 0) or "none",
      authority.retry_after("9999999999", 0) or "none", authority.retry_after(nil, 0) or "none",
    },
  } }
end
return mica.service { handlers = { Pieces = Pieces }, public = true }
"""

ONE, TWO = "one.example.test", "two.example.test"
ISSUED = "a certificate has been issued"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Acme(harness.Case):
    def setUp(self):
        self.acme = AcmeServer()

    def tearDown(self):
        self.acme.close()
        self.assertEqual(self.acme.violations, [])

    @classmethod
    def setUpClass(cls):
        pass

    tearDownClass = setUpClass

    # ---- tools

    def server(self, hosts=(ONE,), more=(), **options):
        return Server([EXAMPLES / "helloworld"], self.acme.arguments(*hosts) + list(more), **options)

    def secure(self, server, name=ONE):
        """A TLS connection to the api door that trusts the issuer only."""
        host, port = server.api.rsplit(":", 1)
        context = ssl.create_default_context(cafile=self.acme.issuer.root_file)
        return context.wrap_socket(socket.create_connection((host, int(port)), timeout=5 * SLOW), server_hostname=name)

    def serial(self, server):
        return alpn_certificate(int(server.api.rsplit(":", 1)[1]), ONE, ["http/1.1"])[0].serial_number

    def issued(self, server, count=1, seconds=5):
        """Waits until that many certificates have been issued: the last, which new connections get."""
        pattern = "(?s)" + ".*".join([ISSUED] * count)
        self.assertTrue(server.wait_log(pattern, seconds), server.log())
        leaf = self.acme.issued[-1]
        self.assertEqual(self.serial(server), leaf.serial_number)
        return leaf

    def hello(self, connection):
        connection.sendall(b"GET /helloworld?name=Ada HTTP/1.1\r\nhost: one.example.test\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, json.loads(answer.read())

    def metric(self, server, name):
        with self.secure(server) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            page = b""
            while part := connection.recv(65536):
                page += part
        return float(re.search(rf"^{re.escape(name)} (\S+)", page.decode(), re.M).group(1))

    # ---- what works

    def test_http_01(self):
        port = self.acme.http_port = free_port()
        self.acme.refused_nonces, self.acme.processing = 2, 2
        with self.server([TWO, ONE.upper(), TWO], ["--acme-http", f"127.0.0.1:{port}"]) as server:
            self.assertIn("a self-signed one is served", server.log())
            leaf = self.issued(server)
            for name in (ONE, TWO):
                with self.secure(server, name) as connection:
                    self.assertEqual(self.hello(connection), (200, {"message": "Hello Ada"}))
            self.assertAlmostEqual(self.metric(server, "mica_tls_certificate_expires_in_seconds"), 3600, delta=60 * SLOW)
            self.assertEqual(self.metric(server, 'acme_orders_total{namespace="",service="acme",result="issued"}'), 1)
            self.check_plain_door(port, server)
            self.check_files(server)
            self.assertEqual([path for method, path in self.acme.requests if path == "/order"], ["/order"])
            self.check_restart(server, leaf)

    def check_plain_door(self, port, server):
        secure = server.api.rsplit(":", 1)[1]

        def get(path, host, method="GET"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5 * SLOW)
            connection.request(method, path, headers={"host": host})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer.status, answer.headers["location"]

        there = f"https://{ONE}:{secure}"
        self.assertEqual(get("/a/b?c=d", ONE), (308, there + "/a/b?c=d"))
        self.assertEqual(get("/", ONE.upper() + ":80", "POST"), (308, there + "/"))
        self.assertEqual(get("/x", "elsewhere.test"), (308, f"https://{TWO}:{secure}/x"))
        self.assertEqual(get("/.well-known/acme-challenge/unknown", ONE)[0], 404)
        answered = next(iter(self.acme.authorizations.values()))["challenges"]["http-01"]["token"]
        self.assertEqual(get("/.well-known/acme-challenge/" + answered, ONE)[0], 404)  # taken back

    def check_files(self, server):
        folder = server.data / "acme"
        self.assertEqual(sorted(f.name for f in folder.iterdir()), ["account.key", "certificate.pem"])
        for file in folder.iterdir():
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
            for line in file.read_text().splitlines():
                self.assertNotIn(line, "" if line.startswith("---") else server.log())

    def check_restart(self, server, leaf):
        """With a stored certificate a server needs nobody, and orders nothing."""
        server.stop()
        self.acme.close()
        server.start()
        self.assertEqual(self.serial(server), leaf.serial_number)
        self.assertEqual(self.call(server, "Read").state, "valid")
        self.assertNotRegex(server.log(), "self-signed|ordered")

    def test_tls_alpn_01(self):
        with self.server([ONE, TWO]) as server:
            port = int(server.api.rsplit(":", 1)[1])
            with self.assertRaisesRegex(ssl.SSLError, "NO_APPLICATION_PROTOCOL|no application protocol"):
                alpn_certificate(port, "unknown.example.test")
            with self.assertRaisesRegex(ssl.SSLError, "NO_APPLICATION_PROTOCOL|no application protocol"):
                alpn_certificate(port, None)
            # The names are being proved: this waits for the port. Who offers more protocols is a client as any other.
            certificate, agreed = alpn_certificate(port, ONE, ["acme-tls/1", "http/1.1"])
            self.assertEqual((agreed, certificate.issuer), ("http/1.1", certificate.subject))
            self.acme.tls_port = port
            self.issued(server)
            with self.assertRaises(ssl.SSLError):
                alpn_certificate(port, ONE)  # taken back
            state = self.call(server, "Read")
            self.assertEqual((state.state, state.challenge, state.error), ("valid", "tls-alpn-01", ""))
            self.assertEqual(sorted(state.names), [ONE, TWO])

            # Other names than those of the certificate that is stored: it is served until there is one for all of them.
            server.stop()
            self.acme.tls_port = None
            server.command += ["--acme-host", "three.example.test"]
            server.start()
            self.assertEqual(self.serial(server), self.acme.issued[0].serial_number)
            self.assertRegex(server.log(), f"a certificate is ordered: the present one is for {ONE}, {TWO}")
            self.acme.tls_port = int(server.api.rsplit(":", 1)[1])
            self.issued(server, 1)
            self.secure(server, "three.example.test").close()

    def call(self, server, method, trusted=None, timeout=10 * SLOW):
        """An endpoint of the platform's service, over a connection that trusts the issuer, or the certificate given."""
        credentials = grpc.ssl_channel_credentials(trusted or self.acme.issuer.root_file.read_bytes())
        request = {"Read": pb.ReadRequest, "Renew": pb.RenewRequest}[method]()
        with grpc.secure_channel(server.proxy, credentials, [("grpc.ssl_target_name_override", ONE)]) as channel:
            return getattr(rpc.AcmeStub(channel), method)(request, timeout=timeout)

    def test_renewal(self):
        self.acme.life = 4
        with self.server() as server:
            self.acme.tls_port = int(server.api.rsplit(":", 1)[1])
            self.issued(server)
            with self.secure(server) as connection:
                self.assertEqual(self.hello(connection)[0], 200)
                self.issued(server, 2)
                self.assertEqual(self.hello(connection)[0], 200)  # goes on, beyond the end of its certificate

    def test_authority_says_when(self):
        with self.server() as server:
            self.acme.tls_port = int(server.api.rsplit(":", 1)[1])
            self.issued(server)
            server.stop()
            self.acme.tls_port, self.acme.window = None, (time.time() - 7200, time.time() - 3600)
            server.start()
            self.acme.tls_port = int(server.api.rsplit(":", 1)[1])
            self.assertTrue(server.wait_log("a certificate is ordered: it is time to renew"), server.log())
            self.assertTrue(server.wait_log(ISSUED), server.log())
            self.assertEqual(len(self.acme.replaced), 1)
            # It goes on saying so, of the new one as well: that is not believed at once.
            time.sleep(0.2 * SLOW)
            self.assertEqual(len(self.acme.issued), 2)

    # ---- what does not

    def test_refused(self):
        self.acme.http_port = free_port()  # nobody listens there
        with self.server(more=["--acme-http", "127.0.0.1:0"]) as server:
            line = server.wait_log("no certificate: .*")
            self.assertRegex(line.group(0), rf"the authority could not see that {ONE} leads here, by http-01: no answer: .*"
                             r"refused \(unauthorized\); tried again in \d+ (seconds|minutes)")
            answer = alpn_certificate(int(server.api.rsplit(":", 1)[1]), ONE, ["http/1.1"])[0]
            self.assertEqual(answer.issuer, answer.subject)

    def test_limited(self):
        self.acme.limited = [email.utils.formatdate(time.time() + 1, usegmt=True)]
        with self.server() as server:
            self.acme.tls_port = int(server.api.rsplit(":", 1)[1])
            line = server.wait_log("no certificate: .*").group(0)
            self.assertRegex(line, r"the authority refuses: too many new orders \(rateLimited\); tried again in [12] seconds")
            self.issued(server)

    def test_limited_across_a_restart(self):
        self.acme.limited = [3600]
        with self.server() as server:
            self.assertTrue(server.wait_log("tried again in 6[0-6] minutes"), server.log())
            before = len(self.acme.requests)
            server.stop()
            server.start()
            self.assertIn("a self-signed one is served", server.log())
            time.sleep(0.2 * SLOW)  # it would have been asked before the server was ready
            self.assertEqual(len(self.acme.requests), before)

    def test_odd_answers(self):
        """An authority that speaks no ACME, or not well: one line each, and nothing breaks. Each is asked for by Renew."""
        def problem(kind, detail, **more):
            return {"type": "urn:ietf:params:acme:error:" + kind, "detail": detail, **more}

        def authorization(**changes):
            return {"status": "pending", "identifier": {"type": "dns", "value": ONE}, "challenges": [], **changes}

        other = self.acme.issuer.issue(self.acme.issuer.key.public_key(), [ONE], 3600)[1]
        def directory(url):
            return {name: url for name in ("newNonce", "newAccount", "newOrder")}

        cases = [
            ("/directory", 200, {}, b"<html>", "answers with something else than JSON"),
            ("/directory", 404, {}, b"", "the authority refuses: it answers with status 404"),
            ("/directory", 302, {"location": "/directory"}, b"", "it answers with status 302"),
            ("/directory", 200, {}, [1, 2], "is no directory of ACME: it names no newAccount"),
            ("/directory", 200, {}, directory("file:///etc/passwd"), "a place that is no https:// address: file:///etc/passwd"),
            ("/directory", 200, {}, directory("https://localhost/x"), "leads to this machine or its link"),
            ("/directory", 200, {}, b" " * 2000000, "longer than it may be"),
            ("/directory", 200, {}, b"[" * 500000, "something else than JSON"),
            ("/nonce", 200, {"replay-nonce": None}, b"", "gives no nonces"),
            ("/account", 403, {}, problem("externalAccountRequired", "no\nbinding"), r"no binding \(externalAccountRequired\)"),
            ("/account", 200, {}, {}, "does not name the account"),
            ("/order", 503, {"retry-after": "120"}, b"down", "status 503; tried again in 2"),
            ("/order", 201, {}, {"status": "pending"}, "the authority's order is not complete"),
            ("/order", 400, {}, problem("rejectedIdentifier", "no", subproblems=[
                {"identifier": {"value": ONE}, "detail": "on a list"}]), f"no \\(rejectedIdentifier\\); {ONE}: on a list"),
            ("/authorization", 200, {}, authorization(identifier=None), "an authorization without a name"),
            ("/authorization", 200, {}, authorization(), f"does not offer tls-alpn-01 for {ONE}"),
            ("/authorization", 200, {}, authorization(challenges=[
                {"type": "tls-alpn-01", "url": self.acme.url + "/gone", "token": "x"}]), "the authority refuses"),
            ("/certificate", 200, {}, b"no certificate", "there is no certificate in PEM form"),
            ("/certificate", 200, {}, other, "the certificate is for another key"),
        ]
        path, *answer, text = cases[0]
        self.acme.odd[path] = tuple(answer)
        with self.server() as server:
            self.acme.tls_port = int(server.api.rsplit(":", 1)[1])
            self.assertTrue(server.wait_log("no certificate: .*" + text), server.log())
            own = (server.data / "acme/certificate.pem").read_bytes()
            for path, *answer, text in cases[1:]:
                with self.subTest(path=path, text=text):
                    self.acme.odd[path] = tuple(answer)
                    error = self.assert_rpc_error(grpc.StatusCode.FAILED_PRECONDITION, self.call, server, "Renew", own)
                    self.assertRegex(error.details(), "no certificate: .*" + text.split(";")[0])
                    self.assertRegex(server.log(), text)
            state = self.call(server, "Read", own)
            self.assertEqual((state.state, state.self_signed, state.failures), ("failing", True, len(cases)))
            state = self.call(server, "Renew", own)
            self.assertEqual((state.state, state.self_signed, state.failures, state.error), ("valid", False, 0, ""))
            self.assertTrue(time.time() < state.next < state.not_after)
            self.assertEqual(self.serial(server), self.acme.issued[-1].serial_number)
        self.assertEqual(self.acme.violations, ["no /gone"])
        self.acme.violations.clear()

    def test_unreachable(self):
        trusted, self.acme.ca = self.acme.ca, Authority("stranger").cert
        with self.server() as server:
            line = server.wait_log("no certificate: .*").group(0)
            self.assertRegex(line, r"(?i)certificate.*look at what --acme-ca names; tried again in \d seconds")
        self.assertEqual(self.acme.requests, [])
        self.acme.ca = trusted
        self.acme.close()
        with self.server() as server:
            line = server.wait_log("no certificate: .*").group(0)
            self.assertRegex(line, r"/directory: .*(refused|connect).*; tried again in \d seconds")

    def test_pieces(self):
        folder = harness.write_service(harness.work_folder("services"), "pieces", PIECES_PROTO, PIECES_MAIN)
        for name in ("jose", "schedule", "authority"):
            shutil.copy(PIECES / f"{name}.lua", folder)
        with Server([folder]) as server:
            got = json.loads(server.post("/pieces").json["json"])
        # RFC 7638 section 3.1, RFC 7515 A.3
        self.assertEqual(got["thumbprint"], "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        self.assertEqual(got["input"], ["eyJhbGciOiJFUzI1NiJ9", "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
                                        "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"])
        protected = rebase64(b'{"alg":"ES256","url":"u"}')
        self.assertEqual(got["message"], {"protected": protected, "payload": "", "signature": "__4"})
        self.assertEqual(got["signed"], protected + ".")
        self.assertEqual(got["renewal"], [600, 570])
        self.assertEqual(got["suggested"], [150, 810])
        self.assertEqual([round(pause, 6) for pause in got["pauses"]], [2, 8, 3600, 225, 750, 21600, 10, 45, 300, 1, 110, 1, 60])
        self.assertEqual(got["retry_after"], [17, 60, 0, "none", "none", "none", "none"])

    def test_flags(self):
        def refused(text, *args, **env):
            done = harness.mica("server", *args, env=env)
            self.assertEqual((done.returncode, done.stdout), (2, ""), done)
            self.assertIn(text, done.stderr)

        refused("needs --acme-agree", "--acme-host", ONE)
        refused("needs --acme-agree", MICA_ACME_HOSTS=f"{ONE},{TWO}")
        refused("is no name of a host", MICA_ACME_HOSTS="a_b", MICA_ACME_AGREE="1")
        refused("--acme-email needs --acme-host", "--acme-email", "a@example.test")
        refused("a wildcard is proved by DNS only", "--acme-host", "*.example.test", "--acme-agree")
        refused("for names, not for addresses", "--acme-host", "127.0.0.1", "--acme-agree")
        refused("is no name of a host", "--acme-host", "a_b.example", "--acme-agree")
        refused("https:// address", "--acme-host", ONE, "--acme-agree", "--acme-directory", "http://127.0.0.1/directory")
        refused("either given or ordered", "--acme-host", ONE, "--acme-agree", "--tls-cert", "x", "--tls-key", "y")
        done = harness.mica("server", "--data", harness.work_folder("data"), "--acme-host", ONE, "--acme-agree", "--acme-ca", "/no/file")
        self.assertEqual((done.returncode, done.stderr), (1, "mica: --acme-ca /no/file cannot be read: No such file or directory\n"))


if __name__ == "__main__":
    harness.main()
