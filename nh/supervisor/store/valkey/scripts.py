"""What the server executes as one step: Lua scripts on the keys of a group of calls.

    {PREFIX}:group     hash: format, epoch, token, holder, until (server's clock, ms), number, wanted, key
    {PREFIX}:calls     hash: call-id, record
    {PREFIX}:changes   stream: EPOCH-NUMBER, with a field `call` for each call-id that changed
    {PREFIX}:standbys  hash: holder, "UNTIL CALLS", of the relays that follow the group

The braces put the keys into one slot of a cluster. The epoch grows with each ACQUIRE, also after the server
has lost all data, because it is at least the server's clock in milliseconds. `token`, `holder` and `until`
are the same in every format, so that a relay of one format respects the lease of a relay of another.
NUMBER counts the writes of an epoch from 1 on, so that a standby notices what it has missed.
"""

import hashlib
from typing import Final

KEYS: Final = ("group", "calls", "changes", "standbys")
"""Of a group, in the order in which scripts get them."""

FORMAT: Final = "1"
"""Of keys and fields."""

ACQUIRE: Final = """
local kinds = {'hash', 'hash', 'stream', 'hash'}
for number, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= kinds[number] then return {'foreign', key} end
end
local format, epoch, token, holder, ends =
  unpack(redis.call('HMGET', KEYS[1], 'format', 'epoch', 'token', 'holder', 'until'))
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
local streamed, written = string.match(last and last[1] or '0-0', '^(%d+)-(%d+)')
streamed = tonumber(streamed)
local before, number = epoch, redis.call('HGET', KEYS[1], 'number')
if not format and redis.call('EXISTS', KEYS[1]) == 1 then return {'foreign', KEYS[1]} end
if not format and redis.call('EXISTS', KEYS[2]) == 1 then
  local is_known = ARGV[9] == 'followed' or tonumber(ARGV[4]) > 0 and streamed <= tonumber(ARGV[4])
  if not is_known and streamed == 0 then return {'foreign', KEYS[2]} end
  if not is_known and ARGV[6] ~= 'force' then return {'ownerless', KEYS[1]} end
  before, number = streamed, written
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local is_older = (tonumber(epoch) or 0) < tonumber(ARGV[4])
if now > tonumber(ARGV[8]) then return {'late'} end
if token and token ~= ARGV[2] and ARGV[6] ~= 'force' and not is_older then
  if tonumber(ARGV[4]) > 0 then return {'fenced', holder} end
  if holder ~= ARGV[3] and tonumber(ends) > now then return {'held', holder, tonumber(ends) - now} end
end
if format and format ~= ARGV[1] then return {'format', format} end
local key = redis.call('HGET', KEYS[1], 'key')
if key and key ~= '' and key ~= ARGV[7] and redis.call('EXISTS', KEYS[2]) == 1 then return {'key'} end
local least = math.max(tonumber(epoch) or 0, tonumber(ARGV[4]), streamed)
local new = string.format('%.0f', math.max(now, least + 1))
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'epoch', new, 'token', ARGV[2], 'holder', ARGV[3],
  'until', string.format('%.0f', now + ARGV[5]), 'number', 0, 'key', ARGV[7])
redis.call('HDEL', KEYS[1], 'wanted')
redis.call('HDEL', KEYS[4], ARGV[3])
return {'acquired', new, token == '' and '?' or holder or '', before or 0, number or 0}
"""
"""KEYS: group, calls, changes, standbys. ARGV: format, token, holder, epoch that the caller had (0: none),
lease in ms, `force` for a group that is held, check value of the key that encrypts its calls ("": none),
until when the caller waits for the reply (server's clock, ms), `followed` for a caller that has followed the
group as its standby.

Returns one of: acquired EPOCH HOLDER BEFORE NUMBER, who had the group before (?: it was given to the caller),
in which epoch, after how many writes; fenced HOLDER, another relay has had the
group since; held HOLDER MS, it is another relay's for so long; format FORMAT; foreign KEY, which is another
program's; ownerless KEY, the first key alone is lost, so the calls may be those of a relay that lives and
writes it again; key, the caller's key does not open the calls; late, the caller has given up, or died, long
ago. A server that knows an older epoch than the caller has lost its last writes: the group is the caller's.
So are ownerless calls if no write of a later epoch is known. They are also that caller's who has followed the
group, and has waited longer than its relay would need to write the key. Their last write is that of the
stream.
The caller is no standby any more: it would be told of itself, and could give the calls to itself.
"""

_OWNED: Final = """
local epoch, holder, ends = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'holder', 'until'))
if not epoch then return redis.error_reply('NHGONE') end
if (tonumber(epoch) or 0) < tonumber(ARGV[1]) then return redis.error_reply('NHGONE') end
if epoch ~= ARGV[1] then return redis.error_reply('NHFENCED ' .. (holder or '')) end
"""

