-- When another policy came into force.
SELECT "index", time, record->>'policy_id' AS policy_id, record->>'old_digest' AS old_digest,
       record->>'new_digest' AS new_digest
FROM entries
WHERE stage = 'policy_changed'
ORDER BY "index";
