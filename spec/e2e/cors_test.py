#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Which pages of other origins may read what the api door answers: by the server, by the service, and nobody else."""

import json
import pathlib

import harness
import raw_http2
from harness import EXAMPLES, SERVICES

APP, OTHER, EVIL = "https://app.example", "http://localhost:3000", "https://evil.example"


class Cors(harness.Case):
    def get(self, path, origin=None, method="GET", body=None, **headers):
        fields = {k.replace("_", "-"): v for k, v in headers.items()}
        if origin:
            fields["Origin"] = origin
        return self.server.http(method, path, body, fields)

    def preflight(self, path, origin, method="POST", **headers):
        return self.get(path, origin, "OPTIONS", access_control_request_method=method, **headers)

    def socket(self, path, origin=None):
        """The status by which a WebSocket is answered."""
        with self.server.connect() as sock:
            lines = [f"GET {path} HTTP/1.1", f"host: {self.server.api}", "connection: upgrade", "upgrade: websocket",
                     "sec-websocket-version: 13", "sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg=="]
            if origin:
                lines.append(f"origin: {origin}")
            sock.sendall("\r\n".join([*lines, "", ""]).encode())
            return int(sock.recv(100).split()[1])

    def assert_open(self, answer, origin, credentials=True):
        """The browser gives the answer to the page."""
        self.assertEqual(answer.headers.get("access-control-allow-origin"), origin, answer)
        self.assertEqual(answer.headers.get("access-control-allow-credentials"), "true" if credentials else None)

    def assert_shut(self, answer):
        self.assertEqual([k for k in answer.headers if k.startswith("access-control-")], [], answer)


class Nobody(Cors):
    services = [EXAMPLES / "helloworld"]

    def test_by_default(self):
        for path in ("/helloworld?name=a", "/nothing", "/", "/health", "/helloworld/stream?messages=1"):
            answer = self.get(path, APP)
            self.assert_shut(answer)
            self.assertNotIn("origin", answer.headers.get("vary", ""))
            refused = self.preflight(path, APP)
            self.assert_shut(refused)
            self.assert_error(refused, 403, detail="--cors-origin ORIGIN")

    def test_websocket(self):
        for origin, status in [(None, 101), (f"http://{self.server.api}", 101), (APP, 403), ("null", 403), (self.server.api, 403)]:
            self.assertEqual(self.socket("/helloworld/pingPong", origin), status, origin)

    def test_options_without_a_question(self):
        answer = self.get("/helloworld", APP, "OPTIONS")
        self.assertEqual((answer.status, "POST" in answer.headers["allow"]), (204, True))
        self.assert_shut(answer)

    def test_flags(self):
        for value, text in [("app.example", "is no origin"), (APP + "/", "without a path"), ("https://App.example", "in lower case"),
                            (APP + ":443", 'write "https://app.example"'), ("http://a:80", 'write "http://a"'), ("http://a:70000", "no port"),
                            ("http://a:", "is no origin"), ("https://*.example", "is no origin"), ("null", "is no origin"),
                            ("http://u@a", "is no origin"), ("http://a:1;b", "is no origin")]:
            for done in (harness.mica("server", "--cors-origin", value), harness.mica("server", env={"MICA_CORS_ORIGINS": value}),
                         harness.mica("run", ".", "--cors", value), harness.mica("register", "a", "b:1", "--cors", value)):
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertIn(text, done.stderr)
        for value in ("http://[::1]:8080", "https://xn--bcher-kva.example", "capacitor://localhost"):
            done = harness.mica("server", "--cors-origin", value, "--io", "x")
            self.assertIn("--io", done.stderr)


SITE = '''
local mica = require "mica"
return mica.service { handlers = {}, public = true, http = { ["GET /"] = function(ctx, req)
  if req.query.fail then error "it fails" end
  return { headers = { ["Access-Control-Allow-Origin"] = "*", vary = "cookie" }, body = "hi" }
end } }
'''


