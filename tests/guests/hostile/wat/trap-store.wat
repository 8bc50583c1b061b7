;; Writes with an offset that wraps beyond 4 GiB.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i64.store offset=0xffffffff (i32.const 0x7fffffff) (i64.const 1))
    (i32.const 0))
