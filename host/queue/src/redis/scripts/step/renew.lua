-- Renew.
local lost, cancels = {}, {}
if #renewals > 0 then
  local held = call('ZMSCORE', LEASES, unpack(renewals))
  local expiry, standing, ids = int(now + lease_ms), {}, {}
  for i = 1, #renewals do
    if held[i] then
      standing[#standing + 1] = expiry
      standing[#standing + 1] = renewals[i]
      ids[#ids + 1] = sub(renewals[i], 1, 36)
    else
      lost[#lost + 1] = i
    end
  end
  if #standing > 0 then
    call('ZADD', LEASES, 'XX', unpack(standing))
    if not quiet then
      local wanted = try('SMISMEMBER', CANCEL, unpack(ids))
      for i = 1, #ids do
        if wanted[i] == 1 then cancels[#cancels + 1] = ids[i] end
      end
    end
  end
end
