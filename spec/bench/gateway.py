# SPDX-License-Identifier: Apache-2.0
"""A greeting as JSON over HTTP/1.1: POST {"name":"Ada"} on 64 connections that are kept, from wrk.

Mica with the Lua handler of examples/helloworld, beside nginx with lua-nginx-module (decode and encode by cjson) and node's
http server; then the gateway in front of a gRPC C++ server, beside a gateway written in Go. Requests per CPU-second are
those of the server asked, all its threads; what stands behind a gateway is not counted. nginx has one worker.

Debian's lua-nginx-module cannot be installed beside its luajit, so its packages (downloaded) are unpacked into build/bench/nginx-lua, with
the LuaJIT that it wants.
"""

import json
import re
import subprocess
import sys
import urllib.request

import peers
import proxy
from peers import BUILT, ROOT, WORK, Peer, middle, ratio

CONNECTIONS, SECONDS, PORT = 64, 4, 18420
PATH, BODY, ANSWER = "/helloworld/call", '{"name":"Ada"}', {"message": "Hello Ada"}
WRK = f"""wrk.method = "POST"
wrk.body = '{BODY}'
wrk.headers["Content-Type"] = "application/json"
"""
NGINX = """daemon off;
master_process off;
worker_processes 1;
pid {work}/nginx-lua.pid;
error_log {work}/nginx-lua.log;
load_module {unpacked}/usr/lib/nginx/modules/ndk_http_module.so;
load_module {unpacked}/usr/lib/nginx/modules/ngx_http_lua_module.so;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {work}/client;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  lua_package_path "{unpacked}/usr/share/lua/5.1/?.lua;;";
  lua_package_cpath "{unpacked}/usr/lib/x86_64-linux-gnu/lua/5.1/?.so;;";
  init_by_lua_block {{ cjson = require "cjson" }}
  server {{
    listen 127.0.0.1:{port};
    keepalive_requests 1000000000;
    keepalive_time 1h;
    location / {{
      content_by_lua_block {{
        ngx.req.read_body()
        local body = cjson.encode {{ message = "Hello " .. cjson.decode(ngx.req.get_body_data()).name }}
        ngx.header["content-type"] = "application/json"
        ngx.header["content-length"] = #body
        ngx.print(body)
      }}
    }}
  }}
}}
"""


def nginx_lua():
    unpacked = BUILT / "nginx-lua"
    (WORK / "nginx-lua.conf").write_text(NGINX.format(work=WORK, unpacked=unpacked, port=PORT))
    command = ["env", f"LD_LIBRARY_PATH={unpacked}/usr/lib/x86_64-linux-gnu", "/usr/sbin/nginx", "-p", str(WORK), "-c", str(WORK / "nginx-lua.conf")]
    return Peer("nginx + Lua", command, PORT, PATH, *peers.cores())


def mica(name, args=()):
    peer = peers.mica(name, args, PATH)
    peer.ready = r"api=http://127\.0\.0\.1:(\d+)"
    return peer


def check(peer):
    request = urllib.request.Request(f"http://127.0.0.1:{peer.port}{PATH}", BODY.encode(), {"Content-Type": "application/json"})
    answer = json.load(urllib.request.urlopen(request, timeout=5))
    if answer != ANSWER:
        sys.exit(f"bench: {peer.name} answers {answer!r}")


def load(peer, seconds=SECONDS):
    """One run of wrk: (per CPU-second, per second, p50, p99), latencies in microseconds."""
    before = peers.cpu_seconds(peer.process.pid)
    done = subprocess.run([*peer.client_pin, "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--latency",
                           "-s", str(WORK / "post.lua"), f"http://127.0.0.1:{peer.port}{PATH}"],
                          capture_output=True, text=True, check=True).stdout
    cpu = peers.cpu_seconds(peer.process.pid) - before
    if "Non-2xx" in done or "Socket errors" in done:
        sys.exit(f"bench: {peer.name}: not every request succeeded:\n{done}")
    unit = {"us": 1, "ms": 1000, "s": 1000000}
    p50, p99 = (float(n) * unit[u] for n, u in re.findall(r"(?:50|99)%\s+([\d.]+)(us|ms|s)", done))
    return int(re.search(r"(\d+) requests in", done).group(1)) / cpu, float(re.search(r"Requests/sec:\s+([\d.]+)", done).group(1)), p50, p99


def measure(everyone, args, prepare=lambda peer: None):
    runs = {}
    for round_number in range(args.rounds):
        for peer in everyone:
            with peer:
                prepare(peer)
                check(peer)
                load(peer, 1)
                runs.setdefault(peer.name, []).append(load(peer))
        print(f"round {round_number + 1} of {args.rounds}", file=sys.stderr)
    return runs


def show(title, runs, aims):
    first = next(iter(runs))
    print(f"\n{title}, {CONNECTIONS} connections, median of {len(runs[first])}")
    print(f"  {'':24}{'per CPU-s':>10}{'per s':>10}{'p50 us':>9}{'p99 us':>9}")
    for name, rows in runs.items():
        per_cpu, rate, p50, p99 = middle(rows)
        print(f"  {name:24}{per_cpu:>10.0f}{rate:>10.0f}{p50:>9.0f}{p99:>9.0f}")
    for name, aim in aims.items():
        print(f"  {first} is {ratio(runs[first], runs[name]):.2f} times {name} (aim: {aim})")


def run(args):
    (WORK / "post.lua").write_text(WRK)
    own = mica("mica, Lua handler", ["--run", str(ROOT / "examples/helloworld")])
    node = Peer("node http", ["node", str(ROOT / "spec/bench/node_server.js")], r"ready (\d+)", PATH)
    runs = measure([own, nginx_lua(), node], args)
    show("a greeting as JSON", runs, {"nginx + Lua": "1", "node http": "2"})

    descriptors = proxy.describe()
    with peers.grpc_cpp() as backend:
        gateway = mica("mica, gateway")
        go = Peer("Go gateway", [str(BUILT / "go_gateway"), "127.0.0.1:0", f"127.0.0.1:{backend.port}"], r"ready (\d+)", PATH)

        def prepare(peer):
            if peer is gateway:
                proxy.register(gateway, backend.port, descriptors)
        runs = measure([gateway, go], args, prepare)
    show("JSON to a gRPC server elsewhere", runs, {"Go gateway": "3"})
