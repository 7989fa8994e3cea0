-- What ACME signs: JSON Web Signatures in their flattened form (RFC 7515), and names of keys (RFC 7638). The private key is the
-- core's: who signs is a function.

local mica = require "mica"
local crypto, json = mica.crypto, mica.json

local jose = {}

local URL = { ["+"] = "-", ["/"] = "_", ["="] = "" }

-- base64url without padding (RFC 7515 section 2).
---@param bytes string
---@return string
function jose.base64url(bytes)
  return (crypto.base64(bytes):gsub("[+/=]", URL))
end

-- The thumbprint of a key, of which only the members are given that RFC 7638 section 3.2 asks for: keys of JSON objects are
-- sorted, as it wants them.
---@param jwk table<string, string>
---@return string
function jose.thumbprint(jwk)
  return jose.base64url(crypto.sha256(json.encode(jwk)))
end

-- What is signed of a header and a payload (RFC 7515 section 5.1): two texts in base64url.
---@return string protected, string payload
function jose.input(header, payload)
  return jose.base64url(header), jose.base64url(payload)
end

-- A signed message as JSON.
---@param header table the protected header
---@param payload string
---@param sign fun(bytes: string): string
---@return string
function jose.sign(header, payload, sign)
  local protected, body = jose.input(json.encode(header), payload)
  local signature = jose.base64url(sign(protected .. "." .. body))
  return json.encode { protected = protected, payload = body, signature = signature }
end

return jose
