# SPDX-License-Identifier: Apache-2.0
"""A gRPC server in another language (python3-grpcio) that tests put behind Mica, with server reflection; and what these tests
share.

As a program: outside_backend.py NAME [v1|v1alpha|none], prints its port.
"""

import concurrent.futures
import pathlib
import subprocess
import sys
import threading
import time

import deploying
import grpc
import harness
from deploying import Platform, registry
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from harness import SLOW

ROOT = pathlib.Path(__file__).resolve().parents[2]
echo, echo_rpc = harness.stubs(ROOT / "spec/e2e/proto/echo.proto")


def contract():
    """The encoded FileDescriptorSet of echo.proto, imports included."""
    out = harness.work_folder("echo") / "echo.pb"
    subprocess.run(["protoc", f"-I{ROOT}/spec/e2e/proto", "--include_imports", f"--descriptor_set_out={out}", "echo.proto"],
                   check=True)
    return out.read_bytes()


class Echo(echo_rpc.EchoServicer):
    def __init__(self, name):
        self.name = name
        self.calls = 0
        self.cancelled = threading.Event()
        self.received = 0  # messages of client streams

    def answer(self, request, context, **fields):
        remaining = context.time_remaining()
        metadata = {k: v if isinstance(v, str) else v.hex() for k, v in context.invocation_metadata()}
        return echo.Answer(text=request.text, n=request.n, big=request.big, data=request.data, mood=request.mood,
                           at=request.at, who=self.name, metadata=metadata,
                           remaining=-1 if remaining is None or remaining > 1e6 else remaining, **fields)

    def Unary(self, request, context):
        self.calls += 1
        context.send_initial_metadata((("x-head", "first"), ("x-head", "second"), ("x-blob-bin", b"\0\1\xff")))
        context.set_trailing_metadata((("x-tail", "last"),))
        return self.answer(request, context)

    def Server(self, request, context):
        for i in range(request.n):
            yield echo.Answer(n=i, text=request.text, data=request.data, who=self.name)
        if request.text == "then fail":
            context.abort(grpc.StatusCode.DATA_LOSS, "after the items")

    def Client(self, requests, context):
        texts = []
        for request in requests:
            self.received += 1
            texts.append(request.text)
            time.sleep(request.seconds)
        return echo.Answer(n=len(texts), text="+".join(texts) if len(texts) < 100 else "", who=self.name)

    def Both(self, requests, context):
        for request in requests:
            self.received += 1
            yield echo.Answer(text=request.text, n=request.n, who=self.name)

    def Fail(self, request, context):
        context.set_trailing_metadata((("grpc-status-details-bin", request.data), ("x-tail", "sad")))
        context.abort(next(c for c in grpc.StatusCode if c.value[0] == request.n), request.text)

    def Sleep(self, request, context):
        context.add_callback(lambda: self.cancelled.set() if not done.is_set() else None)
        done = threading.Event()
        self.cancelled.clear()
        self.cancelled.wait(request.seconds)
        done.set()
        return self.answer(request, context)


