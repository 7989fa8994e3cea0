local mica = require "mica"
local errors = mica.errors

local Faults = {}

function Faults.Fail(_, req) error(errors.new(req.code, req.message)) end

function Faults.Fields() error(errors.invalid_fields { title = "is required", size = "must be positive" }) end

function Faults.Validated(_, req) return { text = req.title } end

function Faults.Raise() error "a plain text" end

function Faults.NilIndex()
  local nothing = nil
  return { text = nothing.text }
end

function Faults.Misspelled(_, req) return { text = req.mesage } end

function Faults.WrongType() return { text = 42 } end

function Faults.WrongField() return { txet = "x" } end

function Faults.WrongValue() return "x" end

function Faults.Nothing() end

function Faults.Fine(_, req) return { text = req.message } end

return mica.service {
  handlers = { Faults = Faults },
  public = true,
  endpoints = {
    ["Faults.Validated"] = { validate = { title = "required", size = { min = 1, max = 10 } } },
  },
}
