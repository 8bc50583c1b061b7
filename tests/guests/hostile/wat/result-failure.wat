;; Fails with a kind that there is not.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store8 (i32.const 1032) (i32.const 250))
    (i32.const 1024))
