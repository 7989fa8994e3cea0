-- The template of `mica new NAME`: a service with one endpoint that answers once.
-- $name the service's name, $package its proto package, $Group its proto service and handlers.

return {
  -- What to do next; the first line is put before it: mica run $name.
  call = { endpoint = "Call", request = '{"name":"Ada"}', flags = "--name Ada" },

  ["proto/$package.proto"] = [[
syntax = "proto3";
package $package;

// $Group greets. This comment describes the service in lists and help.
service $Group {
  // Call greets who says a name.
  rpc Call(CallRequest) returns (CallResponse);
}

message CallRequest { string name = 1; }
message CallResponse { string message = 1; }
]],

  ["main.lua"] = [[
local mica = require "mica"

---@type $package.$Group.Server
local $Group = {}

function $Group.Call(ctx, req)
  mica.log.info("received $Group.Call", { name = req.name })
  return { message = "Hello " .. req.name }
end

return mica.service {
  name = "$name",
  handlers = { $Group = $Group },
  public = true, -- anyone may call; without this line, only accounts of the namespace
  endpoints = {
    ["$Group.Call"] = { validate = { name = "required" } },
  },
}
]],
}
