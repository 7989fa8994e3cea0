-- mica completion bash|zsh|fish: a script for the shell. Commands and their flags stand in it; the names of services
-- are asked for when they are wanted, by `mica services -o name`.

local commands = require "lib.commands"
local flags = require "lib.flags"

-- Commands whose words are names of services.
local OF_SERVICES = { "status", "describe", "logs", "kill", "scale", "update", "call", "stream" }

local function long_flags(path, command)
  local names = {}
  for name in pairs(flags.declared(flags.parser(path, command))) do
    if #name > 1 then table.insert(names, "--" .. name) end
  end
  table.sort(names)
  return table.concat(names, " ")
end

-- The words that may follow a command: the parts of a group, and flags.
local function words_of(name)
  local command = require(name)
  if not command.commands then return long_flags(name, command) end
  local words = {}
  for part in pairs(command.commands) do table.insert(words, part) end
  table.sort(words)
  return table.concat(words, " ")
end

local function global_words()
  local names = {}
  for _, name in ipairs(flags.global_names()) do table.insert(names, "--" .. name) end
  return table.concat(names, " ")
end

local function cases(form)
  local lines = {}
  for _, name in ipairs(commands.names) do
    local words = words_of(name)
    if words ~= "" then table.insert(lines, form:format(name, words)) end
  end
  return table.concat(lines, "\n")
end

-- $word stands for what is filled in.
local function filled(text, words) return (text:gsub("%$%$(%l+)", words)) end

local BASH = [==[
# mica: completion for bash. source <(mica completion bash)
_mica() {
  local word="${COMP_WORDS[COMP_CWORD]}" command="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${COMP_WORDS[i]}" in
      -e|-o|--env|--output|--address|--ca|--namespace|--token|--timeout) ((i++)) ;;
      -*) ;;
      *) command="${COMP_WORDS[i]}"; break ;;
    esac
  done
  local words="$$globals"
  case "$command" in
    "") words="$words $$commands $(mica services -o name 2>/dev/null)" ;;
$$cases
  esac
  case "$command" in
    $$services) words="$words $(mica services -o name 2>/dev/null)" ;;
  esac
  case "${COMP_WORDS[COMP_CWORD-1]}" in
    -o|--output) words="table json name" ;;
    -e|--env) words="$(mica env -o name 2>/dev/null)" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  if [[ ${#COMPREPLY[@]} -eq 0 ]]; then COMPREPLY=($(compgen -f -- "$word")); fi
}
complete -F _mica mica
]==]

local ZSH = [==[
#compdef mica
# mica: completion for zsh. source <(mica completion zsh)
_mica() {
  local command="" i words_now
  for ((i = 2; i < CURRENT; i++)); do
    case "${words[i]}" in
      -e|-o|--env|--output|--address|--ca|--namespace|--token|--timeout) ((i++)) ;;
      -*) ;;
      *) command="${words[i]}"; break ;;
    esac
  done
  words_now="$$globals"
  case "$command" in
    "") words_now="$words_now $$commands $(mica services -o name 2>/dev/null)" ;;
$$cases
  esac
  case "$command" in
    $$services) words_now="$words_now $(mica services -o name 2>/dev/null)" ;;
  esac
  case "${words[CURRENT-1]}" in
    -o|--output) words_now="table json name" ;;
    -e|--env) words_now="$(mica env -o name 2>/dev/null)" ;;
  esac
  compadd -- ${=words_now} || _files
}
compdef _mica mica
]==]

local FISH = [==[
# mica: completion for fish. mica completion fish | source
function __mica_command
  set -l skip 0
  for word in (commandline -opc)[2..-1]
    if test $skip -eq 1
      set skip 0
      continue
    end
    switch $word
      case -e -o --env --output --address --ca --namespace --token --timeout
        set skip 1
      case '-*'
      case '*'
        echo $word
        return 0
    end
  end
end
function __mica_is; test (__mica_command) = "$argv[1]" 2>/dev/null; end
complete -c mica -n 'test -z (__mica_command)' -f -a '$$commands'
complete -c mica -n 'test -z (__mica_command)' -f -a '(mica services -o name 2>/dev/null)'
complete -c mica -s o -l output -x -a 'table json name'
complete -c mica -s e -l env -x -a '(mica env -o name 2>/dev/null)'
complete -c mica -f -a '$$globals' -n 'string match -q -- "-*" (commandline -ct)'
$$cases
]==]

local function shell_case(command, words) return ('    %s) words="$words %s" ;;'):format(command, words) end

local function script_for_shell(text, variable)
  local form = shell_case("%s", "%s"):gsub("words", variable)
  return filled(text, {
    globals = global_words(), commands = table.concat(commands.names, " "), cases = cases(form),
    services = table.concat(OF_SERVICES, "|"),
  })
end

local function script_for_fish()
  local lines = { cases "complete -c mica -n '__mica_is %s' -a '%s'" }
  for _, name in ipairs(OF_SERVICES) do
    table.insert(lines, ("complete -c mica -n '__mica_is %s' -f -a '(mica services -o name 2>/dev/null)'"):format(name))
  end
  return filled(FISH, {
    globals = global_words(), commands = table.concat(commands.names, " "), cases = table.concat(lines, "\n"),
  })
end

local SHELLS = {
  bash = function() return script_for_shell(BASH, "words") end,
  zsh = function() return script_for_shell(ZSH, "words_now") end,
  fish = script_for_fish,
}

return {
  examples = { "source <(mica completion bash)", "source <(mica completion zsh)", "mica completion fish | source" },
  parser = function(parser) parser:argument("shell", "bash, zsh or fish."):choices { "bash", "zsh", "fish" } end,
  run = function(cli, args) cli:write(SHELLS[args.shell]()) end,
}
