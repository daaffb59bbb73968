-- How often prevention and review disagreed, by adapter and the digest of its file.
WITH disagreed AS (
  SELECT adapter, request_id, bool_or(kind = 'leak') AS leak, bool_or(kind = 'miss') AS miss,
         bool_or(kind = 'false_trigger') AS false_trigger
  FROM disagreements
  GROUP BY ALL
)
SELECT bundle.adapter, bundle.adapter_sha256, count(DISTINCT bundle.request_id) AS requests,
       count(DISTINCT bundle.request_id) FILTER (leak) AS leaks, count(DISTINCT bundle.request_id) FILTER (miss) AS misses,
       count(DISTINCT bundle.request_id) FILTER (false_trigger) AS false_triggers,
       round(count(DISTINCT bundle.request_id) FILTER (disagreed.request_id IS NOT NULL)
             / count(DISTINCT bundle.request_id), 4) AS rate
FROM bundle LEFT JOIN disagreed ON disagreed.request_id = bundle.request_id AND disagreed.adapter = bundle.adapter
GROUP BY ALL
ORDER BY rate DESC, bundle.adapter;
