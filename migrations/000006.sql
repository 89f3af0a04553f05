-- An order may ask whether what was deployed still runs, without deploying.

ALTER TABLE run.orders DROP CONSTRAINT orders_operation_check;
ALTER TABLE run.orders ADD CONSTRAINT orders_operation_check CHECK (operation IN ('promote', 'remove', 'fall-back', 'health-check'));
