local mica = require "mica"
local errors, log = mica.errors, mica.log

local Wire = {}
local self = mica.client "wire"
local sent, received, gates = {}, {}, {}

local function counts(mark) return { sent = sent[mark] or 0, received = received[mark] or 0 } end

function Wire.Echo(ctx, req)
  if req.compress then ctx:compress(true) end
  req.compress = ctx.compressed
  return req
end

function Wire.Inside(_, req) return self.Echo({ data = req.data }, { compress = req.compress }) end

function Wire.Flood(ctx, req, stream)
  local item = { data = ("x"):rep(req.size) }
  ctx:defer(function() log.info("flood ended", { mark = req.mark }) end)
  for i = 1, req.count do
    stream:send(item)
    sent[req.mark] = i
  end
end

local function drink(stream)
  local mark = stream:recv().mark
  gates[mark] = mica.channel()
  received[mark] = 1
  gates[mark]:recv()
  for _ in stream:messages() do received[mark] = received[mark] + 1 end
  return mark
end

function Wire.Drink(_, stream) return counts(drink(stream)) end

function Wire.Both(_, stream)
  local stop = false
  local reader = mica.spawn(function()
    drink(stream)
    stop = true
  end)
  while not stop do
    stream:send { data = ("y"):rep(1000) }
    mica.sleep(0)
  end
  reader:join()
end

function Wire.Open(_, req)
  gates[req.mark]:send(true)
  return {}
end

function Wire.Count(_, req) return counts(req.mark) end

local function tell_end(ctx, req)
  ctx:defer(function() log.info("deep ended", { mark = req.mark, depth = req.depth }) end)
end

function Wire.Deep(ctx, req)
  tell_end(ctx, req)
  if req.depth > 0 then return self.Deep { mark = req.mark, depth = req.depth - 1 } end
  log.info("deep asleep", { mark = req.mark })
  mica.sleep(60)
  return {}
end

function Wire.DeepStream(ctx, req, stream)
  tell_end(ctx, req)
  if req.depth == 0 then
    while true do
      stream:send { mark = req.mark }
      mica.sleep(0.05)
    end
  end
  for item in self.DeepStream({ mark = req.mark, depth = req.depth - 1 }):messages() do stream:send(item) end
end

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

function Wire.Metadata(ctx, req)
  local values = {}
  for i, key in ipairs(req.keys) do
    local all = ctx:metadata_all(key)
    for k, value in ipairs(all) do all[k] = hex(value) end
    values[i] = { key = key, hex = all }
  end
  ctx:set_header("x-twice", "one")
  ctx:set_header("x-twice", "two")
  ctx:set_header("x-raw-bin", "\0\1\255")
  ctx:set_trailer("x-end", "last")
  ctx:set_trailer("x-end-bin", "\254")
  return { values = values, remaining = ctx:remaining() }
end

local function failure(req)
  local details = req.details and { { ["@type"] = "type.googleapis.com/wire.Mark", mark = "detail" } } or nil
  return errors.new(req.code, req.text, details)
end

function Wire.Fail(_, req) error(failure(req)) end

function Wire.FailStream(ctx, req, stream)
  ctx:set_trailer("x-end", "failed")
  stream:send { mark = "before" }
  error(failure(req))
end

function Wire.Packing(ctx, req, stream)
  if req.all then ctx:compress(true) end
  for _, compress in ipairs(req.compress) do
    stream:send({ data = ("z"):rep(req.size) }, { compress = compress })
  end
  if req.all then
    ctx:compress(false)
    stream:send { mark = "plain", data = ("z"):rep(req.size) }
    ctx:compress(true)
    stream:send { mark = "packed", data = ("z"):rep(req.size) }
  end
end

return mica.service {
  handlers = { Wire = Wire },
  public = true,
  uses = { call = { "wire" } },
}
