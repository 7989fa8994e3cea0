local mica = require "mica"
local errors = mica.errors

local scenarios = {}

local function after(seconds, value)
  return function()
    mica.sleep(seconds)
    return value
  end
end

function scenarios.all()
  local got = mica.all { a = after(0.2, "A"), b = after(0.2, "B") }
  return { got.a, got.b }
end

function scenarios.all_fails()
  local finished = false
  local ok, err = pcall(mica.all, {
    slow = function()
      mica.sleep(0.3)
      finished = true
    end,
    bad = function()
      mica.sleep(0.05)
      error(errors.not_found "gone")
    end,
  })
  mica.sleep(0.4)
  return { tostring(ok), err.code, tostring(finished) }
end

function scenarios.race()
  local value, key = mica.race { slow = after(2, "slow"), fast = after(0.05, "fast") }
  return { value, key }
end

function scenarios.timeout()
  local ok, err = pcall(mica.timeout, 0.1, after(2, "late"))
  return { tostring(ok), err.code, mica.timeout("1s", after(0.01, "in time")) }
end

function scenarios.spawn()
  local said = {}
  local task = mica.spawn(function(word)
    said[#said + 1] = "task"
    mica.sleep(0.05)
    return word, "more"
  end, "word")
  said[#said + 1] = "caller"
  local one, two = task:join()
  said[#said + 1] = one
  said[#said + 1] = two
  table.sort(said)
  return said
end

function scenarios.join_fails()
  local task = mica.spawn(function() error(errors.aborted "no luck") end)
  local ok, err = pcall(task.join, task)
  return { tostring(ok), err.code }
end

function scenarios.unjoined()
  mica.spawn(function() error(errors.data_loss "nobody joined") end)
  mica.sleep(5)
  return { "not reached" }
end

function scenarios.cancel()
  local seen = {}
  local task = mica.spawn(function()
    local _, err = pcall(mica.sleep, 5)
    seen[#seen + 1] = err.code
  end)
  mica.sleep(0.05)
  task:cancel()
  mica.sleep(0.05)
  return seen
end

function scenarios.try()
  local value = mica.try(function() return "fine" end)
  local none, err = mica.try(function() error(errors.not_found "no") end)
  return { value, tostring(none), err.code }
end

function scenarios.defer(ctx)
  ctx:defer(function() mica.log.info "deferred one" end)
  ctx:defer(function() mica.log.info "deferred two" end)
  error(errors.aborted "after defer")
end

function scenarios.background()
  mica.background(function()
    mica.sleep(0.3)
    mica.log.info "background finished"
  end)
  return { "answered" }
end

function scenarios.own_coroutine()
  local produce = coroutine.wrap(function()
    for i = 1, 3 do
      mica.sleep(0.01)
      coroutine.yield(tostring(i))
    end
  end)
  return { produce(), produce(), produce() }
end

function scenarios.left_behind()
  mica.spawn(function()
    mica.sleep(1)
    mica.log.info "a task outlived its request"
  end)
  return { "answered" }
end

local Parallel = {}

function Parallel.Run(ctx, req)
  local run = scenarios[req.scenario] or error(errors.not_found("no scenario %q", req.scenario))
  local began = mica.time.now()
  local said = run(ctx)
  return { said = said, seconds = mica.time.now() - began }
end

return mica.service {
  handlers = { Parallel = Parallel },
  public = true,
}
