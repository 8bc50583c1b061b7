;; Calls itself for ever.
(func $deeper (param i64) (result i64) (i64.add (call $deeper (local.get 0)) (i64.const 1)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (drop (call $deeper (i64.const 1)))
    (i32.const 0))
