-- Certificates by ACME (RFC 8555): orders one for the names of --acme-host, and renews it. The core serves what is installed,
-- keeps the keys, and shows the answers to challenges (mica.core.v1.Acme, Keys, Fetch).
--
-- One task does it all: it waits until something is due, orders, and waits again. What failed is logged, told by Read, and tried
-- again later (schedule.lua). In system.db stands which authority the certificate came from, and when the authority wants to be
-- asked again at the earliest, so that a server which is restarted again and again does not annoy it.

local mica = require "mica"
local authority = require "authority"
local order = require "order"
local schedule = require "schedule"
local crypto, errors, json, log, metrics, time = mica.crypto, mica.errors, mica.json, mica.log, mica.metrics, mica.time

local acme, system = mica.native "acme", mica.native "system"

local TABLE, KEY = "acme", "state"
local ORDER_MOST = 1200 -- seconds that an order may take
-- Seconds: a new certificate is not renewed earlier, whatever the authority suggests and the clock of this machine says. Of short
-- lives a third.
local RENEWED_AGAIN = 3600
local LOOK_EVERY = 3600 -- seconds: the wall clock may be set, and a suggestion of the authority may have changed
local ASK_EVERY = 6 * 3600 -- seconds: for that suggestion, where the authority does not say

local options, certificate
local kept = {} -- what stands in system.db: { directory =, hosts =, again =, again_at = (the authority that wants it) }
local state = {
  name = "valid", error = "", failures = 0, next = 0, rung = false,
  renewal = 0, -- by our own rule
  suggested = nil, -- by the authority, for the certificate with the renewal id `asked_for`; to be asked again at `ask_at`
  asked_for = "", ask_at = 0,
  issued_at = 0, -- 0: before this start
}
local bell = mica.channel(1) -- rung to order now
local waiting = {} -- channels of those who wait for the end of an order

local function luck()
  local a, b, c = crypto.random(3):byte(1, 3)
  return (a * 65536 + b * 256 + c) / 16777216
end

-- ---- what is kept

local function load_kept()
  local record, err = mica.try(system.Get, { table = TABLE, key = KEY })
  if record then
    kept = json.decode(record.value)
  elseif err.code ~= "NOT_FOUND" then
    error(err, 0)
  end
end

local function keep(changes)
  for key, value in pairs(changes) do kept[key] = value end
  system.Write { operations = { { table = TABLE, key = KEY, value = json.encode(kept) } } }
end

-- ---- what is due

local function names_text(names) return table.concat(names, ", ") end

local function sorted_hosts()
  local hosts = { unpack(options.hosts) }
  table.sort(hosts)
  return names_text(hosts)
end

-- Why the present certificate is not the one that was asked for; nil: it is.
local function reason_now()
  if certificate.self_signed then return "there is none yet" end
  if kept.hosts ~= sorted_hosts() then return "the present one is for " .. names_text(certificate.names) end
  if kept.directory ~= options.directory then return "the present one is from another authority" end
end

-- Asks the authority when it wants to renew (RFC 9773), where it says such things. A fault only leaves us to our own rule.
local function ask_for_suggestion(now)
  if certificate.renewal_id == "" or certificate.self_signed then return end
  if state.asked_for == certificate.renewal_id and now < state.ask_at then return end
  state.asked_for, state.ask_at, state.suggested = certificate.renewal_id, now + ASK_EVERY, nil
  local ca = authority.new(options)
  local place = ca:place("renewalInfo", true)
  if not place then return end
  local answer = ca:get(place .. "/" .. certificate.renewal_id)
  local window = type(answer.json.suggestedWindow) == "table" and answer.json.suggestedWindow or {}
  local suggestion = { from = time.parse(tostring(window.start)), to = time.parse(tostring(window["end"])) }
  state.suggested = schedule.suggested(suggestion, luck())
  if answer.retry_after then state.ask_at = now + math.max(60, math.min(answer.retry_after, 24 * 3600)) end
end

-- When the next order is due, while nothing has failed.
local function due(now)
  if reason_now() then return now end
  local _, err = mica.try(ask_for_suggestion, now)
  if err then log.debug("the authority does not suggest when to renew: " .. err.message) end
  local life = certificate.not_after - certificate.not_before
  local when = math.min(state.suggested or state.renewal, schedule.latest(certificate))
  return math.max(when, state.issued_at + math.min(RENEWED_AGAIN, life / 3))
