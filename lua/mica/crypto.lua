-- SPDX-License-Identifier: Apache-2.0
-- Random bytes, digests, text encodings, passwords.
local core = ...

---@class mica.crypto
local crypto = {}

local function check_text(what, text)
  if type(text) ~= "string" then error(("crypto.%s wants a string, got %s"):format(what, type(text)), 3) end
end

--- Random bytes, fit for secrets.
---@param n integer
---@return string
function crypto.random(n)
  if type(n) ~= "number" or n < 0 or n > 65536 or n ~= math.floor(n) then
    error("crypto.random wants a number of bytes, 0 to 65536", 2)
  end
  return core.random(n)
end

---@param s string
---@return string bytes
function crypto.sha256(s)
  check_text("sha256", s)
  return core.sha256(s)
end

--- HMAC with SHA-256.
---@param key string
---@param s string
---@return string bytes
function crypto.hmac(key, s)
  check_text("hmac", key)
  check_text("hmac", s)
  return core.hmac(key, s)
end

--- Compares secrets in a time that does not depend on where they differ.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b)
  check_text("equal", a)
  check_text("equal", b)
  return core.equal(a, b)
end

for _, name in ipairs { "hex", "base64" } do
  crypto[name] = function(s)
    check_text(name, s)
    return core[name](s)
  end
  local inverse = "un" .. name
  crypto[inverse] = function(s)
    check_text(inverse, s)
    return core[inverse](s) or error(core.use("mica.errors").invalid_argument("this is not %s", name), 0)
  end
end

local native

--- A password as argon2id text; takes its time, elsewhere.
---@param password string
---@return string
function crypto.hash_password(password)
  check_text("hash_password", password)
  native = native or core.use("mica.client").native "crypto"
  return native.HashPassword({ password = password }).hash
end

---@param password string
---@param hash string made by hash_password
---@return boolean
function crypto.check_password(password, hash)
  check_text("check_password", password)
  check_text("check_password", hash)
  native = native or core.use("mica.client").native "crypto"
  return native.CheckPassword({ password = password, hash = hash }).ok
end

return crypto
