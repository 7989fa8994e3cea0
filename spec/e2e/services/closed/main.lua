local mica = require "mica"

local Closed = {}

local function account(ctx) return { account = ctx.account and ctx.account.id or "nobody" } end

Closed.Open, Closed.Shut = account, account

return mica.service {
  handlers = { Closed = Closed },
  public = { "Closed.Open" },
}