class Reflection:
    """grpc.reflection.<version>.ServerReflection over files that are given."""

    def __init__(self, version, set_bytes, services):
        out = harness.work_folder("reflection") / "set.pb"
        subprocess.run(["protoc", f"-I{ROOT}/proto", f"--descriptor_set_out={out}",
                        f"grpc/reflection/{version}/reflection.proto"], check=True)
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file:
            pool.Add(file)
        factory = message_factory.MessageFactory(pool)
        package = f"grpc.reflection.{version}."
        self.request = factory.GetPrototype(pool.FindMessageTypeByName(package + "ServerReflectionRequest"))
        self.response = factory.GetPrototype(pool.FindMessageTypeByName(package + "ServerReflectionResponse"))
        self.service = package + "ServerReflection"
        self.services = services
        self.files = {f.name: f for f in descriptor_pb2.FileDescriptorSet.FromString(set_bytes).file}

    def handler(self):
        return grpc.method_handlers_generic_handler(self.service, {
            "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                self.answer, self.request.FromString, self.response.SerializeToString)})

    def answer(self, requests, context):
        for request in requests:
            response = self.response(original_request=request)
            kind = request.WhichOneof("message_request")
            if kind == "list_services":
                for name in [*self.services, self.service]:
                    response.list_services_response.service.add(name=name)
            else:
                name = getattr(request, kind)
                file = self.files.get(name) or next(
                    (f for f in self.files.values() for s in f.service if f"{f.package}.{s.name}" == name), None)
                if file is None:
                    response.error_response.error_code, response.error_response.error_message = 5, f"no {name}"
                else:
                    response.file_descriptor_response.file_descriptor_proto.append(file.SerializeToString())
            yield response


class Backend:
    """One server in this process. `reflection`: "v1", "v1alpha" or None."""

    def __init__(self, name="one", reflection="v1", port=0, files=None, handlers=(), workers=32):
        self.echo = Echo(name)
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(workers),
                                  options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 << 20)])
        echo_rpc.add_EchoServicer_to_server(self.echo, self.server)
        if reflection:
            self.server.add_generic_rpc_handlers((Reflection(reflection, files or contract(), ["echo.Echo"]).handler(),))
        if handlers:
            self.server.add_generic_rpc_handlers(tuple(handlers))
        self.address = f"127.0.0.1:{self.server.add_insecure_port(f'127.0.0.1:{port}')}"
        self.server.start()

    def stop(self):
        self.server.stop(0).wait()


class Process:
    """One server in a process of its own, which can be killed."""

    def __init__(self, name, reflection="v1"):
        self.process = subprocess.Popen([sys.executable, __file__, name, reflection], stdout=subprocess.PIPE)
        self.address = f"127.0.0.1:{int(self.process.stdout.readline())}"

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Outside(harness.Case):
    """What the classes below share: a server, a way to register, a stub through the proxy."""

    def setUp(self):
        self.p = Platform(self.server)
        self.addCleanup(self.p.close)
        self.echo = echo_rpc.EchoStub(self.p.channel)

    def register(self, *addresses, name="echo", version="1", ttl=0, metadata=None, **fields):
        nodes = [registry.Node(id=f"n{i}", address=a) for i, a in enumerate(addresses)]
        service = registry.Service(name=name, version=version, nodes=nodes)
        answer = self.p.registry.Register(registry.RegisterRequest(service=service, ttl=ttl, **fields),
                                          timeout=20 * SLOW, metadata=metadata)
        self.addCleanup(self.leave, name, version, missing_is_fine=True)
        return answer

    def leave(self, name="echo", version="1", missing_is_fine=False, **fields):
        try:
            self.p.call(self.p.registry.Deregister, registry.DeregisterRequest(name=name, version=version, **fields))
        except grpc.RpcError as error:
            if not missing_is_fine or error.code() != grpc.StatusCode.NOT_FOUND:
                raise

    def backend(self, *args, **options):
        backend = Backend(*args, **options)
        self.addCleanup(backend.stop)
        return backend

    def refuses(self, code, text, call, *args, **options):
        error = self.assert_rpc_error(code, lambda timeout: call(*args, **options))
        self.assertRegex(error.details(), text)

    def unary(self, text="x", **fields):
        return self.echo.Unary(echo.Request(text=text, **fields), timeout=10 * SLOW)


def retry(fn, seconds=15):
    """The result of the first attempt that is not UNAVAILABLE."""
    end = time.monotonic() + seconds * SLOW
    while True:
        try:
            return fn()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > end:
                raise
        time.sleep(0.1)


def slowly(texts, seconds):
    for i, text in enumerate(texts):
        if i:
            time.sleep(seconds)
        yield echo.Request(text=text)


def renamed(package):
    """The contract of echo.proto in another package."""
    text = (harness.ROOT / "spec/e2e/proto/echo.proto").read_text().replace("package echo;", f"package {package};")
    return deploying.descriptors({f"{package}.proto": text})[0]


if __name__ == "__main__":
    backend = Backend(sys.argv[1], None if sys.argv[2] == "none" else sys.argv[2])
    print(backend.address.rsplit(":", 1)[1], flush=True)
    backend.server.wait_for_termination()
