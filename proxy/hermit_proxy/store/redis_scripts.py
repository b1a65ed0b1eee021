"""The steps that must be one step inside Redis, so that no writer, reader or collector sees half of another's."""

from __future__ import annotations

# Keys: a manifest `hermit:body:{<sha256>}` is a hash of size, chunks, upload and time; its chunks are
# `hermit:chunk:{<sha256>}:<upload>:<n>`. The braces keep a body in one slot of a cluster. Time is the
# server's own, so that ages do not depend on the clocks of many machines.
_NOW = "local t = redis.call('TIME'); local now = t[1] + t[2] / 1000000"
_CHUNK = "local function chunk(upload, n) return ARGV[1] .. upload .. ':' .. n end"

# KEYS manifest; ARGV chunk prefix, upload, chunks, size. 1: published, 0: a chunk has expired meanwhile.
# A good body that another writer published first stays, and this one's chunks go.
COMMIT = f"""
{_NOW} {_CHUNK}
local known = redis.call('HGET', KEYS[1], 'upload')
if known == ARGV[2] then return 1 end
if known then
  for n = 0, ARGV[3] - 1 do redis.call('UNLINK', chunk(ARGV[2], n)) end
  redis.call('HSET', KEYS[1], 'time', now)
  return 1
end
for n = 0, ARGV[3] - 1 do
  if redis.call('PERSIST', chunk(ARGV[2], n)) == 0 then return 0 end
end
redis.call('HSET', KEYS[1], 'upload', ARGV[2], 'chunks', ARGV[3], 'size', ARGV[4], 'time', now)
return 1
"""

# KEYS manifest; ARGV chunk prefix, size. 1: the body is there, whole by the look of it, and its time is renewed;
# one that has lost a chunk or has another size is deleted, so that the caller's takes its place.
RENEW = f"""
{_NOW} {_CHUNK}
local m = redis.call('HMGET', KEYS[1], 'upload', 'chunks', 'size')
if not m[1] then return 0 end
local whole = m[3] == ARGV[2]
for n = 0, m[2] - 1 do whole = whole and redis.call('EXISTS', chunk(m[1], n)) == 1 end
if not whole then
  for n = 0, m[2] - 1 do redis.call('UNLINK', chunk(m[1], n)) end
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('HSET', KEYS[1], 'time', now)
return 1
"""

# KEYS manifest; ARGV chunk prefix, age in seconds. 1: deleted.
DELETE = f"""
{_NOW} {_CHUNK}
local m = redis.call('HMGET', KEYS[1], 'upload', 'chunks', 'time')
if not m[1] or now - m[3] < tonumber(ARGV[2]) then return 0 end
for n = 0, m[2] - 1 do redis.call('UNLINK', chunk(m[1], n)) end
redis.call('DEL', KEYS[1])
return 1
"""

# KEYS manifest, place aside; ARGV chunk prefix, upload, seconds to keep. 1: put aside, unless replaced meanwhile.
PUT_ASIDE = f"""
{_CHUNK}
local m = redis.call('HMGET', KEYS[1], 'upload', 'chunks')
if m[1] ~= ARGV[2] then return 0 end
for n = 0, m[2] - 1 do redis.call('EXPIRE', chunk(m[1], n), ARGV[3]) end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
"""

# KEYS observations of an entry, index of the pool; ARGV entry id, observer, line.
OBSERVE = f"""
{_NOW}
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], now)
return 1
"""

# KEYS observations of an entry, index of the pool; ARGV entry id, age in seconds. 1: deleted.
FORGET = f"""
{_NOW}
local time = redis.call('HGET', KEYS[2], ARGV[1])
if not time or now - time < tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
"""
