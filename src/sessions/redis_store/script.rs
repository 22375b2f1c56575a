//! What Redis does in one step, so that no other process comes in between (Lua).
//!
//! A record is a hash: `sealed`, its `revision`, when the session was last `seen`, the digest of
//! the refresh `token` inside, the `fence` of the newest lease, and the `intent`: the digest of a
//! token that somebody set out to show to the provider. The lease is a key of its own, which ends
//! by itself. Every script that writes may run twice, when its first answer was lost, and does
//! the same as if it ran once.

/// Expiry follows the session: its idle time-out from when it was seen, its end at the latest.
macro_rules! with_expiry {
    ($body:literal) => {
        concat!(
            "local function expire(seen, idle, ends)
  local at = math.min(tonumber(seen) + tonumber(idle), tonumber(ends))
  redis.call('EXPIREAT', KEYS[1], string.format('%.0f', at))
end
",
            $body
        )
    };
}

/// `bound` → `ended`, `oversize`, or `held revision seen sealed`.
pub(super) const LOAD: &str = "
local held = redis.call('HMGET', KEYS[1], 'revision', 'seen')
if not held[1] or not held[2] then return {'ended'} end
if redis.call('HSTRLEN', KEYS[1], 'sealed') > tonumber(ARGV[1]) then return {'oversize'} end
return {'held', held[1], held[2], redis.call('HGET', KEYS[1], 'sealed')}
";

/// `seen idle ends revision sealed token` → `kept`.
pub(super) const BEGIN: &str = with_expiry!(
    "
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'seen', ARGV[1], 'revision', ARGV[4], 'sealed', ARGV[5], 'token', ARGV[6])
expire(ARGV[1], ARGV[2], ARGV[3])
return {'kept'}
"
);

/// `seen idle ends` → `ended` or `kept`.
pub(super) const TOUCH: &str = with_expiry!(
    "
local seen = redis.call('HGET', KEYS[1], 'seen')
if not seen then return {'ended'} end
if tonumber(seen) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'seen', ARGV[1])
  expire(ARGV[1], ARGV[2], ARGV[3])
end
return {'kept'}
"
);

/// `base idle ends revision sealed` → `ended`, `conflict` or `kept`.
pub(super) const KEEP: &str = with_expiry!(
    "
local held = redis.call('HMGET', KEYS[1], 'revision', 'seen', 'sealed')
if not held[1] then return {'ended'} end
if held[3] == ARGV[5] then return {'kept'} end
if held[1] ~= ARGV[1] then return {'conflict'} end
redis.call('HSET', KEYS[1], 'revision', ARGV[4], 'sealed', ARGV[5])
expire(held[2], ARGV[2], ARGV[3])
return {'kept'}
"
);

/// `owner milliseconds token` → `ended`, `newer`, `held`, `spent` or `granted fence`.
///
/// The intent is written with the lease: whoever may show a token has said so before.
pub(super) const LEASE: &str = "
local held = redis.call('HMGET', KEYS[1], 'token', 'intent', 'fence')
if not held[1] then return {'ended'} end
if held[1] ~= ARGV[3] then return {'newer'} end
local owner = redis.call('GET', KEYS[2])
if owner == ARGV[1] then return {'granted', held[3]} end
if owner then return {'held'} end
if held[2] == ARGV[3] then return {'spent'} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[1], 'intent', ARGV[3])
return {'granted', tostring(redis.call('HINCRBY', KEYS[1], 'fence', 1))}
";

/// `owner milliseconds` → `kept` or `lost`.
pub(super) const RENEW: &str = "
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'lost'} end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {'kept'}
";

/// `base idle ends revision sealed token fence owner` → `ended`, `lost`, `conflict` or `kept`.
///
/// What came of a token replaces the intent to show it, in the same step. A holder whose lease
/// has run out may still commit, as long as nobody has had another one since.
pub(super) const COMMIT: &str = with_expiry!(
    "
local held = redis.call('HMGET', KEYS[1], 'revision', 'seen', 'sealed', 'fence')
if not held[1] then return {'ended'} end
if held[3] == ARGV[5] then return {'kept'} end
if held[4] ~= ARGV[7] then return {'lost'} end
if held[1] ~= ARGV[1] then return {'conflict'} end
redis.call('HSET', KEYS[1], 'revision', ARGV[4], 'sealed', ARGV[5], 'token', ARGV[6])
redis.call('HDEL', KEYS[1], 'intent')
expire(held[2], ARGV[2], ARGV[3])
if redis.call('GET', KEYS[2]) == ARGV[8] then redis.call('DEL', KEYS[2]) end
return {'kept'}
"
);

/// `owner fence unused` → `kept`. Ends a lease that brought nothing; the intent stays unless the
/// token was certainly not used.
pub(super) const RELEASE: &str = "
if ARGV[3] == '1' and redis.call('HGET', KEYS[1], 'fence') == ARGV[2] then
  redis.call('HDEL', KEYS[1], 'intent')
end
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return {'kept'}
";

/// `attempt seconds` → `first` or `used`.
pub(super) const FIRST_USE: &str = "
local known = redis.call('GET', KEYS[1])
if known == ARGV[1] then return {'first'} end
if known then return {'used'} end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return {'first'}
";

/// `began_by seconds` → `kept`. Neither the moment nor the time to remember it ever shrinks.
pub(super) const MARK: &str = "
local known = redis.call('GET', KEYS[1])
local left = redis.call('TTL', KEYS[1])
local began = ARGV[1]
if known and tonumber(known) > tonumber(began) then began = known end
redis.call('SET', KEYS[1], began, 'EX', math.max(tonumber(ARGV[2]), left))
return {'kept'}
";
