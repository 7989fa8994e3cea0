-- SPDX-License-Identifier: Apache-2.0
-- Names that no service may have, since the gateway itself answers these paths.

---@type table<string, true>
return { health = true, metrics = true, ["openapi.json"] = true, ["favicon.ico"] = true }