end

-- ---- orders

local function installed(served, issued_at)
  certificate, state.issued_at = served, issued_at
  state.renewal = schedule.renewal(certificate, luck())
end

local function attempt(why)
  log.info("a certificate is ordered: " .. why, { names = names_text(options.hosts), directory = options.directory })
  local ca = authority.new(options)
  local replaces = not certificate.self_signed and certificate.renewal_id ~= "" and certificate.renewal_id or nil
  local chain = order.run(ca, replaces)
  installed(acme.Install { chain = chain }, time.now())
  keep { directory = options.directory, hosts = sorted_hosts(), again = 0 }
  log.info("a certificate has been issued", {
    names = names_text(certificate.names), expires = time.format(certificate.not_after),
  })
end

local function duration_text(seconds)
  if seconds < 120 then return ("%d seconds"):format(math.ceil(seconds)) end
  if seconds < 7200 then return ("%d minutes"):format(seconds / 60) end
  return ("%d hours"):format(seconds / 3600)
end

local function failed(err)
  local now = time.now()
  local left = certificate.self_signed and 0 or certificate.not_after - now
  local present = left > 0 and { left = left, life = certificate.not_after - certificate.not_before } or nil
  state.failures = state.failures + 1
  state.name, state.error = "failing", err.message
  local pause = schedule.pause(state.failures, err, present, luck())
  state.next = now + pause
  if err.retry_after then keep { again = state.next, again_at = options.directory } end
  local level = (left <= 0 or state.failures > 2) and "error" or "warn"
  log[level](("no certificate: %s; tried again in %s"):format(err.message, duration_text(pause)), {
    names = names_text(options.hosts), directory = options.directory, failures = state.failures,
  })
end

-- What is thrown may be a bug as well: then it is logged as one, and tried again as what the authority refused.
local function as_error(thrown)
  if errors.is(thrown, "CANCELLED") then error(thrown, 0) end -- the server stops
  if errors.is(thrown) then return thrown end
  return errors.internal("%s", tostring(thrown))
end

local function run_once(why)
  state.name, state.rung = "ordering", false
  local ok, thrown = pcall(mica.timeout, ORDER_MOST, attempt, why)
  metrics.count("acme_orders", 1, { result = ok and "issued" or "failed" })
  if ok then
    state.name, state.error, state.failures, state.next = "valid", "", 0, state.renewal
  else
    failed(as_error(thrown))
  end
  local told = waiting
  waiting = {}
  for _, channel in ipairs(told) do channel:close() end
end

-- Waits; true when the bell has rung.
local function wait(seconds)
  if seconds <= 0 then return false end
  local _, which = mica.race {
    time = function() mica.sleep(math.min(seconds, LOOK_EVERY)) end,
    bell = function() bell:recv() end,
  }
  return which == "bell"
end

local function run()
  local not_before = kept.again_at == options.directory and kept.again or 0
  while true do
    local now = time.now()
    if state.failures == 0 then state.next = math.max(due(now), not_before) end
    local rung = wait(state.next - now)
    if rung or time.now() >= state.next then
      not_before = 0
      run_once(rung and "somebody has asked for it" or reason_now() or "it is time to renew")
    end
  end
end

-- ---- endpoints

local function answer()
  return {
    state = state.name == "valid" and reason_now() and "waiting" or state.name,
    hosts = options.hosts, names = certificate.names, self_signed = certificate.self_signed,
    not_after = certificate.not_after, next = state.next, directory = options.directory,
    challenge = options.http ~= "" and "http-01" or "tls-alpn-01", error = state.error, failures = state.failures,
  }
end

---@type mica.acme.v1.Acme.Server
local Acme = {}

function Acme.Read() return answer() end

function Acme.Renew(ctx)
  ctx:authorize "admin"
  local ended = mica.channel()
  table.insert(waiting, ended)
  if state.name ~= "ordering" and not state.rung then
    state.rung = true
    bell:send(true)
  end
  ended:recv()
  if state.error ~= "" then error(errors.failed_precondition("no certificate: %s", state.error)) end
  return answer()
end

return mica.service {
  handlers = { Acme = Acme },
  on_start = function()
    options = acme.Options {}
    load_kept()
    installed(acme.Certificate {}, 0)
    mica.spawn(run)
  end,
}
