-- The template of `mica new NAME --template stream`: a stream from the server and one both ways. See call.lua.

return {
  call = { endpoint = "Count", request = '{"to":3}', flags = "count --to 3" },

  ["proto/$package.proto"] = [[
syntax = "proto3";
package $package;

// $Group sends more than one answer. This comment describes the service in lists and help.
service $Group {
  // Count counts from one, a number every tenth of a second.
  rpc Count(CountRequest) returns (stream CountResponse);
  // Echo sends back what it gets, until there is no more.
  rpc Echo(stream EchoMessage) returns (stream EchoMessage);
}

message CountRequest { int32 to = 1; }
message CountResponse { int32 number = 1; }
message EchoMessage { string text = 1; }
]],

  ["main.lua"] = [[
local mica = require "mica"

---@type $package.$Group.Server
local $Group = {}

function $Group.Count(ctx, req, stream)
  for number = 1, req.to do
    stream:send { number = number }
    mica.sleep "100ms"
  end
end

function $Group.Echo(ctx, stream)
  for message in stream:messages() do stream:send { text = message.text } end
end

return mica.service {
  name = "$name",
  handlers = { $Group = $Group },
  public = true, -- anyone may call; without this line, only accounts of the namespace
  endpoints = {
    ["$Group.Count"] = { validate = { to = { min = 0, max = 1000 } } },
  },
}
]],
}
