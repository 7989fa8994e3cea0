local mica = require "mica"
local errors = mica.errors

local Flow = {}

function Flow.Echo(_, stream)
  for note in stream:messages() do
    if note.text == "end" then return end
    local code = note.text:match "^fail:(.*)"
    if code then error(errors.new(code, "as asked")) end
    stream:send(note)
  end
end

-- A first note "wait" takes half a second before the rest is read; "forget" answers at once.
function Flow.Sum(_, stream)
  local count, bytes = 0, 0
  for note in stream:messages() do
    if note.text == "wait" then mica.sleep(0.5) end
    if note.text == "forget" then break end
    count, bytes = count + 1, bytes + #note.text + #note.data
  end
  return { count = count, bytes = bytes }
end

function Flow.Count(_, req, stream)
  if req.wait > 0 then mica.sleep(req.wait) end
  local data = ("x"):rep(req.size)
  for number = req.since + 1, req.to do
    if number == req.break_at and number > req.since + 1 then error(errors.unavailable "back soon") end
    stream:send { number = number, data = data }
  end
  if req.fail ~= "" then error(errors.new(req.fail, "as asked")) end
end

function Flow.Greet(_, req, stream)
  stream:send { text = "hello" }
  mica.sleep(req.wait)
end

function Flow.Meet(ctx, stream)
  stream:send { text = "who are you" }
  local note = stream:recv()
  stream:send { text = ("hello %s %s"):format(note and note.text or "nobody", ctx.metadata["x-mark"] or "unmarked") }
  stream:send { text = ctx.metadata["sec-websocket-protocol"] or "no secrets" }
end

function Flow.Fail(_, req) error(errors.new(req.fail, "not today")) end

return mica.service {
  handlers = { Flow = Flow },
  public = true,
  endpoints = {
    ["Flow.Count"] = { event_id = "number", resume = "since" },
  },
}
