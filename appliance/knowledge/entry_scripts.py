"""The atomic steps of FAQ entries: what is stored, listed, marked and remembered together.

Each version but the newest lies in the entry's history, under its number: it goes there in the
script that replaces or deletes it. A deleted entry leaves its last version there with the field
`deleted`, the number from which it goes on when it comes back: so a version names one text as
long as the entry is remembered, and an ETag made from it never lies.

Every write makes the revision grow: while it stands, what was found in the FAQ still holds.
"""

from appliance.bus.script import Script

# KEYS faq unindexed deleted imports job job_entries revision, then entry and history of each
# ARGV bound history_kept, job_id job_json now_ms jobs_kept job_ttl_s (all '' without a job),
# then of each: id created_ms version body
# 1 when all were stored, 0 when another writer was faster, -1 past the bound. All or none.
# A file of entries is one call, and everybody waits for it: so few commands for each as possible.
WRITE = Script("""
local function in_batches(command, key, list)
  for first = 1, #list, 1000 do
    redis.call(command, key, unpack(list, first, math.min(first + 999, #list)))
  end
end
local due, held, gone, created = {}, {}, {}, 0
for i = 8, #KEYS, 2 do
  local at = 2 * i - 8
  held[i] = redis.call('HGET', KEYS[i], 'version')
  gone[i] = not held[i] and redis.call('HGET', KEYS[i + 1], 'deleted')
  if tonumber(held[i] or gone[i] or 0) == tonumber(ARGV[at + 2]) - 1 then
    due[#due + 1] = i
    if not held[i] then created = created + 1 end
  elseif redis.call('HGET', KEYS[i], 'body') ~= ARGV[at + 3] then
    return 0
  end
end
if created > 0 and redis.call('ZCARD', KEYS[1]) + created > tonumber(ARGV[1]) then return -1 end
redis.call('INCR', KEYS[7])
local places, written = {}, {}
for _, i in ipairs(due) do
  local at = 2 * i - 8
  if held[i] then
    redis.call('HSET', KEYS[i + 1], held[i], redis.call('HGET', KEYS[i], 'body'))
    local oldest = held[i] - ARGV[2]
    if oldest > 0 then redis.call('HDEL', KEYS[i + 1], string.format('%d', oldest)) end
  elseif gone[i] then
    redis.call('ZREM', KEYS[3], ARGV[at])
    redis.call('HDEL', KEYS[i + 1], 'deleted')
  end
  redis.call('HSET', KEYS[i], 'version', ARGV[at + 2], 'body', ARGV[at + 3])
  places[#places + 1] = ARGV[at + 1]
  places[#places + 1] = ARGV[at]
  written[#written + 1] = ARGV[at]
end
in_batches('ZADD', KEYS[1], places)
in_batches('SADD', KEYS[2], written)
if ARGV[3] ~= '' then
  in_batches('SADD', KEYS[6], written)
  redis.call('SET', KEYS[5], ARGV[4], 'EX', ARGV[7])
  redis.call('EXPIRE', KEYS[6], ARGV[7])
  redis.call('ZADD', KEYS[4], ARGV[5], ARGV[3])
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - ARGV[6])
end
return 1
""")

# KEYS faq unindexed deleted entry history revision
# ARGV id version ('' for any) now_ms history_kept
# 1 when it is gone now, 0 when there was none, -1 when it is at another version.
DELETE = Script("""
local held = redis.call('HMGET', KEYS[4], 'version', 'body')
if not held[1] then return 0 end
if ARGV[2] ~= '' and held[1] ~= ARGV[2] then return -1 end
redis.call('INCR', KEYS[6])
redis.call('HSET', KEYS[5], held[1], held[2], 'deleted', held[1])
redis.call('HDEL', KEYS[5], string.format('%d', held[1] - ARGV[4]))
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[4])
""")

# KEYS deleted entry history stats; ARGV id: a deleted entry is remembered no more
FORGET = Script("""
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
return redis.call('DEL', KEYS[3], KEYS[4])
""")

# KEYS faq; ARGV created_ms id count: ids with their times after that position, in order.
# An entry deleted since is put in its old place for a moment: only the zset knows its order.
AFTER = Script("""
local held = redis.call('ZSCORE', KEYS[1], ARGV[2])
local start = 0
if held and tonumber(held) == tonumber(ARGV[1]) then
  start = redis.call('ZRANK', KEYS[1], ARGV[2]) + 1
elseif ARGV[2] ~= '' then
  redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
  start = redis.call('ZRANK', KEYS[1], ARGV[2])
  if held then redis.call('ZADD', KEYS[1], held, ARGV[2])
  else redis.call('ZREM', KEYS[1], ARGV[2]) end
end
return redis.call('ZRANGE', KEYS[1], start, start + ARGV[3] - 1, 'WITHSCORES')
""")

# KEYS unindexed entry...; ARGV per entry: id sha1_of_body ('' for none)
UNMARK = Script("""
for i = 2, #KEYS do
  local body = redis.call('HGET', KEYS[i], 'body')
  local sha1 = body and redis.sha1hex(body) or ''
  if sha1 == ARGV[2 * i - 2] then redis.call('SREM', KEYS[1], ARGV[2 * i - 3]) end
end
return 1
""")

# KEYS record...: the body of each, empty where there is none
BODIES = Script("""
local bodies = {}
for n, key in ipairs(KEYS) do bodies[n] = redis.call('HGET', key, 'body') or '' end
return bodies
""")

# KEYS unindexed; ARGV id...: how many of them are marked
MARKED = Script("""
local marked = 0
for _, id in ipairs(ARGV) do marked = marked + redis.call('SISMEMBER', KEYS[1], id) end
return marked
""")

# KEYS job_entries unindexed: how many entries of an import the index has still to take up
REMAINING = Script("""
return redis.call('SINTERCARD', 2, KEYS[1], KEYS[2])
""")
