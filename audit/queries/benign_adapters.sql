-- Adapters that acted on benign prompts: open above $gamma in a request that was released at its first attempt and in
-- which every reviewer stayed below half its threshold.
-- $gamma = 0.0
WITH benign AS (
  SELECT request_id FROM requests JOIN scores USING (request_id)
  WHERE outcome = 'released' AND attempts = 1
  GROUP BY request_id
  HAVING bool_and(coalesce(score < threshold / 2, false))
)
SELECT adapter, concept, count(DISTINCT request_id) AS requests, avg(gamma) AS mean_gamma, max(gamma) AS highest_gamma
FROM permeabilities JOIN benign USING (request_id)
WHERE gamma > $gamma
GROUP BY ALL
ORDER BY requests DESC, adapter;
