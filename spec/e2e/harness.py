# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: a server of their own, stubs, small HTTP and command-line clients, TAP output.

A test file makes a class of harness.Case that names the services it wants and ends with harness.main(). Each class gets one
server on free ports, with a data folder of its own; it is always stopped, and it must then end with code 0 and without a
report of a sanitizer. The binary is build/mica, or what MICA_BINARY names.
"""

import http.client
import importlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ROOT / "spec/e2e/services"
EXAMPLES = ROOT / "examples"
BINARY = pathlib.Path(os.environ.get("MICA_BINARY", ROOT / "build/mica")).resolve()
SANITIZER = os.environ.get("MICA_SANITIZER", "")  # "address" or "thread" when the binary was built with it
SLOW = {"": 1, "address": 4, "thread": 10}[SANITIZER]  # by how much waits are stretched
REPORTS = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer")

_work = pathlib.Path(tempfile.mkdtemp(prefix="mica-e2e-"))
sys.path.insert(0, str(_work / "stubs"))


def work_folder(name):
    """A fresh folder that is removed at the end."""
    return pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=_work))


def write_service(parent, name, proto, main):
    """Writes a service's folder and returns it."""
    folder = pathlib.Path(parent) / name
    (folder / "proto").mkdir(parents=True, exist_ok=True)
    if proto is not None:
        (folder / "proto" / (name.replace(".", "_").replace("-", "_") + ".proto")).write_text(proto)
    (folder / "main.lua").write_text(main)
    return folder


def stubs(proto_file):
    """Compiles a .proto with protoc and grpc_python_plugin; returns the modules of messages and of stubs."""
    proto_file = pathlib.Path(proto_file)
    out = _work / "stubs"
    out.mkdir(exist_ok=True)
    stem = proto_file.stem
    if not (out / f"{stem}_pb2.py").exists():
        subprocess.run(
            ["protoc", f"-I{proto_file.parent}", f"--python_out={out}", f"--grpc_python_out={out}",
             f"--plugin=protoc-gen-grpc_python={shutil.which('grpc_python_plugin')}", str(proto_file)],
            check=True)
    importlib.invalidate_caches()
    return importlib.import_module(f"{stem}_pb2"), importlib.import_module(f"{stem}_pb2_grpc")


def launcher():
    """What stands before the binary: ThreadSanitizer wants addresses that are not random."""
    if SANITIZER == "thread" and shutil.which("setarch"):
        return ["setarch", "-R"]
    return []


def environment(extra=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MICA_")}
    env["HOME"] = str(_work / "home")
    # What was freed is held back by ASan for a while: little of it, since tests look at the server's memory.
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99:quarantine_size_mb=32")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1:exitcode=99")
    # libuv closes descriptors by system calls that TSan does not see, so a number that is used again looks like a race
    # with libuv's own earlier epoll_ctl: what uninstrumented libraries touch is left out.
    env.setdefault("TSAN_OPTIONS",
                   "halt_on_error=0:exitcode=99:second_deadlock_stack=1:ignore_noninstrumented_modules=1")
    env.update(extra or {})
    return env


