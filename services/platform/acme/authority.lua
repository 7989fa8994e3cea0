-- Speaking with a certificate authority (RFC 8555 section 6): signed requests, nonces, problem documents.
--
-- Failures are errors with a code that says what may be done about them:
--   UNAVAILABLE, DEADLINE_EXCEEDED   nobody answered, or the authority has a fault of its own: soon again
--   RESOURCE_EXHAUSTED               it wants to be asked less often: `retry_after` says when, if it does
--   FAILED_PRECONDITION              it refuses: something has to change first
-- All but the first kind carry the authority's own words.

local mica = require "mica"
local jose = require "jose"
local errors, json, time = mica.errors, mica.json, mica.time

local fetch, keys = mica.native "fetch", mica.native "keys"

local TIMEOUT = 30
local NONCE_TRIES = 5 -- a nonce may have grown old on the way (RFC 8555 section 6.5)
local TEXT_MOST = 600 -- bytes of the authority's words in a line of the log

---@class Authority
local Authority = {}
Authority.__index = Authority

local authority = {}

---@param options table mica.core.v1.AcmeOptions
function authority.new(options)
  local key = keys.Account {}
  local jwk = { crv = "P-256", kty = "EC", x = key.x, y = key.y }
  return setmetatable({ options = options, jwk = jwk, thumbprint = jose.thumbprint(jwk), nonces = {} }, Authority)
end

-- ---- answers

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }

-- Seconds from now of a Retry-After header: a number, or a date (RFC 9110 section 10.2.3). nil: there is none that is sound.
---@param value string?
---@param now number
---@return number?
function authority.retry_after(value, now)
  if not value then return nil end
  if value:find "^%d+$" and #value < 10 then return tonumber(value) end
  local day, month, year, clock = value:match "^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d:%d%d:%d%d) GMT$"
  if not day or not MONTHS[month] then return nil end
  local at = mica.try(time.parse, ("%s-%02d-%sT%sZ"):format(year, MONTHS[month], day, clock))
  return at and math.max(0, at - now)
end

-- One line of what somebody else has written.
local function clean(text)
  text = tostring(text):gsub("[%c]+", " ")
  return #text > TEXT_MOST and text:sub(1, TEXT_MOST) .. "..." or text
end

local function is_text(value) return type(value) == "string" and value ~= "" end

-- A problem document (RFC 7807, RFC 8555 section 6.7) as a text: "what is wrong (rateLimited); a.example: more about it".
---@param problem any
---@return string
function authority.problem_text(problem)
  if type(problem) ~= "table" then return "it does not say why" end
  local kind = is_text(problem.type) and problem.type:match "[^:]+$" or "no type"
  local parts = { ("%s (%s)"):format(is_text(problem.detail) and problem.detail or "no detail", kind) }
  for _, sub in ipairs(type(problem.subproblems) == "table" and problem.subproblems or {}) do
    local name = type(sub.identifier) == "table" and sub.identifier.value or "?"
    table.insert(parts, ("%s: %s"):format(tostring(name), is_text(sub.detail) and sub.detail or "no detail"))
  end
  return clean(table.concat(parts, "; "))
end

local function problem_type(answer)
  return type(answer.json) == "table" and is_text(answer.json.type) and answer.json.type:match "[^:]+$" or ""
end

local function refusal(answer)
  local text
  if answer.json then
    text = authority.problem_text(answer.json)
  else
    text = ("it answers with status %d"):format(answer.status)
  end
  local make = errors.failed_precondition
  if answer.status >= 500 then
    make = errors.unavailable
  elseif answer.status == 429 or problem_type(answer) == "rateLimited" then
    make = errors.resource_exhausted
  end
  local err = make("the authority refuses: %s", text)
  err.retry_after = answer.retry_after
  return err
end

-- Nobody answered: what the core says, and what may help.
local function transport_fault(err, options)
  local text = err.message
  if text:find "certificate" and options.ca == "" then
    text = text .. ": if the authority has a certificate of its own, name who vouches for it with --acme-ca"
  elseif text:find "certificate" then
    text = text .. ": look at what --acme-ca names"
  end
  return errors.new(err.code == "DEADLINE_EXCEEDED" and "DEADLINE_EXCEEDED" or "UNAVAILABLE", text)
end

-- ---- requests

local function host_of(url) return url:match "^https://([^/?#]+)" end

function Authority:request(method, url, body, headers)
  headers = headers or {}
  local host = host_of(url)
  if not host then error(errors.unavailable("the authority names a place that is no https:// address: %s", clean(url)), 0) end
  if body then headers = { { name = "content-type", value = "application/jose+json" }, unpack(headers) } end
  local answer, err = mica.try(fetch.Send, {
    method = method, url = url, headers = headers, body = body or "", timeout = TIMEOUT, ca = self.options.ca,
    -- The operator has named the directory; what the authority names may not lead into our own network.
    ["local"] = host == host_of(self.options.directory),
  }, { timeout = TIMEOUT + 10 })
  if not answer then error(transport_fault(err, self.options), 0) end
  local found = {}
  for _, header in ipairs(answer.headers) do found[header.name] = header.value end
  local ok, value = pcall(json.decode, answer.body)
  if found["replay-nonce"] then table.insert(self.nonces, found["replay-nonce"]) end
  return {
    status = answer.status, headers = found, body = answer.body, json = ok and type(value) == "table" and value or nil,
    retry_after = authority.retry_after(found["retry-after"], time.now()),
  }
end

-- A JSON document that anybody may read.
function Authority:get(url)
  local answer = self:request("GET", url)
  if answer.status ~= 200 then error(refusal(answer), 0) end
  if not answer.json then error(errors.unavailable("%s answers with something else than JSON", url), 0) end
  return answer
end

-- A URL of the directory; raises where the authority does not have one of that name.
function Authority:place(name, may_miss)
  if not self.directory then self.directory = self:get(self.options.directory).json end
  local url = self.directory[name]
  if is_text(url) then return url end
  if may_miss then return nil end
  error(errors.failed_precondition("%s is no directory of ACME: it names no %s", self.options.directory, name), 0)
end

function Authority:nonce()
  if #self.nonces == 0 then self:request("HEAD", self:place "newNonce") end
  return table.remove(self.nonces) or error(errors.unavailable "the authority gives no nonces", 0)
end

-- A signed request. `payload`: a table, or "" to read something (POST-as-GET, RFC 8555 section 6.3).
---@param accept? string
function Authority:post(url, payload, accept)
  local body = payload == "" and "" or json.encode(payload)
  local function sign(bytes) return keys.Sign({ data = bytes }).signature end
  for try = 1, NONCE_TRIES do
    local header = { alg = "ES256", nonce = self:nonce(), url = url }
    if self.account then header.kid = self.account else header.jwk = self.jwk end
    local answer = self:request("POST", url, jose.sign(header, body, sign), accept and { { name = "accept", value = accept } })
    if answer.status < 300 then return answer end
    if problem_type(answer) ~= "badNonce" or try == NONCE_TRIES then
      local err = refusal(answer)
      err.reason = problem_type(answer)
      error(err, 0)
    end
  end
end

-- Finds the account of our key, or makes it (RFC 8555 section 7.3). From here on requests are signed in its name.
function Authority:open_account()
  local contact = self.options.email ~= "" and { "mailto:" .. self.options.email } or nil
  local answer = self:post(self:place "newAccount", { termsOfServiceAgreed = true, contact = contact })
  self.account = answer.headers.location or error(errors.unavailable "the authority does not name the account", 0)
end

return authority
