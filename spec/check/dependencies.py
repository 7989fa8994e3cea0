#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rooms of core/ may know each other in one direction only:

    base <- msg <- {pb, net, store} <- rpc        base <- msg <- pb <- vm <- sched
    base <- msg <- fetch                          base <- msg <- net <- acme

Files directly in core/ (main.c and its helpers) know all. This reads every #include "..." line, and fails on a room that is
not in the plan, on an arrow against it, on a header that does not exist, and on headers that include each other in a circle.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = ROOT / "core"
NEXT = {
    "base": [],
    "msg": ["base"],
    "pb": ["msg"],
    "net": ["msg"],
    "store": ["msg"],
    "fetch": ["msg"],
    "acme": ["net"],
    "rpc": ["pb", "net", "store"],
    "vm": ["pb"],
    "sched": ["vm"],
}
# What the build generates from .proto files: who may use it.
GENERATED = {"google": ["pb", "rpc", "vm", "sched"], "mica": ["pb", "rpc", "vm", "sched"]}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def below(room):
    """The rooms that `room` may include: itself and all that its arrows reach."""
    found, todo = {room}, [room]
    while todo:
        for other in NEXT[todo.pop()]:
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


def faults():
    for folder in sorted(p for p in CORE.iterdir() if p.is_dir()):
        if folder.name not in NEXT:
            yield f"core/{folder.name}: a room that the plan does not have"
    graph = {}
    for file in sorted(CORE.rglob("*.[ch]")):
        name = file.relative_to(CORE)
        room = name.parts[0] if len(name.parts) > 1 else None
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            included, place = match.group(1), f"core/{name}:{number}"
            target = included.split("/")[0]
            if included.endswith(".pb-c.h"):
                if room and room not in GENERATED.get(target, []):
                    yield f"{place}: {room} may not use generated messages ({included})"
                continue
            if "/" not in included and room and (file.parent / included).is_file():
                included, target = f"{room}/{included}", room  # a header of the room's own
            if not (CORE / included).is_file():
                yield f'{place}: no such header "{included}"; include by room: "base/buf.h"'
                continue
            graph.setdefault(str(name), []).append((included, place))
            if room is None:
                continue
            if "/" not in included:
                yield f"{place}: {room} may not include {included}: what is directly in core/ is above every room"
            elif room in NEXT and target not in below(room):
                yield f"{place}: {room} may not include {included}: {room} knows only {', '.join(sorted(below(room)))}"
    yield from circles(graph)


def circles(graph):
    done = set()

    def visit(name, path):
        if name in path:
            yield "core/: a circle: " + " -> ".join(path[path.index(name):] + [name])
            return
        if name in done:
            return
        for included, _ in graph.get(name, ()):
            yield from visit(included, path + [name])
        done.add(name)

    for name in sorted(graph):
        yield from visit(name, [])


found = list(faults())
for fault in found:
    print(fault)
sys.exit(1 if found else 0)