class Server:
    """A running `mica server`. `api` and `proxy` are "127.0.0.1:PORT".

    With TLS (--tls-cert in `args`) `ca` names the file with the authority that the clients below trust.
    """

    def __init__(self, services=(), args=(), env=None, api="127.0.0.1:0", proxy="127.0.0.1:0", data=None,
                 ca=None):
        self.ca = ca
        self.data = pathlib.Path(data) if data else work_folder("data")
        self.command = launcher() + [str(BINARY), "server", "--data", str(self.data), "--api", api, "--proxy", proxy]
        for service in services:
            self.command += ["--run", str(service)]
        self.command += list(args)
        self.env = environment(env)
        self.log_file = work_folder("log") / "stderr"
        self.process = None
        self.ready_seconds = None
        self.api = self.proxy = None

    def start(self):
        began = time.monotonic()
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=log, env=self.env, cwd=_work)
        killer = threading.Timer(20 * SLOW, self.process.kill)
        killer.start()
        try:
            line = self.process.stdout.readline().decode()
        finally:
            killer.cancel()
        match = re.match(r"mica ready: api=https?://(\S+:\d+) proxy=(\S+:\d+)", line)
        if not match:
            code = self.process.wait(20 * SLOW)
            raise AssertionError(f"no ready line but {line!r}, exit code {code}; log:\n{self.log()}")
        self.ready_seconds = time.monotonic() - began
        self.api, self.proxy = match.groups()
        return self

    def stop(self, ask=True):
        """Ends the server by SIGTERM (which the caller may have sent already) and checks how it ended."""
        if self.process is None:
            return
        process, self.process = self.process, None
        hung = False
        if process.poll() is None:
            if ask:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                hung = True
                process.kill()
                process.wait()
        process.stdout.close()
        if hung:
            raise AssertionError(f"the server did not end within {20 * SLOW} s of SIGTERM; log:\n{self.log()[-4000:]}")
        if process.returncode != 0 or REPORTS.search(self.log()):
            raise AssertionError(f"the server ended with code {process.returncode}; log:\n{self.log()[-8000:]}")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind:
            self.kill()
        else:
            self.stop()

    def log(self):
        return self.log_file.read_text(errors="replace")

    def wait_log(self, pattern, seconds=5):
        """Waits until the log holds the pattern; returns the match."""
        end = time.monotonic() + seconds * SLOW
        while True:
            match = re.search(pattern, self.log(), re.M)
            if match or time.monotonic() > end:
                return match
            time.sleep(0.02)

    def memory(self):
        """Resident bytes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) * 1024

    def channel(self, identity=(), **options):
        """A gRPC channel with a connection of its own, connected. `identity`: the client's key and certificate (TLS).

        It is waited for because grpcio 1.51 may take a connect that is under way for a failed one: it reads errno after
        other calls that can change it (seen with 50 threads: "failed to connect ... No such file or directory"). The
        channel tries again, a call without retries does not.
        """
        settings = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0),
                    ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100)]
        settings += [("grpc." + key, value) for key, value in options.items()]
        if self.ca:
            trusted = grpc.ssl_channel_credentials(pathlib.Path(self.ca).read_bytes(), *identity)
            channel = grpc.secure_channel(self.proxy, trusted, options=settings)
        else:
            channel = grpc.insecure_channel(self.proxy, options=settings)
        grpc.channel_ready_future(channel).result(20 * SLOW)
        return channel

    def http(self, method, path, body=None, headers=None):
        """One request to the gateway: Answer. A dict or list as body goes as JSON."""
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        host, port = self.api.rsplit(":", 1)
        if self.ca:
            trusted = ssl.create_default_context(cafile=self.ca)
            connection = http.client.HTTPSConnection(host, int(port), timeout=20 * SLOW, context=trusted)
        else:
            connection = http.client.HTTPConnection(host, int(port), timeout=20 * SLOW)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, joined(response.getheaders()), response.read())
        finally:
            connection.close()

    def post(self, path, body=None, headers=None):
        return self.http("POST", path, {} if body is None else body, headers)

    def connect(self):
        """A bare socket to the gateway."""
        host, port = self.api.rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=10 * SLOW)

    def mica(self, *args, **options):
        """Runs the command line against this server: CompletedProcess with text output."""
        env = {"MICA_ADDRESS": f"https://{self.proxy}", "MICA_CA": str(self.ca)} if self.ca else {"MICA_ADDRESS": self.proxy}
        return mica(*args, env=env, **options)


def joined(headers):
    """By lower-case name; one that comes several times is a list with commas (RFC 9110 section 5.3)."""
    found = {}
    for name, value in headers:
        name = name.lower()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:400]!r}"


def mica(*args, env=None, **options):
    options.setdefault("timeout", 30 * SLOW)
    return subprocess.run(launcher() + [str(BINARY), *map(str, args)], env=environment(env), capture_output=True, text=True,
                          **options)


def curl(*args):
    """curl's standard output; fails when curl does."""
    done = subprocess.run(["curl", "-sS", "-m", str(20 * SLOW), *args], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"curl {args}: {done.stderr}")
    return done.stdout


class Case(unittest.TestCase):
    services = ()
    args = ()
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.services, cls.args).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def assert_error(self, answer, status, endpoint=None, detail=None):
        """The gateway's error: HTTP status and {"id","code","detail","status"}."""
        self.assertEqual(answer.status, status, answer)
        body = answer.json
        self.assertEqual(sorted(body), ["code", "detail", "id", "status"], answer)
        self.assertEqual(body["code"], status, answer)
        self.assertEqual(body["status"], http.client.responses.get(status, body["status"]), answer)
        if endpoint is not None:
            self.assertEqual(body["id"], endpoint, answer)
        if detail is not None:
            self.assertRegex(body["detail"], detail)
        self.assertIn("application/json", answer.headers.get("content-type", ""))

    def assert_rpc_error(self, code, call, *args, **options):
        """The call must end with this gRPC status; returns the error."""
        options.setdefault("timeout", 20 * SLOW)
        with self.assertRaises(grpc.RpcError) as caught:
            answer = call(*args, **options)
            if hasattr(answer, "__next__"):
                for _ in answer:
                    pass
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception


class _Tap(unittest.TestResult):
    """TAP on standard output; tools/test adds it up."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def _line(self, word, test, note="", text=""):
        self.count += 1
        name = test.id().split(".", 1)[-1]
        print(f"{word} {self.count} - {name}{note}", flush=True)
        for line in text.splitlines():
            print("# " + line, flush=True)

    def addSuccess(self, test):
        self._line("ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line("ok", test, f" # SKIP {reason}")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line("not ok", test, "", self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._line("not ok", test, "", self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._line("not ok", subtest, "", self._exc_info_to_string(err, test))


def main():
    """Runs the classes of the calling file, or those tests whose names hold the first argument."""
    loader = unittest.TestLoader()
    if len(sys.argv) > 1:
        loader.testNamePatterns = [f"*{sys.argv[1]}*"]
    suite = loader.loadTestsFromModule(sys.modules["__main__"])
    result = _Tap()
    try:
        suite.run(result)
    finally:
        shutil.rmtree(_work, ignore_errors=True)
    print(f"1..{result.count}", flush=True)
    # gRPC's own threads may linger: the tests are over.
    sys.stdout.flush()
    os._exit(0 if result.wasSuccessful() and result.count else 1)
