;; Executes `unreachable`.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    unreachable
    (i32.const 0))
