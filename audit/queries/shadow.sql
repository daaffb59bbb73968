-- What rules in shadow would have done: how many requests they match, and how many of those were released.
SELECT shadow.rule, shadow.action, count(DISTINCT shadow.request_id) AS requests,
       count(DISTINCT shadow.request_id) FILTER (requests.outcome = 'released') AS released
FROM shadow JOIN requests USING (request_id)
GROUP BY ALL
ORDER BY requests DESC, shadow.rule;
