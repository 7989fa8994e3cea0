# SPDX-License-Identifier: Apache-2.0
"""Deploying by gRPC, as a client in another language would: the platform's stubs, bundles made by hand, uploads."""

import hashlib
import importlib
import pathlib
import subprocess
import sys

import harness
from harness import ROOT, SLOW

_out = harness.work_folder("platform-stubs")
subprocess.run(
    ["protoc", f"-I{ROOT}/proto", f"--python_out={_out}", f"--grpc_python_out={_out}",
     "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin",
     *[f"mica/{name}/v1/{name}.proto" for name in ("core", "runtime", "registry")]],
    check=True)
sys.path.insert(0, str(_out))
importlib.invalidate_caches()
core = importlib.import_module("mica.core.v1.core_pb2")
runtime = importlib.import_module("mica.runtime.v1.runtime_pb2")
runtime_rpc = importlib.import_module("mica.runtime.v1.runtime_pb2_grpc")
registry = importlib.import_module("mica.registry.v1.registry_pb2")
registry_rpc = importlib.import_module("mica.registry.v1.registry_pb2_grpc")

PIECE = 1 << 20

PROTO = """syntax = "proto3";
package greeter;
service Greeter {
  rpc Call(Request) returns (Answer);
  rpc Slow(Request) returns (Answer);
  rpc Count(Request) returns (stream Answer);
}
message Request { string name = 1; double seconds = 2; }
message Answer { string text = 1; }
"""

MAIN = """local mica = require "mica"
local Greeter = {}
function Greeter.Call(ctx, req) return { text = "%s" } end
function Greeter.Slow(ctx, req)
  mica.sleep(req.seconds)
  return { text = "%s" }
end
function Greeter.Count(ctx, req, stream)
  for i = 1, 1000000 do
    stream:send { text = tostring(i) }
    mica.sleep(0.05)
  end
end
return mica.service { name = "greeter", handlers = { Greeter = Greeter }, public = true }
"""


def greeter(text, extra=None, proto=PROTO):
    """The files of a service "greeter" that answers with a text."""
    files = {"main.lua": MAIN.replace("%s", text), "proto/greeter.proto": proto}
    files.update(extra or {})
    return files


def descriptors(files):
    folder = harness.work_folder("protos")
    names = [path for path in files if path.endswith(".proto")]
    for path in names:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(files[path])
    out = folder / "set.pb"
    subprocess.run(["protoc", "--proto_path=.", "--include_imports", "--include_source_info",
                    f"--descriptor_set_out={out}", *names], cwd=folder, check=True)
    return out.read_bytes(), names


def tree_hash(files):
    """SHA-256 over each path, size and content, in the order of paths."""
    total = hashlib.sha256()
    for path, content in sorted(files, key=lambda file: file[0].encode()):
        total.update(path.encode() + b"\0" + len(content).to_bytes(8, "little") + content)
    return total.hexdigest()


def make_bundle(files, name="greeter", contract=None, **changes):
    """A Bundle of a dictionary of files; `contract` is taken from them when it is not given."""
    set_, protos = contract or descriptors(files)
    listed = [(p, c if isinstance(c, bytes) else c.encode()) for p, c in files.items()]
    bundle = core.Bundle(format=1, name=name, hash=tree_hash(listed), descriptors=set_, protos=protos)
    for path, content in listed:
        bundle.files.add(path=path, content=content)
    for field, value in changes.items():
        setattr(bundle, field, value)
    return bundle


class Platform:
    """The platform's services of a server, for one client."""

    def __init__(self, server, namespace=None):
        self.channel = server.channel()
        self.runtime = runtime_rpc.RuntimeStub(self.channel)
        self.source = runtime_rpc.SourceStub(self.channel)
        self.registry = registry_rpc.RegistryStub(self.channel)
        self.metadata = [("mica-namespace", namespace)] if namespace else None

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, method, request, seconds=30):
        return method(request, timeout=seconds * SLOW, metadata=self.metadata)

    def upload(self, data, size=None, sha256=None):
        """Uploads bytes, or a bundle; returns the source."""
        if not isinstance(data, bytes):
            data = data.SerializeToString()
        header = runtime.UploadHeader(size=len(data) if size is None else size,
                                      sha256=hashlib.sha256(data).hexdigest() if sha256 is None else sha256)

        def pieces():
            yield runtime.UploadRequest(header=header)
            for at in range(0, len(data), PIECE):
                yield runtime.UploadRequest(data=data[at:at + PIECE])

        return self.source.Upload(pieces(), timeout=60 * SLOW, metadata=self.metadata).source

    def create(self, data, **fields):
        return self.call(self.runtime.Create, runtime.CreateRequest(source=self.upload(data), **fields))

    def update(self, data, name="greeter", **fields):
        source = self.upload(data) if data is not None else ""
        return self.call(self.runtime.Update, runtime.UpdateRequest(name=name, source=source, **fields))

    def delete(self, name="greeter", seconds=60, **fields):
        return self.call(self.runtime.Delete, runtime.DeleteRequest(name=name, **fields), seconds)

    def read(self, name="", version="", platform=False):
        request = runtime.ReadRequest(name=name, version=version, platform=platform)
        return list(self.call(self.runtime.Read, request).services)


def stored_blobs(server):
    """The files of uploaded bundles in a server's data folder, unfinished ones included."""
    folder = pathlib.Path(server.data) / "blobs"
    return [p for p in folder.rglob("*") if p.is_file()] if folder.exists() else []
