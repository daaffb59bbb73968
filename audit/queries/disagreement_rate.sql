-- How often prevention and review disagreed, by adapter and the digest of its file.
SELECT bundle.adapter, bundle.adapter_sha256, count(DISTINCT bundle.request_id) AS requests,
       count(DISTINCT leaks.request_id) AS leaks, count(DISTINCT triggers.request_id) AS false_triggers,
       round((count(DISTINCT leaks.request_id) + count(DISTINCT triggers.request_id))
             / count(DISTINCT bundle.request_id), 4) AS rate
FROM bundle
LEFT JOIN disagreements AS leaks
  ON leaks.request_id = bundle.request_id AND leaks.adapter = bundle.adapter AND leaks.kind = 'leak'
LEFT JOIN disagreements AS triggers
  ON triggers.request_id = bundle.request_id AND triggers.adapter = bundle.adapter AND triggers.kind = 'false_trigger'
GROUP BY ALL
ORDER BY rate DESC, bundle.adapter;
