"""What the server executes as one step: Lua scripts on the three keys of a group of calls.

    {PREFIX}:group    hash: format, epoch, token, holder, until (server's clock, ms), number
    {PREFIX}:calls    hash: call-id, record
    {PREFIX}:changes  stream: EPOCH-NUMBER, with a field `call` for each call-id that changed

The braces put the keys into one slot of a cluster. The epoch grows with each ACQUIRE, also after the server
has lost all data, because it is at least the server's clock in milliseconds. `token`, `holder` and `until`
are the same in every format, so that a relay of one format respects the lease of a relay of another.
"""

from typing import Final

FORMAT: Final = "1"
"""Of keys and fields."""

ACQUIRE: Final = """
local kinds = {'hash', 'hash', 'stream'}
for number, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= kinds[number] then return {'foreign', key} end
end
local format, epoch, token, holder, ends =
  unpack(redis.call('HMGET', KEYS[1], 'format', 'epoch', 'token', 'holder', 'until'))
if not format and (redis.call('EXISTS', KEYS[1]) == 1 or redis.call('EXISTS', KEYS[2]) == 1) then
  return {'foreign', KEYS[1]}
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if token and token ~= ARGV[2] then
  if tonumber(ARGV[4]) > 0 then return {'fenced', holder} end
  if holder ~= ARGV[3] and tonumber(ends) > now then return {'held', holder, tonumber(ends) - now} end
end
if format and format ~= ARGV[1] then return {'format', format} end
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
local streamed = last and tonumber(string.match(last[1], '^%d+')) or 0
local least = math.max(tonumber(epoch) or 0, tonumber(ARGV[4]), streamed)
local new = string.format('%.0f', math.max(now, least + 1))
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'epoch', new, 'token', ARGV[2], 'holder', ARGV[3],
  'until', string.format('%.0f', now + ARGV[5]), 'number', 0)
return {'acquired', new, holder or ''}
"""
"""KEYS: group, calls, changes. ARGV: format, token, holder, epoch that the caller had (0: none), lease in ms.

Returns one of: acquired EPOCH HOLDER, who had the group before; fenced HOLDER, another relay has had the
group since; held HOLDER MS, it is another relay's for so long; format FORMAT; foreign KEY, which is another
program's.
"""

_OWNED: Final = """
local epoch, holder = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'holder'))
if not epoch then return redis.error_reply('NHGONE') end
if epoch ~= ARGV[1] then return redis.error_reply('NHFENCED ' .. (holder or '')) end
local clock = redis.call('TIME')
local ends = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[2])
"""

RENEW: Final = (
    _OWNED
    + """
redis.call('HSET', KEYS[1], 'until', ends)
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[3]) end
return redis.call('HLEN', KEYS[2])
"""
)
"""KEYS: as ACQUIRE. ARGV: epoch, lease in ms, expiry in s. Returns the number of calls."""

WRITE: Final = (
    _OWNED
    + """
local first_removed = 6 + 2 * ARGV[5]
local number = redis.call('HINCRBY', KEYS[1], 'number', 1)
redis.call('HSET', KEYS[1], 'until', ends)
local entry = {}
for at = 6, first_removed - 1, 2 do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  entry[#entry + 1] = 'call'
  entry[#entry + 1] = ARGV[at]
end
for at = first_removed, #ARGV do
  redis.call('HDEL', KEYS[2], ARGV[at])
  entry[#entry + 1] = 'call'
  entry[#entry + 1] = ARGV[at]
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], epoch .. '-' .. number, unpack(entry))
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[3]) end
"""
)
"""KEYS: as ACQUIRE. ARGV: epoch, lease in ms, expiry in s, length of the stream, number of calls to store,
call-id and record of each, call-ids to remove; at least one of both."""

RELEASE: Final = """
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then redis.call('HSET', KEYS[1], 'until', 0) end
"""
"""KEYS: group. ARGV: epoch. The next relay need not wait for the end of the lease."""

QUARANTINE: Final = """
local token, holder, ends = unpack(redis.call('HMGET', KEYS[1], 'token', 'holder', 'until'))
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if token and token ~= ARGV[1] and holder ~= ARGV[2] and tonumber(ends) > now then
  return redis.error_reply('NHFENCED ' .. holder)
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[4])
  redis.call('EXPIRE', KEYS[4], ARGV[3])
end
redis.call('DEL', KEYS[3])
redis.call('HDEL', KEYS[1], 'until')
redis.call('HSET', KEYS[1], 'format', ARGV[4], 'token', ARGV[1], 'holder', ARGV[2], 'until', 0)
"""
"""KEYS: as ACQUIRE, and the name of the quarantined calls. ARGV: token, holder, expiry in s, format."""
