# SPDX-License-Identifier: Apache-2.0
"""A greeting by gRPC: Mica with the Lua handler of examples/helloworld, nghttpd with a static file of the same size (no gRPC:
what HTTP/2 alone costs), gRPC's C++ library with its callback API, and grpc-go, each under the same h2load command.

Then the latency at half load: Mica and nghttpd, each asked at half the rate that it reached at 8 x 32, and of a lone caller."""

import sys

import peers
from peers import CALL, GREETING, ROOT, WORK, Peer, framed, middle, ratio

LOADS = [(8, 32, 1.0), (64, 10, 1.0), (1, 1, 0.05)]  # connections, streams each, share of --requests


def servers():
    site = WORK / "site"
    site.mkdir()
    (site / "greeting").write_bytes(framed(GREETING))
    peers.greeting_body()
    nghttpd = ["nghttpd", "--no-tls", "-n", "1", "-a", "127.0.0.1", "-d", str(site), "18417"]
    return [
        peers.mica("mica, Lua handler", ["--run", str(ROOT / "examples/helloworld")], CALL),
        Peer("nghttpd, static file", nghttpd, 18417, "/greeting", *peers.cores()),
        peers.grpc_cpp(),
        peers.grpc_go(),
    ]


def measure(everyone, args):
    """Rows by load and server, and by server the memory and, of the first two, (p50, p99) at half load."""
    runs, memory, half = {}, {}, {}
    for round_number in range(args.rounds):
        for peer in everyone:
            with peer:
                peer.check()
                peer.load(8, 32, max(args.requests // 10, 1000))  # warm-up, compilation of hot code included
                for connections, streams, share in LOADS:
                    result = peer.load(connections, streams, max(int(args.requests * share), 100))
                    runs.setdefault((connections, streams), {}).setdefault(peer.name, []).append(result)
                memory[peer.name] = peers.resident(peer.process.pid)
                if peer in everyone[:2]:
                    a_connection = int(runs[8, 32][peer.name][-1][1] / 2 / 8)
                    half.setdefault(peer.name, []).append(peer.load(8, 32, a_connection * 8 * 3, f"--rps={a_connection}")[2:])
        print(f"round {round_number + 1} of {args.rounds}", file=sys.stderr)
    return runs, memory, half


def run(args):
    everyone = servers()
    runs, memory, half = measure(everyone, args)
    mica, nghttpd, cpp, go = (peer.name for peer in everyone)
    for (connections, streams), results in runs.items():
        title = "lone caller" if connections == 1 else f"{connections} connections x {streams} streams"
        print(f"\n{title}, median of {args.rounds}")
        print(f"  {'':22}{'per CPU-s':>10}{'per s':>10}{'p50 us':>9}{'p99 us':>9}{'MB':>6}   per CPU-s of nghttpd, gRPC C++, grpc-go")
        medians = {name: middle(rows) for name, rows in results.items()}
        for name, (per_cpu, rate, p50, p99) in medians.items():
            ratios = ", ".join(f"{ratio(results[name], results[other]):.2f}" for other in (nghttpd, cpp, go))
            print(f"  {name:22}{per_cpu:>10.0f}{rate:>10.0f}{p50:>9.0f}{p99:>9.0f}{memory[name]:>6.0f}   {ratios}")
        if connections == 1:
            print(f"  p50 of mica is {medians[mica][2] / medians[nghttpd][2]:.2f} times nghttpd's (aim: 1.5 at most)")
    print(f"\nhalf load, median of {args.rounds}")
    p50, p99 = ([middle(half[name])[column] for name in (mica, nghttpd)] for column in (0, 1))
    for name, a, b in zip((mica, nghttpd), p50, p99):
        print(f"  {name:22}p50 {a:.0f} us, p99 {b:.0f} us")
    print(f"  p99 of mica is {p99[0] / p99[1]:.2f} times nghttpd's (aim: 1.5 at most)")
