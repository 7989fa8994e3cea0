-- One order of a certificate, from the names to the chain (RFC 8555 section 7.4):
--
--   newOrder -> for each name: its authorization -> a challenge that we answer -> the authority looks -> valid
--   -> finalize with the request for the certificate -> processing -> valid -> download
--
-- Whatever happens, the answers to challenges are taken back at the end.

local mica = require "mica"
local authority = require "authority"
local errors, time = mica.errors, mica.time

local acme, keys = mica.native "acme", mica.native "keys"

local PATIENCE = 300 -- seconds that the authority may take for one step
local FIRST_LOOK, MOST_LOOK = 0.25, 10 -- seconds from one look to the next

local order = {}

-- What something of the authority's has become, when `done` says so of its status. Looks again and again, as often as the
-- authority wants.
local function await(ca, url, what, done)
  local until_ = time.now() + PATIENCE
  local pause = FIRST_LOOK
  while true do
    local answer = ca:post(url, "")
    local body = answer.json or error(errors.unavailable("%s: the authority's answer is no JSON", what), 0)
    if done(body.status) then return body end
    local wait = math.max(math.min(answer.retry_after or 0, 60), pause)
    if time.now() + wait > until_ then
      error(errors.deadline_exceeded("%s is still %s after %d seconds", what, tostring(body.status), PATIENCE), 0)
    end
    mica.sleep(wait)
    pause = math.min(pause * 2, MOST_LOOK)
  end
end

local function settled(status) return status ~= "pending" and status ~= "processing" end

-- ---- authorizations

local function name_of(authorization)
  local identifier = authorization.identifier
  local name = type(identifier) == "table" and identifier.value
  return type(name) == "string" and name or error(errors.unavailable "an authorization without a name", 0)
end

local function find_challenge(authorization, kind)
  for _, challenge in ipairs(type(authorization.challenges) == "table" and authorization.challenges or {}) do
    local sound = type(challenge.url) == "string" and type(challenge.token) == "string"
    if challenge.type == kind and sound then return challenge end
  end
  error(errors.failed_precondition("the authority does not offer %s for %s", kind, name_of(authorization)), 0)
end

local function refused(authorization, kind)
  for _, challenge in ipairs(type(authorization.challenges) == "table" and authorization.challenges or {}) do
    if challenge.type == kind and type(challenge.error) == "table" then return authority.problem_text(challenge.error) end
  end
  return ("its authorization is %s"):format(tostring(authorization.status))
end

-- Answers a name's challenge. `shown` gets the keys of what is to be taken back.
local function prove(ca, kind, url, shown)
  local authorization = ca:post(url, "").json or {}
  if authorization.status == "valid" then return end -- of an earlier order
  local name, challenge = name_of(authorization), find_challenge(authorization, kind)
  acme.Answer {
    type = kind, name = name, token = challenge.token, authorization = challenge.token .. "." .. ca.thumbprint,
  }
  table.insert(shown, kind == "http-01" and challenge.token or name)
  ca:post(challenge.url, {})
  local result = await(ca, url, "the authorization of " .. name, settled)
  if result.status ~= "valid" then
    error(errors.failed_precondition("the authority could not see that %s leads here, by %s: %s", name, kind,
      refused(result, kind)), 0)
  end
end

local function prove_all(ca, kind, urls)
  local shown, steps = {}, {}
  for i, url in ipairs(urls) do
    steps[i] = function() prove(ca, kind, url, shown) end
  end
  local ok, err = pcall(mica.all, steps)
  for _, key in ipairs(shown) do acme.Forget { key = key } end
  if not ok then error(err, 0) end
end

-- ---- the order

-- RFC 9773 section 5: which certificate this one takes the place of. An authority that does not want to know it is not told.
local function begin(ca, hosts, replaces)
  local request = { identifiers = {} }
  for i, host in ipairs(hosts) do request.identifiers[i] = { type = "dns", value = host } end
  local url = ca:place "newOrder"
  if replaces and ca:place("renewalInfo", true) then
    request.replaces = replaces
    local answer, err = mica.try(ca.post, ca, url, request)
    if answer then return answer end
    if err.code ~= "FAILED_PRECONDITION" then error(err, 0) end
    request.replaces = nil
  end
  return ca:post(url, request)
end

local function list_of(value) return type(value) == "table" and value or {} end

-- The chain in PEM form, for the names of the options. `replaces`: the renewal id of the certificate before it, if any.
---@return string
function order.run(ca, replaces)
  local hosts = ca.options.hosts
  local kind = ca.options.http ~= "" and "http-01" or "tls-alpn-01"
  ca:open_account()
  local answer = begin(ca, hosts, replaces)
  local url, body = answer.headers.location, answer.json
  if not url or not body or type(body.finalize) ~= "string" then
    error(errors.unavailable "the authority's order is not complete", 0)
  end
  prove_all(ca, kind, list_of(body.authorizations))
  body = await(ca, url, "the order", settled)
  if body.status == "ready" then
    local request = keys.Request({ names = hosts }).request
    ca:post(body.finalize, { csr = require("jose").base64url(request) })
    body = await(ca, url, "the certificate", settled)
  end
  if body.status ~= "valid" or type(body.certificate) ~= "string" then
    error(errors.failed_precondition("the order is %s: %s", tostring(body.status), authority.problem_text(body.error)), 0)
  end
  return ca:post(body.certificate, "", "application/pem-certificate-chain").body
end

return order
