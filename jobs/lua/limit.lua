-- Take ARGV[1] of the ARGV[2] that KEYS[1] allows within any ARGV[3] seconds, if so many are left.
-- Answers with: whether they were taken, how many are left, and after how many seconds there will be
-- enough (or, when they were taken, more). By Redis' own clock: many processes ask.
-- KEYS[1] is a hash of how many were taken in each second. A second leaves it once all of it is too
-- long ago, so never more than the limit are taken within the window, wherever it begins.
local cost, limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
local counts, seconds, taken = {}, {}, 0

local entries = redis.call('HGETALL', KEYS[1])
for at = 1, #entries, 2 do
  local second, count = tonumber(entries[at]), tonumber(entries[at + 1])
  if second < now - window then
    redis.call('HDEL', KEYS[1], entries[at])
  else
    counts[second] = count
    seconds[#seconds + 1] = second
    taken = taken + count
  end
end
table.sort(seconds)

local allowed = taken + cost <= limit
if allowed then
  redis.call('HINCRBY', KEYS[1], now, cost)
  redis.call('EXPIRE', KEYS[1], window + 1)
  counts[now] = (counts[now] or 0) + cost
  if seconds[#seconds] ~= now then seconds[#seconds + 1] = now end
  taken = taken + cost
end

local excess, wait = allowed and 1 or taken + cost - limit, window + 1
for _, second in ipairs(seconds) do
  excess = excess - counts[second]
  if excess <= 0 then
    wait = second + window + 1 - now
    break
  end
end
return {allowed and 1 or 0, limit - taken, wait}
