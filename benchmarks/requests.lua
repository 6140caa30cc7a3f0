-- The requests that wrk sends. Arguments after `--`: the kind of request, and a name that is unique to the run.
local kind, run = "success", "run"
local threads, thread_number, sent = 0, 0, 0

function setup(thread)
  thread:set("thread_number", threads)
  threads = threads + 1
end

function init(arguments)
  kind, run = arguments[1] or kind, arguments[2] or run
  math.randomseed(thread_number + 1)
end

local ffi = require("ffi")
ffi.cdef("typedef struct { long s, us; } moment; int gettimeofday(moment *, void *);")
local moment = ffi.new("moment")

local function milliseconds()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.s) * 1000 + math.floor(tonumber(moment.us) / 1000)
end

local json = { ["Content-Type"] = "application/json" }

-- Returns a session id with the length of a UUID. The kind `drawn` gives ids like those of telemetry.js, which begin
-- with the time. Other kinds give ids in random order, as most front ends send, and the same id for the same number.
local function session_id(session)
  if kind == "drawn" then
    local ms = milliseconds()
    return string.format("%08x-%04x-7%03x-8%s-%02d%010d",
      math.floor(ms / 65536), ms % 65536, math.random(0, 4095), run:sub(1, 3), thread_number, session)
  end
  local random = session * 2654435761 % 4294967296
  return string.format("%08x-%s-%d-%016d", random, run, thread_number, session)
end

local function event(kind_of, more)
  return string.format(
    '{"event_type":"%s","occurred_at":"2026-02-12T18:00:00.000Z",%s,' ..
    '"model":"UV-5RM","write_mode":1,"connected":1,"app_version":"19afc18"}',
    kind_of, more)
end

local function success(session)
  return event("flash_success", string.format(
    '"session_id":"%s","message":"Flash complete","log_lines_json":"[]","metadata_json":"{}"', session_id(session)))
end

-- A stack of 1.2 kB, and a JSON string with 80 log lines.
local frames = {}
for line = 1, 22 do
  frames[line] = string.format("\\n    at step%d (https://tool.example/assets/uploader.ts:%d:13)", line, 40 + line)
end
local STACK = table.concat(frames):sub(1, 1200)
local lines = {}
for line = 1, 80 do
  lines[line] = string.format('\\"+%d ms TX block 0x%04x, RX 0x06\\"', 300 + 40 * line, line)
end
local LOG = "[" .. table.concat(lines, ",") .. "]"
local LETTERS = "abcdefghijklmnopqrstuvwxyz"

local function letters(number)
  local word = ""
  repeat
    local digit = number % 26
    word = word .. LETTERS:sub(digit + 1, digit + 1)
    number = math.floor(number / 26)
  until number == 0
  return word
end

-- The content identifies a failure without a session, so each has another message. A new fingerprint for every 50th:
-- fingerprints mask numbers, so the message needs a new word.
local function failure(number)
  local word = number % 50 == 0 and letters(number) or "block"
  return event("flash_error", string.format(
    '"message":"No ACK for %s 0x%s%d%08x","error_name":"ProtocolError","stack":"ProtocolError: No ACK%s",' ..
    '"log_lines_json":"%s","metadata_json":"{}"', word, run, thread_number, number, STACK, LOG))
end

local function batch(session)
  local events = {}
  for number = 1, 50 do
    events[number] = success(session * 50 + number)
  end
  return '{"events":[' .. table.concat(events, ",") .. "]}"
end

function request()
  sent = sent + 1
  if kind == "floor" then return wrk.format("GET", "/event") end
  if kind == "hello" then return wrk.format("GET", "/hello") end
  if kind == "count" then return wrk.format("GET", "/metrics/flash-count") end
  if kind == "batch" or kind == "drawn" then return wrk.format("POST", "/event/batch", json, batch(sent)) end
  if kind == "failure" then return wrk.format("POST", "/event", json, failure(sent)) end
  if kind == "duplicates" then return wrk.format("POST", "/event", json, success(math.floor(sent / 2))) end
  return wrk.format("POST", "/event", json, success(sent))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
