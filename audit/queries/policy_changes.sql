-- When another policy came into force, by whose word, and which changed files could not be used.
SELECT "index", time, stage, record->>'policy_id' AS policy_id, record->>'policy_version' AS policy_version,
       coalesce(record->>'old_digest', record->>'in_force') AS old_digest, record->>'new_digest' AS new_digest,
       coalesce(record->>'$.decided_by[0].name', record->>'file') AS by_or_file, record->>'problem' AS problem
FROM entries
WHERE stage IN ('policy_changed', 'policy_rejected')
ORDER BY "index";
