-- peek.lua: the sums of one product's gate at one moment, for audit and reconcile. Changes nothing, except that half
-- a gate is removed, as by every script.
--
-- ARGV[1]  how many overdue holds, and how many facts beyond v, to name at most
-- Reply: { } when not loaded, else
--        { counter, v, holds, held units, facts beyond v, their sum, sold ids, k, rules,
--          { request id of an overdue hold… }, { version of a fact beyond v… } }
-- Cost: one pass over the hash, that is over the holds in flight.

local gate = loaded()
if not gate then return {} end

local now, named_max = now_ms(), tonumber(ARGV[1])
local holds, held, facts, sum, overdue, versions = 0, 0, 0, 0, {}, {}
local fields = redis.call('HGETALL', KEYS[2])
for i = 1, #fields, 2 do
  local kind, rest = string.sub(fields[i], 1, 2), string.sub(fields[i], 3)
  if kind == 'h:' then
    holds = holds + 1
    held = held + held_units(fields[i + 1])
    if held_until_ms(fields[i + 1]) <= now and #overdue < named_max then overdue[#overdue + 1] = rest end
  elseif kind == 'm:' then
    facts = facts + 1
    sum = sum + parse_fact(fields[i + 1])
    if #versions < named_max then versions[#versions + 1] = tonumber(rest) end
  end
end
return { gate.counter, gate.v, holds, held, facts, sum, gate.sold, gate.k, gate.rules, overdue, versions }
