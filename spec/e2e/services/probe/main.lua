local mica = require "mica"
local errors = mica.errors

local Probe = {}

function Probe.Sleep(ctx, req)
  local finished = false
  ctx:defer(function()
    if not finished then mica.log.info("broken off", { mark = req.mark }) end
  end)
  mica.log.info("asleep", { mark = req.mark })
  mica.sleep(req.seconds)
  finished = true
  return { text = req.mark }
end

local self = mica.client "probe"

function Probe.Nest(_, req) return self.Sleep { seconds = req.seconds, mark = req.mark } end

function Probe.Length(_, req) return { n = #req.text } end

function Probe.Metadata(ctx)
  local values = ctx:metadata_all "x-many"
  ctx:set_header("x-head", "first")
  ctx:set_header("x-blob-bin", "\0\1\255")
  ctx:set_trailer("x-tail", "last")
  local one, raw = ctx.metadata["x-one"], ctx.metadata["x-raw-bin"]
  return { text = string.format("%s|%s|%d", one, table.concat(values, "+"), #raw) }
end

function Probe.Eat()
  local eaten = {}
  for i = 1, 1e9 do eaten[i] = ("x"):rep(1000) .. i end
  return { text = tostring(#eaten) }
end

function Probe.Depth(_, req)
  local n, node = 0, req
  while node.child do
    n, node = n + 1, node.child
  end
  return { n = n }
end

function Probe.Who(ctx)
  return {
    service = ctx.service,
    endpoint = ctx.endpoint,
    namespace = ctx.namespace,
    peer = ctx.peer,
    account = ctx.account and ctx.account.id or "",
    has_deadline = ctx.deadline ~= nil,
    remaining = ctx:remaining() or 0,
  }
end

function Probe.Endless(ctx, _, stream)
  ctx:defer(function() mica.log.info "endless ended" end)
  local chunk = { data = ("x"):rep(16 * 1024) }
  while true do stream:send(chunk) end
end

function Probe.Sum(_, stream)
  local sum = 0
  for number in stream:messages() do sum = sum + number.n end
  return { n = sum }
end

function Probe.Some(_, req, stream)
  for i = 1, req.n do stream:send { n = i } end
  error(errors.failed_precondition("that was number %d", req.n))
end

return mica.service {
  handlers = { Probe = Probe },
  public = true,
  uses = { call = { "probe" } },
}
