-- An approval can be withdrawn.

ALTER TABLE release.approvals DROP CONSTRAINT approvals_action_check;
ALTER TABLE release.approvals ADD CONSTRAINT approvals_action_check CHECK (action IN ('approve', 'reject', 'withdraw'));
