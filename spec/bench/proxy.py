# SPDX-License-Identifier: Apache-2.0
"""The proxy in front of a service in another language: Mica's and nginx's grpc_pass, each before the same gRPC C++ server.

Requests per CPU-second are those of the proxy alone, all its threads or processes; the server behind it is not counted.
nginx has one worker and keeps its connections to the server open."""

import subprocess
import sys

import peers
from peers import CALL, MICA, ROOT, WORK, Peer, middle, ratio

LOADS = [(8, 32), (64, 10)]  # connections, streams each
PORT = 18418
NGINX = """daemon off;
master_process off;
worker_processes 1;
pid {work}/nginx.pid;
error_log {work}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {work}/client;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 1024; keepalive_requests 1000000000; keepalive_time 1h; }}
  server {{
    listen 127.0.0.1:{port} http2;
    keepalive_requests 1000000000;
    keepalive_time 1h;
    location / {{ grpc_pass grpc://backend; }}
  }}
}}
"""


def nginx(backend):
    (WORK / "nginx.conf").write_text(NGINX.format(work=WORK, backend=backend, port=PORT))
    return Peer("nginx, grpc_pass", ["/usr/sbin/nginx", "-p", str(WORK), "-c", str(WORK / "nginx.conf")], PORT, CALL)


def describe():
    """The contract of the server, compiled."""
    out = WORK / "greeting.pb"
    subprocess.run(["protoc", f"-I{ROOT}/spec/bench", f"--descriptor_set_out={out}", "greeting.proto"], check=True)
    return str(out)


def register(mica, backend, descriptors):
    subprocess.run([str(MICA), "--address", f"127.0.0.1:{mica.port}", "register", "helloworld", f"127.0.0.1:{backend}",
                    "--descriptors", descriptors, "--ttl", "1h"], check=True, stdout=subprocess.DEVNULL)


def run(args):
    peers.greeting_body()
    descriptors, runs, memory = describe(), {}, {}
    with peers.grpc_cpp() as backend:
        proxies = [peers.mica("mica, proxy", path=CALL), nginx(backend.port), ]
        for round_number in range(args.rounds):
            for proxy in proxies:
                with proxy:
                    if proxy is proxies[0]:
                        register(proxy, backend.port, descriptors)
                    proxy.check()
                    proxy.load(8, 32, max(args.requests // 10, 1000))
                    for load in LOADS:
                        runs.setdefault(load, {}).setdefault(proxy.name, []).append(proxy.load(*load, args.requests))
                    memory[proxy.name] = peers.resident(proxy.process.pid)
            print(f"round {round_number + 1} of {args.rounds}", file=sys.stderr)
    mica, other = (proxy.name for proxy in proxies)
    for (connections, streams), results in runs.items():
        print(f"\n{connections} connections x {streams} streams, median of {args.rounds}")
        print(f"  {'':22}{'per CPU-s':>10}{'per s':>10}{'p50 us':>9}{'p99 us':>9}{'MB':>6}")
        for name, rows in results.items():
            per_cpu, rate, p50, p99 = middle(rows)
            print(f"  {name:22}{per_cpu:>10.0f}{rate:>10.0f}{p50:>9.0f}{p99:>9.0f}{memory[name]:>6.0f}")
        print(f"  mica is {ratio(results[mica], results[other]):.2f} times nginx (aim: 3)")
