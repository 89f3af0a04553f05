-- People also answer whether another history of the target branch is accepted, and how a break-glass was reviewed.

ALTER TABLE release.approvals DROP CONSTRAINT approvals_approves_type_check;
ALTER TABLE release.approvals ADD CONSTRAINT approvals_approves_type_check CHECK (approves_type IN ('promotion', 'change', 'rewrite', 'review'));
