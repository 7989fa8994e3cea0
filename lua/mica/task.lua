-- SPDX-License-Identifier: Apache-2.0
-- Tasks: what a request starts beside its handler, and channels between tasks.
--
-- The core runs tasks, parks and wakes them; everything else is here. Whoever waits puts a node into a list and parks until
-- the node says `woken`: a task that was woken late for something else parks again. core.wake answers whether the task was
-- still waiting, so a value is never handed to one that has been cancelled.
local core = ...
local errors = core.use("mica.errors")
local seconds_of = core.use("mica.units").seconds
local check, received, note = errors.check, errors.received, errors.note

local error, type, select, unpack, xpcall, setmetatable = error, type, select, unpack, xpcall, setmetatable
local park, wake, current = core.park, core.wake, core.current

local M = {}

local function check_function(what, fn, example)
  if type(fn) ~= "function" then
    error(("mica.%s wants a function, got %s: mica.%s"):format(what, type(fn), example), 3)
  end
end

-- The core refuses this too; here the message can name the author's line.
local function check_acting(what)
  if not current() then
    error(("main.lua declares, handlers act: mica.%s cannot be used while it is loaded"):format(what), 3)
  end
end

-- ---- waiting ------------------------------------------------------------------------------------------------------------

local function remove(list, node)
  for i = #list, 1, -1 do
    if list[i] == node then return table.remove(list, i) end
  end
end

