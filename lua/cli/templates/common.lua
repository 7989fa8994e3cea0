-- What every template of `mica new` has. $next is the call to try.

return {
  ["README.md"] = [[
# $name

```
mica run .
$next
```

- `proto/$package.proto`: the contract. Change it, and `mica check` tells what no longer fits.
- `main.lua`: the handlers.
- `mica types`: types for the editor, in `.mica/types/` (lua-language-server finds them).
]],

  [".gitignore"] = ".mica/\n",

  -- What is written to a message may leave out fields: they are zero then.
  [".luarc.json"] = [[
{
  "runtime.version": "LuaJIT",
  "runtime.path": ["?.lua", "?/init.lua", "lib/?.lua", "lua_modules/?.lua"],
  "workspace.library": [".mica/types"],
  "diagnostics.disable": ["missing-fields"]
}
]],
}