_RENEWED: Final = (
    _OWNED
    + """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if tonumber(ends) <= now then return redis.error_reply('NHEXPIRED') end
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[2]))
"""
)
"""The server may execute a request long after its relay has given up: a lease that is over stays over."""

RENEW: Final = (
    _RENEWED
    + """
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[3]) end
local ends, wanted = string.match(redis.call('HGET', KEYS[1], 'wanted') or '', '^(%d+) (.*)$')
if not ends or tonumber(ends) < now then wanted = '' end
local standbys = {}
local known = redis.call('HGETALL', KEYS[4])
for at = 1, #known, 2 do
  local ends, calls = string.match(known[at + 1], '^(%d+) (%d+)')
  if not ends or tonumber(ends) < now then
    redis.call('HDEL', KEYS[4], known[at])
  else
    standbys[#standbys + 1] = known[at]
    standbys[#standbys + 1] = tonumber(calls)
  end
end
local number = tonumber(redis.call('HGET', KEYS[1], 'number') or 0)
return {redis.call('HLEN', KEYS[2]), number, wanted, unpack(standbys)}
"""
)
"""KEYS: group, calls, changes, standbys. ARGV: epoch, lease in ms, expiry in s.

Returns the number of calls; that of writes; which standby wants the calls, or ""; each standby and how many
calls it has."""

WRITE: Final = (
    _RENEWED
    + """
local first_removed = 6 + 2 * ARGV[5]
local number = redis.call('HINCRBY', KEYS[1], 'number', 1)
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
for at = 1, 3 do redis.call('EXPIRE', KEYS[at], ARGV[3]) end
return number
"""
)
"""KEYS: as RENEW. ARGV: epoch, lease in ms, expiry in s, length of the stream, number of calls to store,
call-id and record of each, call-ids to remove; at least one of both.

Returns the number of the write."""

RELEASE: Final = """
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then redis.call('HSET', KEYS[1], 'until', 0) end
"""
"""KEYS: group. ARGV: epoch. The next relay need not wait for the end of the lease."""

GIVE: Final = (
    _OWNED
    + """
redis.call('HSET', KEYS[1], 'holder', ARGV[4], 'token', ARGV[5])
"""
)
"""KEYS: group. ARGV: epoch, lease in ms, expiry in s, holder, token. With a standby and no token: only that
standby gets the group at once, any other relay after the lease; until then the caller renews the lease and
writes as before. With the caller and its token: it takes the group back. The lease is as it was."""

FOLLOW: Final = """
local format, epoch, holder, ends, number, key =
  unpack(redis.call('HMGET', KEYS[1], 'format', 'epoch', 'holder', 'until', 'number', 'key'))
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[4], ARGV[3], string.format('%.0f', now + ARGV[5]) .. ' ' .. ARGV[4])
  redis.call('EXPIRE', KEYS[4], 60)
end
local seen, calls, last = {}, {}, ''
for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  if #calls >= 1000 then break end
  last = last .. entry[1] .. ' '
  for at = 2, #entry[2], 2 do
    local call = entry[2][at]
    if not seen[call] then
      seen[call] = true
      calls[#calls + 1] = call
    end
  end
end
local records = {}
if #calls > 0 then records = redis.call('HMGET', KEYS[2], unpack(calls)) end
local left = math.max(0, (tonumber(ends) or 0) - now)
local count = redis.call('HLEN', KEYS[2])
key = key or '?'
return {format or '', epoch or '0', number or '0', holder or '', left, count, last, calls, records, key}
"""
"""KEYS: as RENEW. ARGV: id of the last entry of the stream that the standby knows, most entries, holder, how
many calls the standby has ("": it does not announce itself), for how long it does, ms.

Returns format, epoch, number of writes, holder, what is left of the lease, ms, number of calls, ids of the
entries that follow, call-ids that changed, their records as they are now, and the check value of the key (?:
none is known)."""

FOLLOW_SHA: Final = hashlib.sha1(FOLLOW.encode()).hexdigest()
"""By which the server knows it."""

WANT: Final = """
local clock = redis.call('TIME')
local ends = clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[2]
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'wanted', string.format('%.0f', ends) .. ' ' .. ARGV[1])
end
"""
"""KEYS: group. ARGV: the standby that wants the group, for how long, ms. Its relay reads that with RENEW."""

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
for at = 5, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
"""
"""KEYS: group, calls, changes, name of the quarantined calls. ARGV: token, holder, expiry in s, format, then
call-id and record of each call that the group has from now on."""