-- Parks until somebody wakes the node that it puts into the list; takes it out again when the wait fails.
local function wait(list, node)
  node.task = current()
  list[#list + 1] = node
  repeat
    local ok, code, message, id, details = park()
    if not ok then
      remove(list, node)
      error(received(nil, code, message, id, details), 0)
    end
  until node.woken
  return node
end

local function wake_node(node)
  node.woken = true
  return wake(node.task)
end

local function wake_all(list)
  for i = 1, #list do wake_node(list[i]) end
end

-- ---- tasks --------------------------------------------------------------------------------------------------------------

---@class mica.Task
local Task = {}
Task.__index = Task
function Task.__tostring(task) return ("task %s (%s)"):format(tostring(task.number), task.state or "running") end

local function settle(task, state)
  task.state = state
  local waiters = task.waiters
  task.waiters = nil
  if waiters then wake_all(waiters) end
  return waiters ~= nil
end

-- A failure that nobody waits for is handed on by `unjoined`: it ends the request, or is raised for the core to log.
local function finish(task, unjoined, ok, ...)
  if task.state then return end -- was cancelled before it began
  if ok then
    task.count = select("#", ...)
    if task.count > 0 then task.results = { ... } end
    settle(task, "done")
    return
  end
  local err = ...
  task.err = err
  if not settle(task, "failed") and not task.cancelled then unjoined(err) end
end

local function run(task, unjoined, fn, ...)
  if task.state then return end
  task.started = true
  finish(task, unjoined, xpcall(fn, note, ...))
end

local function raise(err) error(err, 0) end

--- Runs fn beside the caller, until the request ends. If it raises and nobody joins it, the request fails with that error.
---@param fn function
---@return mica.Task
function M.spawn(fn, ...)
  check_function("spawn", fn, "spawn(work, argument)")
  check_acting "spawn"
  local task = setmetatable({}, Task)
  task.number = core.spawn(run, task, core.fail, fn, ...)
  return task
end

--- Runs fn in a request of its own: 30 seconds, awaited when the instance stops; a failure is logged.
---@param fn function
---@return mica.Task
function M.background(fn, ...)
  check_function("background", fn, "background(work, argument)")
  check_acting "background"
  local task = setmetatable({}, Task)
  task.number = core.background(run, task, raise, fn, ...)
  return task
end

--- Waits for the end of the task: its results, or its error raised here.
---@return any ...
function Task:join()
  if self.number == current() then error("a task cannot join itself", 2) end
  while not self.state do
    self.waiters = self.waiters or {}
    wait(self.waiters, {})
  end
  if self.state == "failed" then error(self.err, 0) end
  if self.count > 0 then return unpack(self.results, 1, self.count) end
end

--- Ends the task with CANCELLED at its next wait.
function Task:cancel()
  if self.state then return end
  self.cancelled = true
  core.cancel(self.number)
  if not self.started and not self.state then
    self.err = errors.cancelled("the task was cancelled")
    settle(self, "failed")
  end
end

-- ---- several at once ----------------------------------------------------------------------------------------------------

local function member_ended(group, key, ok, value)
  group.running[key] = nil
  if group.over then return end
  group.ended(group, key, ok, value)
  group.left = group.left - 1
  if group.left == 0 then group.over = true end
  if group.over and group.waiters then wake_all(group.waiters) end
end

local function run_member(group, key, fn)
  member_ended(group, key, xpcall(fn, note))
end

local function cancel_members(group)
  group.over = true
  for key in core.use("mica.sorted")(group.running) do core.cancel(group.running[key]) end
end

local function wait_members(group)
  group.waiters = {}
  while not group.over do wait(group.waiters, {}) end
end

-- Runs the functions as tasks until `ended` says that it is over. `running` holds the task of each that has not ended.
local function run_group(what, fns, ended)
  if type(fns) ~= "table" then error(("mica.%s wants functions: mica.%s { a = read_a, b = read_b }"):format(what, what), 3) end
  local group = { running = {}, left = 0, ended = ended, results = {} }
  local keys = {}
  for key, fn in core.use("mica.sorted")(fns) do
    if type(fn) ~= "function" then
      error(("mica.%s: %s is a %s, not a function: write function() return ... end"):format(what, tostring(key), type(fn)), 3)
    end
    keys[#keys + 1] = key
  end
  group.left = #keys
  if #keys == 0 then return group end
  if not current() then
    error(("main.lua declares, handlers act: mica.%s cannot be used while it is loaded"):format(what), 3)
  end
  for _, key in ipairs(keys) do group.running[key] = true end
  for _, key in ipairs(keys) do
    local number = core.spawn(run_member, group, key, fns[key])
    if group.running[key] then group.running[key] = number end
  end
  local ok, err = pcall(wait_members, group)
  cancel_members(group)
  if not ok then error(err, 0) end
  return group
end

local function all_ended(group, key, ok, value)
  if ok then
    group.results[key] = value
  else
    group.failed, group.err, group.over = true, value, true
  end
end

--- Runs the functions beside each other: the first result of each under the same keys. The first error cancels the others
--- and is raised.
---@param fns table<any, function>
---@return table
function M.all(fns)
  local group = run_group("all", fns, all_ended)
  if group.failed then error(group.err, 0) end
  return group.results
end

-- Errors with a code lose the race, unless all lose it; a bug is told at once.
local function race_ended(group, key, ok, value)
  if ok then
    group.won, group.key, group.value, group.over = true, key, value, true
  elseif not errors.is(value) then
    group.err, group.over = value, true
  elseif group.err == nil then
    group.err = value
  end
end

--- Runs the functions beside each other: the value and the key of the first that returns; the others are cancelled. Raises
--- when none returns.
---@param fns table<any, function>
---@return any value, any key
function M.race(fns)
  local group = run_group("race", fns, race_ended)
  if not group.won then
    if group.err == nil then error("mica.race wants at least one function", 2) end
    error(group.err, 0)
  end
  return group.value, group.key
end

-- ---- time ---------------------------------------------------------------------------------------------------------------

local function returned(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

-- core.deadline raises what fn raised, but not where: that is noted here.
local function run_noting(fn, ...)
  return returned(xpcall(fn, note, ...))
end

--- The results of fn, or DEADLINE_EXCEEDED when it takes longer.
---@param d mica.Duration
---@param fn function
---@return any ...
function M.timeout(d, fn, ...)
  local seconds = seconds_of(d, "mica.timeout")
  check_function("timeout", fn, 'timeout("2s", posts.Read, { id = id })')
  check_acting "timeout"
  return check(core.deadline(seconds, run_noting, fn, ...))
end

--- Waits.
---@param d mica.Duration
function M.sleep(d)
  local seconds = seconds_of(d, "mica.sleep")
  check_acting "sleep"
  check(core.sleep(seconds))
end

local function run_after(seconds, fn, ...)
  check(core.sleep(seconds))
  return fn(...)
end

--- A task that calls fn later.
---@param d mica.Duration
---@param fn function
---@return mica.Task
function M.after(d, fn, ...)
  local seconds = seconds_of(d, "mica.after")
  check_function("after", fn, 'after("2s", remind, user)')
  check_acting "after"
  return M.spawn(run_after, seconds, fn, ...)
end

-- A turn that took longer than the interval is followed at once by the next; what was missed is not made up for.
local function run_every(seconds, fn, ...)
  local due = core.monotonic() + seconds
  while true do
    check(core.sleep(math.max(0, due - core.monotonic())))
    fn(...)
    due = math.max(due + seconds, core.monotonic())
  end
end

--- A task that calls fn again and again, never overlapping itself.
---@param d mica.Duration
---@param fn function
---@return mica.Task
function M.every(d, fn, ...)
  local seconds = seconds_of(d, "mica.every")
  if seconds <= 0 then error("mica.every: the interval must be longer than nothing", 2) end
  check_function("every", fn, 'every("1m", refresh)')
  check_acting "every"
  return M.spawn(run_every, seconds, fn, ...)
end

-- ---- channels -----------------------------------------------------------------------------------------------------------

---@class mica.Channel
local Channel = {}
Channel.__index = Channel

--- A channel between tasks of this VM; `capacity` values wait in it before `send` does.
---@param capacity? integer
---@return mica.Channel
function M.channel(capacity)
  capacity = capacity or 0
  if type(capacity) ~= "number" or capacity < 0 or capacity ~= math.floor(capacity) then
    error("mica.channel wants how many values may wait in it, 0 or more", 2)
  end
  return setmetatable({ capacity = capacity, first = 1, last = 0, receivers = {}, senders = {} }, Channel)
end

local function raise_closed(channel)
  error(channel.err or errors.cancelled("the channel is closed"), 0)
end

--- Sends a value; waits while the channel is full.
---@param value any not nil
function Channel:send(value)
  if value == nil then error("nil cannot be sent: it is what recv gives at the end (close the channel)", 2) end
  if self.closed then raise_closed(self) end
  while self.receivers[1] do
    local node = table.remove(self.receivers, 1)
    node.value = value
    if wake_node(node) then return end
  end
  if self.last - self.first + 1 < self.capacity then
    self.last = self.last + 1
    self[self.last] = value
    return
  end
  local node = wait(self.senders, { value = value })
  if node.closed then raise_closed(self) end
end

-- The value of the task that has waited longest to send; it goes on.
local function take_from_sender(channel)
  while channel.senders[1] do
    local node = table.remove(channel.senders, 1)
    if wake_node(node) then return node.value end
  end
end

--- The next value; nil when the channel is closed and empty.
---@return any
function Channel:recv()
  if self.last >= self.first then
    local value = self[self.first]
    self[self.first] = nil
    self.first = self.first + 1
    local next_value = take_from_sender(self)
    if next_value ~= nil then
      self.last = self.last + 1
      self[self.last] = next_value
    end
    return value
  end
  local value = take_from_sender(self)
  if value ~= nil then return value end
  if not self.closed then value = wait(self.receivers, {}).value end
  if value ~= nil then return value end
  if self.err then error(self.err, 0) end
  return nil
end

--- Iterates over what is received until the channel is closed.
---@return fun(): any
function Channel:messages()
  return Channel.recv, self
end

--- No more values: receivers get what is left, then nil, or `err` raised.
---@param err? any
function Channel:close(err)
  if self.closed then return end
  self.closed, self.err = true, err
  local receivers, senders = self.receivers, self.senders
  self.receivers, self.senders = {}, {}
  for i = 1, #senders do senders[i].closed = true end
  wake_all(receivers)
  wake_all(senders)
end

return M
