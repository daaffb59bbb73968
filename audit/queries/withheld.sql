-- All requests withheld under a rule, in a month, under a policy version.
-- $rule = 'nudity'
-- $month = '2026-05'
-- $policy_version = '3'
SELECT requests.request_id, requests.time, requests.policy_id, requests.policy_version, requests.attempts,
       max(scores.score) AS highest_score, min(scores.threshold) AS threshold, list(DISTINCT scores.reviewer) AS reviewers
FROM requests JOIN scores USING (request_id)
WHERE requests.outcome = 'withheld'
  AND scores.rule = $rule AND (scores.found OR scores.failure IS NOT NULL)
  AND strftime(requests.time, '%Y-%m') = $month
  AND requests.policy_version = $policy_version
GROUP BY ALL
ORDER BY requests.time, requests.request_id;
