-- Adds a line to a partition's audit.
-- KEYS[1] audit (stream)
-- ARGV[1] how many lines to keep at least    ARGV[2...] field, value pairs of the line
-- Returns the line's id.
-- A resend may add the line twice: two equal lines tell the same.
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 2))
