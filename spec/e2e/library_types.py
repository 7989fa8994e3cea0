#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes lua/cli/templates/library.lua, the library's types that `mica types` writes, of the annotations in lua/mica.

Run it after a change of an annotation; types_test.py compares. What is kept of a source: its classes and aliases, and each
annotated function that is not local, without its body.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / "lua/cli/templates/library.lua"
MODULES = ["client", "context", "crypto", "dial", "errors", "id", "json", "log", "metrics", "proto", "stream", "task", "time", "web"]
INNER = {"core.service_mt", "errors.outcome", "errors.note", "errors.check", "M.spawn", "M.all", "M.race", "M.timeout", "M.sleep", "M.after",
         "M.every", "M.background", "M.channel"}  # the platform's own, or fields of the class mica
CODES = ["cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists", "permission_denied",
         "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented", "internal", "unavailable",
         "data_loss", "unauthenticated"]
METHODS = {"Context": "ctx", "Stream": "stream"}  # whose functions are written with a dot and called with a colon
INT64 = """---@class mica
---@field int64 fun(x: number|string|mica.int64): mica.int64

---@class mica.int64 a whole number beyond 2^53
---@operator add(integer|mica.int64): mica.int64
---@operator sub(integer|mica.int64): mica.int64
---@operator mul(integer|mica.int64): mica.int64
---@operator div(integer|mica.int64): mica.int64
---@operator mod(integer|mica.int64): mica.int64
---@operator unm: mica.int64
"""


def function_line(name, arguments):
    table, dot, method = name.rpartition(".")
    words = [word.strip() for word in arguments.split(",") if word.strip()]
    if dot and METHODS.get(table) == (words or [None])[0]:
        name, words = f"{table}:{method}", words[1:]
    return f"function {name}({', '.join(words)}) end"


def block_of(block, following):
    """The lines that stand for an annotated thing; None for what is not public."""
    function = re.match(r"function ([\w.:]+)\(([^)]*)\)", following)
    if function:
        return None if function[1] in INNER else [*block, function_line(*function.groups())]
    value = re.match(r"([\w]+\.\w+) = ", following)
    if value:
        return None if value[1] in INNER else [*block, f"function {value[1]}() end"]
    if not any(re.match(r"---@(class|alias)", line) for line in block):
        return None
    table = re.match(r"local (\w+) = ", following)
    return [*block, f"local {table[1]} = {{}}"] if table else block


def types_of(path):
    lines = path.read_text().split("\n")
    out, block = ["---@meta", ""], []
    for line in lines:
        if line.startswith("---") and not line.startswith("----"):
            block.append(line)
            continue
        made = block_of(block, line) if block else None
        if made:
            out += [*made, ""]
        block = []
    if path.stem == "errors":
        at = out.index("---@class mica.errors") + 1
        out[at:at] = [f"---@field {code} fun(fmt: string, ...): mica.Error" for code in CODES]
    returned = re.match(r"return setmetatable\((\w+),|return (\w+)$", [line for line in lines if line][-1])
    name = returned and (returned[1] or returned[2])
    if name and any(line == f"local {name} = {{}}" for line in out):
        out.append(f"return {name}")
    return "\n".join(out).rstrip("\n") + "\n"


def make():
    files = {"mica.lua": types_of(ROOT / "lua/mica/init.lua") + "\n" + INT64 + "\n---@type mica\nlocal mica = {}\n\nreturn mica\n"}
    for module in MODULES:
        files[f"mica/{module}.lua"] = types_of(ROOT / f"lua/mica/{module}.lua")
    text = ["-- The library's types, made of the annotations in lua/mica by spec/e2e/library_types.py.", "", "return {"]
    for name in sorted(files):
        text.append(f'  ["{name}"] = [==[\n{files[name]}]==],')
    return "\n".join([*text, "}", ""])


if __name__ == "__main__":
    TARGET.write_text(make())
    sys.exit(0)
