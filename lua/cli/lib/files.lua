-- Files of the machine, by absolute paths (cli:path makes them).

local mica = require "mica"

local native = mica.native "files"

---@class mica.cli.files
local files = {}

-- `fn`'s result, or nil when there is no such file.
local function found(fn, ...)
  local result, err = mica.try(fn, ...)
  if err and err.code ~= "NOT_FOUND" then error(err, 0) end
  return result
end

--- Its bytes; nil when there is none.
---@param path string
---@return string?
function files.read(path)
  local answer = found(native.Read, { path = path })
  return answer and answer.data
end

--- Writes a file in one step: it is the old one or the new one, never a part. With `create_only` an existing file is
--- ALREADY_EXISTS.
---@param path string
---@param data string
---@param opts? { mode?: integer, create_only?: boolean }
function files.write(path, data, opts)
  opts = opts or {}
  native.Write { path = path, data = data, mode = opts.mode, create_only = opts.create_only }
end

--- Makes a folder and its parents.
---@param path string
---@param mode? integer
function files.make_folder(path, mode) native.MakeFolder { path = path, mode = mode } end

---@param path string
---@return { exists: boolean, folder: boolean, size: integer, real_path: string }
function files.stat(path) return native.Stat { path = path } end

--- The sorted names in a folder; nil when there is none.
---@param path string
---@return string[]?
function files.list(path)
  local answer = found(native.List, { path = path })
  return answer and answer.names
end

--- Runs a program of the PATH and waits for its end. Its streams are ours, unless `capture` asks for its output.
---@param program string
---@param arguments string[]
---@param opts? { folder?: string, capture?: boolean }
---@return integer code, string output
function files.run(program, arguments, opts)
  opts = opts or {}
  local answer = native.RunProgram {
    program = program, arguments = arguments, folder = opts.folder, capture = opts.capture,
  }
  return answer.code, answer.output
end

--- The same; false when there is no such program.
---@return boolean found, integer? code, string? output
function files.try_run(program, arguments, opts)
  local result = found(function() return { files.run(program, arguments, opts) } end)
  if not result then return false end
  return true, result[1], result[2]
end

return files
