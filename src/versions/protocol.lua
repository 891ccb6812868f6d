#!lua
-- Every access to the versions of one database: see docs/decisions/0016-versions-in-redis.md.
--
-- One hash holds all of it, so that no part can be evicted or lost without the rest:
--   epoch        random; numbers of different epochs are never compared
--   server       the replication id of the server that the hash was last used on: another after a restart or a failover
--   incarnation  tells when the database itself was started or replaced
--   quarantine   until when, in ms, marks may be missing that were set before the epoch; 0: over
--   seq          how often anything was bumped
--   t:NAME       "n" or "n writer deadline writer deadline ..": the version of a table, and the writes to it in flight
--   l:SLOT       the name that was bumped at each of the last LOG values of seq
--
-- Without `no-writes`, a server that is no primary refuses it.
local LOG, CHUNK = 4096, 1000
local KEY, CHANNEL, OP, CANDIDATE, INCARNATION, LEASE = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local replication = redis.call('INFO', 'replication')
local server = string.match(replication, 'master_replid:(%w+)')
local replicas = tonumber(string.match(replication, 'connected_slaves:(%d+)') or '0')
if not server then
  return redis.error_reply('LARDER this server does not say which one it is')
end

-- The usual read, of tables that nobody writes just now: it finds nothing to mend, and takes less than half as long.
if OP == 'read' and #ARGV < CHUNK then
  local fields = { 'epoch', 'server', 'incarnation', 'quarantine', 'seq', 't:!' }
  for at = 6, #ARGV do
    fields[at + 1] = 't:' .. ARGV[at]
  end
  local found = redis.call('HMGET', KEY, unpack(fields))
  if found[1] and found[2] == server and found[3] == INCARNATION and found[4] == '0' then
    local catalog, reply = not found[6] and 0 or tonumber(found[6]), {}
    local is_calm = catalog
    for at = 7, #fields do
      -- With a mark it is no number.
      local number = not found[at] and 0 or tonumber(found[at])
      is_calm = is_calm and number
      reply[#reply + 1], reply[#reply + 2] = number or 0, 0
    end
    if is_calm then
      return { found[1], tonumber(found[5]), now, replicas, 0, 0, catalog, 0, reply }
    end
  end
end

local head = redis.call('HMGET', KEY, 'epoch', 'server', 'incarnation', 'quarantine', 'seq')
local epoch, quarantine, seq = head[1], tonumber(head[4] or '0'), tonumber(head[5] or '0')
local begun_at, pushed, foreign = seq, {}, head[3] and head[3] ~= INCARNATION

local function counted(text)
  return #text .. ':' .. text
end

local function whole(number)
  return string.format('%.0f', number)
end

-- The number and the marks, as a list of writer and deadline by turns.
local function parse(value)
  if not value then
    return 0, {}
  end
  local number, marks = nil, {}
  for word in string.gmatch(value, '%S+') do
    if number then
      marks[#marks + 1] = word
    else
      number = tonumber(word)
    end
  end
  return number, marks
end

local function join(number, marks)
  if #marks == 0 then
    return whole(number)
  end
  return whole(number) .. ' ' .. table.concat(marks, ' ')
end

-- Numbers begin again; what is known to be in flight stays so.
local function new_epoch(lease)
  local all, kept = redis.call('HGETALL', KEY), {}
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 't:' then
      local _, marks = parse(all[i + 1])
      if #marks > 0 then
        for at = 2, #marks, 2 do
          marks[at] = lease > 0 and whole(now + lease) or marks[at]
        end
        kept[#kept + 1] = { all[i], join(0, marks) }
      end
    end
  end
  redis.call('UNLINK', KEY)
  epoch, seq, begun_at = CANDIDATE, 0, 0
  quarantine = lease > 0 and now + lease or 0
  redis.call('HSET', KEY, 'epoch', epoch, 'server', server, 'incarnation', INCARNATION,
    'quarantine', whole(quarantine), 'seq', '0')
  for _, field in ipairs(kept) do
    redis.call('HSET', KEY, field[1], field[2])
  end
  redis.call('PUBLISH', CHANNEL, counted(epoch) .. counted('0'))
end

if not epoch or head[2] ~= server or foreign then
  new_epoch(LEASE)
elseif quarantine > 0 and now >= quarantine then
  new_epoch(0)
end

local function is_flagged(marks)
  return (quarantine > 0 or #marks > 0) and 1 or 0
end

local function bump(name, number, marks)
  number, seq = number + 1, seq + 1
  redis.call('HSET', KEY, 't:' .. name, join(number, marks), 'l:' .. seq % LOG, name)
  pushed[#pushed + 1] = counted(name) .. counted(whole(number)) .. counted(tostring(is_flagged(marks)))
  return number
end

local function without(marks, gone)
  local left = {}
  for at = 1, #marks, 2 do
    if not gone(marks[at], tonumber(marks[at + 1])) then
      left[#left + 1], left[#left + 2] = marks[at], marks[at + 1]
    end
  end
  return left
end

local function values(fields, prefix)
  local found = {}
  for from = 1, #fields, CHUNK do
    local asked = {}
    for at = from, math.min(from + CHUNK - 1, #fields) do
      asked[#asked + 1] = prefix .. fields[at]
    end
    for _, value in ipairs(redis.call('HMGET', KEY, unpack(asked))) do
      found[#found + 1] = value
    end
  end
  return found
end

-- Number and marks after those were taken away whose time is over.
local function reaped(name, value)
  local number, marks = parse(value)
  local alive = without(marks, function(_, deadline) return deadline <= now end)
  if #alive < #marks then
    number = bump(name, number, alive)
  end
  return number, alive
end

local reply, all = {}, 0

local function tell(number, marks)
  reply[#reply + 1], reply[#reply + 2] = number, is_flagged(marks)
end

if OP == 'read' then
  local names = { unpack(ARGV, 6) }
  for at, value in ipairs(values(names, 't:')) do
    tell(reaped(names[at], value))
  end
elseif OP == 'arm' then
  local writer, names = ARGV[6], { unpack(ARGV, 7) }
  for at, value in ipairs(values(names, 't:')) do
    local number, marks = parse(value)
    marks = without(marks, function(other, deadline) return other == writer or deadline <= now end)
    marks[#marks + 1], marks[#marks + 2] = writer, whole(now + LEASE)
    tell(bump(names[at], number, marks), marks)
  end
elseif OP == 'finish' then
  local writers, count = {}, tonumber(ARGV[6])
  for at = 7, 6 + count do
    writers[ARGV[at]] = true
  end
  local names = { unpack(ARGV, 7 + count) }
  for at, value in ipairs(values(names, 't:')) do
    local number, marks = parse(value)
    marks = without(marks, function(writer, deadline) return writers[writer] or deadline <= now end)
    tell(bump(names[at], number, marks), marks)
  end
elseif OP == 'renew' then
  local writer, names = ARGV[6], { unpack(ARGV, 7) }
  for at, value in ipairs(values(names, 't:')) do
    local number, marks = parse(value)
    for mark = 1, #marks, 2 do
      if marks[mark] == writer then
        marks[mark + 1] = whole(now + LEASE)
        redis.call('HSET', KEY, 't:' .. names[at], join(number, marks))
      end
    end
  end
elseif OP == 'poll' then
  local known = tonumber(ARGV[7])
  if ARGV[6] ~= epoch or seq - known > LOG or seq < known then
    all = 1
  elseif seq > known then
    local slots, seen, names = {}, {}, {}
    for at = known + 1, seq do
      slots[#slots + 1] = at % LOG
    end
    for _, name in ipairs(values(slots, 'l:')) do
      if name and not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      elseif not name then
        all = 1
      end
    end
    for at, value in ipairs(values(names, 't:')) do
      reply[#reply + 1] = names[at]
      tell(reaped(names[at], value))
    end
  end
end

-- Whoever asks or tells anything hears of changes of the schema: what it believes to read or to write rests on it.
local catalog, changing = reaped('!', redis.call('HGET', KEY, 't:!'))

if seq ~= begun_at then
  redis.call('HSET', KEY, 'seq', whole(seq))
  redis.call('PUBLISH', CHANNEL, counted(epoch) .. counted(whole(seq)) .. table.concat(pushed))
end
return { epoch, seq, now, replicas, foreign and 1 or 0, all, catalog, #changing > 0 and 1 or 0, reply }
