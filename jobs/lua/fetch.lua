-- Take up to ARGV[1] ids, from the lanes KEYS in order, each from its head (the right end).
-- Returns the ids in the order in which they are to run.
local wanted = tonumber(ARGV[1])
local taken = {}
for _, lane in ipairs(KEYS) do
  if #taken >= wanted then break end
  -- RPOP with a count: Redis 6.2. It answers false for a list that is not there.
  local ids = redis.call('RPOP', lane, wanted - #taken)
  if ids then
    for _, id in ipairs(ids) do taken[#taken + 1] = id end
  end
end
return taken
