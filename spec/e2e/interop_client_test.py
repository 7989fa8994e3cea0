# SPDX-License-Identifier: Apache-2.0
"""gRPC's interoperability cases with Mica's own client (services/interop_client), against a TestService of python3-grpcio, and the
compressed ones against a server of frames, which sees what is flagged."""

import json
import shutil
import time
from concurrent import futures

import grpc

import harness
import interop
import raw_http2
from interop import pb, rpc

COMPRESSED = [case for case in interop.CASES if "compressed" in case]
INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"


def client_service(address, options=None):
    """A copy of services/interop_client that calls the address; `options` are more of mica.client.dial, as Lua."""
    folder = harness.work_folder("client") / "interop_client"
    shutil.copytree(harness.SERVICES / "interop_client", folder)
    shutil.copy(interop.PROTO, folder / "proto")
    (folder / "target.lua").write_text(f"return {{ address = {json.dumps(address)}, options = {options or '{}'} }}\n")
    return folder


class Servicer(rpc.TestServiceServicer):
    """TestService with grpcio. It cannot see whether a request was compressed."""

    @staticmethod
    def echo(context):
        sent = dict(context.invocation_metadata())
        if INITIAL in sent:
            context.send_initial_metadata(((INITIAL, sent[INITIAL]),))
        if TRAILING in sent:
            context.set_trailing_metadata(((TRAILING, sent[TRAILING]),))

    @staticmethod
    def status(request, context):
        if request.HasField("response_status") and request.response_status.code:
            code = next(c for c in grpc.StatusCode if c.value[0] == request.response_status.code)
            context.abort(code, request.response_status.message)

    def EmptyCall(self, request, context):
        return pb.Empty()

    def UnaryCall(self, request, context):
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        self.echo(context)
        self.status(request, context)
        return pb.SimpleResponse(payload=interop.payload(request.response_size))

    def answers(self, request, context):
        for parameters in request.response_parameters:
            time.sleep(parameters.interval_us / 1e6)
            if not parameters.compressed.value:
                context.disable_next_message_compression()
            yield pb.StreamingOutputCallResponse(payload=interop.payload(parameters.size))
        self.status(request, context)

    def StreamingOutputCall(self, request, context):
        context.set_compression(grpc.Compression.Gzip)
        self.echo(context)
        yield from self.answers(request, context)

    def StreamingInputCall(self, requests, context):
        self.echo(context)
        return pb.StreamingInputCallResponse(aggregated_payload_size=sum(len(r.payload.body) for r in requests))

    def FullDuplexCall(self, requests, context):
        self.echo(context)
        for request in requests:
            yield from self.answers(request, context)


def answer_frames(path, _, messages):
    """What a raw_http2.Server answers: it looks at the flags."""
    method = path.rsplit("/", 1)[1]
    kinds = {"UnaryCall": pb.SimpleRequest, "StreamingInputCall": pb.StreamingInputCallRequest,
             "StreamingOutputCall": pb.StreamingOutputCallRequest}
    requests = [kinds[method].FromString(m.body) for m in messages]
    for request, message in zip(requests, messages):
        expected = getattr(request, "expect_compressed", None)
        if expected is not None and request.HasField("expect_compressed") and expected.value != message.compressed:
            return [], [], 3, "compression is not as expected"
    if method == "UnaryCall":
        compressed = requests[0].response_compressed.value
        out = [(pb.SimpleResponse(payload=interop.payload(requests[0].response_size)), compressed)]
    elif method == "StreamingInputCall":
        total = sum(len(r.payload.body) for r in requests)
        out = [(pb.StreamingInputCallResponse(aggregated_payload_size=total), False)]
    else:
        out = [(pb.StreamingOutputCallResponse(payload=interop.payload(p.size)), p.compressed.value)
               for p in requests[0].response_parameters]
    return [("grpc-encoding", "gzip")], [(m.SerializeToString(), c) for m, c in out], 0, ""


class Case(harness.Case):
    sees_compression = False

    def run_case(self, case):
        got = self.server.post("/interop-client/Client/Run", {"case": case, "sees_compression": self.sees_compression})
        self.assertEqual((got.status, got.json.get("fault", got)), (200, ""))


def add_cases(cls, names):
    for name in names:
        setattr(cls, "test_" + name, lambda self, name=name: self.run_case(name))
    return cls


class Grpcio(Case):
    @classmethod
    def setUpClass(cls):
        cls.peer = grpc.server(futures.ThreadPoolExecutor(8))
        rpc.add_TestServiceServicer_to_server(Servicer(), cls.peer)
        port = cls.peer.add_insecure_port("127.0.0.1:0")
        cls.peer.start()
        cls.server = harness.Server([client_service(f"127.0.0.1:{port}")]).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.peer.stop(None).wait()


class Frames(Case):
    sees_compression = True

    @classmethod
    def setUpClass(cls):
        cls.peer = raw_http2.Server(answer_frames)
        cls.server = harness.Server([client_service(cls.peer.address)]).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.peer.close()

    def test_what_is_sent(self):
        while not self.peer.seen.empty():
            self.peer.seen.get()
        self.run_case("client_compressed_streaming")
        (_, first, [probe]), (_, second, messages) = self.peer.seen.get(), self.peer.seen.get()
        self.assertNotIn("grpc-encoding", first)
        self.assertFalse(probe.compressed)
        self.assertEqual(second["grpc-encoding"], "gzip")
        self.assertEqual([m.compressed for m in messages], [True, False])
        for headers in first, second:
            self.assertEqual(headers["grpc-accept-encoding"], "identity,gzip")


class Mica(Case):
    """Mica's client against examples/interop."""

    sees_compression = True

    @classmethod
    def setUpClass(cls):
        cls.peer = harness.Server([interop.SERVICE]).start()
        cls.server = harness.Server([client_service(cls.peer.proxy)]).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.peer.stop()


add_cases(Grpcio, interop.CASES)
add_cases(Frames, COMPRESSED)
add_cases(Mica, interop.CASES)

if __name__ == "__main__":
    harness.main()
