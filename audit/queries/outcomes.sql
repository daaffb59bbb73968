-- Requests by day, policy version and outcome.
SELECT CAST(time AS DATE) AS day, policy_id, policy_version, coalesce(outcome, 'open') AS outcome, count(*) AS requests
FROM requests
GROUP BY ALL
ORDER BY day, policy_id, policy_version, outcome;
