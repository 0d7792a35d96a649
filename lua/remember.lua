-- remember.lua: one chunk of the request ids that got stock, on the way to a load. Renews the lease, so that a
-- product with a long ledger can be loaded with a short one.
--
-- Guarantee: only the holder of the lease writes, and only while the product is not loaded.
-- ARGV[1]  lease token      ARGV[2]  lease length, ms      ARGV[3…]  request ids (none: only renew)
-- Reply: remembered | lease_lost

if loaded() or lease_holder() ~= ARGV[1] then return 'lease_lost' end
take_lease(ARGV[1], tonumber(ARGV[2]))
if #ARGV > 2 then redis.call('SADD', KEYS[3], unpack(ARGV, 3)) end
return 'remembered'
