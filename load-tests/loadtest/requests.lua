-- For wrk: sends the requests of a file in the order that stands there, counts statuses and the
-- answers of each tenth of a second, and writes what it saw as JSON.
--
--   wrk ... -s requests.lua URL -- REQUESTS RESULT FRACTION...

local ffi = require("ffi")
ffi.cdef [[
    typedef struct { long seconds; long nanoseconds; } load_test_time;
    int clock_gettime(int clock, load_test_time *time);
]]
local MONOTONIC = 1
local time = ffi.new("load_test_time")

local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

-- Tenths of a second, since the machine's start.
local function tenth()
    ffi.C.clock_gettime(MONOTONIC, time)
    return tonumber(time.seconds) * 10 + math.floor(tonumber(time.nanoseconds) / 100000000)
end

function init(args)
    arguments = args
    local file = assert(io.open(args[1], "rb"))
    local records = {}
    for number = 1, tonumber(file:read("*l")) do
        records[number] = file:read(tonumber(file:read("*l")))
        file:read("*l")
    end
    sequence = {}
    for number in file:read("*a"):gmatch("%d+") do
        sequence[#sequence + 1] = records[tonumber(number)]
    end
    file:close()
    at = 0
    statuses = {}
    tenths = {}
end

function request()
    at = at % #sequence + 1
    return sequence[at]
end

function response(status)
    statuses[status] = (statuses[status] or 0) + 1
    local now = tenth()
    began = began or now
    now = now - began
    tenths[now] = (tenths[now] or 0) + 1
end

local function object(counts)
    local pairs_of = {}
    for key, count in pairs(counts) do
        pairs_of[#pairs_of + 1] = string.format('"%d":%d', key, count)
    end
    return "{" .. table.concat(pairs_of, ",") .. "}"
end

local function added(name)
    local sum = {}
    for _, thread in ipairs(threads) do
        for key, count in pairs(thread:get(name)) do
            sum[key] = (sum[key] or 0) + count
        end
    end
    return object(sum)
end

-- It runs in a state of its own, where `init` was not called.
function done(summary, latency)
    local arguments = threads[1]:get("arguments")
    local points = {}
    for number = 3, #arguments do
        local fraction = tonumber(arguments[number])
        local value = latency:percentile(math.min(fraction * 100, 99.999999))
        if fraction == 0 then value = latency.min end
        if fraction == 1 then value = latency.max end
        points[#points + 1] = string.format("[%.6f,%.3f]", fraction, value / 1000)
    end
    local file = assert(io.open(arguments[2], "w"))
    file:write(string.format(
        '{"requests":%d,"seconds":%.6f,"bytes":%d,"statuses":%s,"tenths":%s,'
            .. '"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d},"latency":[%s]}\n',
        summary.requests, summary.duration / 1e6, summary.bytes, added("statuses"),
        added("tenths"), summary.errors.connect, summary.errors.read, summary.errors.write,
        summary.errors.timeout, table.concat(points, ",")
    ))
    file:close()
end
