-- Requests that nothing has ended, and requests that a later process had to end.
SELECT request_id, time, policy_id, policy_version, coalesce(outcome, 'open') AS state, last_stage
FROM requests
WHERE outcome IS NULL OR outcome = 'recovered'
ORDER BY time, request_id;