class Server(Cors):
    args = ["--cors-origin", APP, "--cors-origin", OTHER]

    @classmethod
    def setUpClass(cls):
        site = harness.write_service(harness.work_folder("site"), "site", 'syntax = "proto3"; package site; message Nothing {}', SITE)
        cls.services = [EXAMPLES / "helloworld", SERVICES / "wire", SERVICES / "closed", site]
        super().setUpClass()

    def test_everything_is_open_to_a_named_origin(self):
        for origin in (APP, OTHER):
            for method, path in [("GET", "/helloworld?name=a"), ("POST", "/helloworld"), ("GET", "/nothing"), ("GET", "/"),
                                 ("GET", "/helloworld/stream?messages=2"), ("GET", "/closed/shut"), ("PURGE", "/helloworld"),
                                 ("GET", "/metrics"), ("GET", "/helloworld?nothing=1"), ("HEAD", "/helloworld")]:
                answer = self.get(path, origin, method, "{}" if method == "POST" else None)
                self.assert_open(answer, origin)
                self.assertIn("origin", answer.headers["vary"])
                self.assertIn("grpc-status", answer.headers["access-control-expose-headers"])

    def test_and_shut_to_others(self):
        for origin in (EVIL, "null", APP + ".evil.example", "https://app.exampl", APP + ":444", "http://app.example",
                       APP.upper(), APP + "," + OTHER, "", "*", APP + "\t" + OTHER):
            answer = self.get("/helloworld?name=a", origin)
            self.assertEqual(answer.status, 200)
            self.assertIn("origin", answer.headers["vary"])
            self.assert_shut(answer)

    def test_caches_are_told(self):
        self.assertIn("origin", self.get("/helloworld?name=a").headers["vary"])

    def test_preflight(self):
        answer = self.preflight("/helloworld", APP, "PATCH", access_control_request_headers="content-type,x-grpc-web",
                                access_control_request_private_network="true")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assert_open(answer, APP)
        self.assertEqual(answer.headers["access-control-allow-headers"], "content-type,x-grpc-web")
        self.assertEqual(answer.headers["access-control-allow-methods"], "PATCH")
        self.assertEqual(answer.headers["access-control-allow-private-network"], "true")
        self.assertGreater(int(answer.headers["access-control-max-age"]), 0)
        self.assertIn("access-control-request-method", answer.headers["vary"])
        self.assert_open(self.preflight("/nothing", APP), APP)  # the page may read that there is nothing
        long = self.preflight("/helloworld", APP, access_control_request_headers=",".join(["x-long"] * 400))
        self.assertNotIn("access-control-allow-headers", long.headers)
        self.assert_shut(self.preflight("/helloworld", EVIL))

    def test_preflight_runs_nothing(self):
        self.preflight("/helloworld?name=never", APP)
        self.get("/helloworld?name=now", APP)
        self.assertTrue(self.server.wait_log("name=now"))
        self.assertNotIn("name=never", self.server.log())

    def test_reading_makes_no_account(self):
        """Who comes from this machine is an administrator; a page is not, also when it may read."""
        self.assertEqual(self.get("/closed/shut").json, {"account": "admin"})
        self.assert_error(self.get("/closed/shut", APP), 401)
        self.assertEqual(self.get("/closed/open", APP).json, {"account": "nobody"})

    def test_http2_and_grpc_web(self):
        for door in (self.server.api, self.server.proxy):
            with raw_http2.connect(door) as c:
                for path, status in (("/wire.Wire/Echo", 0), ("/wire.Wire/Nothing", 12)):
                    got = c.call(path, fields=[("origin", APP)], content_type="application/grpc-web", te=None)
                    self.assertEqual(got.header("access-control-allow-origin"), APP)
                    self.assertEqual(got.status, status or None)
                    self.assertIsNone(c.call(path, fields=[("origin", EVIL)]).header("access-control-allow-origin"))
                sid = c.next_id
                c.next_id += 2
                c.streams[sid] = raw_http2.Stream(c.initial)
                c.headers(sid, [(":method", "OPTIONS"), (":scheme", "http"), (":path", "/wire.Wire/Echo"), (":authority", "x"),
                                ("origin", APP), ("access-control-request-method", "POST")], end=True)
                got = c.answer(sid)
                self.assertEqual((got.header(":status"), got.header("access-control-allow-origin")), ("204", APP))

    def test_raw_http(self):
        for path, status in (("/site", 200), ("/site/other", 404), ("/site?fail=1", 500)):
            answer = self.get(path, APP)
            self.assertEqual(answer.status, status)
            self.assert_open(answer, APP)
            self.assert_shut(self.get(path, EVIL))
        self.assert_open(self.preflight("/site", APP), APP)
        self.assert_shut(self.preflight("/site", EVIL))

    def test_services_cannot_say_it(self):
        done = self.get("/wire/metadata", EVIL, "POST", json.dumps({"keys": ["access-control-request-method"]}),
                        access_control_request_method="PUT")
        self.assertEqual((done.status, done.json["values"][0]["hex"]), (200, []))


