-- The scenarios of the load tool for wrk: the same requests and keys. wrk has the closed model only, and runs for a time.
--
--   wrk -t1 -c256 -d10s -s benches/clients/sale.lua $PRODUCT_URL -- rush 12
--
-- Arguments: the scenario (rush, one-buyer, zipf), then the ids of the products. Cancelling needs the answer of the request
-- before, on the same connection, and an arrival rate needs a clock: wrk has neither, so those two are left out here.
-- wrk knows nothing of the books: it counts what it was told. `run.sh` beside it holds that against the ledger.

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  scenario = args[1]
  products, shares = {}, {}
  local sum = 0
  for index = 2, #args do
    products[#products + 1] = args[index]
    -- Zipf's law with exponent 1.1, added up.
    sum = sum + (index - 1) ^ -1.1
    shares[#shares + 1] = sum
  end
  math.randomseed(os.time() + number)
  -- Keys of two runs, or of two threads, do not meet: seconds since 1970, the thread, the request, digit by digit. As one
  -- number it would be beyond 2^53, where Lua's numbers have gaps, and hundreds of buyers would share a key.
  run = os.time() .. number
  asked, sold, refused, failed = 0, 0, 0, 0
end

local function choose()
  if scenario ~= "zipf" then
    return products[asked % #products + 1]
  end
  local share = math.random() * shares[#shares]
  local low, high = 1, #shares
  while low < high do
    local middle = math.floor((low + high) / 2)
    if share < shares[middle] then high = middle else low = middle + 1 end
  end
  return products[low]
end

function request()
  asked = asked + 1
  local order = run .. string.format("%07d", asked)
  local buyer = scenario == "one-buyer" and run or order
  return wrk.format("PATCH", "/v1/products/" .. choose() .. "/stock/decrease-by-order", {
    ["Content-Type"] = "application/json",
    ["Idempotency-Key"] = "DEC-" .. order,
  }, '{"orderId":' .. order .. ',"quantity":1,"buyerId":"buyer-' .. buyer .. '"}')
end

function response(status)
  if status == 200 then
    sold = sold + 1
  elseif status < 500 then
    refused = refused + 1
  else
    failed = failed + 1
  end
end

function done(summary, latency)
  local told = { asked = 0, sold = 0, refused = 0, failed = 0 }
  for _, thread in ipairs(threads) do
    for what in pairs(told) do
      told[what] = told[what] + thread:get(what)
    end
  end
  -- Asked and not answered when the time was over: they may have been sold. wrk also prepares one request too many.
  local unknown = told.asked - told.sold - told.refused - told.failed
  print(string.format(
    '{"client":"wrk","sold":%d,"refused":%d,"failed":%d,"unknown":%d,"answers_per_second":%.0f,"p50_ms":%.1f,"p99_ms":%.1f}',
    told.sold, told.refused, told.failed, unknown, summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