class Any(Cors):
    services = [EXAMPLES / "helloworld"]

    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server(cls.services, env={"MICA_CORS_ORIGINS": f"*,{APP}"}).start()

    def test_named_ones_with_credentials(self):
        self.assert_open(self.get("/helloworld?name=a", APP), APP)
        for origin in (EVIL, "null"):
            self.assert_open(self.get("/helloworld?name=a", origin), "*", credentials=False)
            self.assert_open(self.preflight("/helloworld", origin), "*", credentials=False)

    def test_a_service_may_add_credentials(self):
        done = self.server.mica("run", EXAMPLES / "helloworld", "--name", "named", "--cors", OTHER)
        self.assertEqual(done.returncode, 0, done.stderr)
        path = "/named/helloworld/call?name=a"
        self.assert_open(self.get(path, OTHER), OTHER)
        self.assert_open(self.preflight(path, OTHER, "GET"), OTHER)
        self.assert_open(self.get("/helloworld?name=a", OTHER), "*", credentials=False)


class Service(Cors):
    """What `mica run`, `mica update` and mica.json say of a service."""

    def deploy(self, *args, ok=True):
        done = self.server.mica(*args)
        self.assertEqual(done.returncode == 0, ok, done.stderr)
        return done

    def origins(self, name):
        service = json.loads(self.deploy("status", name, "-o", "json").stdout)[0]
        return (service.get("cors") or {}).get("origins", [])

    def test_life(self):
        self.deploy("run", EXAMPLES / "helloworld", "--cors", APP, "--cors", OTHER)
        self.deploy("run", SERVICES / "wire")
        for origin in (APP, OTHER):
            self.assert_open(self.get("/helloworld?name=a", origin), origin)
            self.assert_open(self.get("/helloworld/stream?messages=1", origin), origin)
            self.assert_open(self.preflight("/helloworld", origin), origin)
            self.assert_open(self.preflight("/helloworld.Helloworld/Call", origin), origin)
            self.assertEqual(self.socket("/helloworld/pingPong", origin), 101)
        self.assert_open(self.get("/helloworld?nothing=1", APP), APP)
        for path in ("/wire/count", "/nothing", "/"):
            self.assert_shut(self.get(path, APP))
            self.assert_shut(self.preflight(path, APP))
        self.assertEqual(self.socket("/helloworld/pingPong", EVIL), 403)
        self.assertEqual(self.socket("/wire/both", APP), 403)
        self.assert_shut(self.get("/helloworld?name=a", EVIL))
        self.assert_shut(self.preflight("/helloworld", EVIL))
        # As it is, through an update of something else and a restart; then another, then none.
        self.deploy("scale", "helloworld", "2")
        self.assertEqual(self.origins("helloworld"), [APP, OTHER])
        self.restart()
        self.assert_open(self.get("/helloworld?name=a", APP), APP)
        self.deploy("update", "helloworld", "--cors", "*")
        self.assert_open(self.get("/helloworld?name=a", EVIL), "*", credentials=False)
        self.deploy("update", "helloworld", "--cors", "none")
        self.assert_shut(self.get("/helloworld?name=a", APP))
        self.assertEqual(self.origins("helloworld"), [])

    def restart(self):
        data = self.server.data
        self.server.stop()
        type(self).server = harness.Server(data=data).start()

    def test_manifest(self):
        folder = harness.work_folder("place")
        file = pathlib.Path(folder) / "mica.json"
        entry = {"source": str(EXAMPLES / "helloworld"), "name": "hello", "cors": [APP]}
        file.write_text(json.dumps({"services": [entry]}))
        self.deploy("up", file)
        self.assertEqual(self.origins("hello"), [APP])
        del entry["cors"]
        file.write_text(json.dumps({"services": [entry]}))
        self.deploy("up", file)
        self.assertEqual(self.origins("hello"), [])
        for wrong, text in [(["x"], "services[0].cors: \"x\" is no origin"), ("x", "expected a table"), ({"a": "b"}, "expected a list"),
                            ([1], "expected a list")]:
            entry["cors"] = wrong
            file.write_text(json.dumps({"services": [entry]}))
            self.assertIn(text, self.deploy("up", file, ok=False).stderr)

    def test_namespaces(self):
        """A preflight does not say the namespace that the request will name: any that allows the origin is enough for it."""
        self.deploy("--namespace", "elsewhere", "run", EXAMPLES / "helloworld", "--name", "greeter", "--cors", APP)
        self.assert_shut(self.preflight("/greeter/helloworld/call", APP))
        asked = self.preflight("/greeter/helloworld/call", APP, access_control_request_headers="content-type, mica-namespace")
        self.assert_open(asked, APP)
        self.assert_open(self.get("/greeter/helloworld/call?name=a", APP, mica_namespace="elsewhere"), APP)
        self.assert_shut(self.preflight("/greeter/helloworld/call", EVIL, access_control_request_headers="mica-namespace"))
        self.assert_shut(self.get("/greeter/helloworld/call?name=a", APP, mica_namespace="mica"))


if __name__ == "__main__":
    harness.main()
